//! A binding of two kinds between a scripted consumer and a scripted provider.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube_bind_crds::api::{APIServiceBinding, APIServiceBindingStatus, Condition};
use kube_bind_crds::conditions::{self, New, types};
use kube_bind_crds::names::{ANNOTATION_PROVIDER_CLUSTER, ANNOTATION_RESOURCES, FINALIZER_BINDING};
use kube_bind_runtime::clock::FixedClock;
use serde_json::{Value, json};

use super::super::Error;
use super::super::reconcile::{Observed, look_at};
use super::super::subtree::Subtree;
use crate::provider::test_support::connected;
use crate::provider::{ConnectProblem, Connection, LinkState, Provider, SecretState};
use crate::supervisor::{Supervisor, assemble};
use crate::test_support::{Asked, clock, failure, serving, term_at};

/// Plural and kind; the provider exports all but the last one.
const KINDS: [(&str, &str); 3] = [
    ("gadgets", "Gadget"),
    ("widgets", "Widget"),
    ("relics", "Relic"),
];

/// What is said to requests of a method whose path and query contain `part`; nothing at all, without an answer.
struct Refusal {
    method: &'static str,
    part: &'static str,
    answer: Option<(u16, Value)>,
}

/// What the consumer's API server has, and what it has against us.
#[derive(Default)]
struct Consumer {
    /// By name.
    crds: BTreeMap<String, Value>,
    refusals: Vec<Refusal>,
    /// All requests.
    asked: Vec<Asked>,
}

impl Consumer {
    fn answer(&mut self, asked: &Asked) -> Option<(u16, Value)> {
        let (path, query) = asked.uri.split_once('?').unwrap_or((&asked.uri, ""));
        let mut refusals = self.refusals.iter();
        let refused = refusals.find(|r| asked.method == r.method && asked.uri.contains(r.part));
        let refused = refused.map(|refusal| refusal.answer.clone());
        self.asked.push(asked.clone());
        if let Some(refused) = refused {
            return refused;
        }
        if query.contains("watch=true") {
            return None;
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        let all = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        Some(match asked.method.as_str() {
            "GET" if path == all => (200, list(self.crds.values().cloned().collect())),
            "GET" if path.starts_with(all) => self
                .crds
                .get(name)
                .map_or_else(|| failure(404, "NotFound"), |crd| (200, crd.clone())),
            "GET" if path == "/apis/example.org/v1" => failure(404, "NotFound"),
            "GET" => (200, list(Vec::new())),
            "PATCH" if path.starts_with(all) => {
                let crd = installed(&asked.body["spec"], name);
                self.crds.insert(name.to_owned(), crd.clone());
                (200, crd)
            }
            "POST" if path.contains("selfsubject") => {
                let mut review = asked.body.clone();
                review["status"] = json!({"allowed": true});
                (201, review)
            }
            "PATCH" if path.contains("apiservicebindings") => {
                let mut binding = serde_json::to_value(binding()).unwrap();
                binding["status"] = asked.body["status"].clone();
                (200, binding)
            }
            _ => (200, asked.body.clone()),
        })
    }
}

fn list(items: Vec<Value>) -> Value {
    json!({"metadata": {"resourceVersion": "10"}, "items": items})
}

fn schema(maximum: u32) -> Value {
    json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"size": {"type": "integer", "maximum": maximum}}}}}})
}

fn spec(plural: &str, kind: &str, maximum: u32) -> Value {
    json!({"group": "example.org", "scope": "Namespaced",
        "names": {"plural": plural, "singular": plural, "kind": kind, "listKind": format!("{kind}List")},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema(maximum)}]})
}

/// A CRD of the binding that is served.
fn installed(spec: &Value, name: &str) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": name, "uid": format!("crd-{name}"), "resourceVersion": "9", "generation": 1,
        "ownerReferences": [{"apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceBinding",
            "name": "tools", "uid": "binding-1", "controller": true}]},
    "spec": spec,
    "status": {"acceptedNames": spec["names"], "storedVersions": ["v1"],
        "conditions": [{"type": "Established", "status": "True"}]}})
}

fn at_provider(asked: &Asked) -> Option<(u16, Value)> {
    let (path, query) = asked.uri.split_once('?').unwrap_or((&asked.uri, ""));
    if query.contains("watch=true") {
        return None;
    }
    let meta = |name: &str| json!({"name": name, "namespace": "tenant", "uid": name, "resourceVersion": "5"});
    let exported = &KINDS[..2];
    let resources: Vec<Value> = exported
        .iter()
        .map(|(plural, _)| json!({"group": "example.org", "resource": plural, "versions": ["v1"]}))
        .collect();
    let export = json!({"apiVersion": "kube-bind.io/v1alpha2", "kind": "APIServiceExport",
        "metadata": meta("tools"), "spec": {"resources": resources, "informerScope": "Namespaced",
            "isolation": "Prefixed"}});
    let schemas = exported.iter().map(|(plural, kind)| {
        let mut spec = spec(plural, kind, 100);
        spec["informerScope"] = "Namespaced".into();
        json!({"apiVersion": "kube-bind.io/v1alpha2", "kind": "BoundSchema",
            "metadata": meta(&format!("{plural}.example.org")), "spec": spec})
    });
    let schemas: Vec<Value> = schemas.collect();
    let named = |all: &[Value]| {
        all.iter()
            .find(|o| path.contains(&format!("/{}", o["metadata"]["name"].as_str().unwrap())))
            .cloned()
    };
    Some(match (asked.method.as_str(), path) {
        ("GET", "/api/v1/namespaces/tenant") => (
            200,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant", "uid": "uid-1"}}),
        ),
        ("GET", path) if path.ends_with("/apiserviceexports") => (200, list(vec![export])),
        ("GET", path) if path.ends_with("/boundschemas") => (200, list(schemas)),
        ("GET", _) => (200, list(Vec::new())),
        (_, path) if path.contains("/boundschemas/") => (200, named(&schemas)?),
        _ => (200, export),
    })
}

