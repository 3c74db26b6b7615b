//! Log set-up of a process. Writes to stderr only; stdout belongs to the plugin's output.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// Names under which this workspace logs; `-v` reaches these only, not the libraries.
const OUR_TARGETS: [&str; 5] = [
    "kube_bind_runtime",
    "kube_bind_crds",
    "kube_bind_backend",
    "konnector",
    "kubectl_bind",
];

/// The flags that choose what is logged and how.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// How log lines look
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    pub log_format: Format,
    /// Log verbosity, 0 to 10: up to 2 is info, 3 and 4 debug, above that trace
    #[arg(short = 'v', long = "v", value_name = "LEVEL", default_value_t = 2, global = true,
        value_parser = clap::value_parser!(u8).range(0..=10))]
    pub verbosity: u8,
    /// Log filter such as `info,kube=debug`; overrides the verbosity
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", global = true)]
    pub log_filter: Option<String>,
}

impl Default for LogArgs {
    fn default() -> Self {
        Self {
            log_format: Format::Text,
            verbosity: 2,
            log_filter: None,
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter cannot be understood.
    #[error("failed to parse log filter {filter:?}")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else set up logging before.
    #[error("failed to install the logger")]
    Install(#[source] TryInitError),
}

/// Starts logging to stderr, panics included.
pub fn init(args: &LogArgs) -> Result<(), Error> {
    let text = args
        .log_filter
        .clone()
        .filter(|filter| !filter.trim().is_empty())
        .unwrap_or_else(|| filter(args.verbosity));
    let filter = EnvFilter::builder()
        .parse(&text)
        .map_err(|source| Error::Filter {
            filter: text.clone(),
            source,
        })?;
    let colours = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    subscriber(args.log_format, filter, std::io::stderr, colours)
        .try_init()
        .map_err(Error::Install)?;
    std::panic::set_hook(Box::new(|panic| {
        let location = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(panic.location = %location, "panicked: {}", message(panic.payload()));
    }));
    Ok(())
}

fn subscriber<W>(
    format: Format,
    filter: EnvFilter,
    writer: W,
    colours: bool,
) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(colours);
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(may_be_logged))
        .with(lines)
}

/// What no filter of the user can turn on. kube's client shows whole answers that it cannot read, and they
/// may be lists of Secrets; and it warns of each watch that a server ends. Who handles the failure logs it.
fn may_be_logged(line: &Metadata<'_>) -> bool {
    line.target() != "kube_client::client" || *line.level() == Level::ERROR
}

/// What a panic said, as far as it is text.
pub(crate) fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}

/// The filter of a Go-style verbosity.
fn filter(verbosity: u8) -> String {
    // kube logs every failed request at error by itself; whoever handles the failure logs it.
    let libraries = "info,kube_client::client::builder=off";
    let ours = match verbosity {
        0..=2 => return libraries.to_owned(),
        3..=4 => "debug",
        _ => "trace",
    };
    OUR_TARGETS
        .iter()
        .fold(libraries.to_owned(), |filter, target| {
            format!("{filter},{target}={ours}")
        })
}

/// Log lines in memory, for tests of what is logged.
#[cfg(test)]
pub(crate) mod captured {
    use std::io;
    use std::sync::{Arc, Mutex, OnceLock};

    use super::{EnvFilter, Format, subscriber};

    #[derive(Clone, Default)]
    pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        /// What all threads log as errors, since the first call. A scoped capture would miss lines
        /// whose code another thread ran first: tracing remembers that nobody listened.
        pub(crate) fn of_all_threads() -> &'static Self {
            static LINES: OnceLock<Lines> = OnceLock::new();
            LINES.get_or_init(|| {
                let lines = Self::default();
                let writer = lines.clone();
                let all = subscriber(
                    Format::Text,
                    EnvFilter::new("error"),
                    move || writer.clone(),
                    false,
                );
                tracing::subscriber::set_global_default(all).unwrap();
                lines
            })
        }

        /// Captures what this thread logs while the guard lives.
        pub(crate) fn capture(&self, format: Format) -> tracing::subscriber::DefaultGuard {
            let lines = self.clone();
            let writer = move || lines.clone();
            tracing::subscriber::set_default(subscriber(
                format,
                EnvFilter::new("trace"),
                writer,
                false,
            ))
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        log: LogArgs,
    }

    fn verbosity(args: &[&str]) -> Result<u8, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"test").chain(args)).map(|cli| cli.log.verbosity)
    }

    #[test]
    fn the_originals_spellings_of_the_verbosity_are_accepted() {
        for args in [
            &["-v=4"][..],
            &["-v", "4"],
            &["-v4"],
            &["--v=4"],
            &["--v", "4"],
        ] {
            assert_eq!(verbosity(args).expect("accepted"), 4, "{args:?}");
        }
        assert_eq!(verbosity(&[]).expect("has a default"), 2);
        assert!(verbosity(&["-v=11"]).is_err());
    }

    #[test]
    fn verbosity_raises_our_crates_only() {
        assert_eq!(filter(2), filter(0));
        assert!(!filter(2).contains("konnector"));
        assert!(filter(4).contains("konnector=debug"));
        assert!(filter(5).contains("konnector=trace"));
        assert!(filter(10).starts_with("info,"));
    }

    #[test]
    fn every_built_in_filter_parses() {
        for verbosity in 0..=10 {
            EnvFilter::builder()
                .parse(filter(verbosity))
                .expect("a built-in filter parses");
        }
    }

    #[test]
    fn text_has_no_colours_unless_asked_for() {
        let lines = captured::Lines::default();
        {
            let _guard = lines.capture(Format::Text);
            tracing::warn!(binding.name = "blue", "failed to sync");
        }
        assert!(
            lines.text().contains("WARN")
                && lines
                    .text()
                    .contains("failed to sync binding.name=\"blue\"")
        );
        assert!(!lines.text().contains('\u{1b}'), "{:?}", lines.text());
    }

    #[test]
    fn json_is_one_flat_object_per_line() {
        let lines = captured::Lines::default();
        {
            let _guard = lines.capture(Format::Json);
            tracing::warn!(binding.name = "blue", "failed to sync");
        }
        let line: serde_json::Value =
            serde_json::from_str(lines.text().trim()).expect("one JSON document");
        assert_eq!(
            (&line["message"], &line["binding.name"]),
            (&"failed to sync".into(), &"blue".into())
        );
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_read_is_not_logged_whatever_the_user_asks_for() {
        let lines = captured::Lines::default();
        let _guard = lines.capture(Format::Text);
        let secrets = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            let body = kube::client::Body::from(br#"{"items": "hunter2"}"#.to_vec());
            Ok::<_, kube::Error>(http::Response::new(body))
        });
        let client = kube::Client::new(secrets, "default");
        let api: kube::Api<k8s_openapi::api::core::v1::Secret> =
            kube::Api::default_namespaced(client);
        assert!(api.list(&Default::default()).await.is_err());
        tracing::warn!("seen");
        assert!(lines.text().contains("seen"));
        assert!(!lines.text().contains("hunter2"), "{}", lines.text());
    }

    #[test]
    fn panic_messages_are_found_in_both_kinds_of_payload() {
        assert_eq!(message(&"fixed"), "fixed");
        assert_eq!(message(&String::from("made")), "made");
        assert_eq!(message(&7), "(no message)");
    }
}
