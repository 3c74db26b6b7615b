//! What a bundle makes, and where it learns what there is to be made.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kube_bind_crds::api::APIServiceExportSpec;

use super::*;
use crate::provider::SecretState;
use crate::provider::test_support::connected;
use crate::test_support::{WEBHOOK_DENIES, clock, failure, lacks, serving, term_at};
use crate::wake::Wake;

/// A provider with one export.
#[derive(Default)]
struct Server {
    /// It has lost the right of the consumer to watch exports.
    refuses_watch: AtomicBool,
    /// It cannot list them.
    refuses_list: AtomicBool,
}

impl Server {
    fn answer(&self, uri: &str) -> Option<(u16, Value)> {
        let is_of_exports = uri.contains("/apiserviceexports");
        let is_watch = uri.contains("watch=true");
        let refuses = |flag: &AtomicBool| is_of_exports && flag.load(Ordering::Relaxed);
        if is_watch {
            if refuses(&self.refuses_watch) {
                return Some(lacks("watch", "apiserviceexports"));
            }
            let mark = json!({"kind": "APIServiceExport", "apiVersion": API_VERSION,
                "metadata": {"resourceVersion": "20"}});
            return Some((200, json!({"type": "BOOKMARK", "object": mark})));
        }
        if refuses(&self.refuses_list) {
            return Some(failure(500, "etcdserver: leader changed"));
        }
        let mut export = APIServiceExport::new("widgets", APIServiceExportSpec::default());
        export.metadata.namespace = Some("tenant".into());
        export.metadata.resource_version = Some("20".into());
        let items = match is_of_exports {
            true => vec![serde_json::to_value(export).unwrap()],
            false => Vec::new(),
        };
        let namespace = json!({"metadata": {"name": "tenant", "uid": "uid-1"}});
        Some(match uri {
            "/api/v1/namespaces/tenant" => (200, namespace),
            _ => (
                200,
                json!({"metadata": {"resourceVersion": "20"}, "items": items}),
            ),
        })
    }
}

/// What a bundle would learn now: the names of exports, why there are none, or nothing yet.
async fn learned(provider: &Arc<Provider>) -> Option<Result<Vec<String>, String>> {
    let connection = Connection {
        secret: SecretState::Valid,
        problem: None,
        provider: Some(provider.clone()),
    };
    match exports(&connection).await {
        Exports::Unknown => None,
        Exports::Failed(why) => Some(Err(why)),
        Exports::Listed(_, offers) => Some(Ok(offers.into_iter().map(|o| o.name).collect())),
    }
}

#[tokio::test(start_paused = true)]
async fn exports_are_listed_while_their_watch_fails_and_that_ends_when_it_runs_again() {
    let consumer = serving(|_| Some(failure(404, "NotFound")));
    let clock = clock();
    let (wake, mut woken) = Wake::channel();
    let (bindings, mut writer) = kube::runtime::reflector::store();
    let binding: APIServiceBinding = serde_json::from_value(json!({
        "apiVersion": API_VERSION, "kind": "APIServiceBinding", "metadata": {"name": "user"},
        "spec": {"kubeconfigSecretRef":
            {"name": "kubeconfig", "namespace": "kube-bind", "key": "kubeconfig"}},
    }))
    .unwrap();
    writer.apply_watcher_event(&kube::runtime::watcher::Event::Apply(binding));
    let ctx = Arc::new(crate::context::Context {
        wake,
        bindings,
        ..term_at(&consumer, &clock)
    });
    let server = Arc::new(Server::default());
    let asked = server.clone();
    let provider = connected(&ctx, serving(move |a| asked.answer(&a.uri)));
    let widgets = || Some(Ok(vec!["widgets".to_owned()]));
    let settle = || tokio::time::sleep(Duration::from_secs(30));
    settle().await;
    assert_eq!(learned(&provider).await, widgets());

    server.refuses_watch.store(true, Ordering::Relaxed);
    server.refuses_list.store(true, Ordering::Relaxed);
    settle().await;
    assert_eq!(learned(&provider).await, None, "it may pass");
    clock.advance(Duration::from_secs(6));
    while woken.try_recv().is_ok() {}
    settle().await;
    assert!(woken.try_recv().is_ok(), "there is something to be said");
    let why = learned(&provider).await.and_then(Result::err);
    assert_eq!(why.as_deref(), Some("etcdserver: leader changed"));

    // Now only the watch fails, and who lists does not end that.
    server.refuses_list.store(false, Ordering::Relaxed);
    settle().await;
    assert_eq!(learned(&provider).await, widgets());
    let words = provider.trouble.words().unwrap_or_default();
    assert!(words.contains("cannot watch"), "{words}");

    server.refuses_watch.store(false, Ordering::Relaxed);
    while woken.try_recv().is_ok() {}
    settle().await;
    assert_eq!(provider.trouble.words(), None);
    assert_eq!(woken.try_recv().ok().as_deref(), Some("user"));
    assert_eq!(learned(&provider).await, widgets());
    ctx.shutdown.token.cancel();
}

