//! The command line: one struct per command, and the flags that several share. Pure.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use k8s_openapi::api::core::v1::HostAlias;
use kube_bind_crds::switches;
use kube_bind_crds::version::VERSION;
use kube_bind_runtime::go_duration;

use crate::binder::Konnector;
use crate::commands::{apiservice, bind, cluster_identity, list, login, logout, version};
use crate::manifests::parse_host_alias;
use crate::output::Format;

const AFTER_HELP: &str = "\
Examples:
  # Log in, choose, agree, and use the API
  kubectl bind https://provider.example

  # The same in single steps, the last one without questions
  kubectl bind login https://provider.example
  kubectl bind templates
  kubectl bind apiservice --template-name certificates --yes

  # End a binding: deletes its kinds and all objects of them, on both sides
  kubectl delete apiservicebinding certificates

Exit codes: 0 done, 1 failed, 130 interrupted. Results go to stdout, everything else to stderr.";

/// Use a provider's API in your cluster as if it were installed there
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-bind",
    version = VERSION,
    args_conflicts_with_subcommands = true,
    after_help = AFTER_HELP
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub bind: bind::Bind,
    /// Log verbosity, 0 to 10: up to 2 only warnings, 3 and 4 debug, above that trace
    #[arg(short = 'v', long = "v", value_name = "LEVEL", default_value_t = 0, global = true,
        value_parser = clap::value_parser!(u8).range(0..=10))]
    pub verbosity: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Log in to a provider
    Login(login::Login),
    /// Forget the login to a provider
    Logout(logout::Logout),
    /// List what a provider offers
    Templates(list::Templates),
    /// List the provider's collections of offerings
    Collections(list::Collections),
    /// Bind without questions: a named template, or a request from a file
    #[command(name = "apiservice")]
    ApiService(Box<apiservice::ApiService>),
    /// Print the identity that a provider knows your cluster by
    ClusterIdentity(cluster_identity::ClusterIdentity),
    /// Print the version of the plugin
    Version(version::Version),
}

/// Which provider.
#[derive(Clone, Debug, Default, Args)]
pub struct ServerArgs {
    /// Address of the provider; default is where you logged in last
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Cluster of the provider, where it has several
    #[arg(long, value_name = "ID")]
    pub cluster: Option<String>,
    /// File that keeps the logins [default: ~/.kube-bind/config]
    #[arg(long, value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// File with certificates to trust for the provider's address
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// Do not check the certificate of the provider's address
    #[arg(long)]
    pub insecure_skip_tls_verify: bool,
    /// Accept a provider without TLS on another machine
    #[arg(long)]
    pub insecure_allow_http: bool,
}

/// How to log in, if that is needed.
#[derive(Clone, Debug, Default, Args)]
pub struct BrowserArgs {
    /// Print the login address instead of opening a browser
    #[arg(long)]
    pub skip_browser: bool,
    /// Accept a token in the browser's redirect, as servers before v0.9 send it
    #[arg(long)]
    pub allow_legacy_login: bool,
}

/// Which consumer cluster.
#[derive(Clone, Debug, Default, Args)]
pub struct ConsumerArgs {
    /// Kubeconfig of your cluster [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// What both ways of binding share.
#[derive(Clone, Debug, Args)]
pub struct BindArgs {
    #[command(flatten)]
    pub consumer: ConsumerArgs,
    /// Template to bind; needed where the provider offers several
    #[arg(long, value_name = "NAME")]
    pub template_name: Option<String>,
    /// Name of the binding [default: name of the template]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Agree to the rights that the konnector gets, without being asked
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Show what would be applied, and write nothing to either side
    #[arg(long, short = 'd', value_enum, value_name = "MODE", num_args = 0..=1, require_equals = true,
        default_value = "none", default_missing_value = "client", hide_possible_values = false)]
    pub dry_run: DryRun,
    /// Wait until the binding works
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub wait: bool,
    /// How long to wait for each side
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = go_duration::parse)]
    pub timeout: Duration,
    /// Format of the result; without it, a line for each object that was applied
    #[arg(long, short = 'o', value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Identity of your cluster [default: uid of the namespace below]
    #[arg(long, value_name = "ID")]
    pub cluster_identity: Option<String>,
    /// Namespace whose uid identifies your cluster
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    pub cluster_identity_namespace: String,
    /// Let the provider claim objects in these namespaces only; the konnector gets no rights on claimed
    /// kinds elsewhere [default: all namespaces]
    #[arg(long, value_name = "NAMESPACE,...", value_parser = parse_claim_namespaces)]
    pub claim_namespaces: Option<ClaimNamespaces>,
    /// Do not install the konnector; the binding still gets its rights
    #[arg(long)]
    pub skip_konnector: bool,
    /// Image of the konnector [default: the one of the plugin's version]
    #[arg(long, value_name = "IMAGE", conflicts_with = "skip_konnector")]
    pub konnector_image: Option<String>,
    /// Entry for the konnector's hosts file; may be repeated
    #[arg(long, value_name = "IP:HOST,...", value_parser = parse_host_alias, conflicts_with = "skip_konnector")]
    pub konnector_host_alias: Vec<HostAlias>,
}

