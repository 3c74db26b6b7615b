//! The steps for one `APIServiceNamespace` (IO), in an order that never announces too early.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use kube_bind_crds::api::{APIServiceExport, APIServiceNamespace, APIServiceNamespaceStatus};
use kube_bind_crds::names::{ANNOTATION_API_SERVICE_NAMESPACE, ANNOTATION_NAMESPACE_PROBLEM};
use kube_bind_runtime::apply::timed;
use serde_json::json;

use super::decide::{self, Cleanup, Decision, Refusal};
use crate::controllers::driver::Scoped;
use crate::controllers::error::{Error, RESYNC};
use crate::controllers::rights::Rights;
use crate::controllers::{status, tolerant};
use crate::provision::names::{COMPONENT_SERVICE_NAMESPACE, LABEL_COMPONENT};
use crate::provision::{binder_access, ensure};

/// One `APIServiceNamespace` in work.
pub struct Served<'a> {
    object: &'a APIServiceNamespace,
    scoped: &'a Scoped<()>,
    cluster_namespace: String,
    marker: String,
    namespaces: Api<Namespace>,
}

impl<'a> Served<'a> {
    /// For one reconcile.
    pub fn new(object: &'a APIServiceNamespace, scoped: &'a Scoped<()>) -> Self {
        let cluster_namespace = object.namespace().unwrap_or_default();
        let marker = decide::marker(&cluster_namespace, &object.name_any());
        let namespaces = Api::all(scoped.context.client.clone());
        Self {
            object,
            scoped,
            cluster_namespace,
            marker,
            namespaces,
        }
    }

    fn provider_name(&self) -> Result<String, Refusal> {
        let settings = &self.scoped.context.settings;
        let name = self.object.name_any();
        decide::provider_name(self.object, &self.cluster_namespace, &name, settings)
    }

    async fn find(&self, name: &str) -> Result<Option<ObjectMeta>, Error> {
        let found = timed(self.namespaces.get_metadata_opt(name)).await;
        Ok(found
            .map_err(Error::request(format!("read namespace {name}")))?
            .map(|found| found.metadata))
    }

    /// Makes the namespace, gives it its rights, and announces it.
    pub async fn provide(&self, api: &Api<APIServiceNamespace>) -> Result<Action, Error> {
        let name = match self.provider_name() {
            Ok(name) => name,
            Err(refusal) => return self.refuse(api, &refusal).await,
        };
        self.disown(api).await?;
        let found = self.find(&name).await?;
        match decide::decide(found.as_ref(), &name, &self.marker) {
            Decision::Refuse(refusal) => return self.refuse(api, &refusal).await,
            Decision::Wait => {
                return Err(Error::waiting(format!("namespace {name} is being deleted")));
            }
            Decision::Create => self.create(&name).await?,
            Decision::Equip { label: true } => self.label(&name).await?,
            Decision::Equip { label: false } => {}
        }
        let changed = self.equip(&name).await?;
        self.explain(api, None).await?;
        let current = self.object.status.clone().unwrap_or_default();
        let wanted = APIServiceNamespaceStatus {
            namespace: Some(name.clone()),
        };
        let reported = status::report(api, self.object, &current, &wanted, &self.scoped.manager())
            .await
            .map_err(Error::request("write the status"))?;
        if reported {
            let note = format!("namespace {name} is ready");
            self.scoped
                .context
                .events
                .normal(&self.object.object_ref(&()), "NamespaceReady", note)
                .await;
        } else if changed {
            tracing::info!(namespace.name = %name, "changed the rights in namespace {name}");
        }
        Ok(Action::requeue(RESYNC))
    }

    async fn disown(&self, api: &Api<APIServiceNamespace>) -> Result<(), Error> {
        let Some(kept) = decide::without_exports(self.object.owner_references()) else {
            return Ok(());
        };
        let patch = json!({ "metadata": {
            "uid": self.object.uid(),
            "resourceVersion": self.object.resource_version(),
            "ownerReferences": kept,
        }});
        let params = PatchParams {
            field_manager: Some(self.scoped.manager()),
            ..PatchParams::default()
        };
        timed(api.patch_metadata(&self.object.name_any(), &params, &Patch::Merge(patch)))
            .await
            .map_err(Error::request("take the export off the owners"))?;
        // The object has changed, so everything else is done with the new one.
        Err(Error::waiting("the object without an export as its owner"))
    }

    /// Says why there will be no namespace. A person has to act, and the object changes then, or its
    /// successor is a new one; a namespace in the way is looked for now and then.
    async fn refuse(
        &self,
        api: &Api<APIServiceNamespace>,
        refusal: &Refusal,
    ) -> Result<Action, Error> {
        self.explain(api, Some(&refusal.to_string())).await?;
        let object = self.object.object_ref(&());
        self.scoped
            .context
            .events
            .warning(&object, refusal.reason(), refusal.to_string())
            .await;
        Ok(match refusal {
            Refusal::Foreign { .. } => Action::requeue(RESYNC),
            Refusal::Name(_) | Refusal::Reserved { .. } => Action::await_change(),
        })
    }

