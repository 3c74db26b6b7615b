//! The main job with a real service: two consumers bind at the same time, ask for certificates in
//! their own clusters, and get them from the provider's cert-manager.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use kube_bind_crds::names;
use kube_bind_e2e::bindings::merge;
use kube_bind_e2e::cluster::ControlPlane;
use kube_bind_e2e::consumer::{Consumer, PluginRun};
use kube_bind_e2e::objects::{
    self, as_consumer, certificate, certificates, create, create_namespace, secrets,
    service_namespace, wait_gone, wait_ready, wait_until,
};
use kube_bind_e2e::provider::ProviderOptions;
use kube_bind_e2e::world::World;
use kube_bind_e2e::{run, wait_for};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// A world in which both consumers have bound, and what their plugins said.
struct Bound {
    world: World,
    north: PluginRun,
    south: PluginRun,
}

static BOUND: OnceCell<Bound> = OnceCell::const_new();

async fn bound() -> Result<&'static Bound> {
    BOUND
        .get_or_try_init(|| async {
            // Credentials are renewed all the time, under everything that these tests do.
            // The log tells all it can, so that what is not in it is never in it.
            let args = [
                "--credential-ttl",
                "30m",
                "--credential-renew-after",
                "10s",
                "--v",
                "6",
            ];
            let options = ProviderOptions {
                backend_args: args.map(str::to_owned).to_vec(),
                ..ProviderOptions::default()
            };
            let world = World::start(options).await?;
            let url = world.provider.url();
            let (north, south) = tokio::try_join!(
                world.north.bind(&url, &world.provider.alice),
                world.south.bind(&url, &world.provider.bob)
            )?;
            anyhow::Ok(Bound {
                north: north.success()?,
                south: south.success()?,
                world,
            })
        })
        .await
}

/// Creates a certificate and gives the issued chain once everything has arrived.
async fn issue(consumer: &Consumer, namespace: &str, name: &str, host: &str) -> Result<Vec<u8>> {
    create_namespace(&consumer.plane, namespace).await?;
    let api = certificates(&consumer.plane, namespace);
    create(&api, &certificate(name, host)).await?;
    wait_ready(&api, name).await?;
    let secret = wait_until(
        &secrets(&consumer.plane, namespace),
        &format!("{name}-tls"),
        "a key pair",
        |secret| {
            secret
                .data
                .as_ref()
                .is_some_and(|data| data.contains_key("tls.key") && data.contains_key("tls.crt"))
        },
    )
    .await?;
    Ok(secret
        .data
        .unwrap_or_default()
        .remove("tls.crt")
        .context("no certificate")?
        .0)
}

