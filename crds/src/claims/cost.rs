//! Which paths are worth evaluating. The library of the paths backtracks at wildcards and copies at
//! multipaths, so a path of 256 bytes could take years or all memory. Pure.

use std::cell::Cell;

/// Steps of backtracking that all paths into one object may take together: some milliseconds. They are
/// evaluated where many objects pass through, and whoever shares that thread waits.
const STEPS: usize = 1_000_000;
/// Bytes that all results of one object may grow to together.
const GROWTH: usize = 8 * 1024 * 1024;

/// What may be spent on the paths into one object.
pub(super) struct Budget {
    steps: Cell<usize>,
    growth: Cell<usize>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            steps: Cell::new(STEPS),
            growth: Cell::new(GROWTH),
        }
    }

    /// Whether that path can be evaluated on that document with what is left, which it then takes.
    pub(super) fn affords(&self, path: &str, json: &str) -> bool {
        // Only changes white space, and how much of it: an argument says how much.
        if path.contains("@pretty") {
            return false;
        }
        let left = |budget: &Cell<usize>, cost| budget.get().checked_sub(cost);
        let steps = left(&self.steps, steps(path, json));
        let Some((steps, growth)) = steps.zip(left(&self.growth, growth(path, json))) else {
            return false;
        };
        self.steps.set(steps);
        self.growth.set(growth);
        true
    }
}

/// Matching `k` wildcards against a text of `n` bytes takes up to `n` to the power of `k` steps. One
/// alone is no more than reading.
fn steps(path: &str, json: &str) -> usize {
    // Where separators can be part of a pattern, the path is taken as one.
    let wildcards = if path.contains(['%', '\\']) {
        wildcards(path)
    } else {
        path.split(['.', '|']).map(wildcards).max().unwrap_or(0)
    };
    if wildcards < 2 {
        return 0;
    }
    let longest = if path.contains('%') {
        json.len()
    } else {
        longest_text(json)
    };
    power(json.len(), longest, wildcards - 1)
}

/// Wildcards in a row count once, and at the end they match whatever is left.
fn wildcards(pattern: &str) -> usize {
    let mut parts = pattern.split('*').filter(|part| !part.is_empty()).count();
    if !pattern.starts_with('*') {
        parts = parts.saturating_sub(1);
    }
    parts
}

/// Each multipath can repeat what it is applied to as often as it has parts, and they can be chained.
fn growth(path: &str, json: &str) -> usize {
    let multipaths = path.matches(['[', '{']).count();
    if multipaths == 0 {
        return 0;
    }
    let parts = path.matches(',').count() + 1;
    power(json.len(), parts, multipaths)
}

fn power(factor: usize, base: usize, exponent: usize) -> usize {
    let exponent = u32::try_from(exponent).unwrap_or(u32::MAX);
    factor.saturating_mul(base.saturating_pow(exponent))
}

/// Length of the longest key or text of a document.
fn longest_text(json: &str) -> usize {
    let (mut longest, mut length, mut escaped) = (0, 0, false);
    for byte in json.bytes() {
        match byte {
            b'"' if !escaped => length = 0,
            _ => length += 1,
        }
        escaped = byte == b'\\' && !escaped;
        longest = longest.max(length);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_are_affordable_on_large_objects() {
        let large = format!("{{\"{}\":1}}", "a".repeat(1_500_000));
        for path in [
            "spec.secretName",
            "spec.items.#.name",
            "spec.*.name",
            "*.*.*",
            "spec.items.#(name%\"app-*\")#.secret",
            "[spec.a,spec.b]",
        ] {
            assert!(Budget::new().affords(path, &large), "{path}");
        }
        let usual = format!("{{\"{}\":1}}", "a ".repeat(400));
        assert!(Budget::new().affords("spec.a*b*c.d", &usual));
    }

    #[test]
    fn paths_that_blow_up_are_not() {
        let usual = format!("{{\"{}\":1}}", "a".repeat(2000));
        for path in [
            "spec.*a*a*a*a*b",
            "spec.#(name%\"*a*a*a*b\")",
            "spec.*\\.*\\.*\\.*\\.*b",
            "@pretty:{\"indent\":\"xxxxxxxxxx\"}",
            &"[@this,@this]|".repeat(18),
            &"{\"a\":@this,\"b\":@this}|".repeat(10),
        ] {
            assert!(!Budget::new().affords(path, &usual), "{path}");
        }
    }

    #[test]
    fn many_paths_into_one_object_cost_no_more_than_one() {
        let usual = format!("{{\"{}\":1}}", "a".repeat(600));
        for path in ["*a*b", "[@this,@this]|[@this,@this]"] {
            let budget = Budget::new();
            let affordable = (0..10_000).filter(|_| budget.affords(path, &usual));
            let count = affordable.count();
            assert!((1..5_000).contains(&count), "{path}: {count}");
        }
        let budget = Budget::new();
        let ordinary = (0..10_000).filter(|_| budget.affords("spec.*.name", &usual));
        assert_eq!(ordinary.count(), 10_000);
    }

    #[test]
    fn what_is_affordable_is_quick() {
        // The worst that the budget allows: no key matches, and each is tried in every way.
        let key = "a".repeat(480);
        let keys: Vec<String> = (0..4).map(|n| format!("\"{key}{n}\":1")).collect();
        let json = format!("{{{}}}", keys.join(","));
        let path = "*a*b";
        let (budget, began) = (Budget::new(), std::time::Instant::now());
        assert!(budget.affords(path, &json), "{}", steps(path, &json));
        assert!(!gjson::get(&json, path).exists());
        assert!(!budget.affords(path, &json));
        // Some milliseconds; the rest is for a machine that is busy, and for code that is not optimised.
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_millis(500), "{took:?}");
    }
}
