//! Words of others: cut to what fits, and made harmless in pages. No IO.

use std::borrow::Cow;

/// What shows that something is missing.
const MORE: &str = "...";

/// The text in at most `longest` bytes, cut between two characters.
#[must_use]
pub fn shorten(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest {
        return text.into();
    }
    let end = (0..=longest.saturating_sub(MORE.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    format!("{}{MORE}", &text[..end.unwrap_or(0)]).into()
}

/// Text as HTML, also within quoted attributes.
#[must_use]
pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_cut_between_characters() {
        assert_eq!(shorten("short", 5), "short");
        assert_eq!(shorten("shorter", 6), "sho...");
        let cut = shorten("\u{e4}\u{e4}\u{e4}\u{e4}", 7);
        assert_eq!(cut, "\u{e4}\u{e4}...");
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escape_html("<a href=\"x\" b='y'>&"),
            "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;"
        );
    }
}