/// `openssl verify` against the provider's authority, fetched from the provider.
async fn verify(world: &World, plane: &ControlPlane, chain: &[u8], host: &str) -> Result<()> {
    let (authority, leaf) = (
        plane.dir().join(format!("{host}.ca.pem")),
        plane.dir().join(format!("{host}.pem")),
    );
    std::fs::write(&authority, world.provider.authority().await?)?;
    std::fs::write(&leaf, chain)?;
    let output = Command::new("openssl")
        .args(["verify", "-verify_hostname", host, "-CAfile"])
        .arg(&authority)
        .arg(&leaf)
        .output()?;
    ensure!(
        output.status.success(),
        "openssl verify: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn two_consumers_get_certificates_and_never_see_each_other() -> Result<()> {
    run(async {
        let Bound { world, .. } = bound().await?;
        let (north, south) = tokio::try_join!(
            issue(&world.north, "shop", "web", "north.example"),
            issue(&world.south, "shop", "web", "south.example")
        )?;
        verify(world, &world.north.plane, &north, "north.example").await?;
        verify(world, &world.south.plane, &south, "south.example").await?;
        ensure!(north != south, "each consumer has a certificate of its own");

        // The same namespace and name on both sides are two objects on the provider.
        let (_, north_ns) = as_consumer(&world.north.plane).await?;
        let (south_client, south_ns) = as_consumer(&world.south.plane).await?;
        ensure!(north_ns != south_ns);
        let north_service = service_namespace(&world.provider.plane, &north_ns, "shop").await?;
        for (what, answer) in [
            (
                "certificates of the other",
                list(
                    &south_client,
                    ("cert-manager.io", "v1", "Certificate"),
                    &north_service,
                )
                .await,
            ),
            (
                "certificates of everybody",
                list(&south_client, ("cert-manager.io", "v1", "Certificate"), "").await,
            ),
            (
                "secrets of the other",
                list(&south_client, ("", "v1", "Secret"), &north_service).await,
            ),
            (
                "secrets of the other's cluster namespace",
                list(&south_client, ("", "v1", "Secret"), &north_ns).await,
            ),
            (
                "secrets of everybody",
                list(&south_client, ("", "v1", "Secret"), "").await,
            ),
            (
                "namespaces",
                list(&south_client, ("", "v1", "Namespace"), "").await,
            ),
            (
                "exports of the other",
                list(
                    &south_client,
                    ("kube-bind.io", "v1alpha2", "APIServiceExport"),
                    &north_ns,
                )
                .await,
            ),
        ] {
            ensure!(
                answer == Err(403),
                "a consumer's credential must not list {what}: {answer:?}"
            );
        }
        let mine = list(
            &south_client,
            ("kube-bind.io", "v1alpha2", "APIServiceExport"),
            &south_ns,
        )
        .await;
        ensure!(
            mine == Ok(1),
            "the credential reaches its own export: {mine:?}"
        );
        let at_south = certificates(&world.south.plane, "shop")
            .list(&ListParams::default())
            .await?;
        ensure!(at_south.items.len() == 1, "nothing of the other arrived");
        Ok(())
    })
}

/// How many objects a credential can list, or the HTTP status that refuses it.
async fn list(
    client: &kube::Client,
    gvk: (&str, &str, &str),
    namespace: &str,
) -> std::result::Result<usize, u16> {
    match objects::api(client.clone(), gvk, namespace)
        .list(&ListParams::default())
        .await
    {
        Ok(list) => Ok(list.items.len()),
        Err(kube::Error::Api(status)) => Err(status.code),
        Err(_) => Err(0),
    }
}

#[test]
fn no_url_carries_a_token_and_the_token_file_is_private() -> Result<()> {
    run(async {
        let Bound {
            world,
            north,
            south,
        } = bound().await?;
        for (consumer, run) in [(&world.north, north), (&world.south, south)] {
            let file = consumer.home().join(".kube-bind/config");
            let mode = std::fs::metadata(&file)?.permissions().mode() & 0o777;
            ensure!(mode == 0o600, "{} has mode {mode:o}", file.display());
            let store: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
            let server = store["servers"]
                .as_object()
                .and_then(|all| all.values().next())
                .context("no server stored")?;
            let token = server["accessToken"].as_str().context("no token stored")?;
            ensure!(token.len() > 20, "a token is stored");
            ensure!(!run.visits.is_empty(), "the browser was used");
            for visit in &run.visits {
                ensure!(
                    !visit.url.as_str().contains(token),
                    "a token in {}",
                    visit.url
                );
                ensure!(
                    !visit.url.as_str().contains("access_token")
                        && !visit.url.as_str().contains("id_token"),
                    "{}",
                    visit.url
                );
            }
            ensure!(
                !run.stderr.contains(token) && !run.stdout.contains(token),
                "the plugin prints no token"
            );
            let log = world.provider.backend()?.log();
            ensure!(!log.contains(token), "the backend logs no token");
            let mut found = BTreeSet::new();
            for (key, value) in run.visits.iter().flat_map(|visit| visit.url.query_pairs()) {
                if ["code", "state", "session_id", "nonce"].contains(&&*key) {
                    ensure!(value.len() >= 16, "{key} can be guessed: {value}");
                    ensure!(!log.contains(&*value), "the backend logs {key} {value}");
                    found.insert(key.into_owned());
                }
            }
            ensure!(
                found.iter().eq(["code", "nonce", "session_id", "state"]),
                "the URLs of a login have changed: {found:?}"
            );
        }
        Ok(())
    })
}

#[test]
fn what_a_user_changes_travels_and_what_the_operator_adds_stays() -> Result<()> {
    run(async {
        let Bound { world, .. } = bound().await?;
        issue(&world.north, "changes", "api", "api.example").await?;
        let (_, cluster_namespace) = as_consumer(&world.north.plane).await?;
        let service =
            service_namespace(&world.provider.plane, &cluster_namespace, "changes").await?;
        let mine = certificates(&world.north.plane, "changes");
        let copy = certificates(&world.provider.plane, &service);

        let at_provider = copy.get("api").await?;
        let annotations = at_provider.annotations();
        ensure!(annotations.get(names::ANNOTATION_CLUSTER_NAMESPACE) == Some(&cluster_namespace));
        ensure!(
            annotations
                .get(names::ANNOTATION_CONSUMER_NAMESPACE)
                .map(String::as_str)
                == Some("changes")
        );
        let object = mine.get("api").await?;
        ensure!(annotations.get(names::ANNOTATION_CONSUMER_UID) == object.uid().as_ref());
        ensure!(
            object.annotations().get(names::ANNOTATION_PROVIDER_UID) == at_provider.uid().as_ref()
        );
        ensure!(
            object
                .annotations()
                .get(names::ANNOTATION_PROVIDER_NAMESPACE)
                == Some(&service)
        );
        ensure!(
            object
                .finalizers()
                .iter()
                .any(|f| f == names::FINALIZER_SYNCER),
            "{:?}",
            object.finalizers()
        );

        // The provider's administrator marks the copy; that is not ours to remove.
        let own = json!({"metadata": {"labels": {"backup": "daily"}}});
        merge(&copy, "api", own).await?;
        // A change, an addition and two removals.
        let change = json!({
            "metadata": {"labels": {"team": null, "tier": "gold"}},
            // Without the rotation policy cert-manager would refuse to replace a key of another kind.
            "spec": {
                "dnsNames": ["api.example", "www.example"],
                "privateKey": {"algorithm": null, "size": null, "rotationPolicy": "Always"},
            },
        });
        merge(&mine, "api", change).await?;
        wait_until(&copy, "api", "the change at the provider", |object| {
            object.data["spec"]["dnsNames"] == json!(["api.example", "www.example"])
                && object.data["spec"]["privateKey"] == json!({"rotationPolicy": "Always"})
                && object.labels().get("tier").map(String::as_str) == Some("gold")
                && !object.labels().contains_key("team")
                && object.labels().get("backup").map(String::as_str) == Some("daily")
        })
        .await?;
        // cert-manager issues again for the new names, and the new certificate comes back.
        let keys = secrets(&world.north.plane, "changes");
        wait_for("a certificate for the new name", || async {
            let data = keys.get("api-tls").await?.data.unwrap_or_default();
            let chain = &data.get("tls.crt").context("no certificate")?.0;
            verify(world, &world.north.plane, chain, "www.example").await
        })
        .await?;
        wait_ready(&mine, "api").await?;
        Ok(())
    })
}

#[test]
fn a_deletion_waits_for_the_providers_finalizers() -> Result<()> {
    run(async {
        let Bound { world, .. } = bound().await?;
        issue(&world.south, "endings", "old", "old.example").await?;
        let (_, cluster_namespace) = as_consumer(&world.south.plane).await?;
        let service =
            service_namespace(&world.provider.plane, &cluster_namespace, "endings").await?;
        let mine = certificates(&world.south.plane, "endings");
        let copy = certificates(&world.provider.plane, &service);
        let hold = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
        let patch = hold(json!(["example.com/backup-first"]));
        merge(&copy, "old", patch).await?;

        mine.delete("old", &DeleteParams::default()).await?;
        wait_until(&copy, "old", "terminating", |object| {
            object.metadata.deletion_timestamp.is_some()
        })
        .await?;
        let held = mine
            .get("old")
            .await
            .context("the object must stay while its copy exists")?;
        ensure!(
            held.finalizers()
                .iter()
                .any(|finalizer| finalizer == names::FINALIZER_SYNCER)
        );

        merge(&copy, "old", hold(json!([]))).await?;
        wait_gone(&copy, "old").await?;
        wait_gone(&mine, "old").await?;
        // The Secret was claimed through the certificate, and goes with it.
        wait_gone(&secrets(&world.south.plane, "endings"), "old-tls").await
    })
}

#[test]
fn a_credential_is_renewed_under_the_running_konnector() -> Result<()> {
    run(async {
        let Bound { world, .. } = bound().await?;
        let first = objects::provider_credential(&world.north.plane).await?;
        let konnector = world.north.konnector()?.pid();
        let renewed = wait_for("a renewed credential", || async {
            let now = objects::provider_credential(&world.north.plane).await?;
            if now.data == first.data {
                Err(anyhow::anyhow!("still the first"))
            } else {
                Ok(now)
            }
        })
        .await?;
        ensure!(
            renewed.name_any() == first.name_any(),
            "the same Secret has the new content"
        );
        // The old one still works, the new one does, and so does the konnector.
        issue(&world.north, "renewed", "later", "later.example").await?;
        ensure!(
            world.north.konnector()?.pid() == konnector,
            "without a restart"
        );
        world.north.konnector()?.check_running()
    })
}
