//! Tests of the parent module.

use std::sync::Arc;

use serde_json::{Value, from_value, json};

use super::*;

const PATIENCE: Duration = Duration::from_secs(15);
const PROVIDER: &str = "provider-1";

fn bundle(annotations: Value) -> APIServiceBindingBundle {
    from_value(json!({
        "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceBindingBundle",
        "metadata": {"name": "bundle", "uid": "bundle-uid", "annotations": annotations},
        "spec": {"kubeconfigSecretRef": {"name": "ours", "namespace": "kube-bind", "key": "kubeconfig"}},
    }))
    .unwrap()
}

fn binding(name: &str, owner: &str, secret: &str) -> Arc<APIServiceBinding> {
    Arc::new(
        from_value(json!({
            "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceBinding",
            "metadata": {"name": name, "uid": format!("uid-of-{name}"), "resourceVersion": "7",
                "ownerReferences": [{"apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceBindingBundle",
                    "name": "bundle", "uid": owner, "controller": true}]},
            "spec": {"kubeconfigSecretRef": {"name": secret, "namespace": "kube-bind", "key": "kubeconfig"}},
        }))
        .unwrap(),
    )
}

fn owned(names: &[&str]) -> Vec<Arc<APIServiceBinding>> {
    names
        .iter()
        .map(|name| binding(name, "bundle-uid", "ours"))
        .collect()
}

fn offers(names: &[&str]) -> Vec<Offer> {
    names
        .iter()
        .map(|name| Offer {
            name: (*name).to_owned(),
            words: format!("{name}.example.org"),
            text: format!("{name} v1"),
        })
        .collect()
}

/// Plans again and again as time goes by.
struct Story {
    bundle: APIServiceBindingBundle,
    start: Instant,
    gone: Gone,
}

impl Story {
    fn of(annotations: Value) -> Self {
        Self {
            bundle: bundle(annotations),
            start: Instant::now(),
            gone: Gone::new(),
        }
    }

    fn at(&mut self, second: u64, exports: &[&str], bindings: &[Arc<APIServiceBinding>]) -> Plan {
        let seen = Seen {
            bundle: &self.bundle,
            provider: PROVIDER,
            offers: &offers(exports),
            bindings,
            patience: PATIENCE,
            now: self.start + Duration::from_secs(second),
        };
        plan(&seen, &mut self.gone).unwrap()
    }
}

fn deleted(plan: &Plan) -> Vec<String> {
    plan.delete
        .iter()
        .map(|doomed| doomed.name.clone())
        .collect()
}

#[test]
fn an_empty_list_deletes_nothing_however_long_it_lasts() {
    let mut story = Story::of(json!({}));
    let bindings = owned(&["a", "b"]);
    for second in [0, 20, 10_000] {
        let plan = story.at(second, &[], &bindings);
        assert_eq!(deleted(&plan), [""; 0]);
        assert_eq!(plan.held, ["a", "b"]);
    }
}

#[test]
fn a_missing_export_takes_its_binding_only_when_it_stays_missing() {
    let mut story = Story::of(json!({}));
    let bindings = owned(&["a", "b", "c"]);
    assert_eq!(story.at(0, &["a", "b"], &bindings).again, Some(PATIENCE));
    assert_eq!(deleted(&story.at(14, &["a", "b"], &bindings)), [""; 0]);
    // It was there again for a moment: the wait begins anew.
    story.at(14, &["a", "b", "c"], &bindings);
    assert_eq!(deleted(&story.at(16, &["a", "b"], &bindings)), [""; 0]);
    let plan = story.at(31, &["a", "b"], &bindings);
    assert_eq!(
        plan.delete,
        [Doomed {
            name: "c".into(),
            uid: "uid-of-c".into(),
            resource_version: "7".into()
        }]
    );
    assert_eq!(plan.held, [""; 0]);
}

