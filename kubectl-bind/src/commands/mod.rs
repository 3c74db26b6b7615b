//! The commands, one file each, and what they share: which server is meant, and being logged in there.

pub mod apiservice;
pub mod bind;
pub mod cluster_identity;
mod document;
mod finish;
pub mod list;
pub mod login;
pub mod logout;
pub mod version;

use std::path::PathBuf;
use std::time::Duration;

use kube_bind_runtime::clock::{Clock as _, SystemClock};

use crate::cli::{BrowserArgs, ServerArgs};
use crate::login::{self as browser, Options};
use crate::output::say;
use crate::provider::{self, Http, Provider, TlsOptions};
use crate::server::Server;
use crate::store::{self, Store};

/// How long a login may take where no flag says so.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(300);

/// Nobody said which provider is meant.
fn none_named(store: &Store) -> anyhow::Error {
    if store.servers.is_empty() {
        return anyhow::anyhow!(
            "no provider is known yet: name it, as in \"kubectl bind https://provider.example\", or for the single \
             steps \"kubectl bind login https://provider.example\""
        );
    }
    let known: String = store
        .servers
        .keys()
        .map(|key| format!("\n  {key}"))
        .collect();
    anyhow::anyhow!("no provider is current: choose one with --server{known}")
}

/// A server, and the place where its login is kept.
struct Target {
    server: Server,
    store: Store,
    path: PathBuf,
    http: Http,
    allow_http: bool,
}

impl Target {
    /// The server of an address or of the flags, else the one of the last login.
    fn resolve(flags: &ServerArgs, address: Option<&str>) -> anyhow::Result<Self> {
        let path = flags
            .config_file
            .clone()
            .unwrap_or_else(store::default_path);
        let store = Store::load(&path)?;
        let named = match (address, flags.server.as_deref()) {
            (Some(address), Some(flag)) if address != flag => {
                anyhow::bail!("two servers were named: {address} and --server {flag}")
            }
            (address, flag) => address.or(flag).filter(|text| !text.is_empty()),
        };
        let server = match named {
            Some(text) => Server::parse(text, flags.cluster.as_deref())?,
            None => store.current().ok_or_else(|| none_named(&store))?,
        };
        let server = server.encrypted_or_local(flags.insecure_allow_http)?;
        let http = Http::new(&TlsOptions {
            insecure_skip_tls_verify: flags.insecure_skip_tls_verify,
            certificate_authority: flags.certificate_authority.clone(),
        })?;
        Ok(Self {
            server,
            store,
            path,
            http,
            allow_http: flags.insecure_allow_http,
        })
    }

    /// The provider, with the stored login.
    fn logged_in(&self) -> Result<Provider, provider::Error> {
        let entry = self.store.find(&self.server);
        Provider::with_entry(
            self.http.clone(),
            self.server.clone(),
            entry,
            SystemClock.now(),
        )
    }

    /// Logs in through the browser and keeps that.
    async fn log_in(&mut self, flags: &BrowserArgs, timeout: Duration) -> anyhow::Result<Provider> {
        let options = Options {
            skip_browser: flags.skip_browser,
            timeout,
            allow_http: self.allow_http,
            allow_legacy: flags.allow_legacy_login,
        };
        let anonymous = Provider::anonymous(self.http.clone(), self.server.clone());
        let entry = browser::login(&anonymous, &options, &SystemClock).await?;
        // Read again: another plugin may have logged in elsewhere while the browser was open.
        self.store = Store::load(&self.path)?;
        self.store.put(&self.server, entry);
        self.store.save(&self.path)?;
        say(&format!("Logged in to {}.", self.server.key()));
        Ok(self.logged_in()?)
    }
}
