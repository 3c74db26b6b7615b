//! Holds a changed schema back while it would make objects invalid that exist. The judgement is
//! `crds::schema`'s; IO: reads the installed CRD, and its objects page by page.

use std::time::{Duration, Instant};

use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use kube_bind_crds::api::{BoundSchema, GroupResource};
use kube_bind_crds::schema::{self, Judge, Narrowed};
use kube_bind_runtime::apply;
use serde_json::Value;

use crate::consumer::CrdView;

/// Objects per page: bodies can be large.
const PAGE: u32 = 100;
/// Objects that are named; they are the first ones to be asked again.
const NAMED: usize = 3;
/// How often they are asked.
pub(super) const AGAIN: Duration = Duration::from_secs(5);

/// A schema that is not applied for now.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// Hash of the schema that waits.
    hash: String,
    /// What is in the way, in words.
    pub why: Vec<String>,
    /// The spec of the CRD that stays.
    installed: Value,
    offenders: Vec<Offender>,
    /// The definition that cannot be changed so, whatever its objects are.
    impossible: Option<Definition>,
    checked: Instant,
}

/// What decides whether a change is possible at all.
#[derive(Clone, Debug, PartialEq)]
struct Definition {
    uid: String,
    generation: i64,
    stored_versions: Vec<String>,
}

impl Definition {
    fn of(crd: &CrdView) -> Self {
        Self {
            uid: crd.uid.clone(),
            generation: crd.generation,
            stored_versions: crd.stored_versions.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Offender {
    version: String,
    namespace: Option<String>,
    name: String,
    schema: Value,
}

impl Offender {
    fn offends(&self, object: &Value) -> bool {
        !Judge::new(&self.schema).violations(object).is_empty()
    }
}

impl Hold {
    /// The bound schema as it is in force: with the versions that are installed.
    pub fn in_force(&self, bound: &BoundSchema) -> Option<BoundSchema> {
        with_versions_of(bound, &self.installed)
    }
}

/// A bound schema as it is in force while this spec of a CRD is installed.
pub(super) fn with_versions_of(bound: &BoundSchema, installed: &Value) -> Option<BoundSchema> {
    let mut bound = bound.clone();
    let part = |name: &str| installed.get(name).cloned().unwrap_or_default();
    bound.spec.versions = serde_json::from_value(part("versions")).ok()?;
    bound.spec.names = serde_json::from_value(part("names")).ok()?;
    bound.spec.scope = serde_json::from_value(part("scope")).ok()?;
    // What is installed has crossed already.
    bound.spec.conversion = None;
    Some(bound)
}

/// The spec of an installed CRD, whole.
pub(super) async fn installed(client: &Client, name: &str) -> Result<Option<Value>, kube::Error> {
    let definitions = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
    ));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &definitions);
    let crd = apply::timed(api.get_opt(name)).await?;
    Ok(crd.map(|crd| crd.data.get("spec").cloned().unwrap_or_default()))
}

/// What is known of a kind before its schema is applied.
pub(super) struct Change<'a> {
    pub(super) client: &'a Client,
    pub(super) resource: &'a GroupResource,
    pub(super) installed: &'a CrdView,
    /// The CRD that is to be applied.
    pub(super) wanted: &'a Value,
    /// Hash of its schema.
    pub(super) hash: &'a str,
    pub(super) now: Instant,
}

