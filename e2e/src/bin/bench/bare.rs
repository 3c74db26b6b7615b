//! The limit: a client that does nothing but send the requests of a creation, with the konnector's own
//! rights, to the same servers, about objects of the same size. Of a kind that is not bound, so that no
//! konnector takes notice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::{Client, ResourceExt};
use kube_bind_crds::names;
use kube_bind_e2e::objects::{api, as_consumer, create, create_namespace};
use kube_bind_e2e::usage;
use kube_bind_e2e::widgets::crd;
use serde_json::{Value, json};

use crate::alone::body;
use crate::bed::{Bed, WRITERS};

/// Among these the best is looked for.
const CONCURRENCY: [usize; 3] = [4, 8, 16];
const NAMESPACE: &str = "bare";
pub const KIND: &str = "Gadget";

pub struct Bare {
    pub consumer: Client,
    pub provider: Client,
    /// For what a user does.
    author: Client,
    cluster_namespace: String,
    /// Makes the names of each run its own.
    run: usize,
}

/// How fast one run was.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub concurrency: usize,
    /// Objects a second.
    pub rate: f64,
    /// Processor time per object.
    pub cost: Duration,
}

impl Bare {
    /// Puts the kind in place on both sides, once, with rights on it.
    pub async fn prepare(bed: &Bed) -> Result<Bare> {
        for plane in [&bed.consumer.plane, &bed.provider.plane] {
            let everyone = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": NAMESPACE},
                "rules": [{"apiGroups": ["example.org"], "resources": ["gadgets", "gadgets/status"], "verbs": ["*"]}],
            });
            let binding = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": NAMESPACE},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAMESPACE},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts"}],
            });
            let mut kind = crd("gadgets", KIND, true);
            kind["metadata"]["labels"] = Value::Null;
            let list =
                json!({"apiVersion": "v1", "kind": "List", "items": [everyone, binding, kind]});
            plane
                .kubectl_with_input(&["apply", "--server-side", "-f", "-"], &list.to_string())
                .await?;
            plane
                .kubectl(&[
                    "wait",
                    "--for=condition=Established",
                    "--timeout=60s",
                    "crd/gadgets.example.org",
                ])
                .await?;
            create_namespace(plane, NAMESPACE).await?;
        }
        let (provider, cluster_namespace) = as_consumer(&bed.consumer.plane).await?;
        Ok(Bare {
            consumer: bed.consumer.konnector_client().await?,
            provider,
            author: bed.consumer.plane.client(),
            cluster_namespace,
            run: 0,
        })
    }

    /// The fastest of several runs with different concurrency.
    pub async fn best(&mut self, count: usize) -> Result<Run> {
        let mut best: Option<Run> = None;
        for concurrency in CONCURRENCY {
            let run = self.run(count, concurrency).await?;
            crate::report::say(&format!(
                "bare client, {concurrency} at a time: {:.0} objects/s",
                run.rate
            ));
            if best.is_none_or(|best| run.rate > best.rate) {
                best = Some(run);
            }
        }
        best.context("there is a concurrency to try")
    }

    /// One run over new objects.
    pub async fn run(&mut self, count: usize, concurrency: usize) -> Result<Run> {
        self.run += 1;
        let author = gadgets(&self.author);
        let objects: Vec<DynamicObject> = stream::iter((0..count).map(|number| {
            let (author, run) = (author.clone(), self.run);
            async move { create(&author, &body(KIND, &format!("object-{run}-{number}"))).await }
        }))
        .buffer_unordered(WRITERS)
        .try_collect()
        .await?;
        let (mine, copies) = (gadgets(&self.consumer), gadgets(&self.provider));
        let (start, before) = (Instant::now(), usage::processor_time(std::process::id())?);
        let (whose, mine, copies) = (&self.cluster_namespace, &mine, &copies);
        stream::iter(
            objects
                .iter()
                .map(|object| sync(whose, mine, copies, object)),
        )
        .buffer_unordered(concurrency)
        .try_collect::<Vec<()>>()
        .await?;
        let seconds = start.elapsed().as_secs_f64();
        let spent = usage::processor_time(std::process::id())? - before;
        Ok(Run {
            concurrency,
            rate: count as f64 / seconds,
            cost: spent / u32::try_from(count).unwrap_or(u32::MAX).max(1),
        })
    }
}

/// Mark, create, annotate: the requests of the konnector.
pub async fn sync(
    cluster_namespace: &str,
    mine: &Api<DynamicObject>,
    copies: &Api<DynamicObject>,
    object: &DynamicObject,
) -> Result<()> {
    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
    let mut mark = json!({
        "apiVersion": "example.org/v1",
        "kind": KIND,
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": uid, "finalizers": [names::FINALIZER_SYNCER]},
    });
    let marking = PatchParams::apply("kube-bind-konnector/sync").force();
    mine.patch(&name, &marking, &Patch::Apply(&mark)).await?;
    let copy = json!({
        "apiVersion": "example.org/v1",
        "kind": KIND,
        "metadata": {"name": name, "namespace": NAMESPACE, "resourceVersion": "0", "annotations": {
            names::ANNOTATION_CLUSTER_NAMESPACE: cluster_namespace,
            names::ANNOTATION_CONSUMER_NAMESPACE: NAMESPACE,
            names::ANNOTATION_CONSUMER_UID: uid,
        }},
        "spec": object.data["spec"],
    });
    let creating = PatchParams::apply(names::FIELD_MANAGER_SYNC).force();
    let copy = copies.patch(&name, &creating, &Patch::Apply(&copy)).await?;
    mark["metadata"]["annotations"] = json!({
        names::ANNOTATION_PROVIDER_NAMESPACE: NAMESPACE,
        names::ANNOTATION_PROVIDER_UID: copy.uid(),
    });
    mine.patch(&name, &marking, &Patch::Apply(&mark)).await?;
    Ok(())
}

pub fn gadgets(client: &Client) -> Api<DynamicObject> {
    api(client.clone(), ("example.org", "v1", KIND), NAMESPACE)
}
