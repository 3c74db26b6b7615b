//! The table behind the service namespaces, in both directions. No IO.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Consumer namespaces and what they are mapped to.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    to_provider: BTreeMap<String, String>,
    /// The other direction: more than one are mapped to the same only by mistake.
    to_consumer: BTreeMap<String, BTreeSet<String>>,
    /// Why consumer namespaces are mapped to nothing, where the provider says so.
    problems: BTreeMap<String, String>,
}

impl Mapping {
    /// Sets or removes one mapping and says whether that changed anything.
    pub(super) fn set(&mut self, consumer: &str, provider: Option<String>) -> bool {
        let old = self.to_provider.get(consumer);
        if old == provider.as_ref() {
            return false;
        }
        if let Some(old) = old.cloned()
            && let Entry::Occupied(mut twins) = self.to_consumer.entry(old)
        {
            twins.get_mut().remove(consumer);
            if twins.get().is_empty() {
                twins.remove();
            }
        }
        match provider {
            Some(provider) => {
                let twins = self.to_consumer.entry(provider.clone()).or_default();
                twins.insert(consumer.to_owned());
                self.to_provider.insert(consumer.to_owned(), provider);
            }
            None => {
                self.to_provider.remove(consumer);
            }
        }
        true
    }

    /// Replaces the whole table and says whether that changed anything.
    pub(super) fn replace(
        &mut self,
        all: impl IntoIterator<Item = (String, Option<String>)>,
    ) -> bool {
        let new: BTreeMap<_, _> = all
            .into_iter()
            .filter_map(|(consumer, provider)| Some((consumer, provider?)))
            .collect();
        if self.to_provider == new {
            return false;
        }
        self.to_provider.clear();
        self.to_consumer.clear();
        for (consumer, provider) in new {
            self.set(&consumer, Some(provider));
        }
        true
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

    /// The service namespace of a consumer namespace. A provider that maps two of them to the same
    /// one gets nothing at all: their objects would overwrite each other.
    pub(super) fn to_provider(&self, consumer: &str) -> Option<String> {
        let provider = self.to_provider.get(consumer)?;
        self.only_of(provider)?;
        Some(provider.clone())
    }

    /// The consumer namespace of a service namespace.
    pub(super) fn to_consumer(&self, provider: &str) -> Option<String> {
        self.only_of(provider).cloned()
    }

    fn only_of(&self, provider: &str) -> Option<&String> {
        let twins = self.to_consumer.get(provider)?;
        twins.first().filter(|_| twins.len() == 1)
    }

    /// All service namespaces that exactly one consumer namespace is mapped to.
    pub(super) fn provider_namespaces(&self) -> Vec<String> {
        let all = self.to_consumer.keys();
        all.filter(|provider| self.only_of(provider).is_some())
            .cloned()
            .collect()
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
        mapping.set("team-a", Some("own".into()));
        assert_eq!(mapping.to_provider("team-b").as_deref(), Some("shared"));
        assert_eq!(mapping.provider_namespaces(), ["own", "shared"]);
        mapping.set("team-b", None);
        assert_eq!(mapping.provider_namespaces(), ["own"]);
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
