//! The controller of `APIServiceBinding`s: installs what is bound and says how it is doing. In four
//! steps: `reconcile` reads, `decide` decides purely, `look` (with `kinds` and `claims`) and `unbind` act, `report`
//! tells. A failure or a panic in one binding is its own business, and so is a failure of one kind.

pub mod acceptance;
mod claims;
mod crds;
mod decide;
mod facts;
mod foreign_api;
mod grant;
mod hold;
mod kind;
mod kinds;
mod look;
mod mark;
mod reconcile;
mod report;
mod rights;
mod subtree;
mod tally;
#[cfg(test)]
mod tests;
mod unbind;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use kube::ResourceExt;
use kube::runtime::controller::{Action, ReconcileRequest};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{applier, controller};
use kube_bind_crds::api::APIServiceBinding;
use tokio::sync::mpsc;

pub use rights::follow as follow_rights;
pub use subtree::Subtrees;

use crate::fault;
use crate::supervisor::Supervisor;

/// Bindings that are looked at at the same time.
const CONCURRENCY: u16 = 4;
/// Changes of a binding within this time are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// Why a look at a binding did not end well.
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
    /// A request to the provider failed.
    #[error("failed to {step} on the provider")]
    Provider {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        source: kube::Error,
    },
    /// A bug; the message was logged.
    #[error("the look at this binding panicked")]
    Panicked,
}

impl Error {
    /// What was being done, and why it failed.
    fn in_words(&self) -> String {
        match self {
            Self::Consumer { source, .. } | Self::Provider { source, .. } => {
                format!("{self}: {}", fault::describe(source))
            }
            Self::Panicked => self.to_string(),
        }
    }
}

/// Looks at bindings whose names come in, until there are no more names.
pub async fn run(supervisor: Arc<Supervisor>, names: mpsc::UnboundedReceiver<String>) {
    let queue = futures::stream::unfold(names, async |mut names| {
        let name: String = names.recv().await?;
        let object: ObjectRef<APIServiceBinding> = ObjectRef::new(&name);
        let request = ReconcileRequest::from(object);
        Some((Ok::<_, Infallible>(request), names))
    });
    let config = controller::Config::default()
        .concurrency(CONCURRENCY)
        .debounce(DEBOUNCE);
    let store = supervisor.ctx.bindings.clone();
    let stop = supervisor.ctx.shutdown.token.clone();
    applier(
        guarded,
        on_error,
        supervisor,
        store,
        Box::pin(queue),
        config,
    )
    .take_until(stop.cancelled_owned())
    .for_each(async |looked| {
        // A name without a binding is one that was just deleted; failures are logged where they
        // are handled.
        if let Err(error) = looked {
            tracing::trace!(error = &error as &dyn std::error::Error, "not looked at");
        }
    })
    .await;
}

/// A look at one binding that keeps a panic to itself.
fn guarded(
    binding: Arc<APIServiceBinding>,
    supervisor: Arc<Supervisor>,
) -> BoxFuture<'static, Result<Action, Error>> {
    Box::pin(async move {
        let name = format!("look at binding {}", binding.name_any());
        let shutdown = supervisor.ctx.shutdown.clone();
        let metrics = supervisor.ctx.metrics.clone();
        let term = shutdown.token.clone();
        let (told, seen) = (supervisor.clone(), binding.clone());
        let look = shutdown.spawn(name, async move {
            let look = reconcile::reconcile(binding, supervisor);
            // What the end of the term interrupts is looked at anew by whoever leads next.
            let looked = term.run_until_cancelled(look).await;
            looked.unwrap_or_else(|| Ok(Action::await_change()))
        });
        let looked = match look.await {
            Ok(Ok(looked)) => looked,
            Ok(Err(_)) | Err(_) => {
                report::panicked(&told.ctx, &seen).await;
                Err(Error::Panicked)
            }
        };
        metrics.looked_at_binding((&looked).into());
        looked
    })
}

fn on_error(binding: Arc<APIServiceBinding>, error: &Error, supervisor: Arc<Supervisor>) -> Action {
    let name = binding.name_any();
    let pause = supervisor.backoff.next(&name);
    let cause = match error {
        Error::Consumer { source, .. } | Error::Provider { source, .. } => fault::describe(source),
        Error::Panicked => String::new(),
    };
    tracing::warn!(
        error = %error,
        cause,
        binding.name = %name,
        "failed to look after APIServiceBinding {name}, trying again in {pause:?}"
    );
    Action::requeue(pause)
}
