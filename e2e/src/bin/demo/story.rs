//! The steps of the demo: a provider appears, a consumer binds, a certificate travels.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kube::api::DynamicObject;
use kube_bind_e2e::cluster::ADMIN;
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::objects::{
    as_consumer, certificate, certificates, create, create_namespace, secrets, service_namespace,
    wait_ready, wait_until,
};
use kube_bind_e2e::provider::{ISSUER, Provider, ProviderOptions};
use kube_bind_e2e::tls;
use serde_json::Value;

use crate::narrator::Narrator;

const NAMESPACE: &str = "shop";
const CERTIFICATE: &str = "web";
const HOST: &str = "shop.example";

/// What runs, for as long as it is held.
#[derive(Default)]
pub struct Stage {
    provider: Option<Provider>,
    consumer: Option<Consumer>,
}

/// Everything in order; what was started stays on `stage`, also when a later step fails.
pub async fn tell(narrator: &Narrator, stage: &mut Stage) -> Result<()> {
    narrator.chapter(
        "Two Kubernetes control planes, a provider's and a consumer's, and an identity provider",
    );
    let say = |text: &str| narrator.step(text);
    let (provider, consumer) = tokio::try_join!(
        Provider::start_reporting(ProviderOptions::default(), &say),
        Consumer::start("consumer-cluster")
    )?;
    let (provider, consumer) = (
        &*stage.provider.insert(provider),
        &*stage.consumer.insert(consumer),
    );
    narrator.step(&format!(
        "consumer control plane at {}; nothing of kube-bind is in it",
        consumer.plane.server()
    ));

    bind(narrator, provider, consumer).await?;
    travel(narrator, provider, consumer).await?;
    verify(narrator, provider, consumer).await?;

    narrator.chapter("What it costs");
    let megabytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let konnector = consumer.konnector()?.memory()?;
    narrator.step(&format!(
        "konnector {}, backend {}",
        megabytes(konnector),
        megabytes(provider.backend_memory()?)
    ));
    Ok(())
}

async fn bind(narrator: &Narrator, provider: &Provider, consumer: &Consumer) -> Result<()> {
    narrator.chapter("Alice, who administers the consumer cluster, binds the provider's offering");
    narrator.step(&format!("$ kubectl bind {}", provider.url()));
    let say = |form: &str| narrator.step(&format!("in the browser: {form}"));
    let run = consumer
        .bind_reporting(&provider.url(), &provider.alice, &[], say)
        .await?
        .success()?;
    narrator.quote(&run.stderr);
    narrator.quote(&run.stdout);
    let token = stored_token(consumer, &provider.url())?;
    ensure!(
        run.visits
            .iter()
            .all(|visit| !visit.url.as_str().contains(&token)),
        "a URL had the token in it"
    );
    narrator.step(&format!(
        "bound, after {} requests of the browser, none of them with a token in its URL",
        run.visits.len()
    ));
    Ok(())
}

/// The token that the plugin keeps for the person.
fn stored_token(consumer: &Consumer, server: &str) -> Result<String> {
    let store = std::fs::read(consumer.home().join(".kube-bind/config"))
        .context("the plugin stored no login")?;
    let store: Value = serde_json::from_slice(&store).context("the plugin's store is not JSON")?;
    store["servers"][server]["accessToken"]
        .as_str()
        .map(str::to_owned)
        .context("the plugin stored no token")
}

