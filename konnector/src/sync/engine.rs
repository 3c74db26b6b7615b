//! Runs one bound resource: feeds what both sides tell into the state, and executes what the
//! state decides. This is the shell around `state`; all requests are in `execute`.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::{BoxFuture, OptionFuture};
use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::breaker::Breaker;
use super::cluster::{Error, WatchEvent, WatchScope};
use super::counts::Counts;
use super::execute::{Done, Executor, Finished, Verdict};
use super::form::Form;
use super::metrics::Side;
use super::pair::Lost;
use super::purpose::Control;
use super::state::State;
use super::{EngineConfig, Ports};

/// Longest wait for the answer why objects terminate.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// A running engine. Dropping it stops the engine without waiting for it.
pub struct EngineHandle {
    counts: watch::Receiver<Counts>,
    control: watch::Sender<Control>,
    breaker: Breaker,
    cancel: CancellationToken,
    tracker: TaskTracker,
}

impl EngineHandle {
    /// How its objects are doing now.
    pub fn counts(&self) -> Counts {
        self.counts.borrow().clone()
    }

    /// Tells what somebody has to know at once; numbers that change with each object are there to be read.
    pub fn subscribe(&self) -> watch::Receiver<Counts> {
        self.counts.clone()
    }

    /// Whether a person said that objects which vanished were meant to: then their copies go, however
    /// many they are. The same as [`Breaker::release_deletes`], for all engines of the binding.
    pub fn release_deletes(&self, released: bool) {
        self.breaker.release_deletes(released);
    }

    /// Whether a person wants no write to begin, on either side. The watches go on, and `Counts` stay
    /// true; what is pending is worked off afterwards, as fast as the API servers can take it, and
    /// nothing is listed again.
    pub fn suspend(&self, suspended: bool) {
        self.control(|control| control.suspended = suspended);
    }

    /// The binding ends with policy `Delete`: to be called before its CRDs are deleted, and at once
    /// after a restart. From now on every deletion is meant, and the breaker holds none.
    pub fn unbind(&self) {
        self.control(|control| control.unbinding = true);
    }

    /// Tries at once what a side left undone for reasons of its own: rights were granted. What it refused
    /// because of the object keeps its time.
    pub fn wake(&self) {
        self.control(|control| control.wakes += 1);
    }

    fn control(&self, change: impl FnOnce(&mut Control)) {
        self.control.send_if_modified(|control| {
            let old = *control;
            change(control);
            *control != old
        });
    }

    /// Stops after the requests in flight and waits for that.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.tracker.wait().await;
    }
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Starts the engine; it ends with `shutdown` or with [`EngineHandle::stop`]. Must be called
/// within a tokio runtime, whose clock is the engine's clock.
pub fn start(config: EngineConfig, ports: Ports, shutdown: &CancellationToken) -> EngineHandle {
    let cancel = shutdown.child_token();
    let tracker = TaskTracker::new();
    let (sender, counts) = watch::channel(Counts::default());
    let (control, controlled) = watch::channel(Control::default());
    let breaker = ports.breaker.clone();
    let form = Arc::new(Form::new(&config));
    let executor = Executor::new(
        &ports,
        Arc::clone(&form),
        config.has_status_subresource,
        cancel.clone(),
        control.subscribe(),
    );
    let (results, finished) = mpsc::unbounded_channel();
    let shell = Shell {
        state: State::new(&config, &ports, form, Instant::now()),
        binding: config.binding,
        plural: config.resource.plural,
        ports,
        executor: Arc::new(executor),
        counts: sender,
        cancel: cancel.clone(),
        tracker: tracker.clone(),
        watches: HashMap::new(),
        results,
        under_way: 0,
    };
    tracker.spawn(shell.run(finished, controlled));
    tracker.close();
    EngineHandle {
        counts,
        control,
        breaker,
        cancel,
        tracker,
    }
}

/// One watch. In a set, a watch is looked at only when it has something to tell, and not each time that
/// the engine turns.
type ConsumerEvents = SelectAll<BoxStream<'static, WatchEvent>>;
type ProviderEvents = SelectAll<BoxStream<'static, (WatchScope, WatchEvent)>>;

/// What one of the two sides tells.
enum Told {
    Consumer(WatchEvent),
    Provider(WatchScope, WatchEvent),
}

