//! The world of these tests: a proxy between the konnector and each API server, an operator that writes
//! a status on every copy, and bursts of changes that do not mind failing servers.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube_bind_e2e::bindings::{merge, says};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::foreign::Foreign;
use kube_bind_e2e::objects::{as_consumer, create_namespace, service_namespace};
use kube_bind_e2e::provider::{Provider, ProviderOptions};
use kube_bind_e2e::proxy::FaultProxy;
use kube_bind_e2e::sides::Sides;
use kube_bind_e2e::wait_for;
use kube_bind_e2e::widgets::{self, TEMPLATE, widget, widgets};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio::task::AbortHandle;

/// Objects in a burst.
pub const BURST: usize = 300;

pub struct Bed {
    pub provider: Provider,
    pub consumer: Consumer,
    /// In front of the provider's API server.
    pub to_provider: FaultProxy,
    /// In front of the consumer's own.
    pub to_consumer: FaultProxy,
    pub cluster_namespace: String,
}

static BED: OnceCell<Mutex<Bed>> = OnceCell::const_new();

/// The one bed; each test has it alone.
pub async fn bed() -> Result<MutexGuard<'static, Bed>> {
    let bed = BED.get_or_try_init(|| async { anyhow::Ok(Mutex::new(start().await?)) });
    Ok(bed.await?.lock().await)
}

async fn start() -> Result<Bed> {
    let options = ProviderOptions {
        without_operator: true,
        without_backend: true,
        ..ProviderOptions::default()
    };
    let (provider, consumer) =
        tokio::try_join!(Provider::start(options), Consumer::start("consumer"))?;
    let to_provider = FaultProxy::start(&provider.plane).await?;
    let to_consumer = FaultProxy::start(&consumer.plane).await?;
    provider.advertise(&to_provider.url());
    consumer.reach_through(&to_consumer.url());
    provider.start_backend().await?;
    widgets::offer(&provider).await?;
    consumer
        .bind_reporting(
            &provider.url(),
            &provider.alice,
            &["--template-name", TEMPLATE],
            |_| {},
        )
        .await?
        .success()?;
    let (_, cluster_namespace) = as_consumer(&consumer.plane).await?;
    Ok(Bed {
        provider,
        consumer,
        to_provider,
        to_consumer,
        cluster_namespace,
    })
}

/// A namespace full of objects that users and the operator work on.
pub struct Burst<'a> {
    bed: &'a Bed,
    namespace: String,
    pub mine: Api<DynamicObject>,
    pub theirs: Api<DynamicObject>,
    pub sides: Sides<'a>,
    foreign: Foreign,
    operator: AbortHandle,
}

impl Drop for Burst<'_> {
    fn drop(&mut self) {
        self.operator.abort();
    }
}

impl Bed {
    /// A namespace of its own with its first object synced, foreign objects planted, and the operator
    /// at work.
    pub async fn burst(&self, namespace: &str) -> Result<Burst<'_>> {
        // A test that failed may have left them as they were.
        self.to_provider.heal();
        self.to_consumer.heal();
        create_namespace(&self.consumer.plane, namespace).await?;
        let mine = widgets(&self.consumer.plane, namespace);
        persist(|| put(&mine, "first", 1)).await?;
        let service =
            service_namespace(&self.provider.plane, &self.cluster_namespace, namespace).await?;
        let theirs = widgets(&self.provider.plane, &service);
        let foreign = Foreign::plant(
            (&self.consumer.plane, namespace),
            (&self.provider.plane, &service),
        )
        .await?;
        #[expect(clippy::disallowed_methods, reason = "ended by the drop of the burst")]
        let operator = tokio::spawn(operate(theirs.clone(), self.cluster_namespace.clone()));
        let sides = Sides {
            consumer: &self.consumer.plane,
            provider: &self.provider.plane,
            kind: ("example.org", "v1", "Widget"),
            cluster_namespace: &self.cluster_namespace,
            namespaces: vec![(namespace.to_owned(), service)],
        };
        sides.wait_equal().await?;
        Ok(Burst {
            bed: self,
            namespace: namespace.to_owned(),
            mine,
            theirs,
            sides,
            foreign,
            operator: operator.abort_handle(),
        })
    }

    /// Waits until the binding's `Ready` has this status.
    pub async fn wait_binding(&self, status: &str) -> Result<()> {
        says(&self.consumer.plane, TEMPLATE, "Ready", (status, "*")).await?;
        Ok(())
    }
}

