//! Which offering: named, the only one, or asked for. Pure but for reading answers from the terminal.

use std::io::{self, BufRead as _, IsTerminal as _};

use crate::output::{ask, say};

/// An offering as it is shown in the choice.
pub struct Offering {
    /// Name of the template.
    pub name: String,
    /// What it is.
    pub description: String,
}

/// What is known without asking.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// This one.
    Take(usize),
    /// Somebody has to choose.
    Ask,
}

/// Whether somebody can be asked.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Index of the offering to take.
pub async fn offering(offerings: Vec<Offering>, named: Option<&str>) -> anyhow::Result<usize> {
    match decide(&offerings, named, is_interactive()).map_err(anyhow::Error::msg)? {
        Decision::Take(index) => Ok(index),
        Decision::Ask => {
            say("The provider offers:");
            for (index, offering) in offerings.iter().enumerate() {
                let dash = if offering.description.is_empty() {
                    ""
                } else {
                    " - "
                };
                say(&format!(
                    "  {}) {}{dash}{}",
                    index + 1,
                    offering.name,
                    crate::text::one_line(&offering.description)
                ));
            }
            loop {
                let answer = answer(format!("Which one? [1-{}] ", offerings.len())).await?;
                match pick(&offerings, &answer) {
                    Some(index) => return Ok(index),
                    None => say("Please answer with a number or a name of the list."),
                }
            }
        }
    }
}

/// Asks a yes-or-no question; no is the default.
pub async fn agree(question: &str) -> anyhow::Result<bool> {
    let answer = answer(format!("{question} [y/N] ")).await?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

async fn answer(question: String) -> anyhow::Result<String> {
    // A blocking read; an interrupt ends the process without waiting for it.
    let read = tokio::task::spawn_blocking(move || {
        ask(&question);
        let mut line = String::new();
        io::stdin()
            .lock()
            .read_line(&mut line)
            .map(|bytes| (bytes, line))
    });
    let (bytes, line) = read.await??;
    if bytes == 0 {
        // The question is still the last thing on its line.
        say("");
        anyhow::bail!("no answer: nothing was changed");
    }
    Ok(line.trim().to_owned())
}

fn decide(
    offerings: &[Offering],
    named: Option<&str>,
    interactive: bool,
) -> Result<Decision, String> {
    let names = || {
        offerings
            .iter()
            .map(|o| format!("\n  {}", o.name))
            .collect::<String>()
    };
    if offerings.is_empty() {
        return Err(
            "the provider offers you nothing: ask it to permit something for your user".to_owned(),
        );
    }
    if let Some(named) = named {
        let index = offerings.iter().position(|o| o.name == named);
        return index.map(Decision::Take).ok_or_else(|| {
            format!(
                "the provider offers no template {named:?}, but these:{}",
                names()
            )
        });
    }
    match offerings.len() {
        1 => Ok(Decision::Take(0)),
        _ if interactive => Ok(Decision::Ask),
        _ => Err(format!(
            "the provider offers several templates: choose one with --template-name{}",
            names()
        )),
    }
}

fn pick(offerings: &[Offering], answer: &str) -> Option<usize> {
    let number = answer
        .parse::<usize>()
        .ok()
        .and_then(|n| n.checked_sub(1))
        .filter(|&n| n < offerings.len());
    number.or_else(|| offerings.iter().position(|o| o.name == answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offerings(names: &[&str]) -> Vec<Offering> {
        names
            .iter()
            .map(|&name| Offering {
                name: name.into(),
                description: String::new(),
            })
            .collect()
    }

    #[test]
    fn the_only_offering_needs_no_choice() {
        assert_eq!(
            decide(&offerings(&["a"]), None, false),
            Ok(Decision::Take(0))
        );
        assert_eq!(
            decide(&offerings(&["a", "b"]), Some("b"), false),
            Ok(Decision::Take(1))
        );
        assert_eq!(
            decide(&offerings(&["a", "b"]), None, true),
            Ok(Decision::Ask)
        );
    }

    #[test]
    fn without_a_terminal_the_error_lists_the_names() {
        let error = decide(&offerings(&["a", "b"]), None, false).unwrap_err();
        assert!(
            error.contains("--template-name") && error.ends_with("\n  a\n  b"),
            "{error}"
        );
        let error = decide(&offerings(&["a"]), Some("c"), true).unwrap_err();
        assert!(
            error.contains("\"c\"") && error.ends_with("\n  a"),
            "{error}"
        );
        assert!(decide(&[], None, true).is_err());
    }

    #[test]
    fn answers_are_numbers_or_names() {
        let all = offerings(&["a", "7"]);
        assert_eq!(
            (
                pick(&all, "1"),
                pick(&all, "2"),
                pick(&all, "a"),
                pick(&all, "7")
            ),
            (Some(0), Some(1), Some(0), Some(1))
        );
        assert_eq!(
            (pick(&all, "0"), pick(&all, "3"), pick(&all, "")),
            (None, None, None)
        );
    }
}
