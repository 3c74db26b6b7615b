//! What is taken from a provider, and what is asked of it again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use kube_bind_crds::api::APIServiceNamespaceStatus;
use kube_bind_crds::names::{LABEL_OWNER, OWNER_PROVIDER};
use kube_bind_runtime::backoff::Backoff;
use kube_bind_runtime::shutdown::Shutdown;
use serde_json::json;

use super::work::LONGEST_WAIT;
use super::*;
use crate::provider::test_support::connected;
use crate::sync::Namespaces;
use crate::test_support::{answering, clock, failure, lacks, serving, term, term_at};

/// Of a provider that has none; `posted` is what it answers to a request for one. The consumer has the
/// Namespace `team`, and `new`, of which its watch has not told yet.
async fn none(posted: u16) -> (ServiceNamespaces, Shutdown) {
    let (store, mut writer) = kube::runtime::reflector::store();
    writer.apply_watcher_event(&watcher::Event::Init);
    writer.apply_watcher_event(&watcher::Event::InitDone);
    let provider = answering(move |asked| match &*asked.method {
        "POST" if posted == 201 => (201, asked.body.clone()),
        "POST" => failure(posted, "Invalid"),
        _ => failure(404, "NotFound"),
    });
    let team = json!({"metadata": {"name": "team", "resourceVersion": "1"}});
    let consumer = answering(move |asked| {
        if asked.uri.contains("watch=true") {
            return failure(503, "ServiceUnavailable");
        }
        match asked.uri.strip_prefix("/api/v1/namespaces/") {
            Some("new") => return (200, json!({"metadata": {"name": "new"}})),
            Some(_) => return failure(404, "NotFound"),
            None => {}
        }
        (
            200,
            json!({"metadata": {"resourceVersion": "1"}, "items": [team.clone()]}),
        )
    });
    let shutdown = Shutdown::new();
    let consumer = ConsumerNamespaces::start(consumer, &shutdown, |_| {});
    while consumer.known("team").is_none() {
        tokio::task::yield_now().await;
    }
    let namespaces = ServiceNamespaces {
        api: Api::namespaced(provider, "tenant"),
        store,
        consumer,
        mapping: RwLock::default(),
        generation: watch::Sender::new(0),
        listed: Listed::new(),
        requested: Mutex::default(),
        waiting: Mutex::default(),
        jobs: WaitQueue::default(),
    };
    (namespaces, shutdown)
}

