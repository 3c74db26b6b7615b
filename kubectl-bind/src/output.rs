//! The only module that writes to stdout and stderr. Data goes to stdout, everything that is for
//! people goes to stderr.

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::text::printable;

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON document.
    Json,
    /// YAML documents.
    Yaml,
    /// `resource/name`, one a line.
    Name,
}

/// Prints a line of data, or a table.
pub fn data(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

/// Tells the person something: progress, advice, questions.
pub fn say(text: &str) {
    let mut stderr = anstream::stderr().lock();
    // Nobody is left to be told when stderr is gone.
    let _ = writeln!(stderr, "{}", printable(text));
}

/// Asks on the same line.
pub fn ask(text: &str) {
    let mut stderr = anstream::stderr().lock();
    let _ = write!(stderr, "{}", printable(text));
    let _ = stderr.flush();
}

/// Prints objects in the wanted format; `names` has one `resource/name` for each of them.
pub fn objects(format: Format, objects: &[Value], names: &[String]) -> io::Result<()> {
    data(&render(format, objects, names).map_err(io::Error::other)?)
}

fn render(format: Format, objects: &[Value], names: &[String]) -> Result<String, String> {
    let yaml = |value: &Value| serde_saphyr::to_string(value).map_err(|err| err.to_string());
    match (format, objects) {
        (Format::Name, _) => Ok(names.iter().map(|name| format!("{name}\n")).collect()),
        (Format::Json, [one]) => serde_json::to_string_pretty(one).map_err(|err| err.to_string()),
        (Format::Json, all) => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": all});
            serde_json::to_string_pretty(&list).map_err(|err| err.to_string())
        }
        (Format::Yaml, all) => {
            let documents: Result<Vec<String>, String> = all.iter().map(yaml).collect();
            Ok(documents?.join("---\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_objects_are_a_list_in_json_and_documents_in_yaml() {
        let objects = [json!({"a": 1}), json!({"a": "yes"})];
        assert_eq!(
            render(Format::Yaml, &objects, &[]).unwrap(),
            "a: 1\n---\na: \"yes\"\n"
        );
        let json: Value =
            serde_json::from_str(&render(Format::Json, &objects, &[]).unwrap()).unwrap();
        assert_eq!(json["items"][1]["a"], "yes");
        assert_eq!(json["kind"], "List");
    }

    #[test]
    fn one_object_is_itself() {
        let text = render(Format::Json, &[json!({"a": 1})], &[]).unwrap();
        assert_eq!(text, "{\n  \"a\": 1\n}");
    }

    #[test]
    fn names_are_lines() {
        let names = ["namespace/a".to_owned(), "secret/b".to_owned()];
        assert_eq!(
            render(Format::Name, &[], &names).unwrap(),
            "namespace/a\nsecret/b\n"
        );
    }
}
