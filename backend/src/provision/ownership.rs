//! Whose a cluster namespace is: the pure rule that keeps one user's consumers from another's (contract S1).

use std::collections::BTreeMap;

use kube::api::ObjectMeta;
use kube_bind_crds::isolation;
use kube_bind_crds::names::{
    ANNOTATION_AUTHOR, ANNOTATION_AUTHOR_ISSUER, ANNOTATION_IDENTITY, ANNOTATION_IDENTITY_LEGACY,
};
use serde_json::{Value, json};

use super::names::{COMPONENT_CLUSTER_NAMESPACE, LABEL_COMPONENT};
use super::{Author, Consumer};

/// What a namespace is to one consumer.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Its cluster namespace; the patch brings older metadata up to date.
    Ours {
        /// Merge patch, if one is needed.
        migration: Option<Value>,
    },
    /// Its cluster namespace, about to vanish.
    Terminating,
    /// Somebody else's.
    Foreign,
}

/// Judges one namespace by its annotations. The original recorded no issuer: then the subject decides,
/// once, because the migration records the issuer.
pub fn judge(namespace: &ObjectMeta, consumer: &Consumer) -> Verdict {
    let none = BTreeMap::new();
    let annotations = namespace.annotations.as_ref().unwrap_or(&none);
    let get = |key: &str| annotations.get(key).map(String::as_str);
    let legacy = get(ANNOTATION_IDENTITY_LEGACY);
    let identity = get(ANNOTATION_IDENTITY).or(legacy);
    if identity != Some(consumer.identity.as_str()) || !is_author(&get, &consumer.author) {
        return Verdict::Foreign;
    }
    if namespace.deletion_timestamp.is_some() {
        return Verdict::Terminating;
    }
    let mut changes = serde_json::Map::new();
    if get(ANNOTATION_IDENTITY).is_none() {
        changes.insert(ANNOTATION_IDENTITY.into(), json!(consumer.identity));
    }
    if legacy.is_some() {
        changes.insert(ANNOTATION_IDENTITY_LEGACY.into(), Value::Null);
    }
    if get(ANNOTATION_AUTHOR_ISSUER).is_none() {
        changes.insert(
            ANNOTATION_AUTHOR_ISSUER.into(),
            json!(consumer.author.issuer),
        );
    }
    let labelled = namespace
        .labels
        .as_ref()
        .and_then(|labels| labels.get(LABEL_COMPONENT))
        .is_some_and(|value| value == COMPONENT_CLUSTER_NAMESPACE);
    if changes.is_empty() && labelled {
        return Verdict::Ours { migration: None };
    }
    // With the resourceVersion, so that of two issuers with the same subject only one can take it.
    let migration = json!({ "metadata": {
        "resourceVersion": namespace.resource_version,
        "annotations": changes,
        "labels": { LABEL_COMPONENT: COMPONENT_CLUSTER_NAMESPACE },
    }});
    Verdict::Ours {
        migration: Some(migration),
    }
}

fn is_author<'a>(get: &impl Fn(&str) -> Option<&'a str>, author: &Author) -> bool {
    get(ANNOTATION_AUTHOR) == Some(author.subject.as_str())
        && get(ANNOTATION_AUTHOR_ISSUER).is_none_or(|issuer| issuer == author.issuer)
}

/// Whether the annotations carry this identity at all, whoever the author is.
pub fn has_identity(namespace: &ObjectMeta, identity: &str) -> bool {
    let Some(annotations) = &namespace.annotations else {
        return false;
    };
    annotations
        .get(ANNOTATION_IDENTITY)
        .or_else(|| annotations.get(ANNOTATION_IDENTITY_LEGACY))
        .is_some_and(|value| value == identity)
}