impl Burst<'_> {
    /// A user creates all objects, then changes every second and deletes every third one.
    pub async fn make(&self) -> Result<()> {
        make_all(self, "w", 0..BURST).await?;
        change_all(self, "w", (0..BURST).step_by(2)).await?;
        remove_all(self, "w", (0..BURST).step_by(3)).await
    }

    /// Both sides agree in the end, nothing foreign was touched, and a deletion leaves nothing.
    pub async fn settle(&self) -> Result<()> {
        self.bed.to_provider.heal();
        self.bed.to_consumer.heal();
        let count = self.sides.wait_equal().await?;
        anyhow::ensure!(count == 1 + BURST - BURST.div_ceil(3), "{count} objects");
        self.end().await
    }

    /// Nothing foreign was touched, all is well, and a deletion leaves nothing.
    pub async fn end(&self) -> Result<()> {
        self.bed.wait_binding("True").await?;
        self.foreign.ensure_untouched().await?;
        let all = (DeleteParams::default(), ListParams::default());
        persist(|| async {
            Ok(self
                .mine
                .delete_collection(&all.0, &all.1)
                .await
                .map(drop)?)
        })
        .await?;
        wait_for(&format!("{} to be empty", self.namespace), || async {
            let (mine, copies) =
                tokio::try_join!(self.mine.list(&all.1), self.theirs.list(&all.1))?;
            // The two foreign ones are there.
            if mine.items.is_empty() && copies.items.len() == 2 {
                return Ok(());
            }
            let left = (mine.items.len(), copies.items.len());
            Err(anyhow::anyhow!("{left:?} objects are left"))
        })
        .await?;
        self.foreign.ensure_untouched().await
    }
}

/// The operator: every copy's status follows its spec.
async fn operate(copies: Api<DynamicObject>, cluster_namespace: String) {
    loop {
        let list = copies.list(&ListParams::default()).await;
        for copy in list.map(|list| list.items).unwrap_or_default() {
            let phase = format!("size {}", copy.data["spec"]["size"]);
            let ours = copy.annotations().values().any(|v| *v == cluster_namespace);
            if ours && copy.data["status"]["phase"] != phase.as_str() {
                let status = json!({"status": {"phase": phase}});
                // It comes round again.
                let _ = copies
                    .patch_status(
                        &copy.name_any(),
                        &PatchParams::default(),
                        &Patch::Merge(&status),
                    )
                    .await;
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// A user creates objects.
pub async fn make_all(
    burst: &Burst<'_>,
    prefix: &str,
    numbers: impl Iterator<Item = usize>,
) -> Result<()> {
    each(prefix, numbers, |name| async move {
        put(&burst.mine, &name, 1).await
    })
    .await
}

/// A user changes objects.
pub async fn change_all(
    burst: &Burst<'_>,
    prefix: &str,
    numbers: impl Iterator<Item = usize>,
) -> Result<()> {
    each(prefix, numbers, |name| async move {
        change(&burst.mine, &name, 2).await
    })
    .await
}

/// A user deletes objects.
pub async fn remove_all(
    burst: &Burst<'_>,
    prefix: &str,
    numbers: impl Iterator<Item = usize>,
) -> Result<()> {
    each(prefix, numbers, |name| async move {
        remove(&burst.mine, &name).await
    })
    .await
}

async fn each<F, Fut>(prefix: &str, numbers: impl Iterator<Item = usize>, act: F) -> Result<()>
where
    F: Fn(String) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let act = &act;
    stream::iter(numbers.map(|number| format!("{prefix}-{number:03}")))
        .map(|name| persist(move || act(name.clone())))
        .buffer_unordered(4)
        .try_collect()
        .await
}

/// A user who does not give up.
async fn persist<F, Fut>(act: F) -> Result<()>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<()>>,
{
    wait_for("a user's request to succeed", act).await
}

async fn put(api: &Api<DynamicObject>, name: &str, size: i64) -> Result<()> {
    let object: DynamicObject =
        serde_json::from_value(widget(name, size)).context("not an object")?;
    match api.create(&PostParams::default(), &object).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

async fn change(api: &Api<DynamicObject>, name: &str, size: i64) -> Result<()> {
    let change = json!({"metadata": {"labels": {"changed": "yes"}}, "spec": {"size": size}});
    merge(api, name, change).await?;
    Ok(())
}

async fn remove(api: &Api<DynamicObject>, name: &str) -> Result<()> {
    match api.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

/// A burst, and the trouble that comes over it.
pub async fn during<A, B>(burst: A, trouble: B) -> Result<()>
where
    A: Future<Output = Result<()>>,
    B: Future<Output = Result<()>>,
{
    tokio::try_join!(burst, trouble)?;
    Ok(())
}

/// Waits until the provider holds this many copies: the burst is in full swing.
pub async fn swing(burst: &Burst<'_>, copies: usize) -> Result<()> {
    wait_for(&format!("{copies} copies"), || async {
        let list = burst.theirs.list(&ListParams::default()).await?;
        let found = list.items.len();
        if found >= copies {
            Ok(())
        } else {
            Err(anyhow::anyhow!("{found}"))
        }
    })
    .await
}
