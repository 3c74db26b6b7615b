//! Puts the process together: clients, keys, login, listeners, leader election and controllers.

mod leading;
mod settings;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube_bind_runtime::backoff::Backoff;
use kube_bind_runtime::client;
use kube_bind_runtime::clock::{SharedClock, SystemClock};
use kube_bind_runtime::health::{self, Health, SharedRegistry};
use kube_bind_runtime::shutdown::Shutdown;
use tracing::warn;

use crate::catalogue::Catalogue;
use crate::config::{CLIENT_SECRET_ENV, Config};
use crate::embedded::{self, Embedded};
use crate::http::router;
use crate::http::server::{Listener, TlsFiles};
use crate::keys::store::Keys;
use crate::login_permission;
use crate::metrics::Metrics;
use crate::oidc::{HttpClient, RelyingParty, Settings};
use crate::provision::Provisioner;
use crate::session::markers::Markers;
use crate::state::{AppState, Site};
use crate::user_access::{AccessReviews, Prefixes};

const USER_AGENT: &str = concat!("kube-bind-backend/", env!("CARGO_PKG_VERSION"));
/// Longer than the HTTP listener drains.
const DRAIN: Duration = Duration::from_secs(15);

/// Runs the backend until a signal ends it, or until it cannot go on.
pub async fn run(config: Config) -> anyhow::Result<()> {
    for warning in config.warnings() {
        warn!("{warning}");
    }
    let shutdown = Shutdown::on_signals().context("failed to listen for signals")?;
    let clock: SharedClock = SystemClock::shared();
    let health = Health::new();
    login_permission::pending(&health);
    let registry = SharedRegistry::default();
    let ops = health::router(health.clone(), Arc::clone(&registry));
    health::serve(&config.ops_address.to_string(), ops, &shutdown)
        .await
        .context("failed to start the operations listener (--ops-address)")?;
    let tls = config
        .tls_cert_file
        .clone()
        .zip(config.tls_key_file.clone());
    let tls = tls.map(|(certificate, key)| TlsFiles { certificate, key });
    let listener = Listener::bind(config.listen_address, tls).await?;
    let (client, kube_config) = client::consumer_or_provider(
        config.kubeconfig.as_deref(),
        config.context.as_deref(),
        USER_AGENT,
    )
    .await
    .context("failed to set up the client for the provider cluster (--kubeconfig, --context)")?;
    let settings = Arc::new(settings::settings(&config, &kube_config)?);

    let Some(keys) = keys(&config, client.clone(), &clock, &health, &shutdown).await? else {
        return Ok(());
    };
    let embedded = embedded(&config)?;
    let relying_party = relying_party(&config, embedded.as_deref(), &clock)?;
    let discovering = Arc::clone(&relying_party).keep_discovering(health.clone(), shutdown.clone());
    shutdown.spawn("oidc-discovery", discovering);

    let markers = Arc::new(Markers::new(
        client.clone(),
        &config.namespace,
        Arc::clone(&clock),
    ));
    let (sweeping, until) = (Arc::clone(&markers), shutdown.clone());
    shutdown.spawn(
        "login-markers",
        async move { sweeping.keep_swept(&until).await },
    );
    let provisioner = Provisioner::new(client.clone(), Arc::clone(&settings), Arc::clone(&clock));
    let prefixes = Prefixes {
        username: config.oidc_username_prefix.clone(),
        groups: config.oidc_groups_prefix.clone(),
    };
    let state = AppState {
        site: Arc::new(Site::from(&config)),
        clock: Arc::clone(&clock),
        keys,
        relying_party,
        markers,
        catalogue: Catalogue::new(client.clone(), Arc::clone(&settings)),
        authorizer: Arc::new(AccessReviews::new(
            client.clone(),
            prefixes,
            Arc::clone(&clock),
        )),
        provisioner: Arc::new(provisioner),
        embedded,
        metrics: Metrics::register(&registry),
    };
    let permitted =
        login_permission::at_start(client.clone(), health.clone(), shutdown.token.clone());
    shutdown.spawn("login-permission", permitted);
    let leading = leading::Leading {
        namespace: config.namespace.clone(),
        client,
        settings,
        clock,
        health,
        registry,
    };
    shutdown.spawn("leader-election", leading.run(shutdown.clone()));

    let served = listener.serve(router(state), shutdown.clone()).await;
    if let Err(left) = shutdown.drain(DRAIN).await {
        warn!(error = &left as &dyn StdError, "failed to stop in time");
    }
    served.context("the API listener failed")
}

/// The backend's keys; tried again until the API server answers, `None` if the process is stopped meanwhile.
async fn keys(
    config: &Config,
    client: kube::Client,
    clock: &SharedClock,
    health: &Health,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<Keys>> {
    const CHECK: &str = "keys";
    if let Some(keys) = Keys::from_flags(config)? {
        return Ok(Some(keys));
    }
    let backoff = Backoff::between(Duration::from_millis(500), Duration::from_secs(30));
    loop {
        let err = match Keys::load(client.clone(), &config.namespace, clock.now()).await {
            Ok(keys) => {
                health.set(CHECK, Ok(()));
                let fresh =
                    keys.clone()
                        .keep_fresh(client, config.namespace.clone(), shutdown.clone());
                shutdown.spawn("keys", fresh);
                return Ok(Some(keys));
            }
            Err(err) => err,
        };
        let pause = backoff.next(&());
        health.set(CHECK, Err(err.to_string()));
        warn!(
            error = &err as &dyn StdError,
            retry_in_seconds = pause.as_secs_f64(),
            "the API is not served until this works"
        );
        if shutdown
            .token
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            return Ok(None);
        }
    }
}

fn embedded(config: &Config) -> anyhow::Result<Option<Arc<Embedded>>> {
    if !config.is_embedded() {
        return Ok(None);
    }
    warn!("{} (--oidc-type=embedded)", embedded::WARNING);
    let embedded = Embedded::new(&config.public_url());
    Ok(Some(Arc::new(embedded.context(
        "failed to set up the embedded identity provider",
    )?)))
}

fn relying_party(
    config: &Config,
    embedded: Option<&Embedded>,
    clock: &SharedClock,
) -> anyhow::Result<Arc<RelyingParty>> {
    let (client_id, client_secret) = match embedded {
        Some(idp) => (embedded::CLIENT_ID.to_owned(), Some(idp.client_secret())),
        None => (
            config.oidc_issuer_client_id.clone().unwrap_or_default(),
            config.client_secret(std::env::var(CLIENT_SECRET_ENV).ok())?,
        ),
    };
    let settings = Settings {
        issuer: config.oidc_issuer_url.clone().unwrap_or_default(),
        client_id,
        client_secret,
        callback_url: config.oidc_callback_url.to_string(),
        scopes: config.oidc_scopes.clone(),
    };
    let http = HttpClient::new(config.oidc_ca()?.as_deref())?;
    Ok(Arc::new(RelyingParty::new(
        settings,
        http,
        Arc::clone(clock),
    )?))
}

#[cfg(test)]
mod tests;
