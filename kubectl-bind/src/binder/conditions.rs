//! Conditions in words, for progress and for time-outs. Pure.

use std::collections::BTreeMap;

use kube_bind_crds::api::Condition;

/// What was last said about each condition.
#[derive(Default)]
pub struct Told(BTreeMap<String, String>);

impl Told {
    /// Lines for the conditions that read differently than before.
    pub fn news(&mut self, conditions: &[Condition]) -> Vec<String> {
        let mut news = Vec::new();
        for condition in conditions {
            let line = describe(condition);
            if self
                .0
                .insert(condition.type_.clone(), line.clone())
                .as_ref()
                != Some(&line)
            {
                news.push(line);
            }
        }
        news
    }
}

/// Whether the summary says that all is well.
pub fn is_ready(conditions: &[Condition]) -> bool {
    conditions
        .iter()
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Whether there is more than what a fresh binding begins with.
pub fn somebody_reported(conditions: &[Condition], initial: &str) -> bool {
    conditions
        .iter()
        .any(|c| c.reason.as_deref() != Some(initial))
}

/// The conditions that are not true, one per line, indented; or what it means that there are none.
pub fn unmet(conditions: &[Condition], nobody: &str) -> String {
    let unmet: Vec<String> = conditions
        .iter()
        .filter(|c| c.status != "True")
        .map(|c| format!("\n  {}", describe(c)))
        .collect();
    if unmet.is_empty() {
        format!("\n  {nobody}")
    } else {
        unmet.concat()
    }
}

fn describe(condition: &Condition) -> String {
    let mut text = format!("{}={}", condition.type_, condition.status);
    if let Some(reason) = condition.reason.as_deref().filter(|r| !r.is_empty()) {
        text.push_str(&format!(" ({reason})"));
    }
    if let Some(message) = condition.message.as_deref().filter(|m| !m.is_empty()) {
        text.push_str(&format!(": {message}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conditions(status: &str) -> Vec<Condition> {
        serde_json::from_value(json!([
            {"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "SecretValid", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Connected", "status": "False", "reason": "Nope", "message": "no way",
             "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]))
        .unwrap()
    }

    #[test]
    fn only_changes_are_news() {
        let mut told = Told::default();
        assert_eq!(told.news(&conditions("False")).len(), 3);
        assert!(told.news(&conditions("False")).is_empty());
        assert_eq!(told.news(&conditions("True")), ["Ready=True"]);
    }

    #[test]
    fn a_fresh_binding_is_told_from_one_that_was_looked_at() {
        let mut only = conditions("False");
        only.truncate(1);
        only[0].reason = Some("Pending".into());
        assert!(!somebody_reported(&only, "Pending") && !somebody_reported(&[], "Pending"));
        assert!(somebody_reported(&conditions("False"), "Pending"));
    }

    #[test]
    fn what_is_not_true_is_listed() {
        assert_eq!(
            unmet(&conditions("True"), "nobody"),
            "\n  Connected=False (Nope): no way"
        );
        assert_eq!(unmet(&[], "nobody reported"), "\n  nobody reported");
        assert!(is_ready(&conditions("True")) && !is_ready(&conditions("False")));
    }
}