/// Names for a consumer's cluster namespace, in order of preference: the original's, and one that also
/// depends on the author for an identity that somebody else claimed first.
pub fn candidates(prefix: &str, consumer: &Consumer) -> [String; 2] {
    let Consumer {
        identity,
        author: Author { subject, issuer },
        ..
    } = consumer;
    [
        isolation::cluster_namespace(prefix, identity),
        isolation::cluster_namespace(prefix, &format!("{identity}\n{issuer}\n{subject}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer() -> Consumer {
        Consumer {
            identity: "identity-of-anna".into(),
            author: Author {
                subject: "anna".into(),
                issuer: "https://idp.example".into(),
            },
            pretty_name: "Anna's cluster".into(),
        }
    }

    fn namespace(annotations: &[(&str, &str)]) -> ObjectMeta {
        ObjectMeta {
            name: Some("cluster-x".into()),
            resource_version: Some("7".into()),
            labels: Some([(LABEL_COMPONENT.into(), COMPONENT_CLUSTER_NAMESPACE.into())].into()),
            annotations: Some(
                annotations
                    .iter()
                    .map(|(k, v)| ((*k).into(), (*v).into()))
                    .collect(),
            ),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn identity_and_author_together_make_a_namespace_ours() {
        let ours = namespace(&[
            (ANNOTATION_IDENTITY, "identity-of-anna"),
            (ANNOTATION_AUTHOR, "anna"),
            (ANNOTATION_AUTHOR_ISSUER, "https://idp.example"),
        ]);
        assert_eq!(judge(&ours, &consumer()), Verdict::Ours { migration: None });
    }

    #[test]
    fn knowing_the_identity_is_not_enough() {
        for (author, issuer) in [
            ("bert", "https://idp.example"),
            ("anna", "https://other.example"),
        ] {
            let theirs = namespace(&[
                (ANNOTATION_IDENTITY, "identity-of-anna"),
                (ANNOTATION_AUTHOR, author),
                (ANNOTATION_AUTHOR_ISSUER, issuer),
            ]);
            assert_eq!(
                judge(&theirs, &consumer()),
                Verdict::Foreign,
                "{author} {issuer}"
            );
        }
        let nobodys = namespace(&[(ANNOTATION_IDENTITY, "identity-of-anna")]);
        assert_eq!(judge(&nobodys, &consumer()), Verdict::Foreign);
        assert_eq!(judge(&ObjectMeta::default(), &consumer()), Verdict::Foreign);
    }

    #[test]
    fn the_originals_namespace_is_taken_over_with_issuer_and_new_key() {
        let mut original = namespace(&[
            (ANNOTATION_IDENTITY_LEGACY, "identity-of-anna"),
            (ANNOTATION_AUTHOR, "anna"),
        ]);
        original.labels = None;
        assert_eq!(
            judge(&original, &consumer()),
            Verdict::Ours {
                migration: Some(json!({ "metadata": {
                    "resourceVersion": "7",
                    "annotations": {
                        ANNOTATION_IDENTITY: "identity-of-anna",
                        ANNOTATION_IDENTITY_LEGACY: null,
                        ANNOTATION_AUTHOR_ISSUER: "https://idp.example",
                    },
                    "labels": { LABEL_COMPONENT: COMPONENT_CLUSTER_NAMESPACE },
                }}))
            }
        );
    }

    #[test]
    fn the_new_identity_key_wins_over_the_legacy_one() {
        let moved = namespace(&[
            (ANNOTATION_IDENTITY, "identity-of-bert"),
            (ANNOTATION_IDENTITY_LEGACY, "identity-of-anna"),
            (ANNOTATION_AUTHOR, "anna"),
        ]);
        assert_eq!(judge(&moved, &consumer()), Verdict::Foreign);
    }

    #[test]
    fn two_authors_with_one_identity_have_different_second_names() {
        let anna = consumer();
        let mut bert = consumer();
        bert.author.subject = "bert".into();
        let (a, b) = (candidates("cluster-", &anna), candidates("cluster-", &bert));
        assert_eq!(a[0], b[0]);
        assert_ne!(a[1], b[1]);
        assert_ne!(a[0], a[1]);
    }
}
