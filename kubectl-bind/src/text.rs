//! Text for terminals: what others wrote made harmless, tables and ages as kubectl prints them. Pure.

use jiff::Timestamp;

/// Drops control characters, so that a server's message cannot drive the terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

/// The same on one line, for table cells.
pub fn one_line(text: &str) -> String {
    printable(text)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// A table as kubectl prints it: no borders, three spaces between columns.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|&h| h.to_owned()).collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| one_line(cell)).collect())
        .collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&header).chain(&rows).collect();
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut out = String::new();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        out.push_str(cells.join("   ").trim_end());
        out.push('\n');
    }
    out
}

/// Age of an object as kubectl prints it: `17s`, `5m`, `3h`, `12d`, `<unknown>`.
pub fn age(created: Option<Timestamp>, now: Timestamp) -> String {
    let Some(created) = created else {
        return "<unknown>".to_owned();
    };
    let seconds = now.as_second().saturating_sub(created.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// An error with all its causes on one line, without repeating those that contain their own cause.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let refusal = refusal(error);
        let said = refusal.map_or_else(|| error.to_string(), str::to_owned);
        if text.is_empty() {
            text = said;
        } else if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        // Below a refusal are only its parts.
        next = error.source().filter(|_| refusal.is_none());
    }
    printable(&text)
}

/// The message of an API server that refused something, as kubectl shows it.
fn refusal<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a str> {
    let boxed = || error.downcast_ref::<Box<kube::Error>>();
    match error.downcast_ref().or_else(|| boxed().map(AsRef::as_ref)) {
        Some(kube::Error::Api(status)) if !status.message.is_empty() => Some(&status.message),
        _ => None,
    }
}

/// The cause that all others only pass on.
pub fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(next) = root.source() {
        root = next;
    }
    printable(&root.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_of_others_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mred\u{7}\nb"), "a[31mred\nb");
        assert_eq!(one_line("a\n  b\tc"), "a b c");
    }

    #[test]
    fn tables_have_no_trailing_spaces() {
        let text = table(
            &["NAME", "AGE"],
            &[
                vec!["a-long-name".into(), "5m".into()],
                vec!["b".into(), String::new()],
            ],
        );
        assert_eq!(text, "NAME          AGE\na-long-name   5m\nb\n");
    }

    #[test]
    fn ages_grow_like_those_of_kubectl() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let ago = |seconds: i64| {
            age(
                Some(Timestamp::from_second(1_000_000 - seconds).unwrap()),
                now,
            )
        };
        assert_eq!(
            [
                ago(5),
                ago(119),
                ago(120),
                ago(7_200),
                ago(172_800),
                ago(-9)
            ],
            ["5s", "119s", "2m", "2h", "2d", "0s"]
        );
        assert_eq!(age(None, now), "<unknown>");
    }

    #[test]
    fn causes_are_named_once() {
        let inner = std::io::Error::other("connection refused");
        let outer = anyhow::Error::new(inner).context("failed to reach it");
        assert_eq!(
            causes(outer.as_ref()),
            "failed to reach it: connection refused"
        );
        let repeats = anyhow::Error::new(std::io::Error::other("x")).context("failed: x");
        assert_eq!(causes(repeats.as_ref()), "failed: x");
    }

    #[test]
    fn api_servers_are_quoted_like_kubectl_does() {
        let status = kube::core::Status::failure("secrets \"a\" not found", "NotFound");
        let source = Box::new(kube::Error::Api(Box::new(status.with_code(404))));
        let error = crate::cluster::Error::Read {
            what: "secret kube-bind/a".to_owned(),
            source,
        };
        assert_eq!(
            causes(&error),
            "failed to read secret kube-bind/a: secrets \"a\" not found"
        );
    }
}
