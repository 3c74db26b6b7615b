//! The table behind the service namespaces, in both directions. No IO.

use std::collections::BTreeMap;

/// Consumer namespaces and what they are mapped to.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    to_provider: BTreeMap<String, String>,
    /// The other direction, without service namespaces that several are mapped to.
    to_consumer: BTreeMap<String, String>,
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
