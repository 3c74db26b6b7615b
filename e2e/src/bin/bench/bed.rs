//! Two control planes, the backend, a binding, and the namespaces that objects are spread over.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Api, DynamicObject, ListParams};
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{
    as_consumer, create, create_namespace, service_namespace, wait_gone, wait_until,
};
use kube_bind_e2e::provider::{Provider, ProviderOptions};
use kube_bind_e2e::widgets::{self, TEMPLATE, widget, widgets};

use crate::report::Report;

/// Requests that the benchmark itself makes at a time.
pub const WRITERS: usize = 8;
/// Namespace of the objects whose latency is measured.
pub const LATENCY: &str = "latency";

/// Everything that a measurement needs.
pub struct Bed {
    pub provider: Provider,
    pub consumer: Consumer,
    /// The consumer's own namespace on the provider.
    pub cluster_namespace: String,
}

impl Bed {
    pub async fn start(report: &mut Report) -> Result<Bed> {
        let start = Instant::now();
        let options = ProviderOptions {
            without_operator: true,
            ..ProviderOptions::default()
        };
        let (provider, consumer) =
            tokio::try_join!(Provider::start(options), Consumer::start("consumer"))?;
        report.row(
            "two control planes and the backend ready",
            start.elapsed().as_secs_f64(),
            "s",
        );
        widgets::offer(&provider).await?;
        let start = Instant::now();
        let args = ["--template-name", TEMPLATE];
        consumer
            .bind_reporting(&provider.url(), &provider.alice, &args, |_| {})
            .await?
            .success()?;
        report.row(
            "kubectl bind, login to usable API",
            start.elapsed().as_secs_f64(),
            "s",
        );
        let (_, cluster_namespace) = as_consumer(&consumer.plane).await?;
        Ok(Bed {
            provider,
            consumer,
            cluster_namespace,
        })
    }

    /// Makes a namespace with its counterpart, and gives the widgets of both.
    pub async fn namespace(&self, name: &str) -> Result<(Api<DynamicObject>, Api<DynamicObject>)> {
        create_namespace(&self.consumer.plane, name).await?;
        let mine = widgets(&self.consumer.plane, name);
        create(&mine, &widget("first", 1)).await?;
        let service =
            service_namespace(&self.provider.plane, &self.cluster_namespace, name).await?;
        let copies = widgets(&self.provider.plane, &service);
        wait_until(&copies, "first", "at the provider", |_| true).await?;
        mine.delete("first", &Default::default()).await?;
        wait_gone(&mine, "first").await?;
        Ok((mine, copies))
    }

    /// Makes the namespaces that the ladder's objects live in.
    pub async fn map_namespaces(&self, count: usize) -> Result<()> {
        stream::iter(
            (0..count)
                .map(|number| async move { self.namespace(&namespace(number)).await.map(|_| ()) }),
        )
        .buffer_unordered(WRITERS)
        .try_collect::<Vec<()>>()
        .await?;
        Ok(())
    }

    /// Creates so many widgets, spread over the namespaces.
    pub async fn create(&self, count: usize, namespaces: usize) -> Result<()> {
        stream::iter((0..count).map(|number| async move {
            let mine = widgets(&self.consumer.plane, &namespace(number % namespaces));
            create(&mine, &widget(&format!("object-{number}"), 1))
                .await
                .map(|_| ())
        }))
        .buffer_unordered(WRITERS)
        .try_collect::<Vec<()>>()
        .await?;
        Ok(())
    }

    /// Widgets that exist on the consumer and on the provider.
    pub async fn count(&self) -> Result<(usize, usize)> {
        let consumer = count(&widgets(&self.consumer.plane, "")).await?;
        let provider = count(&widgets(&self.provider.plane, "")).await?;
        Ok((consumer, provider))
    }

    /// Fails unless both sides hold so many widgets.
    pub async fn check(&self, expected: usize) -> Result<()> {
        let found = self.count().await?;
        ensure!(
            found == (expected, expected),
            "there are {found:?} objects on the two sides, expected {expected}"
        );
        Ok(())
    }
}

/// Name of a namespace of the ladder.
pub fn namespace(number: usize) -> String {
    format!("bench-{number}")
}

/// How many there are, by one short request.
async fn count(api: &Api<DynamicObject>) -> Result<usize> {
    let page = api
        .list_metadata(&ListParams::default().limit(1))
        .await
        .context("failed to count")?;
    let left = page.metadata.remaining_item_count.unwrap_or_default();
    Ok(page.items.len() + usize::try_from(left).unwrap_or_default())
}
