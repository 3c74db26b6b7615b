//! Command line of the backend (contract section 2.10). No IO but reading the files that flags name.

mod secrets;
#[cfg(test)]
mod tests;
mod validate;
mod warnings;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use kube_bind_crds::api::{InformerScope, Isolation};
use kube_bind_runtime::go_duration;
use kube_bind_runtime::logging::LogArgs;
use url::Url;

pub use validate::Error;
pub use warnings::Warning;

/// Path that ends the callback URL; what precedes it is the public URL of the backend.
pub const CALLBACK_PATH: &str = "/api/callback";
/// Path of the embedded identity provider below the public URL.
pub const EMBEDDED_PATH: &str = "/oidc";
/// Environment variable of the client secret; wins over file and flag, as in the original.
pub const CLIENT_SECRET_ENV: &str = "OIDC_CLIENT_SECRET";
/// Subject of the embedded identity provider's only user.
pub const EMBEDDED_SUBJECT: &str = "kube-bind-embedded-user";

/// Provider side of kube-bind: login, catalogue, binding, and the controllers behind them.
#[derive(Clone, Debug, Parser)]
#[command(name = "kube-bind-backend", version = kube_bind_crds::version::VERSION)]
pub struct Config {
    /// Kubeconfig of the provider cluster; without it the default loading rules, then the pod's own.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long)]
    pub context: Option<String>,
    /// Namespace of the backend's own Secrets, Lease and login markers.
    #[arg(long, env = "POD_NAMESPACE", default_value = "kube-bind")]
    pub namespace: String,
    /// What all consumers' cluster namespaces begin with.
    #[arg(long, default_value = "cluster-")]
    pub namespace_prefix: String,
    /// Name of this provider, for people.
    #[arg(long, default_value = "Backend")]
    pub pretty_name: String,
    /// How widely konnectors watch the provider: namespaced or cluster.
    #[arg(long = "consumer-scope", default_value = "Namespaced", value_parser = informer_scope)]
    pub informer_scope: InformerScope,
    /// How consumers are kept apart: prefixed, namespaced or none.
    #[arg(long, alias = "cluster-scoped-isolation", default_value = "Prefixed", value_parser = isolation)]
    pub isolation: Isolation,
    /// Let several consumers bind kinds whose objects all of them can read (cluster-scoped kinds, and every
    /// kind with --consumer-scope=cluster).
    #[arg(long)]
    pub allow_shared_reads: bool,
    /// With --isolation=namespaced: let konnectors list the offered kinds cluster-wide, as those of the
    /// original do. Ours have no need of it.
    #[arg(long)]
    pub grant_cluster_wide_lists: bool,
    /// Address of the provider's API server for consumers (https).
    #[arg(long)]
    pub external_address: Option<String>,
    /// CA certificate of --external-address, PEM.
    #[arg(long)]
    pub external_ca_file: Option<PathBuf>,
    /// Name to expect in the certificate of --external-address.
    #[arg(long)]
    pub external_server_name: Option<String>,
    /// Where schemas come from; only custom resource definitions.
    #[arg(long, default_value = "customresourcedefinitions", value_parser = schema_source)]
    pub schema_source: String,
    /// How often schemas with update policy Always are compared with their source.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub schema_sync_interval: Duration,
    /// Life of the credentials that consumers get.
    #[arg(long, default_value = "168h", value_parser = duration)]
    pub credential_ttl: Duration,
    /// Age at which a consumer's credential is renewed; less than half of --credential-ttl.
    #[arg(long, default_value = "24h", value_parser = duration)]
    pub credential_renew_after: Duration,
    /// Most APIServiceExportRequests that one consumer may have at a time.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_requests_per_consumer: u32,
    /// Most APIServiceNamespaces, and with them service namespaces, that one consumer may have.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_namespaces_per_consumer: u32,
    /// Address of the API.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen_address: SocketAddr,
    /// Address of /healthz, /readyz and /metrics for the operator.
    #[arg(long, default_value = "127.0.0.1:8081")]
    pub ops_address: SocketAddr,
    /// Certificate chain of the API, PEM; read again when it changes.
    #[arg(long)]
    pub tls_cert_file: Option<PathBuf>,
    /// Private key of the API, PEM; read again when it changes.
    #[arg(long)]
    pub tls_key_file: Option<PathBuf>,
    /// Life of a login.
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub token_expiry: Duration,
    /// Deprecated: base64 of 32 or 64 bytes to derive the keys from instead of the Secret kube-bind-backend-keys.
    #[arg(long)]
    pub cookie_signing_key: Option<Sensitive>,
    /// Deprecated: base64 of 32 or 64 bytes, mixed into the keys derived from --cookie-signing-key.
    #[arg(long)]
    pub cookie_encryption_key: Option<Sensitive>,
    /// Identity provider: external, or embedded for trying things out (UNSAFE).
    #[arg(long, default_value = "external")]
    pub oidc_type: OidcType,
    /// Issuer URL of the identity provider; embedded: ends in /oidc.
    #[arg(long)]
    pub oidc_issuer_url: Option<String>,
    /// Client id of this backend at the identity provider.
    #[arg(long)]
    pub oidc_issuer_client_id: Option<String>,
    /// Deprecated, visible to everyone on the machine: use the variable OIDC_CLIENT_SECRET or --oidc-issuer-client-secret-file.
    #[arg(long)]
    pub oidc_issuer_client_secret: Option<Sensitive>,
    /// File with the client secret.
    #[arg(long)]
    pub oidc_issuer_client_secret_file: Option<PathBuf>,
    /// Public URL of this backend followed by /api/callback.
    #[arg(long)]
    pub oidc_callback_url: Url,
    /// CA certificates of the identity provider, PEM; without it those of the system.
    #[arg(long)]
    pub oidc_ca_file: Option<PathBuf>,
    /// Scopes to ask the identity provider for beside openid.
    #[arg(long, value_delimiter = ',', default_value = "profile,email,groups")]
    pub oidc_scopes: Vec<String>,
    /// Groups of the identity provider that may log in and bind.
    #[arg(long, value_delimiter = ',')]
    pub oidc_allowed_groups: Vec<String>,
    /// Subjects of the identity provider that may log in and bind.
    #[arg(long, value_delimiter = ',')]
    pub oidc_allowed_users: Vec<String>,
    /// What subjects of the identity provider are prefixed with as Kubernetes users.
    #[arg(long, default_value = "oidc:")]
    pub oidc_username_prefix: String,
    /// What groups of the identity provider are prefixed with as Kubernetes groups.
    #[arg(long, default_value = "oidc:")]
    pub oidc_groups_prefix: String,
    /// Let the embedded identity provider listen on an address that others can reach (UNSAFE).
    #[arg(long)]
    pub embedded_oidc_allow_non_loopback: bool,
    /// Serve the original plugin's login, which puts the token into a URL on the loopback interface.
    #[arg(long)]
    pub allow_legacy_login: bool,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Which identity provider users log in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OidcType {
    /// A real one.
    External,
    /// The built-in demonstration, which lets everybody in.
    Embedded,
}

/// A value that never shows in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Sensitive(String);

impl Sensitive {
    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Sensitive {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl FromStr for Sensitive {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self(value.to_owned()))
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl Config {
    /// The backend's URL for users, without a trailing slash. Never taken from a request.
    pub fn public_url(&self) -> String {
        let mut url = self.oidc_callback_url.clone();
        url.set_query(None);
        url.set_fragment(None);
        let text = url.as_str();
        text.strip_suffix(CALLBACK_PATH).unwrap_or(text).to_owned()
    }

    /// Whether users reach the backend by https.
    pub fn is_https(&self) -> bool {
        self.oidc_callback_url.scheme() == "https"
    }

    /// Whether the built-in identity provider is used.
    pub fn is_embedded(&self) -> bool {
        self.oidc_type == OidcType::Embedded
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    go_duration::parse(text).map_err(|err| format!("{err}; write it like 5m or 24h"))
}

fn informer_scope(text: &str) -> Result<InformerScope, String> {
    match text.to_ascii_lowercase().as_str() {
        "namespaced" => Ok(InformerScope::Namespaced),
        "cluster" => Ok(InformerScope::Cluster),
        _ => Err("use namespaced or cluster".to_owned()),
    }
}

// A typo must never switch isolation off.
fn isolation(text: &str) -> Result<Isolation, String> {
    match text.to_ascii_lowercase().as_str() {
        "prefixed" => Ok(Isolation::Prefixed),
        "namespaced" => Ok(Isolation::Namespaced),
        "none" => Ok(Isolation::None),
        _ => Err("use prefixed, namespaced or none".to_owned()),
    }
}

fn schema_source(text: &str) -> Result<String, String> {
    match text.to_ascii_lowercase().as_str() {
        "customresourcedefinitions" | "customresourcedefinition.v1.apiextensions.k8s.io" => {
            Ok("customresourcedefinitions".to_owned())
        }
        _ => Err("only customresourcedefinitions is supported".to_owned()),
    }
}
