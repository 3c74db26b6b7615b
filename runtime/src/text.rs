//! Words of others, cut to what fits. No IO.

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
}
