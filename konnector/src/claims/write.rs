//! The writes of a claims engine. IO: each step is one write, with a read of the body before a copy.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube_bind_runtime::apply;
use serde_json::Value;

use super::body::{self, Identity};
use super::copy::Copy;
use super::plan::{Step, owner_of};
use super::state::Side;
use crate::fault;
use crate::names::MANAGER_CLAIMS;
use crate::sync::{Key, ObjectRef};

/// What became of a step.
#[derive(Debug)]
pub enum Written {
    /// Done, or found done; this is what there is now on that side.
    Found(Side, Box<Copy>),
    /// Done.
    Done,
    /// Something changed meanwhile: look again.
    Stale,
    /// The API server does not accept the copy.
    Rejected(String),
}

/// Where the steps of one key go.
pub struct Writer<'a> {
    /// Plural of the claimed kind.
    pub plural: &'a str,
    /// The claimed kind in the consumer's namespace.
    pub consumer: Api<DynamicObject>,
    /// The claimed kind in the service namespace.
    pub provider: Api<DynamicObject>,
    /// Namespace and name on the consumer.
    pub key: &'a Key,
    /// Namespace on the provider.
    pub service_namespace: &'a str,
    /// In whose name.
    pub identity: Identity<'a>,
    /// Uid of the source that the plan was made for.
    pub source_uid: &'a str,
}