#[test]
fn when_most_vanish_within_one_wait_all_are_kept() {
    let mut story = Story::of(json!({}));
    let bindings = owned(&["a", "b", "c", "d", "e"]);
    story.at(0, &["a", "b", "c", "d"], &bindings);
    story.at(5, &["a", "b", "c"], &bindings);
    let plan = story.at(10, &["a", "b"], &bindings);
    assert_eq!(plan.held, ["c", "d", "e"]);
    let plan = story.at(60, &["a", "b"], &bindings);
    assert_eq!(
        (deleted(&plan), plan.held),
        (vec![], vec!["c".to_owned(), "d".into(), "e".into()])
    );
    // One of three came back: the two others are believed.
    let plan = story.at(61, &["a", "b", "c"], &bindings);
    assert_eq!(deleted(&plan), ["d", "e"]);
}

#[test]
fn what_is_not_the_bundles_is_never_deleted_and_a_taken_name_is_told() {
    let mut story = Story::of(json!({}));
    let bindings = [
        binding("theirs", "another-uid", "another"),
        binding("by-hand", "another-uid", "ours"),
        binding("unrelated", "another-uid", "another"),
        binding("a", "bundle-uid", "ours"),
    ];
    let plan = story.at(0, &["a", "theirs", "by-hand", "new"], &bindings);
    assert_eq!(plan.foreign, ["theirs"]);
    assert_eq!(plan.create, ["new"]);
    let plan = story.at(100, &["a"], &bindings);
    assert_eq!(
        (deleted(&plan), plan.held, plan.foreign),
        (vec![], vec![], vec![])
    );
}

#[test]
fn what_exists_when_the_bundle_is_made_needs_no_acceptance_and_what_comes_later_does() {
    let manual = |more: Value| {
        let mut annotations = json!({switches::ACCEPTANCE: "Manual"});
        annotations
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Story::of(annotations)
    };
    let plan = manual(json!({})).at(0, &["a", "b"], &[]);
    assert_eq!(
        (plan.create, plan.manual),
        (vec!["a".to_owned(), "b".into()], true)
    );

    let later = json!({ANNOTATION_PROVIDER_CLUSTER: PROVIDER});
    let plan = manual(later.clone()).at(0, &["a", "b"], &owned(&["a"]));
    assert_eq!(plan.create, [""; 0]);
    let waiting = plan.waiting.unwrap();
    assert_eq!(waiting.what, ["b (b.example.org)"]);

    let accept = |digest: &str| {
        let mut annotations = later.clone();
        annotations[switches::ACCEPT] = digest.into();
        manual(annotations)
    };
    let plan = accept(&waiting.digest).at(0, &["a", "b"], &owned(&["a"]));
    assert_eq!((plan.create, plan.accepted), (vec!["b".to_owned()], true));
    // What was accepted is not what is offered now.
    let plan = accept(&waiting.digest).at(0, &["a", "b", "c"], &owned(&["a"]));
    assert_eq!((plan.create, plan.accepted), (vec![], false));
}

#[test]
fn without_the_switch_what_is_new_takes_effect_and_a_mistyped_one_stops_everything() {
    let mut story = Story::of(json!({ANNOTATION_PROVIDER_CLUSTER: PROVIDER}));
    assert_eq!(story.at(0, &["a"], &[]).create, ["a"]);
    let bundle = bundle(json!({switches::ACCEPTANCE: "manual"}));
    let seen = Seen {
        bundle: &bundle,
        provider: PROVIDER,
        offers: &offers(&["a"]),
        bindings: &[],
        patience: PATIENCE,
        now: Instant::now(),
    };
    assert!(plan(&seen, &mut Gone::new()).is_err());
}

#[test]
fn another_provider_waits_for_a_person_whatever_the_switch() {
    let mut story = Story::of(json!({ANNOTATION_PROVIDER_CLUSTER: "before"}));
    let plan = story.at(0, &["a"], &owned(&["b"]));
    let waiting = plan.other_provider.clone().unwrap();
    assert_eq!(
        (plan.create, plan.delete, plan.held),
        (vec![], vec![], vec![])
    );
    let mut story =
        Story::of(json!({ANNOTATION_PROVIDER_CLUSTER: "before", switches::ACCEPT: waiting.digest}));
    let plan = story.at(0, &["a"], &owned(&["b"]));
    assert_eq!((plan.create, plan.accepted), (vec!["a".to_owned()], true));
}
