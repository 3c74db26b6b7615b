//! Forms of an HTML page: as much of HTML as sign-in and choice pages use.

use std::sync::LazyLock;

use anyhow::{Context, Result};
use regex::Regex;
use reqwest::Method;
use url::Url;

static FORM: LazyLock<Regex> = LazyLock::new(|| regex(r"(?is)<form\b([^>]*)>(.*?)</form>"));
static FIELD: LazyLock<Regex> = LazyLock::new(|| regex(r"(?is)<(input|button)\b([^>]*)>"));
static ATTRIBUTE: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"(?is)([a-z-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))"#));

/// A form that can be sent.
#[derive(Debug, Clone)]
pub struct Form {
    /// Where it goes.
    pub action: Url,
    /// How.
    pub method: Method,
    /// Name and present value of its fields.
    fields: Vec<(String, String)>,
}

impl Form {
    /// Has it a field of this name?
    pub fn asks_for(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, _)| field == name)
    }

    /// All fields, with `values` in place of what the page gave.
    pub(super) fn filled(&self, values: &[(&str, &str)]) -> Vec<(String, String)> {
        let given = |name: &str| {
            values
                .iter()
                .find(|(field, _)| *field == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let mut filled: Vec<(String, String)> = self
            .fields
            .iter()
            .map(|(name, value)| (name.clone(), given(name).unwrap_or_else(|| value.clone())))
            .collect();
        for (name, value) in values.iter().filter(|(name, _)| !self.asks_for(name)) {
            filled.push(((*name).to_owned(), (*value).to_owned()));
        }
        filled
    }
}

/// All forms of a page.
pub(super) fn parse(html: &str, page: &Url) -> Result<Vec<Form>> {
    FORM.captures_iter(html)
        .map(|form| {
            let attributes = attributes(&form[1]);
            let action = attribute(&attributes, "action").unwrap_or_default();
            let action = page
                .join(action)
                .with_context(|| format!("a form that goes to {action:?}"))?;
            let post = attribute(&attributes, "method")
                .is_some_and(|method| method.eq_ignore_ascii_case("post"));
            let fields = FIELD
                .captures_iter(&form[2])
                .filter_map(|field| named_value(&field[2]))
                .collect();
            Ok(Form {
                action,
                method: if post { Method::POST } else { Method::GET },
                fields,
            })
        })
        .collect()
}

fn named_value(tag: &str) -> Option<(String, String)> {
    let attributes = attributes(tag);
    let name = attribute(&attributes, "name")?.to_owned();
    Some((
        name,
        attribute(&attributes, "value")
            .unwrap_or_default()
            .to_owned(),
    ))
}

fn attributes(tag: &str) -> Vec<(String, String)> {
    ATTRIBUTE
        .captures_iter(tag)
        .map(|found| {
            let value = found
                .get(2)
                .or_else(|| found.get(3))
                .or_else(|| found.get(4));
            (
                found[1].to_ascii_lowercase(),
                unescape(value.map_or("", |value| value.as_str())),
            )
        })
        .collect()
}

fn attribute<'a>(attributes: &'a [(String, String)], name: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

fn unescape(text: &str) -> String {
    // The ampersand comes last: `&amp;lt;` means `&lt;`.
    [
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#x2F;", "/"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (entity, character)| {
        text.replace(entity, character)
    })
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_sent_to_its_action_with_hidden_given_and_typed_values() {
        let page = Url::parse("http://127.0.0.1:1/interaction/x").unwrap();
        let html = r#"<p><form action="/go?a=1&amp;b=2" method='post'><input type=hidden name=prompt value="login">
            <input required name="login" value=""/><button name="choice" value="certificates">Use</button></form>"#;
        let form = parse(html, &page).unwrap().remove(0);
        assert_eq!(
            (form.action.as_str(), form.method.clone()),
            ("http://127.0.0.1:1/go?a=1&b=2", Method::POST)
        );
        assert!(form.asks_for("login") && !form.asks_for("password"));
        let filled = form.filled(&[("login", "alice"), ("password", "p")]);
        let pairs: Vec<_> = filled
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            pairs,
            [
                "prompt=login",
                "login=alice",
                "choice=certificates",
                "password=p"
            ]
        );
    }
}
