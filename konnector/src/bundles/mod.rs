//! The controller of `APIServiceBindingBundle`s: a binding for each export behind one kubeconfig
//! (contract section 5.10). `look` reads and acts, `decide` decides purely, `report` tells.
//!
//! The exports come from the watches of the provider's connection; only while the watch of exports is
//! broken they are listed, once per polling interval.

mod decide;
mod look;
mod offer;
mod report;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use kube_bind_crds::api::APIServiceBindingBundle;
use kube_bind_runtime::shutdown::survive;

use crate::fault;
use crate::supervisor::Supervisor;
use crate::wait_queue::WaitQueue;
use crate::watch::{Signal, reflect};
use decide::Gone;

/// Several events of one moment are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Bundles that are looked at at the same time.
const CONCURRENCY: usize = 32;

/// Why a look at a bundle did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the consumer failed.
    #[error("failed to {step}")]
    Consumer {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        source: kube::Error,
    },
}

/// All bundles, and those that wait for a look.
pub struct Bundles {
    store: Store<APIServiceBindingBundle>,
    queue: WaitQueue<String>,
}

impl Bundles {
    /// None yet.
    pub fn new() -> (Self, Writer<APIServiceBindingBundle>) {
        let (store, writer) = kube::runtime::reflector::store();
        let queue = WaitQueue::default();
        (Self { store, queue }, writer)
    }

    /// Every bundle.
    pub fn all(&self) -> Vec<Arc<APIServiceBindingBundle>> {
        self.store.state()
    }

    /// The bundle of that name should be looked at; names of none are ignored.
    pub fn wake(&self, name: impl Into<String>) {
        self.queue.push_after(name.into(), DEBOUNCE);
    }

    /// All bundles should be looked at.
    pub fn wake_all(&self) {
        for bundle in self.all() {
            self.wake(bundle.name_any());
        }
    }
}

/// Watches bundles; tells the connections which kubeconfigs are in use.
pub fn watch(supervisor: &Arc<Supervisor>, writer: Writer<APIServiceBindingBundle>) {
    let this = supervisor.clone();
    let tell = move |signal: Signal<'_, APIServiceBindingBundle>| match signal {
        Signal::Changed(bundle) => {
            this.connections.refresh();
            this.ctx.bundles.wake(bundle.name_any());
        }
        Signal::Removed(_) | Signal::Listed => {
            this.connections.refresh();
            this.ctx.bundles.wake_all();
        }
        Signal::Running => {}
        Signal::Failed(error) => tracing::warn!(
            error = fault::describe_watch(error),
            "failed to watch bundles"
        ),
    };
    let ctx = &supervisor.ctx;
    ctx.shutdown.spawn(
        "watch of bundles",
        reflect(
            Api::all(ctx.client.clone()),
            watcher::Config::default(),
            writer,
            ctx.shutdown.token.clone(),
            tell,
        ),
    );
}

/// Looks at bundles whose names come in until the term ends; one whose provider hangs holds up no other.
pub async fn run(supervisor: Arc<Supervisor>) {
    let stop = supervisor.ctx.shutdown.token.clone();
    // Since when exports are gone, per bundle. After a restart the wait begins anew.
    let gone: Mutex<HashMap<String, Gone>> = Mutex::default();
    let queue = &supervisor.ctx.bundles.queue;
    let work = queue.serve(CONCURRENCY, |name| visit(&supervisor, &gone, name));
    stop.run_until_cancelled(work).await;
}

/// A look at the bundle of that name, if there is one, and when to look again.
async fn visit(
    supervisor: &Arc<Supervisor>,
    gone: &Mutex<HashMap<String, Gone>>,
    name: String,
) -> (String, Option<Duration>) {
    let all = || gone.lock().unwrap_or_else(PoisonError::into_inner);
    let mut seen = all().remove(&name).unwrap_or_default();
    let found = supervisor.ctx.bundles.store.get(&ObjectRef::new(&name));
    let Some(bundle) = found else {
        supervisor.backoff.reset(&backoff_key(&name));
        return (name, None);
    };
    let again = match survive(look::look(supervisor, &bundle, &mut seen)).await {
        Some(Ok(again)) => {
            supervisor.backoff.reset(&backoff_key(&name));
            supervisor.ctx.metrics.looked_at_bundle(true);
            again
        }
        Some(Err(error)) => retry(supervisor, &name, &error),
        // The message was logged by the panic hook.
        None => retry(supervisor, &name, "the look at this bundle panicked"),
    };
    all().insert(name.clone(), seen);
    (name, Some(again))
}

fn retry(supervisor: &Supervisor, name: &str, error: impl Into<Failure>) -> Duration {
    let Failure { error, cause } = error.into();
    let pause = supervisor.backoff.next(&backoff_key(name));
    tracing::warn!(
        error,
        cause,
        bundle.name = %name,
        "failed to look after APIServiceBindingBundle {name}, trying again in {pause:?}"
    );
    supervisor.ctx.metrics.looked_at_bundle(false);
    pause
}

/// A failure for the log.
struct Failure {
    error: String,
    cause: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let Error::Consumer { source, .. } = error;
        Self {
            error: error.to_string(),
            cause: fault::describe(source),
        }
    }
}

impl From<&str> for Failure {
    fn from(error: &str) -> Self {
        Self {
            error: error.to_owned(),
            cause: String::new(),
        }
    }
}

/// Bundles and bindings may have the same name; a slash is in neither.
fn backoff_key(name: &str) -> String {
    format!("bundle/{name}")
}
