//! The page that the browser shows when the login has ended. Pure.

use kube_bind_runtime::text::escape_html;

/// The page for a login that worked.
pub fn success() -> String {
    page(
        "Logged in",
        "You are logged in. Close this window and go back to your terminal.",
    )
}

/// The page for one that did not.
pub fn failure(why: &str) -> String {
    page(
        "Login failed",
        &format!("{why}. Go back to your terminal to try again."),
    )
}

/// The page for requests that are none of ours.
pub fn stray() -> String {
    page(
        "Not this login",
        "This address does not belong to the login that is waiting in your terminal.",
    )
}

fn page(title: &str, text: &str) -> String {
    let (title, text) = (escape_html(title), escape_html(text));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title} - kube-bind</title>\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem;\
         color-scheme:light dark}}h1{{font-size:1.6rem}}</style></head>\
         <body><h1>{title}</h1><p>{text}</p></body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_text_and_not_markup() {
        let page = failure("<script>alert(1)</script>");
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"));
    }
}
