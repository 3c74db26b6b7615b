//! What the person in front of the demo reads. Writes to standard output.
#![expect(
    clippy::print_stdout,
    reason = "the output is what this program is for"
)]

use std::time::Instant;

/// Prints steps with the time since the start.
pub struct Narrator {
    start: Instant,
}

impl Narrator {
    pub fn new() -> Narrator {
        Narrator {
            start: Instant::now(),
        }
    }

    /// A new chapter.
    pub fn chapter(&self, title: &str) {
        println!("\n== {title}");
    }

    /// Something that has happened.
    pub fn step(&self, text: &str) {
        println!("[{:6.1} s] {text}", self.start.elapsed().as_secs_f64());
    }

    /// Something that took this long, counted from `since`.
    pub fn arrived(&self, since: Instant, text: &str) {
        println!(
            "[{:6.1} s] {text} ({} ms later)",
            self.start.elapsed().as_secs_f64(),
            since.elapsed().as_millis()
        );
    }

    /// Output of a program, set off.
    pub fn quote(&self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            println!("           | {line}");
        }
    }

    /// A line as it is.
    pub fn line(&self, text: &str) {
        println!("{text}");
    }

    /// The end of a demo that did not get further.
    pub fn failure(&self, error: &anyhow::Error) {
        println!(
            "\nThe demo got as far as this after {:.1} s:\n{error:#}",
            self.start.elapsed().as_secs_f64()
        );
    }
}
