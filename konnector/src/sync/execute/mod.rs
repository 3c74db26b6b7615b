//! Performs the steps of one object: exactly the requests of the table in `docs/ARCHITECTURE.md`. IO
//! through [`Cluster`].

mod answers;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use kube_bind_crds::digest::FieldSet;
use kube_bind_crds::names;
use kube_bind_runtime::lease::LEAST_WRITE_TIME;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::adopt;
use super::cluster::{Cluster, Error, Key, Part};
use super::config::{Fence, Ports};
use super::drift;
use super::entry::{Consumer, Owner, Provider, Version};
use super::form::{Form, MARK_MANAGER};
use super::metrics::{EngineMetrics, Side, Verb, WriteResult};
use super::pair::{Lost, Pair, Refused, Settled};
use super::plan::{Marks, Rules, Step, Target, plan, succeeds};
use super::ports::{Problem, ProblemKind};
use super::purpose::Control;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often one job plans anew before it makes room for others.
const ROUNDS: usize = 8;

/// What all jobs of an engine share.
pub(super) struct Executor {
    consumer: Arc<dyn Cluster>,
    provider: Arc<dyn Cluster>,
    form: Arc<Form>,
    fence: Fence,
    status_part: Part,
    stop: CancellationToken,
    control: watch::Receiver<Control>,
    metrics: Arc<dyn EngineMetrics>,
}

/// One object to work on.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: Key,
    pub(super) pair: Pair,
    pub(super) rules: Rules,
    /// Bodies of the versions in the pair, as far as events have just brought them.
    pub(super) consumer_body: Option<Arc<Value>>,
    pub(super) provider_body: Option<Arc<Value>>,
    /// Numbers of the lists that the pair was learned from.
    pub(super) epochs: [u32; 2],
    /// What was known of both sides when the job began.
    pub(super) known: [Version; 2],
    /// A creation or take-over of the copy was not answered: it may be there, or come yet.
    pub(super) unsure: bool,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Nothing more to do now.
    Settled,
    /// More to do than fits into one turn.
    Unfinished,
    /// Failed in this way on this side.
    Failed(Side, Error),
    /// No write may begin: not enough leadership is left, the address leads to another provider, a person
    /// suspended the binding, or the engine is stopping.
    Barred,
}

/// What a job leaves.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) key: Key,
    pub(super) pair: Pair,
    pub(super) lost: Lost,
    /// The latest bodies of consumer and provider that it saw.
    pub(super) bodies: [Option<Arc<Value>>; 2],
    pub(super) verdict: Verdict,
    pub(super) done: Done,
    /// As the job had them.
    pub(super) epochs: [u32; 2],
    /// What was known of both sides when the job began.
    pub(super) known: [Version; 2],
    /// A creation or take-over of the copy was not answered: it may be there, or come yet.
    pub(super) unsure: bool,
}

/// What happened during a job, for those who measure and judge.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// When the consumer's content arrived on the provider, and whether with a new copy.
    pub(super) visible: Option<(Instant, bool)>,
    /// When the provider's status arrived on the consumer.
    pub(super) status_back: Option<Instant>,
    /// The API server of this side did what it was asked.
    pub(super) answered: [bool; 2],
}

/// Why a step did not happen.
enum Stop {
    Failed(Side, Error),
    /// As [`Verdict::Barred`].
    Barred,
    /// The world is not what the plan was made for, and the pair has been brought up to date.
    Replan,
}

impl Executor {
    pub(super) fn new(
        ports: &Ports,
        form: Arc<Form>,
        has_status_subresource: bool,
        stop: CancellationToken,
        control: watch::Receiver<Control>,
    ) -> Self {
        Self {
            consumer: Arc::clone(&ports.consumer),
            provider: Arc::clone(&ports.provider),
            form,
            fence: Arc::clone(&ports.fence),
            status_part: if has_status_subresource {
                Part::Status
            } else {
                Part::Main
            },
            stop,
            control,
            metrics: Arc::clone(&ports.metrics),
        }
    }

    fn cluster(&self, side: Side) -> &dyn Cluster {
        match side {
            Side::Consumer => &*self.consumer,
            Side::Provider => &*self.provider,
        }
    }

    /// How long a write that begins now may take, if one may begin.
    pub(super) fn write_time(&self) -> Option<Duration> {
        let left = (self.fence)();
        let stopped = self.stop.is_cancelled() || self.control.borrow().suspended;
        (left >= LEAST_WRITE_TIME && !stopped).then_some(left)
    }

    /// Works on one object until nothing is missing or something is in the way.
    pub(super) async fn run(&self, job: Job) -> Finished {
        let Job {
            key,
            pair,
            rules,
            consumer_body,
            provider_body,
            epochs,
            known,
            unsure,
        } = job;
        let mut run = Run {
            shared: self,
            key,
            pair,
            rules,
            lost: Lost::default(),
            consumer_body,
            provider_body,
            done: Done::default(),
            unsure,
        };
        let verdict = run.until_settled().await;
        let bodies = [run.consumer_body, run.provider_body];
        Finished {
            key: run.key,
            pair: run.pair,
            lost: run.lost,
            bodies,
            verdict,
            done: run.done,
            epochs,
            known,
            unsure: run.unsure,
        }
    }
}

struct Run<'a> {
    shared: &'a Executor,
    key: Key,
    pair: Pair,
    rules: Rules,
    lost: Lost,
    consumer_body: Option<Arc<Value>>,
    provider_body: Option<Arc<Value>>,
    done: Done,
    unsure: bool,
}

impl Run<'_> {
    async fn until_settled(&mut self) -> Verdict {
        // Before anything is read for a write that may not begin.
        if self.shared.write_time().is_none() {
            return Verdict::Barred;
        }
        for _ in 0..ROUNDS {
            let steps = plan(&self.pair, &self.rules);
            let steps = drift::due(&self.pair, &self.rules, steps);
            if steps.is_empty() {
                return Verdict::Settled;
            }
            for step in steps {
                match self.perform(step).await {
                    Ok(()) => {}
                    Err(Stop::Replan) => break,
                    Err(Stop::Barred) => return Verdict::Barred,
                    Err(Stop::Failed(side, error)) => return Verdict::Failed(side, error),
                }
            }
        }
        Verdict::Unfinished
    }

    async fn perform(&mut self, step: Step) -> Result<(), Stop> {
        match step {
            Step::Mark => self.mark(true).await,
            Step::Annotate => self.mark(false).await,
            Step::Create => self.create().await,
            Step::Adopt => self.adopt().await,
            Step::Change => self.change().await,
            Step::Status => self.status().await,
            Step::Delete => self.delete().await,
            Step::Release => self.release().await,
        }
    }
}
