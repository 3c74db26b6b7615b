//! Which offerings a consumer may order: those that its user was permitted to bind, which `/api/bind`
//! records on the `ClusterBinding`, where the consumer cannot write. Orders are written by consumers, so
//! without this record one bind would open every offering of the provider. Pure.

use std::collections::BTreeSet;

use kube::ResourceExt;
use kube::api::ObjectMeta;
use kube_bind_crds::api::ClusterBinding;
use kube_bind_crds::names::ANNOTATION_AUTHOR_ISSUER;

use super::names::ANNOTATION_OFFERINGS;

/// Names of templates are subdomains, which have no comma.
const SEPARATOR: char = ',';

/// The offerings that a consumer may order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permitted {
    /// Those that were permitted when its user bound them.
    Only(BTreeSet<String>),
    /// All: the consumer comes from the original, which recorded nothing, and nobody has bound with it
    /// since. The first bind changes that.
    Any,
}

impl Permitted {
    /// Judges by the connection object and the cluster namespace.
    pub fn of(binding: Option<&ClusterBinding>, namespace: Option<&ObjectMeta>) -> Self {
        let Some(binding) = binding else {
            return Self::Only(BTreeSet::new());
        };
        if let Some(recorded) = recorded(binding) {
            return Self::Only(recorded);
        }
        // Everything that is made here names the issuer, and so does everything that is taken over.
        let is_originals = namespace.is_some_and(|namespace| {
            let annotations = namespace.annotations.as_ref();
            annotations.is_none_or(|all| !all.contains_key(ANNOTATION_AUTHOR_ISSUER))
        });
        if is_originals {
            Self::Any
        } else {
            Self::Only(BTreeSet::new())
        }
    }

    /// Whether this offering may be ordered.
    pub fn allows(&self, template: &str) -> bool {
        match self {
            Self::Only(names) => names.contains(template),
            Self::Any => true,
        }
    }
}

/// The record when `offering` has been added to it.
pub fn with(existing: Option<&ClusterBinding>, offering: &str) -> String {
    let mut names = existing.and_then(recorded).unwrap_or_default();
    names.insert(offering.to_owned());
    let names: Vec<_> = names.into_iter().collect();
    names.join(&SEPARATOR.to_string())
}

fn recorded(binding: &ClusterBinding) -> Option<BTreeSet<String>> {
    let text = binding.annotations().get(ANNOTATION_OFFERINGS)?;
    let names = text.split(SEPARATOR).filter(|name| !name.is_empty());
    Some(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use kube_bind_crds::api::ClusterBindingSpec;

    use super::*;

    fn binding(offerings: Option<&str>) -> ClusterBinding {
        let mut binding = ClusterBinding::new("cluster", ClusterBindingSpec::default());
        binding.metadata.annotations =
            offerings.map(|text| [(ANNOTATION_OFFERINGS.to_owned(), text.to_owned())].into());
        binding
    }

    fn namespace(issuer: bool) -> ObjectMeta {
        ObjectMeta {
            annotations: issuer.then(|| {
                [(
                    ANNOTATION_AUTHOR_ISSUER.to_owned(),
                    "https://idp".to_owned(),
                )]
                .into()
            }),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn only_what_was_bound_is_permitted() {
        let permitted = Permitted::of(Some(&binding(Some("a,b"))), Some(&namespace(true)));
        assert!(permitted.allows("a") && permitted.allows("b"));
        assert!(!permitted.allows("c") && !permitted.allows("") && !permitted.allows("a,b"));
        // The record counts, whoever made the namespace.
        let permitted = Permitted::of(Some(&binding(Some("a"))), Some(&namespace(false)));
        assert!(!permitted.allows("c"));
    }

    #[test]
    fn without_a_record_only_a_consumer_of_the_original_may_order() {
        let none = binding(None);
        assert_eq!(
            Permitted::of(Some(&none), Some(&namespace(false))),
            Permitted::Any
        );
        for (binding, namespace) in [
            (Some(&none), Some(&namespace(true))),
            (Some(&none), None),
            (None, Some(&namespace(false))),
        ] {
            assert!(!Permitted::of(binding, namespace).allows("a"));
        }
    }

    #[test]
    fn offerings_add_up_over_binds() {
        assert_eq!(with(None, "b"), "b");
        assert_eq!(with(Some(&binding(Some("b"))), "a"), "a,b");
        assert_eq!(with(Some(&binding(Some("a,b"))), "a"), "a,b");
    }
}
