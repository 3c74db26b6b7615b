//! Tests of the parent module.

use std::collections::BTreeMap;

use proptest::prelude::{Just, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::api::ResourceScope;

const SCOPES: [ResourceScope; 2] = [ResourceScope::Namespaced, ResourceScope::Cluster];
const ISOLATIONS: [Isolation; 3] = [Isolation::Prefixed, Isolation::Namespaced, Isolation::None];

#[test]
fn identity_hashes_are_those_of_the_original() {
    for (identity, hash) in [
        ("test-id-123", "37p3oxx6sh4fd"),
        ("test-id-456", "2wikse9fhn0m5"),
        ("0ac6800e-bc4f-4c70-814b-45b44e04aa02", "1iax4hdl6mmvc"),
        (
            "http://127.0.0.1:8080/oidc/kube-bind-embedded-user",
            "3lw6gg1eo1i0m",
        ),
        ("zero-305", "09ohj03rr4wx"),
    ] {
        assert_eq!(identity_hash(identity), hash, "{identity}");
    }
}

#[test]
fn the_prefix_of_a_cluster_namespace_is_taken_as_it_is() {
    assert_eq!(
        cluster_namespace("kube-bind-", "test-id-123"),
        "kube-bind-37p3oxx6sh4fd"
    );
    assert_eq!(
        cluster_namespace("cluster", "test-id-123"),
        "cluster37p3oxx6sh4fd"
    );
}

#[test]
fn service_namespaces_are_named_after_their_consumer_unless_there_is_one_only() {
    for (isolation, expected) in [
        (Isolation::Prefixed, "cluster-abc-shop"),
        (Isolation::Namespaced, "cluster-abc-shop"),
        (Isolation::None, "shop"),
    ] {
        assert_eq!(
            service_namespace(isolation, "cluster-abc", "shop").unwrap(),
            expected
        );
    }
}

#[test]
fn a_service_namespace_that_no_server_accepts_is_an_error() {
    let fits = "x".repeat(MAX_NAMESPACE - "cluster-abc-".len());
    assert!(service_namespace(Isolation::Prefixed, "cluster-abc", &fits).is_ok());
    let name = format!("cluster-abc-{fits}x");
    assert_eq!(
        service_namespace(Isolation::Prefixed, "cluster-abc", &format!("{fits}x")),
        Err(Error::NamespaceTooLong { name: name.clone() })
    );
    assert_eq!(
        Error::NamespaceTooLong { name: name.clone() }.to_string(),
        format!("namespace name \"{name}\" has 64 characters, more than 63")
    );
}

#[test]
fn keys_map_as_in_the_table_of_the_contract() {
    use Isolation as I;
    use ResourceScope::{Cluster, Namespaced};
    let service = |namespace: &str| (namespace == "shop").then(|| "svc-1".to_owned());
    let consumer = |namespace: &str| (namespace == "svc-1").then(|| "shop".to_owned());
    let cases = [
        (
            Namespaced,
            I::Prefixed,
            Key::namespaced("shop", "w"),
            Key::namespaced("svc-1", "w"),
        ),
        (
            Namespaced,
            I::Namespaced,
            Key::namespaced("shop", "w"),
            Key::namespaced("svc-1", "w"),
        ),
        (
            Namespaced,
            I::None,
            Key::namespaced("shop", "w"),
            Key::namespaced("svc-1", "w"),
        ),
        (Cluster, I::None, Key::cluster("w"), Key::cluster("w")),
        (
            Cluster,
            I::Prefixed,
            Key::cluster("w"),
            Key::cluster("cluster-abc-w"),
        ),
        (
            Cluster,
            I::Namespaced,
            Key::cluster("w"),
            Key::namespaced("cluster-abc", "w"),
        ),
    ];
    for (scope, isolation, there, here) in cases {
        let mapping = Mapping::new(scope, isolation, "cluster-abc");
        let provider = map_to_provider(&mapping, &there, service).unwrap();
        assert_eq!(provider.as_ref(), Some(&here), "{scope:?} {isolation:?}");
        assert_eq!(map_to_consumer(&mapping, &here, consumer), Some(there));
    }
}

#[test]
fn a_namespace_without_a_service_namespace_maps_to_nothing_yet() {
    let mapping = Mapping::new(
        ResourceScope::Namespaced,
        Isolation::Prefixed,
        "cluster-abc",
    );
    let key = Key::namespaced("shop", "w");
    assert_eq!(map_to_provider(&mapping, &key, |_| None), Ok(None));
    assert_eq!(
        map_to_provider(&mapping, &key, |_| Some(String::new())),
        Ok(None)
    );
    assert_eq!(
        map_to_provider(&mapping, &Key::cluster("w"), |_| Some("svc".to_owned())),
        Err(Error::NoNamespace {
            name: "w".to_owned()
        })
    );
}

#[test]
fn objects_of_others_map_to_nothing() {
    let prefixed = Mapping::new(ResourceScope::Cluster, Isolation::Prefixed, "cluster-abc");
    for name in [
        "w",
        "cluster-abc",
        "cluster-abc-",
        "cluster-abcd-w",
        "cluster-xyz-w",
    ] {
        assert_eq!(
            map_to_consumer(&prefixed, &Key::cluster(name), |_| None),
            None,
            "{name}"
        );
    }
    let namespaced = Mapping::new(ResourceScope::Cluster, Isolation::Namespaced, "cluster-abc");
    for key in [Key::namespaced("cluster-abc-shop", "w"), Key::cluster("w")] {
        assert_eq!(map_to_consumer(&namespaced, &key, |_| None), None, "{key}");
    }
    let service = Mapping::new(ResourceScope::Namespaced, Isolation::None, "cluster-abc");
    assert_eq!(
        map_to_consumer(&service, &Key::namespaced("svc-2", "w"), |_| None),
        None
    );
}

fn label() -> impl proptest::strategy::Strategy<Value = String> {
    // Few letters, so that names that run into each other are likely.
    "[ab0](-?[ab0]){0,8}"
}

fn isolation() -> impl proptest::strategy::Strategy<Value = Isolation> {
    prop_oneof![
        Just(Isolation::Prefixed),
        Just(Isolation::Namespaced),
        Just(Isolation::None)
    ]
}

proptest! {
    #[test]
    fn identity_hashes_are_parts_of_names_without_a_dash(identity in ".*") {
        let hash = identity_hash(&identity);
        prop_assert!(!hash.is_empty() && hash.len() <= 20, "{hash}");
        prop_assert!(hash.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    }

    #[test]
    fn mapping_and_mapping_back_gives_the_same_key(
        scope in prop::sample::select(SCOPES.to_vec()),
        isolation in isolation(),
        cluster in label(),
        namespaces in prop::collection::btree_set(label(), 1..4),
        name in label(),
    ) {
        let table: BTreeMap<String, String> = namespaces
            .iter()
            .map(|ns| (ns.clone(), service_namespace(isolation, &cluster, ns).unwrap()))
            .collect();
        let mapping = Mapping::new(scope, isolation, &cluster);
        for namespace in &namespaces {
            let key = match scope {
                ResourceScope::Namespaced => Key::namespaced(namespace, &name),
                ResourceScope::Cluster => Key::cluster(&name),
            };
            let there = map_to_provider(&mapping, &key, |ns| table.get(ns).cloned())
                .unwrap()
                .unwrap();
            let back = map_to_consumer(&mapping, &there, |ns| {
                table.iter().find(|(_, service)| *service == ns).map(|(ns, _)| ns.clone())
            });
            prop_assert_eq!(back, Some(key));
        }
    }

    #[test]
    fn two_consumers_never_meet(
        prefix in prop_oneof![Just("cluster-"), Just("kube-bind-"), Just("c")],
        identities in (".{1,6}", ".{1,6}"),
        strategy in prop::sample::select(vec![Isolation::Prefixed, Isolation::Namespaced]),
        scope in prop::sample::select(SCOPES.to_vec()),
        one in (label(), label()),
        suffix in label(),
    ) {
        proptest::prop_assume!(identities.0 != identities.1);
        let (mine, other) = (
            cluster_namespace(prefix, &identities.0),
            cluster_namespace(prefix, &identities.1),
        );
        prop_assert!(mine != other);
        // The other consumer tries to reach my objects by names that begin like my namespace.
        let names = [one.1.clone(), format!("{mine}-{}", one.1), format!("{suffix}-{mine}-{}", one.1)];
        let key = |namespace: &str, name: &str| match scope {
            ResourceScope::Namespaced => Key::namespaced(namespace, name),
            ResourceScope::Cluster => Key::cluster(name),
        };
        let place = |cluster: &str, namespace: &str, name: &str| {
            let mapping = Mapping::new(scope, strategy, cluster);
            map_to_provider(&mapping, &key(namespace, name), |ns| {
                service_namespace(strategy, cluster, ns).ok()
            })
        };
        let mine_at = place(&mine, &one.0, &one.1).unwrap();
        for name in &names {
            for namespace in [&one.0, &suffix] {
                prop_assert!(place(&other, namespace, name).unwrap() != mine_at);
            }
        }
        // And what is mine does not map into the other one's objects.
        if scope == ResourceScope::Cluster {
            let mapping = Mapping::new(scope, strategy, &other);
            prop_assert_eq!(map_to_consumer(&mapping, &mine_at.unwrap(), |_| None), None);
        }
    }

    #[test]
    fn every_mapped_name_is_short_enough_or_an_error(
        isolation in isolation(),
        scope in prop::sample::select(SCOPES.to_vec()),
        cluster in "[a-z]{1,63}",
        namespace in "[a-z]{1,63}",
        name in "[a-z]{1,253}",
    ) {
        let service = service_namespace(isolation, &cluster, &namespace);
        match &service {
            Ok(service) => prop_assert!(service.len() <= MAX_NAMESPACE),
            Err(error) => prop_assert_eq!(error.to_string().contains("more than 63"), true),
        }
        let mapping = Mapping::new(scope, isolation, &cluster);
        let key = match scope {
            ResourceScope::Namespaced => Key::namespaced(&namespace, &name),
            ResourceScope::Cluster => Key::cluster(&name),
        };
        match map_to_provider(&mapping, &key, |_| service.ok()) {
            Ok(Some(key)) => {
                prop_assert!(key.name.len() <= MAX_NAME);
                prop_assert!(key.namespace.is_none_or(|ns| ns.len() <= MAX_NAMESPACE));
            }
            Ok(None) => prop_assert_eq!(scope, ResourceScope::Namespaced),
            Err(error) => prop_assert_eq!(error.to_string().contains("more than 253"), true),
        }
    }
}

#[test]
fn every_scope_and_isolation_has_a_strategy() {
    let strategies: Vec<Strategy> = SCOPES
        .into_iter()
        .flat_map(|scope| ISOLATIONS.map(|isolation| Strategy::new(scope, isolation)))
        .collect();
    assert_eq!(
        strategies,
        [
            Strategy::ServiceNamespaced,
            Strategy::ServiceNamespaced,
            Strategy::ServiceNamespaced,
            Strategy::Prefixed,
            Strategy::Namespaced,
            Strategy::None,
        ]
    );
}
