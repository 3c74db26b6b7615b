//! The command line of the konnector (contract section 5.1). No IO.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use kube_bind_crds::names::KONNECTOR_LEASE;
use kube_bind_runtime::{go_duration, logging::LogArgs};

use crate::sync::{BreakerConfig, SkipKeys};

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

    /// How long an export must be gone before a bundle unbinds it, and how often bundles are looked at
    /// beside the events.
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

    /// Labels and annotations that belong to one cluster and do not cross: keys, and prefixes as
    /// `example.org/*`, separated by commas. Replaces the default.
    #[arg(long, value_name = "KEYS", default_value_t)]
    pub skip_keys: SkipKeys,

    /// So many objects of a binding may always go from the provider because they vanished.
    #[arg(long, value_name = "NUMBER", default_value_t = BreakerConfig::default().min_objects)]
    pub breaker_min_objects: usize,

    /// So many percent of a binding's objects may always go: deletions are held when both are exceeded
    /// within a minute.
    #[arg(long, value_name = "PERCENT", default_value_t = BreakerConfig::default().percent,
        value_parser = clap::value_parser!(u8).range(0..=100))]
    pub breaker_percent: u8,

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
        assert_eq!((args.breaker_min_objects, args.breaker_percent), (20, 30));
        assert_eq!(args.skip_keys, SkipKeys::default());
        assert_eq!((args.log.verbosity, args.provider_ca_file), (2, None));
        assert!(!args.allow_insecure_provider_tls);
    }

    #[test]
    fn every_flag_takes_its_value_and_a_bad_one_is_named() {
        let parse = |flag: &str| Args::try_parse_from(["konnector", flag]);
        let args = parse("--skip-keys=example.org/*,tier").unwrap();
        assert!(args.skip_keys.skips("example.org/x") && args.skip_keys.skips("tier"));
        assert!(
            !args.skip_keys.skips("meta.helm.sh/release-name"),
            "replaced"
        );
        let polling = parse("--provider-polling-interval=1m30s").unwrap();
        assert_eq!(polling.provider_polling_interval.as_secs(), 90);
        assert_eq!(parse("-v=4").unwrap().log.verbosity, 4);
        for bad in [
            "--provider-polling-interval=15",
            "--provider-polling-interval=0s",
            "--breaker-percent=101",
            "--breaker-min-objects=-1",
            "--skip-keys=*",
            "--v=11",
        ] {
            let error = parse(bad).unwrap_err().to_string();
            let flag = bad.split('=').next().unwrap();
            assert!(error.contains(flag), "{bad}: {error}");
        }
    }
}
