//! The writes of a claims engine. IO: each step is one write, with a read of the body before a copy.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube_bind_crds::names::{LABEL_OWNER, OWNER_PROVIDER};
use kube_bind_runtime::apply;
use serde_json::json;

use super::copy::{Copy, Placement, consumer_body};
use super::plan::Step;
use crate::fault;
use crate::names::MANAGER_CLAIMS;
use crate::sync::{Key, ObjectRef};

/// What became of a step.
#[derive(Debug)]
pub enum Written {
    /// Done; the copy that there is now on the consumer.
    Copy(Copy),
    /// Done.
    Done,
    /// Something changed meanwhile: look again.
    Stale,
    /// An object that is not ours has the name.
    Conflict,
}

/// Where the steps of one key go.
pub struct Writer<'a> {
    /// The claimed kind in the consumer's namespace.
    pub consumer: Api<DynamicObject>,
    /// The claimed kind in the service namespace.
    pub provider: Api<DynamicObject>,
    /// Namespace and name on the consumer.
    pub key: &'a Key,
    /// Marks of the copy.
    pub placement: Placement<'a>,
    /// Uid of the provider's object that the plan was made for.
    pub source_uid: &'a str,
}

impl Writer<'_> {
    /// Performs one step.
    pub async fn perform(&self, step: &Step) -> Result<Written, kube::Error> {
        let answer = match step {
            Step::Create => self.copy(None).await,
            Step::Update(old) => self.copy(Some(old)).await,
            Step::Delete(copy) => self.delete(copy).await,
            Step::Label(source) => self.label(source).await,
            Step::Conflict => return Ok(Written::Conflict),
        };
        match answer {
            Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => {
                // A namespace that is missing or going is worth a pause, not an immediate retry.
                if matches!(step, Step::Create) {
                    return Err(error);
                }
                Ok(Written::Stale)
            }
            other => other,
        }
    }

    async fn copy(&self, old: Option<&Copy>) -> Result<Written, kube::Error> {
        let Some(source) = apply::timed(self.provider.get_opt(&self.key.name)).await? else {
            return Ok(Written::Stale);
        };
        if source.metadata.uid.as_deref() != Some(self.source_uid) {
            return Ok(Written::Stale);
        }
        let body = consumer_body(&source, &self.placement, old);
        let body: DynamicObject = match serde_json::from_value(body) {
            Ok(body) => body,
            Err(error) => return Err(kube::Error::SerdeError(error)),
        };
        let params = PostParams {
            field_manager: Some(MANAGER_CLAIMS.to_owned()),
            ..PostParams::default()
        };
        if old.is_some() {
            let written =
                apply::timed(self.consumer.replace(&self.key.name, &params, &body)).await?;
            return Ok(Written::Copy(Copy::of(&written)));
        }
        match apply::timed(self.consumer.create(&params, &body)).await {
            Ok(written) => Ok(Written::Copy(Copy::of(&written))),
            Err(kube::Error::Api(status)) if status.is_already_exists() => self.in_the_way().await,
            Err(error) => Err(error),
        }
    }

    /// Something has the name: ours that the watch has not told yet, or not ours.
    async fn in_the_way(&self) -> Result<Written, kube::Error> {
        let found = apply::timed(self.consumer.get_opt(&self.key.name)).await?;
        let ours = found.map(|object| Copy::of(&object)).filter(|copy| {
            copy.marker.provider_cluster.as_deref() == Some(self.placement.provider_cluster)
        });
        match ours {
            Some(copy) if copy.owner.is_some() => Ok(Written::Copy(copy)),
            _ => Ok(Written::Conflict),
        }
    }

    async fn delete(&self, copy: &Copy) -> Result<Written, kube::Error> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(copy.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        apply::timed(self.consumer.delete(&self.key.name, &params)).await?;
        Ok(Written::Done)
    }

    async fn label(&self, source: &Copy) -> Result<Written, kube::Error> {
        let patch = json!({"metadata": {
            "uid": source.uid,
            "labels": {LABEL_OWNER: OWNER_PROVIDER},
        }});
        let params = PatchParams {
            field_manager: Some(MANAGER_CLAIMS.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(&patch);
        apply::timed(
            self.provider
                .patch_metadata(&self.key.name, &params, &patch),
        )
        .await?;
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
    use crate::test_support::{Asked, answering, failure};
    use kube::api::ApiResource;
    use serde_json::Value;
    use std::sync::{Arc, Mutex};

    fn secret(metadata: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"k": "AA=="}})
    }

    async fn perform(
        step: Step,
        consumer: impl Fn(&Asked) -> (u16, Value) + Send + 'static,
    ) -> (Result<Written, kube::Error>, Vec<Asked>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let consumer = answering(move |request| {
            seen.lock().unwrap().push(request.clone());
            consumer(request)
        });
        let provider = answering(|_| {
            (
                200,
                secret(json!({"name": "tls", "namespace": "tenant-a", "uid": "p-1"})),
            )
        });
        let kind = ApiResource::erase::<k8s_openapi::api::core::v1::Secret>(&());
        let key = Key::new("team-a", "tls");
        let writer = Writer {
            consumer: Api::namespaced_with(consumer, "team-a", &kind),
            provider: Api::namespaced_with(provider, "tenant-a", &kind),
            key: &key,
            placement: Placement {
                namespace: "team-a",
                provider_cluster: "cluster",
                binding: "certificates",
            },
            source_uid: "p-1",
        };
        let written = writer.perform(&step).await;
        let asked = asked.lock().unwrap().clone();
        (written, asked)
    }

    #[tokio::test]
    async fn a_copy_is_created_by_post_and_never_by_apply() {
        let (written, asked) = perform(Step::Create, |request| (201, request.body.clone())).await;
        assert!(matches!(written, Ok(Written::Copy(_))), "{written:?}");
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].method, "POST");
        assert_eq!(
            asked[0].body["metadata"]["labels"]["kube-bind.io/owner"],
            "provider"
        );
    }

    #[tokio::test]
    async fn an_object_of_the_consumer_in_the_way_is_a_conflict_and_stays() {
        let (written, asked) = perform(Step::Create, |request| match request.method.as_str() {
            "POST" => failure(409, "AlreadyExists"),
            _ => (
                200,
                secret(json!({"name": "tls", "namespace": "team-a", "uid": "mine"})),
            ),
        })
        .await;
        assert!(matches!(written, Ok(Written::Conflict)), "{written:?}");
        let methods: Vec<_> = asked.iter().map(|a| a.method.as_str()).collect();
        assert_eq!(methods, ["POST", "GET"]);
    }

    #[tokio::test]
    async fn a_change_names_uid_and_version_and_a_deletion_the_uid() {
        let old = Copy {
            uid: "c-1".into(),
            resource_version: "9".into(),
            ..Copy::default()
        };
        let (written, asked) = perform(Step::Update(old.clone()), |request| {
            (200, request.body.clone())
        })
        .await;
        assert!(matches!(written, Ok(Written::Copy(_))), "{written:?}");
        assert_eq!(asked[0].method, "PUT");
        assert_eq!(asked[0].body["metadata"]["uid"], "c-1");
        assert_eq!(asked[0].body["metadata"]["resourceVersion"], "9");
        let (written, asked) = perform(Step::Delete(old), |_| failure(409, "Conflict")).await;
        assert!(matches!(written, Ok(Written::Stale)), "{written:?}");
        assert_eq!(asked[0].body["preconditions"]["uid"], "c-1");
    }
}
