//! The report: Markdown tables, medians, and limits.

use std::fmt::Display;
use std::time::Duration;

/// The limits, and whether each holds.
#[derive(Default)]
pub(crate) struct Report {
    bars: Vec<[String; 4]>,
    broken: bool,
}

impl Report {
    /// Adds a limit for a measurement, which depends on the machine and its load.
    pub(crate) fn bar(&mut self, what: &str, value: f64, unit: &str, bar: Bar) {
        let (holds, bar) = match bar {
            Bar::AtMost(most) => (value <= most, format!("≤ {}", number(most))),
            Bar::AtLeast(least) => (value >= least, format!("≥ {}", number(least))),
        };
        let verdict = if holds { "holds" } else { "**does not hold**" };
        self.bars.push([
            what.to_owned(),
            format!("{} {unit}", number(value)),
            format!("{bar} {unit}"),
            verdict.to_owned(),
        ]);
    }

    /// Adds a limit for a count, which is the same on every machine. If it does not hold, the bench
    /// fails.
    pub(crate) fn must(&mut self, what: &str, value: impl Display, bar: &str, holds: bool) {
        self.broken |= !holds;
        let verdict = if holds { "holds" } else { "**does not hold**" };
        self.bars.push([what.to_owned(), value.to_string(), bar.to_owned(), verdict.to_owned()]);
    }

    /// Prints the limits. Returns whether all limits for counts hold.
    pub(crate) fn finish(self) -> bool {
        table("Bars", &["", "measured", "bar", ""], &self.bars);
        !self.broken
    }
}

/// The expected value.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

/// Prints a Markdown table: the first column left-aligned, all others right-aligned.
pub(crate) fn table<R: AsRef<[String]>>(title: &str, head: &[&str], rows: &[R]) {
    println!("\n### {title}\n\n| {} |", head.join(" | "));
    println!("| --- |{}", " ---: |".repeat(head.len() - 1));
    for row in rows {
        println!("| {} |", row.as_ref().join(" | "));
    }
}

/// Returns a quantile of the values; 0.5 is the median.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    percentile(values, 0.5)
}

pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Formats a number with three significant digits and separated thousands.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 || value == value.round() => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    let plain = format!("{value:.digits$}");
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}