fn binding() -> APIServiceBinding {
    let mut binding = APIServiceBinding::new("tools", Default::default());
    binding.metadata.uid = Some("binding-1".into());
    binding.metadata.resource_version = Some("3".into());
    binding.finalizers_mut().push(FINALIZER_BINDING.into());
    binding.annotations_mut().extend([
        (ANNOTATION_PROVIDER_CLUSTER.to_owned(), "uid-1".to_owned()),
        (
            ANNOTATION_RESOURCES.to_owned(),
            "gadgets.example.org,widgets.example.org".to_owned(),
        ),
    ]);
    let mut status = APIServiceBindingStatus::default();
    for type_ in [
        types::SECRET_VALID,
        types::INFORMERS_SYNCED,
        types::HEARTBEATING,
        types::CONNECTED,
        types::SCHEMA_IN_SYNC,
    ] {
        conditions::set(
            &mut status.conditions,
            New::true_(type_),
            jiff::Timestamp::UNIX_EPOCH,
        );
    }
    conditions::summarize(&mut status.conditions, jiff::Timestamp::UNIX_EPOCH);
    binding.status = Some(status);
    binding
}

/// A binding that was ready when the konnector started, and what looks after it.
pub struct World {
    pub clock: FixedClock,
    pub binding: APIServiceBinding,
    pub subtree: Subtree,
    /// The provider was never reached.
    pub away: bool,
    consumer: Arc<Mutex<Consumer>>,
    supervisor: Arc<Supervisor>,
    provider: Arc<Provider>,
}

impl World {
    /// The CRDs of these kinds are installed, as the provider exports them now or with another schema.
    pub async fn with(crds: &[(&str, u32)]) -> Self {
        Self::behind(crds, at_provider).synced().await
    }

    /// The same with a provider that has no export any more.
    pub async fn without_exports(crds: &[(&str, u32)]) -> Self {
        let provider = |asked: &Asked| {
            let of_exports =
                asked.uri.contains("/apiserviceexports?") && !asked.uri.contains("watch=true");
            if of_exports {
                Some((200, list(Vec::new())))
            } else {
                at_provider(asked)
            }
        };
        Self::behind(crds, provider).synced().await
    }

    /// The same with a provider that claims Secrets.
    pub async fn with_claim() -> Self {
        let provider = |asked: &Asked| {
            let (code, mut body) = at_provider(asked)?;
            if let Some(spec) = body.pointer_mut("/items/0/spec")
                && asked.uri.contains("/apiserviceexports?")
            {
                let selector = json!({"labelSelector": {}});
                let claim = json!({"group": "", "resource": "secrets", "selector": selector});
                spec["permissionClaims"] = json!([claim]);
            }
            Some((code, body))
        };
        let mut world = Self::behind(&[], provider).synced().await;
        let kinds = "gadgets.example.org,secrets,widgets.example.org";
        let annotations = world.binding.annotations_mut();
        annotations.insert(ANNOTATION_RESOURCES.to_owned(), kinds.to_owned());
        world
    }