async fn travel(narrator: &Narrator, provider: &Provider, consumer: &Consumer) -> Result<()> {
    narrator.chapter("A user of the consumer cluster asks for a certificate");
    create_namespace(&consumer.plane, NAMESPACE).await?;
    let here = certificates(&consumer.plane, NAMESPACE);
    // Takes two seconds: an API server holds back the first objects of a kind that it has just learned.
    create(&here, &certificate(CERTIFICATE, HOST)).await?;
    let start = Instant::now();
    narrator.step(&format!("consumer: Certificate {NAMESPACE}/{CERTIFICATE} for {HOST} is created; this API was not there before"));

    let (_, cluster_namespace) = as_consumer(&consumer.plane).await?;
    let there = service_namespace(&provider.plane, &cluster_namespace, NAMESPACE).await?;
    narrator.arrived(
        start,
        &format!("provider: namespace {there} belongs to the consumer's namespace {NAMESPACE}"),
    );
    let copies = certificates(&provider.plane, &there);
    let exists = |_: &DynamicObject| true;
    wait_until(&copies, CERTIFICATE, "a copy at the provider", exists).await?;
    narrator.arrived(
        start,
        &format!("spec down: Certificate {there}/{CERTIFICATE}"),
    );
    wait_ready(&copies, CERTIFICATE).await?;
    narrator.arrived(start, "provider: cert-manager has issued the certificate");
    wait_ready(&here, CERTIFICATE).await?;
    narrator.arrived(start, "status up: the consumer's Certificate is Ready");
    let secret = format!("{CERTIFICATE}-tls");
    wait_until(
        &secrets(&consumer.plane, NAMESPACE),
        &secret,
        "a certificate",
        |secret| {
            secret
                .data
                .as_ref()
                .is_some_and(|data| data.contains_key("tls.crt"))
        },
    )
    .await?;
    narrator.arrived(
        start,
        &format!("claimed Secret up: {NAMESPACE}/{secret} has the key and the certificate"),
    );
    Ok(())
}

async fn verify(narrator: &Narrator, provider: &Provider, consumer: &Consumer) -> Result<()> {
    narrator.chapter("Is it real?");
    let secret = secrets(&consumer.plane, NAMESPACE)
        .get(&format!("{CERTIFICATE}-tls"))
        .await?;
    let data = secret.data.unwrap_or_default();
    let chain = &data
        .get("tls.crt")
        .context("the Secret has no certificate")?
        .0;
    let (authority, leaf) = (
        consumer.plane.dir().join("authority.pem"),
        consumer.plane.dir().join("web.pem"),
    );
    std::fs::write(&authority, provider.authority().await?)
        .context("failed to write the authority")?;
    std::fs::write(&leaf, chain).context("failed to write the certificate")?;
    tls::verify(&authority, &leaf)?;
    narrator.step(&format!("openssl verify: signed by the provider's issuer {ISSUER}, whose certificate comes from the provider"));
    Ok(())
}

/// How to go on by hand.
pub fn invite(narrator: &Narrator, stage: &Stage) {
    let (Some(provider), Some(consumer)) = (&stage.provider, &stage.consumer) else {
        return;
    };
    let kubeconfig = |plane: &kube_bind_e2e::ControlPlane| {
        plane
            .kubeconfig(ADMIN)
            .map(|path| path.display().to_string())
            .unwrap_or_default()
    };
    let kubectl = consumer.plane.kubectl_program().display();
    narrator.chapter("It stays up; Ctrl-C ends it");
    narrator.line(&format!("export CONSUMER={}", kubeconfig(&consumer.plane)));
    narrator.line(&format!("export PROVIDER={}", kubeconfig(&provider.plane)));
    narrator.line(&format!("alias k={kubectl}"));
    narrator.line("");
    narrator.line("# What the consumer sees, and what the provider has:");
    narrator.line("k --kubeconfig $CONSUMER get apiservicebindings,crds");
    narrator.line(&format!(
        "k --kubeconfig $CONSUMER get certificates,secrets -n {NAMESPACE}"
    ));
    narrator.line(
        "k --kubeconfig $PROVIDER get certificates,apiserviceexports,apiservicenamespaces -A",
    );
    narrator.line("# Change it, break it, delete it; both sides follow:");
    narrator.line(&format!(
        "k --kubeconfig $CONSUMER patch certificate {CERTIFICATE} -n {NAMESPACE} --type merge -p '{{\"spec\":{{\"dnsNames\":[\"new.example\"]}}}}'"
    ));
    narrator.line(&format!(
        "k --kubeconfig $CONSUMER delete certificate {CERTIFICATE} -n {NAMESPACE}"
    ));
    narrator.line("# Unbind, which takes everything back, and bind yourself:");
    narrator.line("k --kubeconfig $CONSUMER delete apiservicebinding certificates");
    narrator.line(&format!(
        "PATH={}:$PATH KUBECONFIG=$CONSUMER kubectl bind {}   # as {}, password {}",
        consumer.path().display(),
        provider.url(),
        provider.bob.name,
        provider.bob.password
    ));
    narrator.line("# Logs:");
    narrator.line(&format!(
        "#   {}",
        provider.logs().join("backend.log").display()
    ));
    narrator.line(&format!(
        "#   {}",
        consumer.plane.dir().join("konnector.log").display()
    ));
}
