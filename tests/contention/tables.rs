//! The tables of the documentation: what is measured, against which bars, and how it is printed.

use std::fmt;
use std::time::Duration;

use crate::bars::Bar;
use crate::load::{Algorithm, Arrivals, Scenario, Work};
use crate::outcome::Outcome;

/// The fastest rate at which nearly every post into one conversation is stored.
const FULL_RATE: f64 = 250.0;

/// A table.
pub(crate) struct Table {
    title: &'static str,
    columns: &'static [Column],
    pub(crate) rows: Vec<Row>,
}

/// A row: a load, and the bars for it.
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    bars: Vec<Bar>,
}

/// A column, except the first and the last.
#[derive(Clone, Copy)]
enum Column {
    Stored,
    P50,
    P99,
    Longest,
    TooMany,
    Failed,
    Transactions,
    MostTransactions,
    WriteUnits,
    StoredByOne,
    ReadUnitsOf429,
    WriteUnitsOf429,
}

use Column::{
    Failed, Longest, MostTransactions, P50, P99, ReadUnitsOf429, Stored, StoredByOne, TooMany,
    Transactions, WriteUnits, WriteUnitsOf429,
};

/// The size of the run.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) short: bool,
    pub(crate) seed: u64,
}

impl Size {
    fn row(self, work: Work, arrivals: Arrivals, bars: &[Bar]) -> Row {
        // Requests of the former algorithm last up to eight seconds.
        let (warm_up, measured) = if self.short { (1, 2) } else { (10, 30) };
        let (warm_up, measured) = (Duration::from_secs(warm_up), Duration::from_secs(measured));
        let (algorithm, seed) = (Algorithm::Current, self.seed);
        let scenario = Scenario { work, arrivals, algorithm, warm_up, measured, seed };
        Row { scenario, bars: bars.to_vec() }
    }

    /// Returns the rates to measure; in a short run, only some of them.
    fn rates<const N: usize>(self, all: [f64; N], short: &[f64]) -> Vec<f64> {
        if self.short { short.to_vec() } else { all.to_vec() }
    }

    /// Returns all tables.
    pub(crate) fn tables(self) -> Vec<Table> {
        let (first, second) = (self.one_conversation(), self.closed_loop());
        let others = [self.one_author(), self.rate_limit(), self.edits()];
        // The closed loop is slow to simulate.
        let second = (!self.short).then_some(second);
        [Some(first), second].into_iter().flatten().chain(others).collect()
    }

    fn one_conversation(self) -> Table {
        let rates = [5.0, 25.0, 100.0, 200.0, 250.0, 300.0, 600.0, 1000.0];
        let row = |rate: f64| {
            let bars = if rate <= FULL_RATE {
                [Bar::P99(0.3), Bar::Refused(0.005), Bar::WriteUnits(5.5)].to_vec()
            } else {
                let rate = Bar::LeastRate(270.0);
                [rate, Bar::P99(0.3), Bar::WriteUnits(5.5), Bar::NoFailure].to_vec()
            };
            self.row(Work::OneConversation, Arrivals::Open(rate), &bars)
        };
        let rates = self.rates(rates, &[100.0, 600.0]);
        Table {
            title: "One conversation, many authors",
            columns: &[Stored, P50, P99, Longest, TooMany, Failed, Transactions, WriteUnits],
            rows: self.compared(rates.into_iter().map(row)),
        }
    }

    fn closed_loop(self) -> Table {
        let bars = [Bar::LeastRate(200.0), Bar::StoredByEach(3)];
        let mut row = self.row(Work::OneConversation, Arrivals::Closed(256), &bars);
        // From the start, when all posters post at once.
        row.scenario.warm_up = Duration::ZERO;
        row.scenario.measured = Duration::from_secs(10);
        Table {
            title: "One conversation, 256 posters",
            columns: &[
                Stored,
                P50,
                P99,
                Longest,
                TooMany,
                Failed,
                Transactions,
                WriteUnits,
                StoredByOne,
            ],
            rows: self.compared([row]),
        }
    }

    fn one_author(self) -> Table {
        let work = Work::OneAuthor { posts_per_second: 0 };
        let bars = [Bar::LeastRate(25.0), Bar::Transactions(8)];
        Table {
            title: "One author, many conversations, no rate limit",
            columns: &[
                Stored,
                P50,
                P99,
                Longest,
                TooMany,
                Failed,
                Transactions,
                MostTransactions,
                WriteUnits,
            ],
            rows: self.compared([self.row(work, Arrivals::Open(100.0), &bars)]),
        }
    }

    fn rate_limit(self) -> Table {
        let work = Work::OneAuthor { posts_per_second: 5 };
        let bars = [Bar::Rate(5.0), Bar::ReadOf429(2.0)];
        let (rate, warm_up, measured) = if self.short { (20.0, 6, 10) } else { (100.0, 20, 30) };
        let mut row = self.row(work, Arrivals::Open(rate), &bars);
        // The posts of the burst may overdraw the bucket.
        row.scenario.warm_up = Duration::from_secs(warm_up);
        row.scenario.measured = Duration::from_secs(measured);
        Table {
            title: "One author, default rate limit",
            columns: &[Stored, P99, TooMany, Failed, ReadUnitsOf429, WriteUnitsOf429],
            rows: vec![row],
        }
    }

