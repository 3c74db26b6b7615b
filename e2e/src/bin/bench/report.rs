//! The table of targets and measurements, on the terminal and as JSON.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::args::Args;

/// What a measurement must keep to.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
    Below(f64),
}

pub fn at_most(value: f64) -> Option<Bound> {
    Some(Bound::AtMost(value))
}

pub fn at_least(value: f64) -> Option<Bound> {
    Some(Bound::AtLeast(value))
}

pub fn below(value: f64) -> Option<Bound> {
    Some(Bound::Below(value))
}

impl Bound {
    fn admits(self, measured: f64) -> bool {
        match self {
            Self::AtMost(value) => measured <= value,
            Self::AtLeast(value) => measured >= value,
            Self::Below(value) => measured < value,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtMost(value) => format!("<= {value} {unit}"),
            Self::AtLeast(value) => format!(">= {value} {unit}"),
            Self::Below(value) => format!("< {value} {unit}"),
        }
    }
}

struct Row {
    what: String,
    target: Option<Bound>,
    ours: f64,
    unit: &'static str,
}

impl Row {
    fn met(&self) -> Option<bool> {
        self.target.map(|target| target.admits(self.ours))
    }
}

/// All measurements so far.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    /// What they were measured on.
    pub machine: Value,
}

impl Report {
    /// A measurement without a target.
    pub fn row(&mut self, what: &str, ours: f64, unit: &'static str) {
        self.judged(what, None, ours, unit);
    }

    /// A measurement, and what it must keep to.
    pub fn judged(&mut self, what: &str, target: Option<Bound>, ours: f64, unit: &'static str) {
        say(&format!("{what}: {ours:.2} {unit}"));
        self.rows.push(Row {
            what: what.to_owned(),
            target,
            ours,
            unit,
        });
    }

    /// Every target is met.
    pub fn is_met(&self) -> bool {
        self.rows.iter().all(|row| row.met() != Some(false))
    }

    #[expect(clippy::print_stdout, reason = "the table is the result")]
    pub fn print(&self) {
        let width = self.rows.iter().map(|row| row.what.len()).max();
        let width = width.unwrap_or_default();
        println!("{:<width$} {:>20} {:>18}  met", "", "target", "ours");
        for row in &self.rows {
            let target = row
                .target
                .map_or_else(|| "-".to_owned(), |target| target.text(row.unit));
            let met = row.met().map_or("", |met| if met { "yes" } else { "NO" });
            let ours = format!("{:.2} {}", row.ours, row.unit);
            println!("{:<width$} {target:>20} {ours:>18}  {met}", row.what);
        }
    }

    pub fn write(&self, path: &Path, args: &Args) -> Result<()> {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "what": row.what,
                    "target": row.target.map(|target| target.text(row.unit)),
                    "ours": (row.ours * 1000.0).round() / 1000.0,
                    "unit": row.unit,
                    "met": row.met(),
                })
            })
            .collect();
        let all = json!({
            "date": args.date,
            "commit": args.commit,
            "objects": args.objects,
            "namespaces": args.namespaces,
            "rate": args.rate,
            "machine": self.machine,
            "rows": rows,
        });
        let mut text = serde_json::to_string_pretty(&all).context("failed to write JSON")?;
        text.push('\n');
        std::fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
    }
}

/// Progress, for who waits.
#[expect(
    clippy::print_stderr,
    reason = "the benchmark is a command line program"
)]
pub fn say(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::{Report, at_least, below};

    #[test]
    fn one_miss_is_a_miss() {
        let mut report = Report::default();
        report.row("nothing asked", 1.0, "s");
        report.judged("enough", at_least(1.0), 1.0, "s");
        assert!(report.is_met());
        report.judged("too slow", below(1.0), 1.0, "s");
        assert!(!report.is_met());
    }
}
