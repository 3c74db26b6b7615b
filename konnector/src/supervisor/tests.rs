//! Tests of the parent module.

use super::*;
use crate::test_support::answering;
use kube_bind_runtime::clock::SystemClock;
use serde_json::json;
use std::sync::Mutex;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn no_event_is_published_after_the_end_of_a_term() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let server = answering(move |asked| {
        log.lock().unwrap().push(asked.method.clone());
        (201, asked.body.clone())
    });
    let term = CancellationToken::new();
    let leader = LeaderToken::unlimited(SystemClock::shared(), term.clone());
    let (_, events) = consumer(server, &leader);
    let binding = APIServiceBinding::new("widgets", Default::default());
    let regarding = kube::Resource::object_ref(&binding, &());
    events.warning(&regarding, "NotReady", "it leads").await;
    assert_eq!(asked.lock().unwrap().len(), 1);
    term.cancel();
    events
        .warning(&regarding, "NotReady", "it leads no more")
        .await;
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[test]
fn a_changed_crd_wakes_its_owner_and_those_that_want_it_and_nobody_else() {
    let owner = |kind: &str, name: &str| OwnerReference {
        api_version: "kube-bind.io/v1alpha2".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        ..OwnerReference::default()
    };
    let owners = [
        owner("APIServiceBinding", "owner"),
        owner("APIServiceExport", "namesake"),
    ];
    let wanting = |name: &str, resource: &str, group: &str| {
        let mut binding = APIServiceBinding::new(name, Default::default());
        let bound = json!({"boundSchemas": [{"group": group, "resource": resource}]});
        binding.status = Some(serde_json::from_value(bound).unwrap());
        Arc::new(binding)
    };
    let bindings = [
        wanting("wanting", "widgets", "example.org"),
        wanting("longer", "widgets", "sub.example.org"),
        wanting("other", "gadgets", "example.org"),
    ];
    let woken = concerned("widgets.example.org", &owners, &bindings);
    assert_eq!(woken, ["owner".to_owned(), "wanting".to_owned()].into());
}

#[test]
fn ready_again_as_soon_as_the_watch_of_bindings_runs_again() {
    let mut readiness = Readiness::default();
    let binding = APIServiceBinding::new("widgets", Default::default());
    let error = watcher::Error::NoResourceVersion;
    assert_eq!(readiness.after(&Signal::Changed(&binding)), None);
    type Told<'a> = Signal<'a, APIServiceBinding>;
    assert_eq!(readiness.after(&Told::Listed), Some(Ok(())));
    for works in [
        Told::Running,
        Told::Changed(&binding),
        Told::Removed(&binding),
    ] {
        let failed = readiness.after(&Told::Failed(&error));
        assert!(failed.is_some_and(|check| check.is_err()));
        assert_eq!(readiness.after(&works), Some(Ok(())));
    }
}