/// Namespaces that claims are limited to; one argument, not a list of arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNamespaces(pub BTreeSet<String>);

fn parse_claim_namespaces(text: &str) -> Result<ClaimNamespaces, String> {
    let names = switches::parse_claim_namespaces(text);
    names
        .map(ClaimNamespaces)
        .map_err(|_| "expected names of namespaces, separated by commas".to_owned())
}

/// Whether anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Write.
    None,
    /// Only show; your cluster is not even read.
    Client,
}

impl BindArgs {
    /// How the konnector gets into the cluster.
    pub fn konnector(&self) -> Konnector {
        Konnector {
            skip: self.skip_konnector,
            image: self.konnector_image.clone(),
            host_aliases: self.konnector_host_alias.clone(),
        }
    }
}

impl Cli {
    /// Reads the arguments; help speaks of `kubectl bind` when kubectl started us.
    pub fn parse_args(args: Vec<std::ffi::OsString>) -> Result<Self, clap::Error> {
        let started_as = args.first().map(PathBuf::from);
        let stem = started_as
            .as_deref()
            .and_then(|path| path.file_stem())
            .and_then(|stem| stem.to_str());
        let mut command = match stem.and_then(|stem| stem.strip_prefix("kubectl-")) {
            Some(_) => Self::command().bin_name("kubectl bind"),
            None => Self::command(),
        };
        let matches = command.try_get_matches_from_mut(args).map_err(|err| {
            match err.get(ContextKind::InvalidSubcommand) {
                Some(ContextValue::String(word)) if err.kind() == ErrorKind::ArgumentConflict => {
                    misplaced(&mut command, word)
                }
                _ => err,
            }
        })?;
        let cli = Self::from_arg_matches(&matches)?;
        match cli.bind.url.as_deref() {
            Some(word) if command.find_subcommand(word).is_some() => {
                Err(misplaced(&mut command, word))
            }
            _ => Ok(cli),
        }
    }
}

/// What to say about a word behind flags or an address, where no command is expected any more.
fn misplaced(command: &mut clap::Command, word: &str) -> clap::Error {
    if command.find_subcommand(word).is_some() {
        let text = format!("the command comes first: kubectl bind {word} [OPTIONS]");
        command.error(ErrorKind::InvalidSubcommand, text)
    } else {
        let text = format!("unexpected argument {word:?}: --template-name names what to bind");
        command.error(ErrorKind::UnknownArgument, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::parse_args(
            std::iter::once("kubectl-bind")
                .chain(args.iter().copied())
                .map(Into::into)
                .collect(),
        )
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_address_is_the_front_door_and_words_are_commands() {
        let cli = parse(&[
            "https://provider.example",
            "--yes",
            "--template-name",
            "widgets",
        ])
        .unwrap();
        assert!(cli.command.is_none() && cli.bind.args.yes);
        assert_eq!(cli.bind.url.as_deref(), Some("https://provider.example"));
        assert!(matches!(
            parse(&["templates", "-o", "json"]).unwrap().command,
            Some(Command::Templates(_))
        ));
    }

    #[test]
    fn dry_run_is_a_switch_with_a_mode() {
        let mode = |args: &[&str]| parse(args).unwrap().bind.args.dry_run;
        assert_eq!(mode(&[]), DryRun::None);
        assert_eq!(mode(&["--dry-run"]), DryRun::Client);
        assert_eq!(mode(&["-d", "https://provider.example"]), DryRun::Client);
        assert_eq!(mode(&["--dry-run=client"]), DryRun::Client);
        assert_eq!(mode(&["--dry-run=none"]), DryRun::None);
        assert!(parse(&["--dry-run=server"]).is_err());
    }

    #[test]
    fn words_in_the_wrong_place_are_explained() {
        let error = |args: &[&str]| parse(args).unwrap_err().to_string();
        for args in [
            &["-v", "3", "templates"][..],
            &["--server", "https://provider.example", "templates"],
            &["https://provider.example", "templates"],
        ] {
            let error = error(args);
            assert!(error.contains("kubectl bind templates"), "{error}");
        }
        let error = error(&["https://provider.example", "widgets"]);
        assert!(
            error.contains("\"widgets\"") && error.contains("--template-name"),
            "{error}"
        );
    }

    #[test]
    fn claims_can_be_limited_to_namespaces() {
        let limit = |args: &[&str]| parse(args).map(|cli| cli.bind.args.claim_namespaces);
        assert_eq!(limit(&[]).unwrap(), None);
        let names = BTreeSet::from(["shop".to_owned(), "team".to_owned()]);
        assert_eq!(
            limit(&["--claim-namespaces", "shop,team"]).unwrap(),
            Some(ClaimNamespaces(names))
        );
        assert!(
            limit(&["--claim-namespaces", ""]).is_err(),
            "not everything"
        );
    }

    #[test]
    fn waiting_can_be_switched_off() {
        assert!(parse(&[]).unwrap().bind.args.wait);
        assert!(!parse(&["--wait=false"]).unwrap().bind.args.wait);
    }
}
