//! What the original's konnector leaves behind: the same requests, with the same field managers, as it
//! makes them (contract sections 5.6 to 5.9).

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube_bind_crds::names;
use kube_bind_e2e::bindings::{bindings, definitions, merge, ours};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::manifests::{apply, credential, konnector, rights, user_of};
use kube_bind_e2e::objects::{create, create_namespace, secrets};
use kube_bind_e2e::original::{CLUSTER_NAMESPACE, OriginalProvider};
use kube_bind_e2e::wait_for;
use kube_bind_e2e::widgets::widgets;
use serde_json::{Value, json};

/// Field manager of the original's POST and PUT requests: the first word of its user agent.
const KONNECTOR: &str = "konnector";
/// Namespace of everything.
pub const NAMESPACE: &str = "shop";

/// The running installation of the original.
pub struct Installation {
    pub provider: OriginalProvider,
    pub consumer: Consumer,
    pub service: String,
    /// Uid of the binding.
    pub binding: String,
}

fn by(manager: &str) -> PostParams {
    PostParams {
        field_manager: Some(manager.to_owned()),
        ..PostParams::default()
    }
}

impl Installation {
    /// Both clusters, the binding, its CRD, and no object yet.
    pub async fn start(crd: &Value, claim: &Value) -> Result<Installation> {
        let (provider, consumer) =
            tokio::try_join!(OriginalProvider::start(), Consumer::start("consumer"))?;
        provider
            .export_with(crd, std::slice::from_ref(claim))
            .await?;
        let mut objects = konnector();
        // The plugin grants these to ours before it starts; the original has all rights.
        let claims = vec![serde_json::from_value(claim.clone())?];
        objects.extend(rights("widgets", &[("widgets", "example.org")], &claims));
        let mut secret = credential("kubeconfig-abcde", provider.kubeconfig());
        secret["metadata"]["labels"] = json!({names::LABEL_PROVIDER_KUBECONFIG: "true"});
        objects.push(secret);
        let crds = kube_bind_crds::manifests::all();
        objects.extend(crds.into_iter().filter(|crd| {
            let name = crd["metadata"]["name"].as_str().unwrap_or_default();
            kube_bind_crds::consumer_rights::OWN_CRDS.contains(&name)
        }));
        apply(&consumer, &objects).await?;
        let bindings = bindings(&consumer.plane);
        let binding = user_of(
            "APIServiceBinding",
            "widgets",
            "kubeconfig-abcde",
            &json!({}),
        );
        let binding = wait_for("the kind", || create(&bindings, &binding)).await?;
        let installation = Installation {
            service: String::new(),
            binding: binding.uid().context("no uid")?,
            provider,
            consumer,
        };
        installation.install(crd).await?;
        create_namespace(&installation.consumer.plane, NAMESPACE).await?;
        let service = installation.provider.serve(NAMESPACE).await?;
        installation.status(claim).await?;
        Ok(Installation {
            service,
            ..installation
        })
    }

    /// The CRD, and who owns it.
    async fn install(&self, crd: &Value) -> Result<()> {
        let mut crd = crd.clone();
        crd["metadata"] = json!({
            "name": crd["metadata"]["name"],
            "ownerReferences": [{"apiVersion": names::API_VERSION, "kind": "APIServiceBinding",
                "name": "widgets", "uid": self.binding, "controller": true}],
        });
        let crds = definitions(&self.consumer.plane);
        crds.create(&by(KONNECTOR), &serde_json::from_value(crd)?)
            .await?;
        let args = [
            "wait",
            "--for=condition=Established",
            "crd/widgets.example.org",
        ];
        self.consumer.plane.kubectl(&args).await?;
        Ok(())
    }

