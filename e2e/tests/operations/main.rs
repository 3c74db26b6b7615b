//! Running konnectors: behind a company's proxy with a private authority, two of them, and beside a
//! leader of the original's kind. All of them run behind the proxy.

mod proxy;

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube_bind_crds::names::{KONNECTOR_LEASE, KONNECTOR_NAMESPACE, KUBECONFIG_SECRET};
use kube_bind_e2e::bindings::bindings;
use kube_bind_e2e::consumer::Consumer;
use kube_bind_e2e::manifests::{apply, credential, konnector, rights, user_of};
use kube_bind_e2e::objects::{condition, create, create_namespace, wait_until};
use kube_bind_e2e::original::{self, CLUSTER_NAMESPACE, OriginalProvider};
use kube_bind_e2e::ports::Port;
use kube_bind_e2e::process::{Launch, Process};
use kube_bind_e2e::widgets::{self, widget, widgets};
use kube_bind_e2e::{run, wait_for};
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

use proxy::{OUTSIDE, Proxy};

/// How long the original's leaders want to be left alone.
const ORIGINAL_LEASE: i64 = 15;

struct Operated {
    provider: OriginalProvider,
    consumer: Consumer,
    proxy: Proxy,
    service: String,
}

static OPERATED: OnceCell<Mutex<Operated>> = OnceCell::const_new();

async fn operated() -> Result<&'static Mutex<Operated>> {
    OPERATED
        .get_or_try_init(|| async {
            let (provider, consumer) =
                tokio::try_join!(OriginalProvider::start(), Consumer::start("consumer"))?;
            provider
                .export(&widgets::crd("widgets", "Widget", true))
                .await?;
            let kubeconfig = outside(provider.kubeconfig())?;
            // Both sides agree on what the consumer was given.
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                "metadata": {"name": KUBECONFIG_SECRET, "namespace": CLUSTER_NAMESPACE},
                "stringData": {"kubeconfig": kubeconfig}});
            provider.apply(&[secret]).await?;
            let mut objects = konnector();
            objects.extend(rights("widgets", &[("widgets", "example.org")], &[]));
            objects.push(credential("company", &kubeconfig));
            apply(&consumer, &objects).await?;
            create_namespace(&consumer.plane, "shop").await?;
            let service = provider.serve("shop").await?;
            let proxy = Proxy::start().await?;
            anyhow::Ok(Mutex::new(Operated {
                provider,
                consumer,
                proxy,
                service,
            }))
        })
        .await
}

/// The kubeconfig under a name that is known outside only, and without an authority.
fn outside(kubeconfig: &str) -> Result<String> {
    let mut kubeconfig: Value = serde_json::from_str(kubeconfig)?;
    let cluster = &mut kubeconfig["clusters"][0]["cluster"];
    let server = cluster["server"].as_str().context("no server")?;
    let server = server.replace("127.0.0.1", OUTSIDE);
    *cluster = json!({"server": server, "tls-server-name": "localhost"});
    Ok(kubeconfig.to_string())
}

impl Operated {
    fn launch(&self) -> Result<Launch> {
        let launch = self.consumer.launch_konnector()?;
        Ok(launch
            .arg("--provider-ca-file")
            .arg(self.provider.plane.ca_file())
            .env("HTTPS_PROXY", format!("http://{}", self.proxy.address))
            .env("NO_PROXY", "127.0.0.0/8"))
    }

    /// A replica of its own name.
    fn replica(&self, name: &str) -> Result<(Process, Port)> {
        let port = Port::claim()?;
        let launch = self.launch()?.replace("--server-address", &port.address());
        let dir = self.consumer.plane.dir().join(name);
        std::fs::create_dir_all(&dir)?;
        Ok((launch.env("POD_NAME", name).start(&dir)?, port))
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.consumer.plane.client(), KONNECTOR_NAMESPACE)
    }

    /// Waits until one of `names` leads; gives its name and the lease.
    async fn leader(&self, names: &[&str]) -> Result<(String, Lease)> {
        wait_for(&format!("{names:?} to lead"), || async {
            let lease = self.leases().get(KONNECTOR_LEASE).await?;
            let spec = lease.spec.clone().unwrap_or_default();
            let holder = spec.holder_identity.unwrap_or_default();
            ensure!(names.contains(&&*holder), "{holder:?} leads");
            Ok((holder, lease))
        })
        .await
    }

    /// A widget goes all the way.
    async fn sync(&self, name: &str) -> Result<()> {
        let mine = widgets(&self.consumer.plane, "shop");
        let object = widget(name, 1);
        wait_for("the kind", || create(&mine, &object)).await?;
        let copies = widgets(&self.provider.plane, &self.service);
        wait_until(&copies, name, "synced", |_| true).await?;
        Ok(())
    }

    async fn bind(&self) -> Result<()> {
        let binding = user_of("APIServiceBinding", "widgets", "company", &json!({}));
        wait_for("the konnector's CRDs", || {
            apply(&self.consumer, std::slice::from_ref(&binding))
        })
        .await
    }
}

#[test]
fn a_provider_behind_a_proxy_and_a_private_authority_is_bound() -> Result<()> {
    run(async {
        let operated = operated().await?.lock().await;
        operated.consumer.keep_konnector(operated.launch()?)?;
        operated.bind().await?;
        let bindings = bindings(&operated.consumer.plane);
        wait_until(&bindings, "widgets", "ready", |binding| {
            condition(binding, "Ready").is_some_and(|(status, ..)| status == "True")
        })
        .await?;
        operated.sync("behind-a-proxy").await?;
        let asked = operated.proxy.asked();
        ensure!(!asked.is_empty(), "the proxy was not asked");
        ensure!(
            asked.iter().all(|target| target.starts_with(OUTSIDE)),
            "the consumer's own API server needs no proxy: {asked:?}"
        );
        operated.consumer.stop_konnector().await
    })
}

