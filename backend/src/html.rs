//! The few plain pages: no script, no style, nothing loaded. Pure.

use kube_bind_runtime::text::escape_html;

/// A page with this title and body; the body is HTML already.
pub fn page(title: &str, body: &str) -> String {
    let title = escape_html(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"></head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_cannot_become_markup() {
        assert!(page("<script>", "").contains("<title>&lt;script&gt;</title>"));
    }
}