    /// Conditions as the original has them when all is well.
    async fn status(&self, claim: &Value) -> Result<()> {
        let conditions = |types: &[&str]| -> Vec<Value> {
            types
                .iter()
                .map(|type_| json!({"type": type_, "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}))
                .collect()
        };
        let types = [
            "Ready",
            "Connected",
            "Heartbeating",
            "InformersSynced",
            "SchemaInSync",
            "SecretValid",
        ];
        let put = async |api: Api<DynamicObject>, name: &str, status: Value| {
            let mut object = api.get(name).await?;
            object.data["status"] = status;
            api.replace_status(name, &by(KONNECTOR), &object).await?;
            anyhow::Ok(())
        };
        put(
            bindings(&self.consumer.plane),
            "widgets",
            json!({
                "providerPrettyName": "Example Company",
                "boundSchemas": [{"group": "example.org", "resource": "widgets"}],
                "permissionClaims": [claim],
                "conditions": conditions(&types),
            }),
        )
        .await?;
        let of = |kind: &str| ours(&self.provider.plane, kind, CLUSTER_NAMESPACE);
        put(of("ClusterBinding"), "cluster", json!({
            "lastHeartbeatTime": "2026-01-02T03:04:05Z", "heartbeatInterval": "5m0s", "konnectorVersion": "v0.6.0",
            "consumerSecretRef": {"name": "kubeconfig-abcde", "namespace": "kube-bind"},
            "conditions": conditions(&["Ready", "SecretValid", "ValidVersion"]),
        }))
        .await?;
        put(
            of("APIServiceExport"),
            "widgets",
            json!({
                "conditions": conditions(&["Connected", "ConsumerInSync", "ProviderInSync"]),
            }),
        )
        .await
    }

    /// Consumer objects.
    pub fn mine(&self) -> Api<DynamicObject> {
        widgets(&self.consumer.plane, NAMESPACE)
    }

    /// Provider copies.
    pub fn copies(&self) -> Api<DynamicObject> {
        widgets(&self.provider.plane, &self.service)
    }

    /// A synced object: finalizer, copy by POST, annotations.
    pub async fn synced(&self, object: &Value) -> Result<()> {
        let (mine, copies) = (self.mine(), self.copies());
        let mut object = create(&mine, object).await?;
        let name = object.name_any();
        object
            .finalizers_mut()
            .push(names::FINALIZER_SYNCER.to_owned());
        let mut object = mine.replace(&name, &by(KONNECTOR), &object).await?;

        let mut copy = object.clone();
        copy.metadata = kube::api::ObjectMeta {
            name: Some(name.clone()),
            labels: object.metadata.labels.clone(),
            annotations: object.metadata.annotations.clone(),
            ..Default::default()
        };
        let markers = [
            (
                names::ANNOTATION_CLUSTER_NAMESPACE,
                CLUSTER_NAMESPACE.to_owned(),
            ),
            (names::ANNOTATION_CONSUMER_NAMESPACE, NAMESPACE.to_owned()),
            (
                names::ANNOTATION_CONSUMER_UID,
                object.uid().unwrap_or_default(),
            ),
        ];
        for (key, value) in markers {
            copy.annotations_mut().insert(key.to_owned(), value);
        }
        let copy = copies.create(&by(KONNECTOR), &copy).await?;

        let theirs = [
            (names::ANNOTATION_PROVIDER_NAMESPACE, self.service.clone()),
            (
                names::ANNOTATION_PROVIDER_UID,
                copy.uid().unwrap_or_default(),
            ),
        ];
        for (key, value) in theirs {
            object.annotations_mut().insert(key.to_owned(), value);
        }
        mine.replace(&name, &by(KONNECTOR), &object).await?;
        Ok(())
    }

    /// A change that the original has brought over: an apply of the whole copy with the new spec.
    pub async fn changed(&self, name: &str, change: &Value) -> Result<()> {
        let object = merge(&self.mine(), name, change.clone()).await?;
        self.apply_spec(name, &object.data["spec"]).await
    }

    /// The original's apply.
    pub async fn apply_spec(&self, name: &str, spec: &Value) -> Result<()> {
        let mut copy = self.copies().get(name).await?;
        copy.metadata.managed_fields = None;
        copy.data["spec"] = spec.clone();
        let params = PatchParams::apply(names::FIELD_MANAGER_SYNC).force();
        self.copies()
            .patch(name, &params, &Patch::Apply(&copy))
            .await?;
        Ok(())
    }

    /// The provider's operator writes a status and the original brings it back.
    pub async fn status_of(&self, name: &str, phase: &str) -> Result<()> {
        let mut copy = self.copies().get(name).await?;
        copy.data["status"] = json!({"phase": phase});
        self.copies()
            .replace_status(name, &by("operator"), &copy)
            .await?;
        let mut object = self.mine().get(name).await?;
        object.data["status"] = json!({"phase": phase});
        self.mine()
            .replace_status(name, &by(KONNECTOR), &object)
            .await?;
        Ok(())
    }

    /// A claimed Secret that the provider owns, and its copy.
    pub async fn claimed(&self, name: &str) -> Result<()> {
        let secret = |annotations: Value| -> Result<Secret> {
            Ok(serde_json::from_value(json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "stringData": {"key": "value"},
                "metadata": {"name": name, "labels": {names::LABEL_OWNER: names::OWNER_PROVIDER}, "annotations": annotations},
            }))?)
        };
        let theirs = secrets(&self.provider.plane, &self.service)
            .create(&by("operator"), &secret(json!({}))?)
            .await?;
        let annotations = json!({
            names::ANNOTATION_PROVIDER_NAMESPACE: self.service,
            names::ANNOTATION_PROVIDER_UID: theirs.uid(),
        });
        secrets(&self.consumer.plane, NAMESPACE)
            .create(&by(KONNECTOR), &secret(annotations)?)
            .await?;
        Ok(())
    }
}
