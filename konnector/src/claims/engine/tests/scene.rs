//! Two clusters in memory with Secrets and one mapped namespace, and an engine between them.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use kube::runtime::watcher;
use kube_bind_crds::api::{APIServiceBinding, GroupResource};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::super::ClaimsEngine;
use crate::provider::test_support::connected;
use crate::test_support::{failure, term};

/// Long enough for everything that is under way.
const A_WHILE: Duration = Duration::from_secs(30);

/// A Secret with this place, labels and annotations.
pub fn secret(namespace: &str, name: &str, labels: &Value, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "namespace": namespace, "name": name, "uid": format!("uid-{namespace}-{name}"),
            "resourceVersion": "7", "labels": labels, "annotations": annotations,
        },
    })
}

/// A method, a part of path and query, and what is said to that.
type Refusal = (Method, String, (u16, Value));

/// An API server that has Secrets. A watch expires with the first change, so that a list tells of it.
#[derive(Default)]
pub struct Cluster {
    objects: Mutex<Vec<Value>>,
    writes: Mutex<Vec<String>>,
    reads: Mutex<Vec<String>>,
    notes: Mutex<Vec<String>>,
    version: watch::Sender<u64>,
    /// What is said to requests of a method whose path and query contain this.
    refused: Mutex<Option<Refusal>>,
}

/// What a request comes to.
enum Reply {
    Document((u16, Value)),
    /// A watch from this version, which lasts until something changes.
    Watch(u64),
}

impl Cluster {
    fn new(objects: Vec<Value>) -> Arc<Self> {
        Arc::new(Self {
            objects: Mutex::new(objects),
            version: watch::Sender::new(20),
            ..Self::default()
        })
    }

    /// Refuses what has this in its path and query.
    pub fn refuse(&self, method: Method, what: &str, answer: (u16, Value)) {
        *self.refused.lock().unwrap() = Some((method, what.to_owned(), answer));
    }

    /// Refuses nothing any more.
    pub fn allow(&self) {
        *self.refused.lock().unwrap() = None;
    }

    /// Ends all watches.
    pub fn expire(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// What there is.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Value> {
        let objects = self.objects();
        let found = objects.iter().find(|o| is_at(o, namespace, name));
        found.cloned()
    }

    /// Somebody else deletes one.
    pub fn vanish(&self, namespace: &str, name: &str) {
        self.objects().retain(|o| !is_at(o, namespace, name));
        self.expire();
    }

    /// The writes of Secrets that were there, as `DELETE tenant-shop/tls`.
    pub fn writes(&self) -> Vec<String> {
        self.writes.lock().unwrap().clone()
    }

    /// The reads of single Secrets so far.
    pub fn reads(&self) -> Vec<String> {
        self.reads.lock().unwrap().clone()
    }