    /// Writes on the object why there is no namespace, for the konnector, which cannot read our events.
    async fn explain(
        &self,
        api: &Api<APIServiceNamespace>,
        problem: Option<&str>,
    ) -> Result<(), Error> {
        let current = self.object.annotations().get(ANNOTATION_NAMESPACE_PROBLEM);
        if current.map(String::as_str) == problem {
            return Ok(());
        }
        let patch = json!({ "metadata": {
            "uid": self.object.uid(),
            "annotations": { ANNOTATION_NAMESPACE_PROBLEM: problem },
        }});
        let params = PatchParams {
            field_manager: Some(self.scoped.manager()),
            ..PatchParams::default()
        };
        timed(api.patch_metadata(&self.object.name_any(), &params, &Patch::Merge(patch)))
            .await
            .map_err(Error::request("write why there is no namespace"))?;
        Ok(())
    }

    async fn create(&self, name: &str) -> Result<(), Error> {
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                annotations: Some(
                    [(
                        ANNOTATION_API_SERVICE_NAMESPACE.to_owned(),
                        self.marker.clone(),
                    )]
                    .into(),
                ),
                labels: Some(
                    [(
                        LABEL_COMPONENT.to_owned(),
                        COMPONENT_SERVICE_NAMESPACE.to_owned(),
                    )]
                    .into(),
                ),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let step = Error::request(format!("create namespace {name}"));
        if ensure::create(&self.namespaces, &namespace, &self.scoped.manager())
            .await
            .map_err(step)?
        {
            return Ok(());
        }
        Err(Error::waiting(format!(
            "namespace {name} has just been made by somebody"
        )))
    }

    async fn label(&self, name: &str) -> Result<(), Error> {
        let patch =
            json!({ "metadata": { "labels": { LABEL_COMPONENT: COMPONENT_SERVICE_NAMESPACE } } });
        let params = PatchParams {
            field_manager: Some(self.scoped.manager()),
            ..PatchParams::default()
        };
        timed(
            self.namespaces
                .patch_metadata(name, &params, &Patch::Merge(patch)),
        )
        .await
        .map_err(Error::request(format!("label namespace {name}")))?;
        Ok(())
    }

    /// Puts the rights in place; where they changed, or are about to be announced, waits until they are
    /// in effect.
    async fn equip(&self, name: &str) -> Result<bool, Error> {
        let client = &self.scoped.context.client;
        let exports = Api::namespaced(client.clone(), &self.cluster_namespace);
        let exports = tolerant::list::<APIServiceExport>(&exports)
            .await
            .map_err(Error::request("list exports"))?;
        let rights = Rights::of(&exports);
        let mut changed = false;
        for desired in rights.objects(name, &self.cluster_namespace) {
            let step = Error::request(format!("apply {} {}", desired.resource.kind, desired.name));
            changed |= ensure::ensure(client, &desired, &self.scoped.manager())
                .await
                .map_err(step)?;
        }
        let announced = self
            .object
            .status
            .as_ref()
            .is_some_and(|status| status.namespace.is_some());
        if changed || !announced {
            let wanted = rights.accesses(name);
            let denied = binder_access::first_denied(client, &self.cluster_namespace, &wanted)
                .await
                .map_err(Error::request("review access"))?;
            if let Some(denied) = denied {
                let what = format!(
                    "access to {}.{} in {name} is not in effect yet",
                    denied.resource, denied.group
                );
                return Err(Error::waiting(what));
            }
        }
        Ok(changed)
    }

    /// Deletes the namespace if it is ours; succeeds once it is gone.
    pub async fn clean_up(&self) -> Result<Action, Error> {
        // A name that was refused belongs to nobody here.
        let Ok(name) = self.provider_name() else {
            return Ok(Action::await_change());
        };
        let found = self.find(&name).await?;
        match decide::clean_up(found.as_ref(), &self.marker) {
            Cleanup::Done => Ok(Action::await_change()),
            Cleanup::Delete => {
                let namespace = Namespace {
                    metadata: found.unwrap_or_default(),
                    ..Namespace::default()
                };
                let step = Error::request(format!("delete namespace {name}"));
                ensure::delete(&self.namespaces, &namespace)
                    .await
                    .map_err(step)?;
                Err(Error::waiting(format!("namespace {name} is being deleted")))
            }
            Cleanup::Wait => Err(Error::waiting(format!("namespace {name} is being deleted"))),
        }
    }
}
