//! The picture of the documentation: three charts by the number of posters, readable on light and
//! dark pages.

use std::fmt::Write;

use crate::load::Outcome;

const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 170.0;
const GAP: f64 = 60.0;
const TOP: f64 = 46.0;
/// A grey that is legible on white and on black.
const INK: &str = "#808890";
const BLUE: &str = "#2f81f7";
const ORANGE: &str = "#db6d28";

/// A line of a chart: its name, its colour and its value.
type Line = (&'static str, &'static str, fn(&Outcome) -> f64);

/// Draws the charts from the outcomes by number of posters.
pub(crate) fn draw(curves: &[(usize, &Outcome)]) -> String {
    let charts: [(&str, f64, f64, &[Line]); 3] = [
        ("posts per second", 40.0, 10.0, &[("", BLUE, Outcome::rate)]),
        (
            "seconds until answered",
            8.0,
            2.0,
            &[
                ("p50", BLUE, |outcome| outcome.quantile(0.5)),
                ("p99", ORANGE, |outcome| outcome.quantile(0.99)),
            ],
        ),
        ("transactions per post", 20.0, 5.0, &[("", BLUE, Outcome::transactions)]),
    ];
    let (width, height) = (3.0 * WIDTH + 3.0 * GAP, TOP + HEIGHT + 50.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"{INK}\">\n\
         <title>Posts into one conversation, 1 to 256 concurrent posters</title>\n"
    );
    for (number, (title, most, step, lines)) in charts.iter().enumerate() {
        let left = GAP * 0.75 + number as f64 * (WIDTH + GAP);
        let x = |index: usize| left + index as f64 * WIDTH / (curves.len() - 1) as f64;
        let y = |value: f64| TOP + HEIGHT * (1.0 - value.min(*most) / most);
        let _ = writeln!(
            svg,
            "<text x=\"{left}\" y=\"20\" font-size=\"14\" font-weight=\"600\">{title}</text>"
        );
        let mut tick = 0.0;
        while tick <= *most {
            let at = y(tick);
            let _ = writeln!(
                svg,
                "<path d=\"M{left} {at:.1}h{WIDTH}\" stroke=\"{INK}\" stroke-opacity=\"0.3\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
                left - 8.0,
                at + 4.0
            );
            tick += step;
        }
        for (index, (posters, _)) in curves.iter().enumerate() {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{posters}</text>",
                x(index),
                TOP + HEIGHT + 18.0
            );
        }
        let below = (left + WIDTH / 2.0, TOP + HEIGHT + 38.0);
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">concurrent posters</text>",
            below.0, below.1
        );
        for (name, colour, value) in *lines {
            let points: Vec<(f64, f64)> = curves
                .iter()
                .enumerate()
                .map(|(index, (_, outcome))| (x(index), y(value(outcome))))
                .collect();
            let line: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                line.join(" ")
            );
            for (x, y) in &points {
                let _ =
                    write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
            }
            // The name is above the middle of its line.
            let (x, y) = points[points.len() / 2];
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{colour}\" font-weight=\"600\">{name}</text>",
                x,
                y - 10.0
            );
        }
    }
    svg + "</svg>\n"
}