    /// The same with so many objects of kind `widgets`, in a namespace that the provider has a place for.
    pub async fn with_widgets(count: usize) -> Self {
        let provider = |asked: &Asked| {
            let of_mappings = asked.uri.contains("/apiservicenamespaces?");
            if of_mappings && !asked.uri.contains("watch=true") {
                let metadata =
                    json!({"name": "shop", "namespace": "tenant", "resourceVersion": "5"});
                let status = json!({"namespace": "tenant-shop"});
                let shop = json!({"metadata": metadata, "spec": {}, "status": status});
                Some((200, list(vec![shop])))
            } else {
                at_provider(asked)
            }
        };
        let world = Self::behind(&[("gadgets", 100), ("widgets", 100)], provider);
        let widgets = (0..count).map(|n| {
            let name = format!("w{n}");
            json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata":
                {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "7"}})
        });
        let widgets = (200, list(widgets.collect()));
        world.refuse("GET", "/v1/widgets?limit", widgets);
        world.synced().await
    }

    /// The konnector's rights changed, or may have.
    pub fn change_rights(&self) {
        self.supervisor.rights_changed();
    }

    /// When all is known of the provider.
    async fn synced(self) -> Self {
        let world = self;
        while !world.provider.synced() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world
    }

    /// The same before anything is known of the provider, which says `otherwise` to lists of this kind.
    pub fn without(plural: &'static str, otherwise: Option<(u16, Value)>) -> Self {
        Self::behind(&[], move |asked| {
            if asked.uri.contains(plural) {
                otherwise.clone()
            } else {
                at_provider(asked)
            }
        })
    }

    fn behind(
        crds: &[(&str, u32)],
        provider: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) -> Self {
        let consumer = Arc::new(Mutex::new(Consumer::default()));
        for (plural, maximum) in crds {
            let (_, kind) = KINDS.iter().find(|(p, _)| p == plural).unwrap();
            let name = format!("{plural}.example.org");
            let crd = installed(&spec(plural, kind, *maximum), &name);
            consumer.lock().unwrap().crds.insert(name, crd);
        }
        let scripted = consumer.clone();
        let client = serving(move |asked| scripted.lock().unwrap().answer(asked));
        let clock = clock();
        let ctx = Arc::new(term_at(&client, &clock));
        ctx.bindings_listed.set();
        let supervisor = assemble(&ctx);
        let provider = connected(&ctx, serving(provider));
        Self {
            clock,
            binding: binding(),
            subtree: Subtree::default(),
            away: false,
            consumer,
            supervisor,
            provider,
        }
    }

    fn consumer(&self) -> MutexGuard<'_, Consumer> {
        self.consumer.lock().unwrap()
    }

    /// From now on this is said to requests of a method whose path and query contain `part`.
    pub fn refuse(&self, method: &'static str, part: &'static str, answer: (u16, Value)) {
        self.answer(method, part, Some(answer));
    }

    /// From now on nothing is said to them.
    pub fn ignore(&self, method: &'static str, part: &'static str) {
        self.answer(method, part, None);
    }

    fn answer(&self, method: &'static str, part: &'static str, answer: Option<(u16, Value)>) {
        let refusal = Refusal {
            method,
            part,
            answer,
        };
        self.consumer().refusals.push(refusal);
    }

    /// Nothing is refused any more.
    pub fn allow(&self) {
        self.consumer().refusals.clear();
    }

    /// Somebody deletes a CRD, whose objects are not gone yet.
    pub fn delete_crd(&self, name: &str) {
        let mut consumer = self.consumer();
        let crd = consumer.crds.get_mut(name).unwrap();
        let now = jiff::Timestamp::UNIX_EPOCH.to_string();
        crd["metadata"]["deletionTimestamp"] = now.into();
    }

    /// Somebody deletes the binding.
    pub fn end(&mut self) {
        self.binding.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    }

    /// One look; the status that it writes is the binding's then.
    pub async fn look(&mut self) -> Result<Action, Error> {
        let refused = || ConnectProblem::Link(LinkState::Unreachable("refused".into()));
        let connection = Connection {
            secret: SecretState::Valid,
            problem: self.away.then(refused),
            provider: (!self.away).then(|| self.provider.clone()),
        };
        let observed = Observed::through(connection, &self.binding.name_any());
        let binding = Arc::new(self.binding.clone());
        let before = self.consumer().asked.len();
        let looked = look_at(&binding, &self.supervisor, &mut self.subtree, observed).await;
        let asked = self.consumer().asked.split_off(before);
        let mut status = asked.iter().filter(|a| a.uri.contains("/tools/status"));
        if let Some(written) = status.next_back() {
            let status = serde_json::from_value(written.body["status"].clone());
            self.binding.status = Some(status.unwrap());
        }
        self.consumer().asked.extend(asked);
        looked
    }

    /// What the binding says of itself.
    pub fn condition(&self, type_: &str) -> Condition {
        let status = self.binding.status.as_ref().unwrap();
        conditions::get(&status.conditions, type_).unwrap().clone()
    }

    pub fn is_ready(&self) -> bool {
        self.condition(types::READY).status == conditions::TRUE
    }

    /// Plurals of the kinds that are synced.
    pub fn running(&self) -> Vec<String> {
        let running = self.subtree.running().into_iter();
        running.map(|kind| kind.resource).collect()
    }

    /// Plurals of the claimed kinds whose engines know the binding.
    pub async fn claims(&self) -> Vec<String> {
        let engines = self.provider.running_claims().await.into_iter();
        let known = engines.filter(|engine| engine.knows(&self.binding.name_any()));
        known.map(|engine| engine.resource().resource).collect()
    }

    /// Plurals of the claimed kinds that the binding has no rights for, or does not claim rightly; `None`
    /// while it has not said what it claims.
    pub fn pending_claims(&self) -> Option<Vec<String>> {
        let pending = self.provider.pending_claims(&self.binding.name_any())?;
        let plurals = pending
            .into_iter()
            .map(|claim| claim.group_resource.resource);
        Some(plurals.collect())
    }

    /// So many requests of this method have a path with this in it.
    pub fn asked(&self, method: &str, part: &str) -> usize {
        let consumer = self.consumer();
        let asked = consumer.asked.iter();
        asked
            .filter(|a| a.method == method && a.uri.contains(part))
            .count()
    }
}