/// The work that is due now.
fn due(namespaces: &ServiceNamespaces) -> Vec<Job> {
    let next = || namespaces.jobs.next().now_or_never();
    std::iter::from_fn(next).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_and_is_not_in_a_new_list_is_asked_for_again() {
    let (namespaces, shutdown) = none(201).await;
    namespaces.told(&Signal::Listed);
    namespaces.request("team");
    namespaces.request("team");
    let request = Job::Request("team".into());
    assert_eq!(due(&namespaces), [Job::CheckAll, request.clone()]);
    let generation = namespaces.subscribe();
    // It is lost meanwhile, or was never carried out.
    namespaces.told(&Signal::Listed);
    assert!(generation.has_changed().unwrap());
    namespaces.request("team");
    assert!(due(&namespaces).contains(&request));
    shutdown.token.cancel();
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_refuses_is_asked_for_again_as_long_as_somebody_waits() {
    let (namespaces, shutdown) = none(422).await;
    let patience = Backoff::between(Duration::from_secs(1), LONGEST_WAIT);
    for (name, again) in [("team", true), ("new", true), ("gone", false)] {
        let name = name.to_owned();
        namespaces.request(&name);
        due(&namespaces);
        let outcome = namespaces.create(&name, Duration::MAX).await.unwrap();
        let Checked::Refused(why) = outcome else {
            panic!("expected it to be refused, got {outcome:?}");
        };
        namespaces.refused(&name, &why, &patience).await;
        assert_eq!(due(&namespaces), []);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let tried = due(&namespaces) == [Job::Request(name.clone())];
        assert_eq!(tried, again, "{name}");
        assert_eq!(namespaces.requested().contains(&name), again, "{name}");
    }
    shutdown.token.cancel();
}

/// A provider that lets nobody ask for a service namespace while `denies`.
fn strict(denies: &Arc<AtomicBool>) -> kube::Client {
    let denies = denies.clone();
    serving(move |asked| {
        let empty = json!({"metadata": {"resourceVersion": "10"}, "items": []});
        match &*asked.method {
            "GET" if asked.uri.contains("watch=true") => None,
            "GET" => Some((200, empty)),
            _ if denies.load(Ordering::Relaxed) => Some(lacks("create", "apiservicenamespaces")),
            _ => Some((201, asked.body.clone())),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_right_to_ask_that_the_provider_withholds_is_said_until_it_comes() {
    let consumer = serving(|asked| {
        let team = json!({"metadata": {"name": "team", "resourceVersion": "1"}});
        match asked.uri.strip_prefix("/api/v1/namespaces/") {
            Some(_) => Some(failure(404, "NotFound")),
            None if asked.uri.contains("watch=true") => None,
            None => Some((
                200,
                json!({"metadata": {"resourceVersion": "1"}, "items": [team]}),
            )),
        }
    });
    let clock = clock();
    let ctx = Arc::new(term_at(&consumer, &clock));
    let denies = Arc::new(AtomicBool::new(true));
    let provider = connected(&ctx, strict(&denies));
    // All of it within the minute in which a watch has to begin.
    let settle = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
    settle(1).await;
    // Nobody waits for a namespace that is gone.
    provider.namespaces.request("gone");
    settle(1).await;
    clock.advance(Duration::from_secs(6));
    settle(10).await;
    assert_eq!(provider.trouble.words(), None);

    provider.namespaces.request("team");
    settle(1).await;
    assert_eq!(provider.trouble.words(), None, "it may pass");
    clock.advance(Duration::from_secs(6));
    settle(10).await;
    let words = provider.trouble.words().unwrap_or_default();
    assert!(words.contains("cannot create"), "{words}");

    denies.store(false, Ordering::Relaxed);
    settle(20).await;
    assert_eq!(provider.trouble.words(), None);
    ctx.shutdown.token.cancel();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_while_the_address_leads_to_another_provider() {
    let home = Arc::new(AtomicBool::new(true));
    let known = Arc::new(AtomicBool::new(false));
    let made: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let (listable, created) = (known.clone(), made.clone());
    let consumer = serving(move |asked| match &*asked.method {
        "PATCH" => {
            created.lock().unwrap().push("namespace");
            Some((200, asked.body.clone()))
        }
        _ if asked.uri.contains("watch=true") => None,
        _ if asked.uri.contains("/namespaces/") => Some(failure(404, "NotFound")),
        _ if !listable.load(Ordering::Relaxed) => Some(failure(503, "ServiceUnavailable")),
        _ => Some((
            200,
            json!({"metadata": {"resourceVersion": "1"}, "items": []}),
        )),
    });
    let (leads_home, created) = (home.clone(), made.clone());
    let provider = serving(move |asked| match &*asked.method {
        "POST" => {
            created.lock().unwrap().push("mapping");
            Some((201, asked.body.clone()))
        }
        "PATCH" => Some(failure(422, "Invalid")),
        _ if asked.uri.contains("watch=true") => None,
        _ if asked.uri.contains("/api/v1/namespaces/tenant") => {
            let home = leads_home.load(Ordering::Relaxed);
            let uid = if home { "uid-1" } else { "uid-2" };
            Some((200, json!({"metadata": {"name": "tenant", "uid": uid}})))
        }
        _ if asked.uri.contains("/apiservicenamespaces") => {
            let labels = json!({ LABEL_OWNER: OWNER_PROVIDER });
            let metadata = json!({"name": "brought", "namespace": "tenant",
                "uid": "1", "resourceVersion": "1", "labels": labels});
            let brought = json!({"metadata": metadata, "spec": {}});
            Some((
                200,
                json!({"metadata": {"resourceVersion": "1"}, "items": [brought]}),
            ))
        }
        _ => Some((
            200,
            json!({"metadata": {"resourceVersion": "1"}, "items": []}),
        )),
    });
    let ctx = Arc::new(term(&consumer));
    let provider = connected(&ctx, provider);
    let a_while = Duration::from_secs(40);
    tokio::time::sleep(a_while).await;
    assert_eq!(provider.namespaces.brought(), [("brought".into(), None)]);

    home.store(false, Ordering::Relaxed);
    provider.link.check();
    tokio::time::sleep(a_while).await;
    known.store(true, Ordering::Relaxed);
    tokio::time::sleep(a_while).await;
    let brought = [("brought".into(), Some(false))];
    assert_eq!(provider.namespaces.brought(), brought);
    provider.namespaces.consumer_namespace_gone("");
    provider.namespaces.request("team");
    tokio::time::sleep(a_while).await;
    assert_eq!(*made.lock().unwrap(), [""; 0]);

    home.store(true, Ordering::Relaxed);
    provider.link.check();
    tokio::time::sleep(a_while).await;
    made.lock().unwrap().sort_unstable();
    assert_eq!(*made.lock().unwrap(), ["mapping", "namespace"]);
    ctx.shutdown.token.cancel();
}

#[test]
fn only_names_of_namespaces_are_taken_from_a_provider() {
    let mut object = APIServiceNamespace::new("team-a", APIServiceNamespaceSpec {});
    assert_eq!(target(&object), None);
    for (name, valid) in [
        ("tenant-team-a", true),
        ("", false),
        ("a b", false),
        ("a/../../kube-system", false),
        ("a?watch=true", false),
    ] {
        object.status = Some(APIServiceNamespaceStatus {
            namespace: Some(name.to_owned()),
        });
        assert_eq!(target(&object).is_some(), valid, "{name:?}");
    }
}