    /// What events say, as `binding: words`.
    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }

    fn objects(&self) -> MutexGuard<'_, Vec<Value>> {
        self.objects.lock().unwrap()
    }

    fn client(self: &Arc<Self>) -> Client {
        let this = self.clone();
        let serve = tower::service_fn(move |request| {
            let this = this.clone();
            async move {
                let (code, body) = match this.serve(request).await {
                    Reply::Document((code, document)) => (
                        code,
                        Full::from(format!("{document}\n").into_bytes()).boxed(),
                    ),
                    Reply::Watch(since) => {
                        let changed = changed(this.version.subscribe(), since);
                        (200, Full::from(Vec::new()).with_trailers(changed).boxed())
                    }
                };
                let response = Response::builder().status(code).body(body);
                Ok::<_, kube::Error>(response.unwrap())
            }
        });
        Client::new(serve, "default")
    }

    async fn serve(&self, request: Request<Body>) -> Reply {
        let (parts, body) = request.into_parts();
        let uri = parts.uri.to_string();
        let refused = self.refused.lock().unwrap().clone();
        let is_refused =
            |(method, what, _): &Refusal| parts.method == *method && uri.contains(what);
        if let Some((_, _, words)) = refused.filter(is_refused) {
            return Reply::Document(words);
        }
        let query = parts.uri.query().unwrap_or_default();
        if query.contains("watch=true") {
            return self.watch(query);
        }
        let sent = body.collect_bytes().await.unwrap();
        let sent = serde_json::from_slice(&sent).unwrap_or(Value::Null);
        let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        Reply::Document(match &path[..] {
            ["api", "v1", "secrets"] => self.list(None, query),
            ["api", "v1", "namespaces", namespace, "secrets"] => match parts.method {
                Method::POST => (201, sent),
                _ => self.list(Some(namespace), query),
            },
            ["api", "v1", "namespaces", namespace, "secrets", name] => {
                self.single(&parts.method, namespace, name, &sent)
            }
            [.., "events"] if parts.method == Method::POST => {
                let text = |field: &Value| field.as_str().unwrap().to_owned();
                let whom = text(&sent["regarding"]["name"]);
                let note = format!("{whom}: {}", text(&sent["note"]));
                self.notes.lock().unwrap().push(note);
                (201, sent)
            }
            [.., "apiservicenamespaces"] => self.all(vec![json!({
                "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceNamespace",
                "metadata": {"name": "shop", "namespace": "tenant", "uid": "m", "resourceVersion": "3"},
                "spec": {}, "status": {"namespace": "tenant-shop"},
            })]),
            ["api", "v1", "namespaces", "tenant"] => (
                200,
                json!({"apiVersion": "v1", "kind": "Namespace",
                    "metadata": {"name": "tenant", "uid": "uid-1", "resourceVersion": "3"}}),
            ),
            _ if parts.method == Method::GET => self.all(vec![]),
            _ => failure(404, "NotFound"),
        })
    }

    fn watch(&self, query: &str) -> Reply {
        let since = *self.version.borrow();
        if query.contains(&format!("resourceVersion={since}")) {
            Reply::Watch(since)
        } else {
            Reply::Document(failure(410, "Expired"))
        }
    }

    fn list(&self, namespace: Option<&str>, query: &str) -> (u16, Value) {
        let objects = self.objects();
        let items = objects.iter().filter(|object| {
            let metadata = &object["metadata"];
            let name = metadata["name"].as_str().unwrap();
            namespace.is_none_or(|n| metadata["namespace"] == n)
                && (!query.contains("fieldSelector") || query.contains(&format!("%3D{name}")))
        });
        self.all(items.cloned().collect())
    }

    fn all(&self, items: Vec<Value>) -> (u16, Value) {
        let version = self.version.borrow().to_string();
        (
            200,
            json!({"metadata": {"resourceVersion": version}, "items": items}),
        )
    }

    fn single(&self, method: &Method, namespace: &str, name: &str, sent: &Value) -> (u16, Value) {
        let mut objects = self.objects();
        let found = objects.iter().position(|o| is_at(o, namespace, name));
        let asked = format!("{method} {namespace}/{name}");
        if *method == Method::GET {
            self.reads.lock().unwrap().push(asked.clone());
        }
        let Some(at) = found else {
            return failure(404, "NotFound");
        };
        if *method != Method::GET {
            self.writes.lock().unwrap().push(asked);
            self.version.send_modify(|version| *version += 1);
        }
        match *method {
            Method::DELETE => return (200, objects.remove(at)),
            Method::PATCH => merge(&mut objects[at], sent),
            Method::PUT => merge(&mut objects[at]["metadata"], &sent["metadata"]),
            _ => {}
        }
        (200, objects[at].clone())
    }
}

fn is_at(object: &Value, namespace: &str, name: &str) -> bool {
    object["metadata"]["namespace"] == namespace && object["metadata"]["name"] == name
}

/// Does not say what changed.
async fn changed(
    mut version: watch::Receiver<u64>,
    since: u64,
) -> Option<Result<HeaderMap, Infallible>> {
    let _ = version.wait_for(|version| *version != since).await;
    None
}

fn merge(object: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    for (key, value) in fields {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}

/// A binding of which nothing but its name is known.
pub fn binding(name: &str) -> APIServiceBinding {
    serde_json::from_value(json!({
        "apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceBinding",
        "metadata": {"name": name},
        "spec": {"kubeconfigSecretRef":
            {"name": "kubeconfig", "namespace": "kube-bind", "key": "kubeconfig"}},
    }))
    .unwrap()
}

/// An engine for Secrets between two clusters.
pub struct Scene {
    pub consumer: Arc<Cluster>,
    pub provider: Arc<Cluster>,
    pub engine: Arc<ClaimsEngine>,
}

impl Scene {
    /// Begins with these bindings and Secrets on both sides; namespace `shop` is `tenant-shop` there.
    pub fn start(bindings: &[&str], mine: Vec<Value>, theirs: Vec<Value>) -> Self {
        let bindings = bindings.iter().map(|name| binding(name)).collect();
        Self::with(bindings, mine, theirs)
    }

    /// The same with bindings of which more is known.
    pub fn with(bindings: Vec<APIServiceBinding>, mine: Vec<Value>, theirs: Vec<Value>) -> Self {
        let (consumer, provider) = (Cluster::new(mine), Cluster::new(theirs));
        let mut ctx = term(&consumer.client());
        let (store, mut writer) = kube::runtime::reflector::store();
        for binding in bindings {
            writer.apply_watcher_event(&watcher::Event::Apply(binding));
        }
        ctx.bindings = store;
        ctx.bindings_listed.set();
        let ctx = Arc::new(ctx);
        let connection = connected(&ctx, provider.client());
        let secrets = GroupResource {
            group: String::new(),
            resource: "secrets".into(),
        };
        let engine = ClaimsEngine::start(&ctx, &connection, &secrets).unwrap();
        Self {
            consumer,
            provider,
            engine,
        }
    }

    /// Waits until nothing happens any more.
    pub async fn settled(&self) {
        tokio::time::sleep(A_WHILE).await;
    }
}