impl Change<'_> {
    /// Whether the change has to wait. `before` is what this said last.
    pub(super) async fn held(&self, before: Option<&Hold>) -> Result<Option<Hold>, kube::Error> {
        let before = before.filter(|hold| hold.hash == self.hash);
        if let Some(before) = before {
            let same = before.impossible == Some(Definition::of(self.installed));
            if same || self.now < before.checked + AGAIN {
                return Ok(Some(before.clone()));
            }
            if self.still_offends(before).await? {
                let mut again = before.clone();
                again.checked = self.now;
                return Ok(Some(again));
            }
        }
        let name = schema::name(self.resource);
        let Some(installed) = installed(self.client, &name).await? else {
            return Ok(None);
        };
        let stored = &self.installed.stored_versions;
        let breaking = schema::breaking_changes(&installed, &self.wanted["spec"], stored);
        let impossible = !breaking.impossible.is_empty();
        let mut hold = Hold {
            hash: self.hash.to_owned(),
            impossible: impossible.then(|| Definition::of(self.installed)),
            why: breaking.impossible,
            installed,
            offenders: Vec::new(),
            checked: self.now,
        };
        for narrowed in &breaking.narrowed {
            self.ask(narrowed, &mut hold).await?;
        }
        Ok((!hold.why.is_empty()).then_some(hold))
    }

    /// Asks all objects, until enough are named.
    async fn ask(&self, narrowed: &Narrowed, hold: &mut Hold) -> Result<(), kube::Error> {
        let Some(kind) = self.kind(&narrowed.version) else {
            return Ok(());
        };
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
        let judge = Judge::new(&narrowed.schema);
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = apply::timed(api.list(&params)).await?;
            for object in page.items {
                let found = judge.violations(&object.data);
                let Some(first) = found.first() else {
                    continue;
                };
                let (namespace, name) = (object.namespace(), object.name_any());
                let place = namespace.as_ref().map(|n| format!("{n}/{name}"));
                let place = place.as_ref().unwrap_or(&name);
                hold.why.push(format!("{place}: {first}"));
                hold.offenders.push(Offender {
                    version: narrowed.version.clone(),
                    namespace,
                    name,
                    schema: narrowed.schema.clone(),
                });
                if hold.offenders.len() >= NAMED {
                    hold.why.push("and maybe others".into());
                    return Ok(());
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    async fn still_offends(&self, hold: &Hold) -> Result<bool, kube::Error> {
        for offender in &hold.offenders {
            let Some(kind) = self.kind(&offender.version) else {
                continue;
            };
            let client = self.client.clone();
            let api: Api<DynamicObject> = match &offender.namespace {
                Some(namespace) => Api::namespaced_with(client, namespace, &kind),
                None => Api::all_with(client, &kind),
            };
            let object = apply::timed(api.get_opt(&offender.name)).await?;
            if object.is_some_and(|o| offender.offends(&o.data)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn kind(&self, version: &str) -> Option<ApiResource> {
        let kind = &self.installed.accepted_names.as_ref()?.kind;
        let gvk = GroupVersionKind::gvk(&self.resource.group, version, kind);
        Some(ApiResource::from_gvk_with_plural(
            &gvk,
            &self.resource.resource,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::answering;
    use serde_json::json;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

    fn crd(most: i64) -> Value {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"},
        "spec": {"scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"}, "versions": [{
            "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "size": {"type": "integer", "maximum": most}}}}}},
        }]}})
    }

    #[tokio::test]
    async fn a_narrower_schema_waits_for_the_objects_and_names_them() {
        let size = Arc::new(AtomicI64::new(50));
        let lists = Arc::new(AtomicUsize::new(0));
        let (of_object, listed) = (size.clone(), lists.clone());
        let client = answering(move |asked| {
            let object = json!({"apiVersion": "example.org/v1", "kind": "Widget",
                "metadata": {"name": "one", "namespace": "team"},
                "spec": {"size": of_object.load(Ordering::SeqCst)}});
            if asked.uri.contains("customresourcedefinitions") {
                (200, crd(100))
            } else if asked.uri.contains("/team/widgets/one") {
                (200, object)
            } else {
                listed.fetch_add(1, Ordering::SeqCst);
                (200, json!({"metadata": {}, "items": [object]}))
            }
        });
        let resource = GroupResource {
            group: "example.org".into(),
            resource: "widgets".into(),
        };
        let names = json!({"plural": "widgets", "kind": "Widget"});
        let installed = CrdView {
            stored_versions: vec!["v1".into()],
            accepted_names: serde_json::from_value(names).ok(),
            ..CrdView::default()
        };
        let start = Instant::now();
        let wanted = crd(10);
        let change = |seconds| Change {
            client: &client,
            resource: &resource,
            installed: &installed,
            wanted: &wanted,
            hash: "new",
            now: start + Duration::from_secs(seconds),
        };
        let first = change(0).held(None).await.unwrap().expect("it is held");
        assert_eq!(
            first.why,
            ["team/one: spec.size has the value 50, the greatest is 10"]
        );
        // While it waits only the object that was named is asked.
        let second = change(6).held(Some(&first)).await.unwrap().expect("held");
        assert_eq!((second.why.len(), lists.load(Ordering::SeqCst)), (1, 1));
        size.store(5, Ordering::SeqCst);
        let early = change(7).held(Some(&second)).await.unwrap();
        assert!(early.is_some(), "it is not asked all the time");
        assert_eq!(change(12).held(Some(&second)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_impossible_change_is_looked_at_once_until_the_definition_changes() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let client = answering(move |request| {
            counted.fetch_add(1, Ordering::SeqCst);
            if request.uri.contains("customresourcedefinitions") {
                (200, crd(100))
            } else {
                (200, json!({"metadata": {}, "items": []}))
            }
        });
        let resource = GroupResource {
            group: "example.org".into(),
            resource: "widgets".into(),
        };
        let mut installed = CrdView {
            stored_versions: vec!["v1".into()],
            generation: 1,
            ..CrdView::default()
        };
        let mut wanted = crd(10);
        wanted["spec"]["versions"][0]["name"] = json!("v2");
        let start = Instant::now();
        let held = async |installed: &CrdView, seconds: u64, before: Option<&Hold>| {
            let change = Change {
                client: &client,
                resource: &resource,
                installed,
                wanted: &wanted,
                hash: "new",
                now: start + Duration::from_secs(seconds),
            };
            change.held(before).await.unwrap()
        };
        let first = held(&installed, 0, None).await.expect("v1 is stored");
        assert!(first.offenders.is_empty() && !first.why.is_empty());
        let requests = asked.load(Ordering::SeqCst);
        let second = held(&installed, 3600, Some(&first)).await;
        assert_eq!(second.as_ref(), Some(&first));
        assert_eq!(
            asked.load(Ordering::SeqCst),
            requests,
            "nothing has changed"
        );
        installed.generation = 2;
        held(&installed, 7200, Some(&first))
            .await
            .expect("it is asked again");
        assert!(asked.load(Ordering::SeqCst) > requests);
    }
}