impl Writer<'_> {
    /// Performs one step.
    pub async fn perform(&self, step: &Step) -> Result<Written, kube::Error> {
        let answer = match step {
            Step::Create(side) => self.copy(*side, None).await,
            Step::Update(side, old) => self.copy(*side, Some(old)).await,
            Step::Delete(side, copy) => self.delete(*side, copy).await,
            Step::Mark(side, source) => {
                let patch = body::mark(*side, source, self.identity);
                self.patch(*side, &patch).await
            }
            Step::Unmark(side, object) => self.patch(*side, &body::unmark(*side, object)).await,
            Step::Conflict(_) => return Ok(Written::Done),
        };
        match answer {
            Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => {
                // A namespace that is missing or going is worth a pause, not an immediate retry.
                if matches!(step, Step::Create(_)) {
                    return Err(error);
                }
                Ok(Written::Stale)
            }
            Err(error) if fault::is_refused(&error) => {
                Ok(Written::Rejected(fault::shorten(&fault::describe(&error))))
            }
            other => other,
        }
    }

    fn api(&self, side: Side) -> &Api<DynamicObject> {
        match side {
            Side::Consumer => &self.consumer,
            Side::Provider => &self.provider,
        }
    }

    async fn copy(&self, side: Side, old: Option<&Copy>) -> Result<Written, kube::Error> {
        let source = apply::timed(self.api(side.other()).get_opt(&self.key.name)).await?;
        let Some(source) = source.filter(|source| self.is_expected(side, source)) else {
            return Ok(Written::Stale);
        };
        let namespace = match side {
            Side::Consumer => &self.key.namespace,
            Side::Provider => self.service_namespace,
        };
        let mut body = body::copy_of(&source, side, namespace, self.identity, old);
        if let Some(old) = old
            && !self.keep(side, old, &mut body).await?
        {
            return Ok(Written::Stale);
        }
        let body: DynamicObject = match serde_json::from_value(body) {
            Ok(body) => body,
            Err(error) => return Err(kube::Error::SerdeError(error)),
        };
        let params = PostParams {
            field_manager: Some(MANAGER_CLAIMS.to_owned()),
            ..PostParams::default()
        };
        let api = self.api(side);
        let written = match old {
            Some(_) => apply::timed(api.replace(&self.key.name, &params, &body)).await,
            None => apply::timed(api.create(&params, &body)).await,
        };
        match written {
            Ok(written) => Ok(Written::Found(
                side,
                Box::new(Copy::of(self.plural, &written)),
            )),
            // Ours that the watch has not told yet, or somebody else's: the next plan says which.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let found = apply::timed(api.get_opt(&self.key.name)).await?;
                Ok(found.map_or(Written::Stale, |found| {
                    Written::Found(side, Box::new(Copy::of(self.plural, &found)))
                }))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the source is still the one that the plan was made for, and still one.
    fn is_expected(&self, side: Side, source: &DynamicObject) -> bool {
        let copy = Copy::of(self.plural, source);
        let (provider, consumer) = match side {
            Side::Consumer => (Some(&copy), None),
            Side::Provider => (None, Some(&copy)),
        };
        let is_owner = match side {
            Side::Consumer => kube_bind_crds::claims::Owner::Provider,
            Side::Provider => kube_bind_crds::claims::Owner::Consumer,
        };
        copy.uid == self.source_uid
            && copy.may_cross
            && !copy.terminating
            && owner_of(provider, consumer) == Some(is_owner)
    }

    /// Puts into the body what the cluster of the copy gave an account; says whether the copy is still
    /// the one that is to be replaced.
    async fn keep(&self, side: Side, old: &Copy, body: &mut Value) -> Result<bool, kube::Error> {
        if self.plural != "serviceaccounts" {
            return Ok(true);
        }
        let Some(found) = apply::timed(self.api(side).get_opt(&self.key.name)).await? else {
            return Ok(false);
        };
        if found.metadata.resource_version.as_deref() != Some(&*old.resource_version) {
            return Ok(false);
        }
        for field in body::KEPT {
            if let Some(value) = found.data.get(field) {
                body[field] = value.clone();
            }
        }
        Ok(true)
    }

    async fn delete(&self, side: Side, copy: &Copy) -> Result<Written, kube::Error> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(copy.uid.clone()),
                // What is not marked as ours any more is not ours to delete.
                resource_version: Some(copy.resource_version.clone()),
            }),
            ..DeleteParams::default()
        };
        apply::timed(self.api(side).delete(&self.key.name, &params)).await?;
        Ok(Written::Done)
    }

    async fn patch(&self, side: Side, patch: &Value) -> Result<Written, kube::Error> {
        let params = PatchParams {
            field_manager: Some(MANAGER_CLAIMS.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        let api = self.api(side);
        apply::timed(api.patch_metadata(&self.key.name, &params, &patch)).await?;
        Ok(Written::Done)
    }
}

/// A referring object, for events on it.
pub fn reference_to(object: &ObjectRef) -> ObjectReference {
    ObjectReference {
        api_version: Some(object.api_version.clone()),
        kind: Some(object.kind.clone()),
        namespace: Some(object.key.namespace.clone()).filter(|n| !n.is_empty()),
        name: Some(object.key.name.clone()),
        uid: Some(object.uid.clone()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{Asked, WEBHOOK_DENIES, answering, failure, lacks};
    use kube::api::ApiResource;
    use serde_json::json;
    use std::sync::{Arc, Mutex};

    fn object(kind: &str, metadata: Value) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"k": "AA=="}})
    }

    /// Performs a step against a source with this metadata and a scripted side of the copy.
    async fn perform(
        kind: (&str, &str),
        step: Step,
        source: Value,
        answer: impl Fn(&Asked) -> (u16, Value) + Send + 'static,
    ) -> (Result<Written, kube::Error>, Vec<Asked>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let target = answering(move |request| {
            seen.lock().unwrap().push(request.clone());
            answer(request)
        });
        let source = object(kind.0, source);
        let source = answering(move |_| (200, source.clone()));
        let (consumer, provider) = match step {
            Step::Create(Side::Provider) | Step::Mark(Side::Provider, _) => (source, target),
            _ => (target, source),
        };
        let gvk = kube::core::GroupVersionKind::gvk("", "v1", kind.0);
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.1);
        let key = Key::new("team-a", "tls");
        let writer = Writer {
            plural: kind.1,
            consumer: Api::namespaced_with(consumer, "team-a", &resource),
            provider: Api::namespaced_with(provider, "tenant-a", &resource),
            key: &key,
            service_namespace: "tenant-a",
            identity: Identity {
                provider_cluster: "cluster",
                cluster_namespace: "tenant",
                binding: "certificates",
            },
            source_uid: "s-1",
        };
        let written = writer.perform(&step).await;
        let asked = asked.lock().unwrap().clone();
        (written, asked)
    }

    const SECRET: (&str, &str) = ("Secret", "secrets");

    fn source() -> Value {
        json!({"name": "tls", "namespace": "there", "uid": "s-1"})
    }

    fn old() -> Copy {
        Copy {
            uid: "c-1".into(),
            resource_version: "9".into(),
            ..Copy::default()
        }
    }

    #[tokio::test]
    async fn a_copy_is_created_by_post_and_never_by_apply() {
        for (side, owner, namespace) in [
            (Side::Consumer, "provider", "team-a"),
            (Side::Provider, "consumer", "tenant-a"),
        ] {
            let created = |request: &Asked| (201, request.body.clone());
            let (written, asked) = perform(SECRET, Step::Create(side), source(), created).await;
            assert!(matches!(written, Ok(Written::Found(..))), "{written:?}");
            assert_eq!(asked.len(), 1);
            assert_eq!(asked[0].method, "POST");
            let metadata = &asked[0].body["metadata"];
            assert_eq!(metadata["labels"]["kube-bind.io/owner"], owner);
            assert_eq!(metadata["namespace"], namespace);
        }
    }

    #[tokio::test]
    async fn an_object_of_the_consumer_in_the_way_is_found_and_stays() {
        let answer = |request: &Asked| match request.method.as_str() {
            "POST" => failure(409, "AlreadyExists"),
            _ => (200, object("Secret", json!({"name": "tls", "uid": "mine"}))),
        };
        let (written, asked) =
            perform(SECRET, Step::Create(Side::Consumer), source(), answer).await;
        let Ok(Written::Found(Side::Consumer, found)) = written else {
            panic!("{written:?}");
        };
        assert_eq!((found.uid.as_str(), found.owner), ("mine", None));
        let methods: Vec<_> = asked.iter().map(|a| a.method.as_str()).collect();
        assert_eq!(methods, ["POST", "GET"]);
    }

    #[tokio::test]
    async fn a_source_that_is_not_what_was_planned_for_is_not_copied() {
        let token = json!({"name": "tls", "uid": "another"});
        let label =
            json!({"name": "tls", "uid": "s-1", "labels": {"kube-bind.io/owner": "consumer"}});
        let going =
            json!({"name": "tls", "uid": "s-1", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        for source in [token, label, going] {
            let (written, asked) = perform(SECRET, Step::Create(Side::Consumer), source, |_| {
                failure(500, "nothing is written")
            })
            .await;
            assert!(matches!(written, Ok(Written::Stale)), "{written:?}");
            assert!(asked.is_empty());
        }
    }

    #[tokio::test]
    async fn every_change_names_uid_and_version() {
        let echo = |request: &Asked| (200, request.body.clone());
        let update = Step::Update(Side::Consumer, old());
        let (written, asked) = perform(SECRET, update, source(), echo).await;
        assert!(matches!(written, Ok(Written::Found(..))), "{written:?}");
        assert_eq!(asked[0].method, "PUT");
        for step in [
            Step::Update(Side::Consumer, old()),
            Step::Mark(Side::Consumer, old()),
            Step::Unmark(Side::Consumer, old()),
        ] {
            let (_, asked) = perform(SECRET, step, source(), echo).await;
            assert_eq!(asked[0].body["metadata"]["uid"], "c-1");
            assert_eq!(asked[0].body["metadata"]["resourceVersion"], "9");
        }
        let delete = Step::Delete(Side::Consumer, old());
        let stale = |_: &Asked| failure(409, "Conflict");
        let (written, asked) = perform(SECRET, delete, source(), stale).await;
        assert!(matches!(written, Ok(Written::Stale)), "{written:?}");
        assert_eq!(asked[0].body["preconditions"]["uid"], "c-1");
        assert_eq!(asked[0].body["preconditions"]["resourceVersion"], "9");
    }

    #[tokio::test]
    async fn an_account_keeps_what_its_cluster_gave_it() {
        let found = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "tls", "uid": "c-1", "resourceVersion": "9"},
            "secrets": [{"name": "tls-token"}]});
        let answer = move |request: &Asked| match request.method.as_str() {
            "GET" => (200, found.clone()),
            _ => (200, request.body.clone()),
        };
        let kind = ("ServiceAccount", "serviceaccounts");
        let update = Step::Update(Side::Consumer, old());
        let (_, asked) = perform(kind, update, source(), answer).await;
        assert_eq!(asked[1].method, "PUT");
        assert_eq!(asked[1].body["secrets"], json!([{"name": "tls-token"}]));
    }

    #[tokio::test]
    async fn what_an_api_server_refuses_is_told_and_not_an_error() {
        for refusal in [failure(422, "Invalid"), failure(403, WEBHOOK_DENIES)] {
            let refuse = move |_: &Asked| refusal.clone();
            let create = Step::Create(Side::Provider);
            let (written, _) = perform(SECRET, create, source(), refuse).await;
            assert!(matches!(written, Ok(Written::Rejected(_))), "{written:?}");
        }
        let denied = |_: &Asked| lacks("create", "secrets");
        let (written, _) = perform(SECRET, Step::Create(Side::Provider), source(), denied).await;
        assert!(written.is_err(), "{written:?}");
    }
}