#[test]
fn a_bundles_binding_is_owned_by_it_and_inherits_its_acceptance() {
    let bundle: APIServiceBindingBundle = serde_json::from_value(json!({
        "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceBindingBundle",
        "metadata": {"name": "all", "uid": "u"},
        "spec": {"kubeconfigSecretRef": {"name": "s", "namespace": "n", "key": "k"}},
    }))
    .unwrap();
    let made = serde_json::to_value(binding_of(&bundle, "widgets", true)).unwrap();
    assert_eq!(
        made,
        json!({
            "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceBinding",
            "metadata": {
                "name": "widgets",
                "annotations": {"kube-bind.io/acceptance": "Manual"},
                "ownerReferences": [{"apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceBindingBundle",
                    "name": "all", "uid": "u", "controller": true}],
            },
            "spec": {"kubeconfigSecretRef": {"name": "s", "namespace": "n", "key": "k"}},
        })
    );
    assert!(decide::is_owned(
        &binding_of(&bundle, "widgets", false),
        &bundle
    ));
    assert!(
        binding_of(&bundle, "widgets", false)
            .metadata
            .annotations
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn another_server_at_the_same_address_unbinds_nothing() {
    for (uid, expected) in [("uid-2", 0), ("uid-1", 1)] {
        let deleted = Arc::new(AtomicUsize::new(0));
        let seen = deleted.clone();
        let consumer = serving(move |asked| {
            if asked.method == "DELETE" {
                seen.fetch_add(1, Ordering::Relaxed);
            }
            Some(failure(404, "NotFound"))
        });
        let ctx = Arc::new(term_at(&consumer, &clock()));
        let server = serving(move |asked| match &*asked.uri {
            "/api/v1/namespaces/tenant" => {
                Some((200, json!({"metadata": {"name": "tenant", "uid": uid}})))
            }
            _ => Some(failure(404, "NotFound")),
        });
        let provider = connected(&ctx, server);
        let doomed = Doomed {
            name: "widgets".into(),
            uid: "u".into(),
            resource_version: "7".into(),
        };
        let bundle = APIServiceBindingBundle::new("all", Default::default());
        let bindings = Api::all(ctx.client.clone());
        delete(&bindings, &bundle, &provider, &doomed)
            .await
            .unwrap();
        assert_eq!(deleted.load(Ordering::Relaxed), expected, "{uid}");
        ctx.shutdown.token.cancel();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_does_not_keep_the_bind_time_from_ending() {
    for (answer, ends) in [
        (None, true),
        (Some(failure(422, "Invalid")), true),
        (Some(failure(403, WEBHOOK_DENIES)), true),
        // These may be made in a moment, or as soon as somebody grants that, and were there at bind time.
        (Some(failure(500, "InternalError")), false),
        (Some(lacks("create", "apiservicebindings")), false),
    ] {
        let marked = Arc::new(AtomicBool::new(false));
        let (seen, said) = (marked.clone(), answer.clone());
        let consumer = serving(move |asked| match &*asked.method {
            "POST" if asked.uri.contains("/apiservicebindings") => {
                Some(said.clone().unwrap_or_else(|| (201, asked.body.clone())))
            }
            "PATCH" if asked.uri.contains("/apiservicebindingbundles/all") => {
                seen.store(true, Ordering::Relaxed);
                Some(failure(409, "Conflict"))
            }
            _ => Some(failure(404, "NotFound")),
        });
        let ctx = Arc::new(term_at(&consumer, &clock()));
        let provider = connected(&ctx, serving(|_| Some(failure(404, "NotFound"))));
        let bundle = APIServiceBindingBundle::new("all", Default::default());
        let plan = Plan {
            create: vec!["widgets".into()],
            manual: true,
            ..Plan::default()
        };
        let supervisor = crate::supervisor::assemble(&ctx);
        act(&supervisor, &bundle, &provider, &[], &plan)
            .await
            .unwrap();
        assert_eq!(marked.load(Ordering::Relaxed), ends, "{answer:?}");
        ctx.shutdown.token.cancel();
    }
}