/// The next event of either side, of both in turn while both have some.
async fn told(
    consumer: &mut ConsumerEvents,
    provider: &mut ProviderEvents,
    consumer_wanted: bool,
    turn: &mut bool,
) -> Told {
    std::future::poll_fn(|cx| {
        *turn = !*turn;
        for side in [*turn, !*turn] {
            if side {
                if consumer_wanted && let Poll::Ready(Some(event)) = consumer.poll_next_unpin(cx) {
                    return Poll::Ready(Told::Consumer(event));
                }
            } else if let Poll::Ready(Some((scope, event))) = provider.poll_next_unpin(cx) {
                return Poll::Ready(Told::Provider(scope, event));
            }
        }
        Poll::Pending
    })
    .await
}

/// Waits until the credential of a side was renewed.
async fn renewed(renewals: &mut [Option<watch::Receiver<u64>>; 2]) -> Side {
    let [consumer, provider] = renewals.each_mut().map(|renewal| async move {
        if let Some(renewal) = renewal
            && renewal.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    });
    tokio::select! {
        () = consumer => Side::Consumer,
        () = provider => Side::Provider,
    }
}

struct Shell {
    state: State,
    binding: String,
    plural: String,
    ports: Ports,
    executor: Arc<Executor>,
    counts: watch::Sender<Counts>,
    cancel: CancellationToken,
    tracker: TaskTracker,
    /// Ends the provider watch of a scope.
    watches: HashMap<WatchScope, CancellationToken>,
    results: mpsc::UnboundedSender<Finished>,
    under_way: usize,
}

impl Shell {
    async fn run(
        mut self,
        mut finished: mpsc::UnboundedReceiver<Finished>,
        mut controlled: watch::Receiver<Control>,
    ) {
        let mut holds = self.ports.breaker.subscribe();
        let mut asked: OptionFuture<BoxFuture<'static, Result<bool, Error>>> = None.into();
        let mut renewals = [self.ports.consumer.renewed(), self.ports.provider.renewed()];
        let mut mapping = self.ports.namespaces.subscribe();
        let mut mapping_lives = true;
        let mut turn = false;
        let watch = self.ports.consumer.watch(WatchScope::All);
        let mut consumer = ConsumerEvents::from_iter([watch]);
        let mut provider: ProviderEvents = SelectAll::new();
        self.rescope(&mut provider);
        loop {
            let has_room = self.under_way < self.most();
            let due = self.state.next_due(has_room, Instant::now());
            let timer = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let consumer_wanted = !self.state.is_full();
            tokio::select! {
                // In this order: what is there at most once before what may come without end.
                biased;
                () = self.cancel.cancelled() => break,
                Some(done) = finished.recv() => {
                    self.under_way -= 1;
                    self.log(&done);
                    self.state.finish(done, Instant::now());
                }
                changed = mapping.changed(), if mapping_lives => {
                    mapping_lives = changed.is_ok();
                    self.rescope(&mut provider);
                }
                // An error means that the handle is gone, and then so is the engine.
                Ok(()) = controlled.changed() => {
                    let control = *controlled.borrow_and_update();
                    self.state.control(control, Instant::now());
                }
                side = renewed(&mut renewals) => self.state.side_is_back(side, Instant::now()),
                // The engine itself keeps the breaker.
                Ok(()) = holds.changed() => {
                    holds.mark_unchanged();
                    self.state.holds_changed(Instant::now());
                }
                Some(answer) = &mut asked => {
                    asked = None.into();
                    self.state.explain(answer, Instant::now());
                }
                told = told(&mut consumer, &mut provider, consumer_wanted, &mut turn) => match told {
                    Told::Consumer(event) => self.state.on_consumer(event, Instant::now()),
                    Told::Provider(scope, event) => {
                        self.state.on_provider(&scope, event, Instant::now());
                    }
                },
                // With events without end it is not needed: work that is due is given out after each.
                () = timer => self.state.tick(Instant::now()),
            }
            self.dispatch();
            if self.state.wants_explanation(Instant::now()) {
                asked = Some(self.ask()).into();
            }
            self.state.tell_queue();
            self.publish(self.state.counts());
        }
    }