    fn edits(self) -> Table {
        let slow = [Bar::P99(0.6), Bar::NoFailure];
        let fast = [Bar::LeastRate(25.0), Bar::Transactions(8)];
        let rows = [
            self.row(Work::Edits, Arrivals::Open(10.0), &slow),
            self.row(Work::Edits, Arrivals::Open(60.0), &fast),
        ];
        Table {
            title: "Edits of one conversation",
            columns: &[
                Stored,
                P50,
                P99,
                Longest,
                Failed,
                Transactions,
                MostTransactions,
                WriteUnits,
            ],
            rows: self.compared(rows),
        }
    }

    /// Adds a row of the former algorithm below each row, except in a short run.
    fn compared(self, rows: impl IntoIterator<Item = Row>) -> Vec<Row> {
        let with_former = |row: Row| {
            let former = Scenario { algorithm: Algorithm::Former, ..row.scenario };
            let former = (!self.short).then_some(Row { scenario: former, bars: Vec::new() });
            [Some(row), former].into_iter().flatten()
        };
        rows.into_iter().flat_map(with_former).collect()
    }
}

impl Row {
    /// Returns the bars that an outcome misses.
    pub(crate) fn missed(&self, outcome: &Outcome) -> Vec<Bar> {
        self.bars.iter().copied().filter(|bar| !bar.holds(outcome)).collect()
    }

    /// Returns the last cell of the row.
    fn result(&self, outcome: &Outcome) -> String {
        let missed = self.missed(outcome);
        match (self.bars.is_empty(), missed.is_empty()) {
            (true, _) => "–".to_owned(),
            (false, true) => format!("met: {}", list(&self.bars)),
            (false, false) => format!("**missed**: {}", list(&missed)),
        }
    }
}

fn list(bars: &[Bar]) -> String {
    bars.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Table {
    /// Prints the table in Markdown. `outcomes` belong to the rows, in order.
    pub(crate) fn print(&self, outcomes: &[Outcome]) {
        println!("\n### {}\n", self.title);
        let names: Vec<&str> = self.columns.iter().map(|column| column.name()).collect();
        println!("| load | {} | target |", names.join(" | "));
        println!("| --- |{} --- |", " ---: |".repeat(names.len()));
        for (row, outcome) in self.rows.iter().zip(outcomes) {
            let cells: Vec<String> =
                self.columns.iter().map(|column| column.value(outcome)).collect();
            println!("| {} | {} | {} |", row.scenario, cells.join(" | "), row.result(outcome));
        }
    }
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored/s",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Longest => "longest",
            Self::TooMany => "429",
            Self::Failed => "5xx",
            Self::Transactions => "transactions per stored",
            Self::MostTransactions => "most transactions of one",
            Self::WriteUnits => "write units per stored",
            Self::StoredByOne => "stored by each in 10 s",
            Self::ReadUnitsOf429 => "read units per 429",
            Self::WriteUnitsOf429 => "write units per 429",
        }
    }

    fn value(self, outcome: &Outcome) -> String {
        let or_dash = |value: Option<String>| value.unwrap_or("–".to_owned());
        let seconds =
            |share: f64| or_dash(outcome.quantile(share).map(|time| format!("{time:.2} s")));
        let number = |value: Option<f64>| or_dash(value.map(|value| format!("{value:.1}")));
        let percent = |share: f64| format!("{:.2} %", share * 100.0);
        match self {
            Self::Stored => format!("{:.1}", outcome.rate()),
            Self::P50 => seconds(0.5),
            Self::P99 => seconds(0.99),
            Self::Longest => seconds(1.0),
            Self::TooMany => percent(outcome.too_many()),
            Self::Failed => percent(outcome.failed()),
            Self::Transactions => number(outcome.transactions()),
            Self::MostTransactions => outcome.most_transactions().to_string(),
            Self::WriteUnits => number(outcome.write_units()),
            Self::StoredByOne => {
                or_dash(outcome.stored_by_one().map(|(least, most)| format!("{least}–{most}")))
            }
            Self::ReadUnitsOf429 => number(outcome.units_of_429().map(|(read, _)| read)),
            Self::WriteUnitsOf429 => number(outcome.units_of_429().map(|(_, write)| write)),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if matches!(self.work, Work::Edits) { "edits" } else { "posts" };
        match self.arrivals {
            Arrivals::Closed(clients) => write!(f, "{clients} posters")?,
            Arrivals::Open(rate) if rate >= 1000.0 => {
                write!(f, "{},{:03} {noun}/s", rate as u32 / 1000, rate as u32 % 1000)?;
            }
            Arrivals::Open(rate) => write!(f, "{rate} {noun}/s")?,
        }
        match self.algorithm {
            Algorithm::Current => Ok(()),
            Algorithm::Former => f.write_str(", former algorithm"),
        }
    }
}
