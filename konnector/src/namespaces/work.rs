//! The work on mappings, one after the other: who is asked for one, what is looked at again and when. IO.

use std::collections::HashSet;
use std::time::Duration;

use kube::ResourceExt;
use kube_bind_runtime::backoff::Backoff;
use kube_bind_runtime::lease::LEAST_WRITE_TIME;
use kube_bind_runtime::shutdown::survive;

use super::ServiceNamespaces;
use super::lifecycle::Checked;
use crate::context::Context;
use crate::fault;
use crate::provider::Provider;

/// How long a mapping that has something to lose is left alone at most; whoever lets copies go asks
/// for an earlier look.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How often whoever may not write asks whether it may.
const BARRED: Duration = Duration::from_secs(1);
/// What the provider may not let this consumer ask for.
const REQUESTS: &str = "requests for service namespaces";

/// Work on one consumer namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Job {
    /// Ask the provider for a mapping.
    Request(String),
    /// See whether the consumer namespace and its mapping still belong together.
    Check(String),
    /// The same for all.
    CheckAll,
}

impl ServiceNamespaces {
    /// Until the provider stops.
    pub(super) async fn work(&self, ctx: &Context, provider: &Provider) {
        let backoff = Backoff::between(Duration::from_millis(200), Duration::from_secs(30));
        let patience = Backoff::between(Duration::from_secs(1), LONGEST_WAIT);
        // For which this consumer lacks the right to ask.
        let mut denied = HashSet::new();
        loop {
            let job = self.jobs.next().await;
            let time = write_time(ctx, provider).await;
            let (name, outcome) = match &job {
                Job::Request(name) => (name, survive(self.create(name, time)).await),
                Job::Check(name) => (name, survive(self.check(ctx, provider, name)).await),
                Job::CheckAll => {
                    for object in self.store.state() {
                        self.post(Job::Check(object.name_any()));
                    }
                    continue;
                }
            };
            let asks = matches!(job, Job::Request(_));
            if matches!(outcome, Some(Ok(_))) {
                denied.remove(name);
            }
            match outcome {
                Some(Ok(Checked::Settled)) => {
                    backoff.reset(name);
                    patience.reset(name);
                    if !asks {
                        self.waiting().remove(name);
                    }
                }
                Some(Ok(Checked::Refused(why))) => {
                    backoff.reset(name);
                    self.refused(name, &why, &patience).await;
                }
                Some(Ok(Checked::Waits(why))) => {
                    backoff.reset(name);
                    if self.waiting().insert(name.clone()) {
                        tracing::warn!(
                            namespace.name = %name,
                            "namespace {name} is missing, and that is left so: {why}"
                        );
                    }
                    let pause = patience.next(name);
                    self.jobs.push_after(job, pause);
                }
                // The message was logged by the panic hook; other namespaces go on.
                None => {
                    let pause = backoff.next(name);
                    self.jobs.push_after(job, pause);
                }
                Some(Err(_)) if asks && self.is_gone(name).await => {
                    backoff.reset(name);
                    denied.remove(name);
                    self.requested().remove(name);
                }
                Some(Err(error)) => {
                    let why = fault::describe(&error);
                    if fault::code(&error) == Some(403) {
                        if asks {
                            denied.insert(name.clone());
                            let said = format!("no service namespace can be asked for: {why}");
                            provider.refuses(ctx, REQUESTS, said);
                        }
                        // The bindings say which right is missing here.
                        ctx.wake_users(&provider.secrets());
                    }
                    let pause = backoff.next(name);
                    tracing::warn!(
                        error = why,
                        namespace.name = %name,
                        "failed to map namespace {name}, trying again in {pause:?}"
                    );
                    self.jobs.push_after(job, pause);
                }
            }
            if asks && denied.is_empty() {
                provider.grants(ctx, REQUESTS);
            }
        }
    }

    /// The provider does not take the request for a mapping: it may later.
    pub(super) async fn refused(&self, name: &String, why: &str, patience: &Backoff<String>) {
        // Whoever asks from now on asks anew.
        self.requested().remove(name);
        if self.is_gone(name).await {
            patience.reset(name);
            return;
        }
        self.requested().insert(name.clone());
        let pause = patience.next(name);
        tracing::warn!(
            namespace.name = %name,
            "the provider refuses a service namespace for {name}, trying again in {pause:?}: {why}"
        );
        self.jobs.push_after(Job::Request(name.clone()), pause);
    }

    /// The consumer's namespace is gone. The watch may be behind that of the objects which wait for the
    /// mapping.
    async fn is_gone(&self, name: &str) -> bool {
        self.consumer.known(name) == Some(false)
            && matches!(self.consumer.exists(name).await, Ok(false))
    }
}

/// Waits until writes may begin, and says how long they may take. Before anything is read for them.
async fn write_time(ctx: &Context, provider: &Provider) -> Duration {
    loop {
        let time = provider.write_time(&ctx.leader);
        if time >= LEAST_WRITE_TIME {
            return time;
        }
        tokio::time::sleep(BARRED).await;
    }
}
