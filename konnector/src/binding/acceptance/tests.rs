//! What waits, what does not, and what a person accepts by naming it.

use kube_bind_crds::switches::ACCEPTANCE;
use serde_json::{Value, from_value};

use super::super::report;
use super::*;

fn export(kinds: &[&str], claims: &[Value]) -> Arc<APIServiceExport> {
    let resources: Vec<Value> = kinds
        .iter()
        .map(|kind| json!({"group": "example.org", "resource": kind}))
        .collect();
    let export = json!({
        "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceExport",
        "metadata": {"name": "b"},
        "spec": {"resources": resources, "permissionClaims": claims,
            "informerScope": "Namespaced", "isolation": "Prefixed"},
    });
    Arc::new(from_value(export).unwrap())
}

fn secrets(label: &str) -> Value {
    json!({"group": "", "resource": "secrets", "selector": {"labelSelector": {"matchLabels": {"a": label}}}})
}

/// A manual binding with this on record.
fn binding(recorded: &APIServiceExport) -> APIServiceBinding {
    let mut binding = APIServiceBinding::new("b", Default::default());
    let annotations = binding.annotations_mut();
    annotations.insert(ACCEPTANCE.into(), "Manual".into());
    let kinds = recorded.spec.resources.iter();
    binding.status = Some(APIServiceBindingStatus {
        bound_schemas: kinds.map(|r| r.group_resource.clone()).collect(),
        permission_claims: recorded.spec.permission_claims.clone(),
        ..Default::default()
    });
    binding
}

#[test]
fn what_existed_at_bind_time_is_accepted() {
    let offered = export(&["widgets"], &[secrets("x")]);
    let fresh = binding(&export(&[], &[]));
    let decided = decide(&fresh, &offered);
    assert_eq!((decided.waiting, decided.recorded), (None, false));
    assert_eq!(decided.export, offered);
    assert!(decide(&binding(&offered), &offered).recorded);
}

#[test]
fn what_is_new_waits_until_it_is_named_and_the_rest_goes_on() {
    let before = export(&["widgets"], &[]);
    let offered = export(&["widgets", "gadgets"], &[secrets("x")]);
    let mut binding = binding(&before);
    let decided = decide(&binding, &offered);
    assert_eq!(decided.export.spec.resources, before.spec.resources);
    assert!(decided.export.spec.permission_claims.is_empty());
    let waiting = decided.waiting.unwrap();
    let message = waiting.message("b");
    assert!(message.contains("kind gadgets.example.org"), "{message}");
    assert!(message.contains("claim on secrets"), "{message}");
    let command = format!(
        "kubectl annotate apiservicebinding b {ACCEPT}={}",
        waiting.digest
    );
    assert!(message.contains(&command), "{message}");

    binding
        .annotations_mut()
        .insert(ACCEPT.into(), waiting.digest);
    assert_eq!(decide(&binding, &offered).export, offered);
    let more = export(&["widgets", "gadgets"], &[secrets("x"), secrets("y")]);
    let decided = decide(&binding, &more);
    assert!(decided.waiting.is_some(), "what was accepted is not this");
}

#[test]
fn without_manual_everything_is_in_force_at_once_and_a_typo_is_not_automatic() {
    let offered = export(&["widgets"], &[secrets("x")]);
    let mut binding = binding(&export(&["widgets"], &[]));
    binding
        .annotations_mut()
        .insert(ACCEPTANCE.into(), "manual".into());
    assert!(decide(&binding, &offered).waiting.is_some());
    binding.annotations_mut().remove(ACCEPTANCE);
    assert_eq!(decide(&binding, &offered).export, offered);
}

#[test]
fn a_claim_that_changed_goes_on_as_it_was_and_one_that_is_withdrawn_ends() {
    let before = export(&["widgets"], &[secrets("x")]);
    let changed = export(&["widgets"], &[secrets("y")]);
    let decided = decide(&binding(&before), &changed);
    let in_force = &decided.export.spec.permission_claims;
    assert_eq!(*in_force, before.spec.permission_claims);
    let none = export(&["widgets"], &[]);
    assert_eq!(decide(&binding(&before), &none).export, none);
}

#[test]
fn an_accepted_claim_stays_in_force_while_something_of_its_predecessor_is_left() {
    let before = export(&["widgets"], &[secrets("x")]);
    let offered = export(&["widgets"], &[secrets("y")]);
    let mut binding = binding(&before);
    let accept = |binding: &mut APIServiceBinding, offer: &Arc<APIServiceExport>| {
        let digest = decide(binding, offer).waiting.unwrap().digest;
        binding.annotations_mut().insert(ACCEPT.into(), digest);
    };
    let record = |binding: &mut APIServiceBinding, in_force: &APIServiceExport| {
        let claims = &mut binding.status.as_mut().unwrap().permission_claims;
        *claims = report::claims(claims, &in_force.spec.permission_claims, &[]);
    };
    accept(&mut binding, &offered);
    let decided = decide(&binding, &offered);
    assert_eq!(decided.export, offered);
    record(&mut binding, &decided.export);
    assert!(decide(&binding, &offered).recorded, "it was accepted");

    let in_force = |offer: &Arc<APIServiceExport>, binding: &APIServiceBinding| {
        let decided = decide(binding, offer);
        assert!(decided.waiting.is_some());
        decided.export.spec.permission_claims.clone()
    };
    let more = export(&["widgets", "gadgets"], &[secrets("y")]);
    let accepted = &offered.spec.permission_claims;
    assert_eq!(in_force(&more, &binding), *accepted);
    let other = export(&["widgets"], &[secrets("z")]);
    assert_eq!(in_force(&other, &binding), *accepted);
    assert_eq!(
        in_force(&before, &binding),
        *accepted,
        "it has to be accepted anew"
    );
}

#[test]
fn what_is_claimed_twice_at_bind_time_waits_for_nobody() {
    let twice = export(&["widgets"], &[secrets("x"), secrets("y")]);
    assert!(decide(&binding(&twice), &twice).recorded);
    let more = export(&["widgets", "gadgets"], &[secrets("x"), secrets("y")]);
    let claims = &decide(&binding(&twice), &more)
        .export
        .spec
        .permission_claims;
    assert_eq!(claims[0], twice.spec.permission_claims[0]);
    let other_way = export(&["widgets"], &[secrets("y"), secrets("x")]);
    assert!(decide(&binding(&twice), &other_way).waiting.is_some());
}

#[test]
fn another_server_waits_for_its_name() {
    let mut binding = binding(&export(&["widgets"], &[]));
    let new = "https://new.example";
    assert!(!accepts_server(binding.annotations(), new));
    let digest = server(new).digest;
    binding.annotations_mut().insert(ACCEPT.into(), digest);
    assert!(accepts_server(binding.annotations(), new));
    assert!(!accepts_server(
        binding.annotations(),
        "https://other.example"
    ));
    binding.annotations_mut().remove(ACCEPTANCE);
    assert!(accepts_server(
        binding.annotations(),
        "https://other.example"
    ));
}
