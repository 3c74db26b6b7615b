//! Which paths are worth evaluating. The library of the paths backtracks at wildcards and copies at
//! multipaths, so a path of 256 bytes could take years or all memory. Pure.

/// Steps of a match that are taken at most; some tenths of a second.
const STEPS: usize = 20_000_000;
/// Bytes that a result may grow to.
const GROWTH: usize = 16 * 1024 * 1024;

/// Whether that path can be evaluated on that document at a reasonable price.
pub(super) fn is_affordable(path: &str, json: &str) -> bool {
    // Only changes white space, and how much of it: an argument says how much.
    !path.contains("@pretty") && matches_quickly(path, json) && stays_small(path, json)
}

/// Matching `k` wildcards against a text of `n` bytes takes up to `n` to the power of `k` steps.
fn matches_quickly(path: &str, json: &str) -> bool {
    let longest = if path.contains('%') {
        json.len()
    } else {
        longest_text(json)
    };
    // Where separators can be part of a pattern, the path is taken as one.
    let wildcards = if path.contains(['%', '\\']) {
        wildcards(path)
    } else {
        path.split(['.', '|']).map(wildcards).max().unwrap_or(0)
    };
    power(json.len(), longest, wildcards.saturating_sub(1)) <= STEPS || wildcards < 2
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
fn stays_small(path: &str, json: &str) -> bool {
    let multipaths = path.matches(['[', '{']).count();
    let parts = path.matches(',').count() + 1;
    power(json.len(), parts, multipaths) <= GROWTH || multipaths == 0
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
            assert!(is_affordable(path, &large), "{path}");
        }
        let usual = format!("{{\"{}\":1}}", "a".repeat(2000));
        assert!(is_affordable("spec.a*b*c.d", &usual));
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
            assert!(!is_affordable(path, &usual), "{path}");
        }
    }
}