/// The leader shows what it did.
async fn measured(port: &Port) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{}/metrics", port.address());
    let kind = r#"binding="widgets",kind="widgets.example.org""#;
    let patterns = [
        "kube_bind_leading 1".to_owned(),
        r#"kube_bind_binding_ready\{binding="widgets"\} 1"#.to_owned(),
        format!(r#"kube_bind_objects\{{{kind},state="synced"\}} [1-9]"#),
        format!(r#"kube_bind_visible_seconds_count\{{{kind},operation="create"\}} 1"#),
        format!(
            r#"kube_bind_writes_total\{{{kind},side="provider",verb="apply",result="success"\}} 1"#
        ),
        r#"kube_bind_watches\{side="provider"\} [1-9]"#.to_owned(),
        r#"kube_bind_watches\{side="consumer"\} [1-9]"#.to_owned(),
    ];
    for pattern in patterns {
        let pattern = regex::Regex::new(&pattern)?;
        wait_for(&format!("metric {pattern}"), || async {
            let text = client.get(&url).send().await?.text().await?;
            ensure!(pattern.is_match(&text), "{text}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[test]
fn another_replica_leads_after_a_crash_and_at_once_after_a_clean_stop() -> Result<()> {
    run(async {
        let operated = operated().await?.lock().await;
        let names = ["replica-0", "replica-1"];
        let mut replicas = names
            .iter()
            .map(|name| operated.replica(name))
            .collect::<Result<Vec<_>>>()?;
        operated.bind().await?;
        let (first, _) = operated.leader(&names).await?;
        operated.sync("before-the-crash").await?;
        let index = usize::from(first == names[1]);
        let second = names[1 - index];
        let crash = Instant::now();
        replicas[index].0.kill()?;
        operated.leader(&[second]).await?;
        eprintln!(
            "the other replica led {:?} after the crash",
            crash.elapsed()
        );
        operated.sync("after-the-crash").await?;

        replicas[index] = operated.replica(&first)?;
        // It stands once it looks at the lease; then the other one stops.
        let standing = format!("http://{}/readyz", replicas[index].1.address());
        replicas[index]
            .0
            .wait_ready(&reqwest::Client::builder().no_proxy().build()?, &standing)
            .await?;
        let stop = Instant::now();
        replicas[1 - index].0.terminate()?;
        operated.leader(&[&first]).await?;
        eprintln!(
            "the other replica led {:?} after the request to stop",
            stop.elapsed()
        );
        let status = replicas[1 - index].0.wait_exit().await?;
        ensure!(status.success(), "a clean stop ends with {status}");
        operated.sync("after-the-stop").await?;
        measured(&replicas[index].1).await?;
        replicas[index].0.terminate()?;
        replicas[index].0.wait_exit().await?;
        let lease = operated.leases().get(KONNECTOR_LEASE).await?;
        let spec = lease.spec.unwrap_or_default();
        ensure!(spec.holder_identity.as_deref() == Some(""), "released");
        Ok(())
    })
}

#[test]
fn a_leader_of_the_originals_kind_is_never_overtaken_and_a_lost_lease_ends_all_writes() -> Result<()>
{
    run(async {
        let operated = operated().await?.lock().await;
        operated.consumer.keep_konnector(operated.launch()?)?;
        operated.bind().await?;
        operated.leader(&["konnector-0"]).await?;
        operated.sync("before-the-loss").await?;

        // Somebody else has the lease now, whoever gave it to them.
        let taken = original::now();
        let spec = json!({"spec": {"holderIdentity": "original-0", "leaseDurationSeconds": ORIGINAL_LEASE,
            "acquireTime": format!("{taken:.6}"), "renewTime": format!("{taken:.6}"), "leaseTransitions": 40}});
        operated
            .leases()
            .patch(
                KONNECTOR_LEASE,
                &PatchParams::default(),
                &Patch::Merge(&spec),
            )
            .await?;
        let konnector: Arc<Process> = operated.consumer.konnector()?;
        wait_for("the konnector to see it", || async {
            ensure!(konnector.log().contains("lost lease"), "not yet");
            Ok(())
        })
        .await?;
        let since = operated.provider.plane.audit().mark()?;
        operated.sync("after-the-loss").await?;

        let (_, lease) = operated.leader(&["konnector-0"]).await?;
        let spec = lease.spec.unwrap_or_default();
        let acquired = spec.acquire_time.context("no time")?.0;
        ensure!(
            acquired.as_second() - taken.as_second() >= ORIGINAL_LEASE,
            "taken at {taken}, overtaken at {acquired}"
        );
        ensure!(spec.lease_transitions == Some(41));
        let requests = operated.provider.plane.audit().since(since)?;
        let writes: Vec<_> = requests
            .iter()
            .filter(|request| request.is_write() && request.user_agent.contains("konnector"))
            .collect();
        ensure!(
            !writes.is_empty(),
            "the audit log shows the writes of the second term"
        );
        for write in writes {
            let at: Timestamp = write.received.parse().context("no time")?;
            ensure!(at >= acquired, "{write:?} before {acquired}");
        }
        operated.consumer.stop_konnector().await
    })
}
