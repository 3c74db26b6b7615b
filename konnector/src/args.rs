//! The command line of the konnector (contract section 5.1). No IO.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use kube_bind_crds::names::KONNECTOR_LEASE;
use kube_bind_runtime::{go_duration, logging::LogArgs};

/// Installs bound APIs in this cluster and syncs their objects with their providers.
///
/// Every flag has a default, so that the deployment needs no arguments.
#[derive(Clone, Debug, Parser)]
#[command(name = "konnector", version = kube_bind_crds::version::VERSION)]
pub struct Args {
    /// Kubeconfig of the consumer cluster; empty: the default loading rules, then the pod's own.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context within the kubeconfig.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Name of the Lease by which replicas elect their leader.
    #[arg(long, value_name = "NAME", default_value = KONNECTOR_LEASE)]
    pub lease_name: String,

    /// Namespace of the Lease.
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "POD_NAMESPACE",
        default_value = "kube-system"
    )]
    pub lease_namespace: String,

    /// Identity in the Lease; random when not given.
    #[arg(long, value_name = "NAME", env = "POD_NAME", hide = true)]
    pub lease_identity: Option<String>,

    /// Where health and metrics are served.
    #[arg(long, value_name = "ADDRESS", default_value = ":8090")]
    pub server_address: String,

    /// How often providers are asked for new exports.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub provider_polling_interval: Duration,

    /// PEM file with certificate authorities that are trusted for providers, beside those of their
    /// kubeconfigs, or of the machine where a kubeconfig names none.
    ///
    /// Providers are reached through the proxy that HTTPS_PROXY and NO_PROXY name.
    #[arg(long, value_name = "FILE")]
    pub provider_ca_file: Option<PathBuf>,

    /// Accept provider kubeconfigs that switch the verification of certificates off.
    #[arg(long)]
    pub allow_insecure_provider_tls: bool,

    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    match go_duration::parse(text) {
        Ok(Duration::ZERO) => Err("it must be longer than 0s".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_argument_list_is_enough() {
        let args = Args::try_parse_from(["konnector"]).unwrap();
        assert_eq!(args.lease_name, "kube-bind");
        assert_eq!(args.server_address, ":8090");
        assert_eq!(args.provider_polling_interval, Duration::from_secs(15));
    }
}
