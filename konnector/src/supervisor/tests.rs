//! Tests of the parent module.

use super::*;
use crate::claims::{Ending, Rule};
use crate::provider::test_support::connected_through;
use crate::test_support::{answering, failure, term};
use kube_bind_crds::api::PermissionClaim;
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

#[tokio::test(start_paused = true)]
async fn what_a_binding_claimed_is_forgotten_at_every_provider_when_it_is_gone() {
    let nowhere = answering(|_| failure(404, "NotFound"));
    let ctx = Arc::new(term(&nowhere));
    let supervisor = assemble(&ctx);
    let mut engines = Vec::new();
    for uid in ["uid-1", "uid-2"] {
        let provider = connected_through(&supervisor.connections, uid, nowhere.clone());
        for resource in ["secrets", "configmaps"] {
            let claim =
                json!({"group": "", "resource": resource, "selector": {"labelSelector": {}}});
            let claim: PermissionClaim = serde_json::from_value(claim).unwrap();
            let engine = provider.claims(&ctx, &claim.group_resource).await.unwrap();
            engine.claim("goes", Rule::new(&claim, None).end(Ending::Delete));
            engine.claim("stays", Rule::new(&claim, None));
            engines.push(engine);
        }
    }
    // As after a restart: it ended without having had anything that ran for it.
    forget(&supervisor, "goes".to_owned());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(engines.len(), 4);
    for engine in engines {
        assert!(!engine.knows("goes") && engine.knows("stays"));
    }
    ctx.shutdown.token.cancel();
}