    /// Asks whether the objects terminate because their CRD does.
    fn ask(&self) -> BoxFuture<'static, Result<bool, Error>> {
        let definition = Arc::clone(&self.ports.definition);
        Box::pin(async move {
            let after = ASK_TIMEOUT;
            let answer = tokio::time::timeout(after, definition.is_terminating()).await;
            answer.unwrap_or(Err(Error::TimedOut { after }))
        })
    }

    /// Opens the provider watches that are missing and closes those that are not wanted.
    fn rescope(&mut self, provider: &mut ProviderEvents) {
        let (fresh, ended) = self.state.rescope(Instant::now());
        for scope in ended {
            if let Some(watch) = self.watches.remove(&scope) {
                watch.cancel();
            }
        }
        for scope in fresh {
            let end = self.cancel.child_token();
            self.watches.insert(scope.clone(), end.clone());
            let events = self.ports.provider.watch(scope.clone());
            let tagged = events.map(move |event| (scope.clone(), event));
            provider.push(tagged.take_until(end.cancelled_owned()).boxed());
        }
    }

    /// How many requests may be under way at a time.
    fn most(&self) -> usize {
        let consumer = self.ports.consumer.parallelism();
        consumer.max(self.ports.provider.parallelism())
    }

    /// Gives out jobs as long as the API servers can take more requests.
    fn dispatch(&mut self) {
        let may_write = || self.executor.write_time().is_some();
        self.state.ask_leave(may_write, Instant::now());
        while self.under_way < self.most() {
            let Some(job) = self.state.next_job(Instant::now()) else {
                return;
            };
            self.under_way += 1;
            let (key, pair) = (job.key.clone(), job.pair.clone());
            let (epochs, known) = (job.epochs, job.known);
            let (executor, results) = (Arc::clone(&self.executor), self.results.clone());
            self.tracker.spawn(async move {
                let run = AssertUnwindSafe(executor.run(job)).catch_unwind().await;
                // A job that panicked has learned nothing, not even whether it made a copy; its object is
                // tried again later.
                let done = run.unwrap_or_else(|_| Finished {
                    key,
                    pair,
                    lost: Lost::default(),
                    bodies: [None, None],
                    verdict: Verdict::Unfinished,
                    done: Done::default(),
                    epochs,
                    known,
                    unsure: true,
                });
                // Nobody listens after a stop: then what was learned is not needed.
                let _ = results.send(done);
            });
        }
    }

    fn log(&self, done: &Finished) {
        match &done.verdict {
            Verdict::Settled | Verdict::Barred | Verdict::Unfinished => {}
            // A server that is away is told once, not for each of its objects.
            Verdict::Failed(side, error) if error.is_of_server() || error.is_overload() => debug!(
                binding.name = %self.binding,
                resource = %self.plural,
                object.key = %done.key,
                side = ?side,
                error = %error,
                "failed to sync {} {}",
                self.plural,
                done.key
            ),
            Verdict::Failed(side, error) => warn!(
                binding.name = %self.binding,
                resource = %self.plural,
                object.key = %done.key,
                side = ?side,
                error = %error,
                "failed to sync {} {}",
                self.plural,
                done.key
            ),
        }
    }

    /// Tells how the objects are doing, if that changed, and logs when a side goes or comes back. Numbers
    /// that change with each object wake nobody.
    fn publish(&self, counts: Counts) {
        if *self.counts.borrow() == counts {
            return;
        }
        let old = self.counts.borrow().clone();
        let sides = [
            ("consumer", &old.consumer_failing, &counts.consumer_failing),
            ("provider", &old.provider_failing, &counts.provider_failing),
        ];
        for (side, before, now) in sides {
            match (before, now) {
                (before, Some(error)) if before.as_ref() != Some(error) => warn!(
                    binding.name = %self.binding,
                    resource = %self.plural,
                    side,
                    error,
                    "the sync of {} is held up by the {side}",
                    self.plural
                ),
                (Some(_), None) => info!(
                    binding.name = %self.binding,
                    resource = %self.plural,
                    side,
                    "the sync of {} goes on",
                    self.plural
                ),
                _ => {}
            }
        }
        self.counts.send_if_modified(|known| {
            let news = counts.is_news_after(known);
            *known = counts;
            news
        });
    }
}
