//! The table behind the service namespaces, in both directions. No IO.

use std::collections::BTreeMap;

/// Consumer namespaces and what they are mapped to.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    to_provider: BTreeMap<String, String>,
    /// The other direction, without service namespaces that several are mapped to.
    to_consumer: BTreeMap<String, String>,
    /// Why consumer namespaces are mapped to nothing, where the provider says so.
    problems: BTreeMap<String, String>,
}

impl Mapping {
    /// Sets or removes one mapping and says whether that changed anything.
    pub(super) fn set(&mut self, consumer: &str, provider: Option<String>) -> bool {
        let changed = match provider {
            Some(provider) => {
                self.to_provider
                    .insert(consumer.to_owned(), provider.clone())
                    != Some(provider)
            }
            None => self.to_provider.remove(consumer).is_some(),
        };
        if changed {
            self.reverse();
        }
        changed
    }

    /// Replaces the whole table and says whether that changed anything.
    pub(super) fn replace(
        &mut self,
        all: impl IntoIterator<Item = (String, Option<String>)>,
    ) -> bool {
        let new = all
            .into_iter()
            .filter_map(|(consumer, provider)| Some((consumer, provider?)))
            .collect();
        let changed = self.to_provider != new;
        self.to_provider = new;
        self.reverse();
        changed
    }

    /// Sets or removes what the provider says about one consumer namespace; says whether that is new.
    pub(super) fn explain(&mut self, consumer: &str, problem: Option<String>) -> bool {
        match problem {
            Some(problem) => {
                let new = Some(problem.clone());
                self.problems.insert(consumer.to_owned(), problem) != new
            }
            None => self.problems.remove(consumer).is_some(),
        }
    }

    /// Replaces all that the provider says; says whether that is new.
    pub(super) fn explain_all(
        &mut self,
        all: impl IntoIterator<Item = (String, Option<String>)>,
    ) -> bool {
        let new = all
            .into_iter()
            .filter_map(|(consumer, problem)| Some((consumer, problem?)))
            .collect();
        let changed = self.problems != new;
        self.problems = new;
        changed
    }

    /// Why a consumer namespace is mapped to nothing.
    pub(super) fn problem(&self, consumer: &str) -> Option<String> {
        self.problems.get(consumer).cloned()
    }

    fn reverse(&mut self) {
        let mut shared = Vec::new();
        self.to_consumer.clear();
        for (consumer, provider) in &self.to_provider {
            let twin = self.to_consumer.insert(provider.clone(), consumer.clone());
            if twin.is_some() {
                shared.push(provider.clone());
            }
        }
        self.to_consumer
            .retain(|provider, _| !shared.contains(provider));
    }

    /// The service namespace of a consumer namespace. A provider that maps two of them to the same
    /// one gets nothing at all: their objects would overwrite each other.
    pub(super) fn to_provider(&self, consumer: &str) -> Option<String> {
        let provider = self.to_provider.get(consumer)?;
        self.to_consumer(provider)?;
        Some(provider.clone())
    }

    /// The consumer namespace of a service namespace.
    pub(super) fn to_consumer(&self, provider: &str) -> Option<String> {
        self.to_consumer.get(provider).cloned()
    }

    /// All service namespaces that exactly one consumer namespace is mapped to.
    pub(super) fn provider_namespaces(&self) -> Vec<String> {
        self.to_consumer.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_follow_the_table() {
        let mut mapping = Mapping::default();
        assert!(mapping.set("team-a", Some("tenant-team-a".into())));
        assert!(!mapping.set("team-a", Some("tenant-team-a".into())));
        assert_eq!(
            mapping.to_provider("team-a").as_deref(),
            Some("tenant-team-a")
        );
        assert_eq!(
            mapping.to_consumer("tenant-team-a").as_deref(),
            Some("team-a")
        );
        assert!(mapping.set("team-a", None));
        assert_eq!(mapping.to_provider("team-a"), None);
        assert_eq!(mapping.to_consumer("tenant-team-a"), None);
    }

    #[test]
    fn two_namespaces_mapped_to_one_are_mapped_to_none() {
        let mut mapping = Mapping::default();
        mapping.set("team-a", Some("shared".into()));
        mapping.set("team-b", Some("shared".into()));
        assert_eq!(mapping.to_provider("team-a"), None);
        assert_eq!(mapping.to_consumer("shared"), None);
        assert!(mapping.provider_namespaces().is_empty());
    }

    #[test]
    fn what_the_provider_says_stays_until_it_says_something_else() {
        let mut mapping = Mapping::default();
        assert!(mapping.explain("team-a", Some("too long".into())));
        assert!(!mapping.explain("team-a", Some("too long".into())));
        assert_eq!(mapping.problem("team-a").as_deref(), Some("too long"));
        assert!(mapping.explain("team-a", None));
        assert!(mapping.explain_all([("team-b".into(), Some("taken".into()))]));
        assert!(mapping.explain_all([("team-b".into(), None)]));
        assert_eq!(mapping.problem("team-b"), None);
    }

    #[test]
    fn a_new_list_forgets_what_it_does_not_name() {
        let mut mapping = Mapping::default();
        mapping.set("team-a", Some("tenant-team-a".into()));
        assert!(mapping.replace([
            ("team-b".into(), Some("tenant-team-b".into())),
            ("team-c".into(), None)
        ]));
        assert_eq!(mapping.provider_namespaces(), ["tenant-team-b"]);
        assert!(!mapping.replace([("team-b".into(), Some("tenant-team-b".into()))]));
    }
}
