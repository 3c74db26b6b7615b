//! What happened, as a number to compare runs by, and as text when somebody is to read it.

use std::hash::{Hash, Hasher};

use tokio::time::Instant;

use super::super::super::cluster::Key;

pub(super) struct Trace {
    began: Instant,
    hash: std::hash::DefaultHasher,
    pub(super) lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(traced: bool) -> Self {
        Self {
            began: Instant::now(),
            hash: std::hash::DefaultHasher::new(),
            lines: traced.then(Vec::new),
        }
    }

    /// One step. `more` is only for the reader.
    pub(super) fn note(
        &mut self,
        who: &'static str,
        what: &str,
        key: &Key,
        more: impl FnOnce() -> String,
    ) {
        let at = self.began.elapsed();
        (at.as_micros() as u64, who, what).hash(&mut self.hash);
        key.hash(&mut self.hash);
        if let Some(lines) = &mut self.lines {
            let at = at.as_secs_f64();
            lines.push(format!("{at:>10.3}s {who:<10} {what} {key} {}", more()));
        }
    }

    /// Something that tells runs apart and that nobody needs to read.
    pub(super) fn count(&mut self, number: u64) {
        number.hash(&mut self.hash);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.finish()
    }
}
