//! Runs one controller (IO): watches, a work queue that never works on one object twice at once,
//! bounded concurrency, backoff per object, metrics and one log line per failure.
//!
//! It is built on kube's `applier`, which `Controller` is built on too, because that one can neither
//! ignore changes of the status of its own kind (a heartbeat per consumer every few minutes) nor tell
//! a deletion from a change.

use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, SelectAll, Stream, StreamExt};
use kube::Resource;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::controller::{self, Action, Config};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, applier};
use kube_bind_runtime::backoff::Backoff;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::metrics::{ControllerLabel, Labels};
use super::seen::Seen;
use super::tolerant::{self, Tolerant};
use super::watching::{WatchCheck, checked};
use super::{Context, Error};

/// How long running reconciles may take to end after a stop; then they are dropped where they are,
/// which their preconditions make harmless.
const GRACE: Duration = Duration::from_secs(5);

/// A controller that is being put together.
pub struct Driver<K: Resource<DynamicType = ()> + Clone + 'static> {
    name: &'static str,
    context: Context,
    reader: Store<K>,
    triggers: SelectAll<BoxStream<'static, ObjectRef<K>>>,
}

impl<K> Driver<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// A controller of all `K`; a change of one that leaves the fingerprint as it was is ignored.
    pub fn new(context: Context, name: &'static str, fingerprint: fn(&K) -> u64) -> Self {
        Self::slim(context, name, fingerprint, |_| {})
    }

    /// The same, keeping objects as `slim` leaves them.
    pub fn slim(
        context: Context,
        name: &'static str,
        fingerprint: fn(&K) -> u64,
        slim: fn(&mut K),
    ) -> Self {
        let (reader, writer) = reflector::store();
        let api = Api::<Tolerant<K>>::all(context.client.clone());
        let store = reader.clone();
        let events = tolerated(api, watcher::Config::default(), Some(store))
            .modify(slim)
            .reflect(writer);
        let events = checked(events, check::<K>(&context, name));
        let own = requests(name, events, fingerprint, |object: &K| {
            vec![ObjectRef::from_obj(object)]
        });
        let mut triggers = SelectAll::new();
        triggers.push(own.boxed());
        Self {
            name,
            context,
            reader,
            triggers,
        }
    }

    /// The watched objects as the controller knows them.
    pub fn store(&self) -> Store<K> {
        self.reader.clone()
    }

    /// Also reconciles what `targets` names whenever the metadata of an `O` changes, or when it vanishes.
    #[must_use]
    pub fn watches<O>(
        mut self,
        config: watcher::Config,
        fingerprint: fn(&PartialObjectMeta<O>) -> u64,
        targets: impl Fn(&PartialObjectMeta<O>) -> Vec<ObjectRef<K>> + Send + 'static,
    ) -> Self
    where
        O: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let api = Api::<Tolerant<PartialObjectMeta<O>>>::all(self.context.client.clone());
        let events = checked(
            tolerated(api, config, None),
            check::<O>(&self.context, self.name),
        );
        self.triggers
            .push(requests(self.name, events, fingerprint, targets).boxed());
        self
    }

    /// Also reconciles what this stream names.
    #[must_use]
    pub fn on(mut self, stream: impl Stream<Item = ObjectRef<K>> + Send + 'static) -> Self {
        self.triggers.push(stream.boxed());
        self
    }

    /// Runs until `stop`.
    pub async fn run<S, F, Fut>(
        self,
        state: S,
        concurrency: u16,
        stop: CancellationToken,
        reconcile: F,
    ) where
        S: Send + Sync + 'static,
        F: Fn(Arc<K>, Arc<Scoped<S>>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<Action, Error>> + Send + 'static,
        ObjectRef<K>: Hash + Eq + Send,
    {
        let Self {
            name,
            context,
            reader,
            triggers,
        } = self;
        let scoped = Arc::new(Scoped::new(context, name, state));
        let queue = triggers
            .map(Ok::<_, std::convert::Infallible>)
            .take_until(stop.clone().cancelled_owned());
        let forget = Arc::clone(&scoped);
        let work = applier(
            move |object, scoped: Arc<Scoped<S>>| {
                Box::pin(attempt(reconcile.clone(), object, scoped))
            },
            // The attempt itself has counted and logged; what it asks for comes as an action.
            |_, _: &std::convert::Infallible, _| Action::await_change(),
            scoped,
            reader,
            queue.boxed(),
            Config::default().concurrency(concurrency),
        )
        .for_each(move |outcome| {
            if let Err(controller::Error::ObjectNotFound(gone)) = outcome {
                forget.backoff.reset(&(gone.namespace, gone.name));
            }
            std::future::ready(())
        });
        tracing::info!(controller = name, "started controller {name}");
        tokio::select! {
            () = work => {}
            () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => {}
        }
        tracing::info!(controller = name, "stopped controller {name}");
    }
}

/// What a reconcile gets: the common context, and what only its controller has.
pub struct Scoped<S> {
    /// Common to all controllers.
    pub context: Context,
    /// Name of the controller.
    pub name: &'static str,
    /// Of this controller.
    pub state: S,
    backoff: Backoff<(Option<String>, String)>,
}

impl<S> Scoped<S> {
    /// For the controller `name`.
    pub fn new(context: Context, name: &'static str, state: S) -> Self {
        Self {
            context,
            name,
            state,
            backoff: Backoff::new(),
        }
    }

    /// Field manager of the controller.
    pub fn manager(&self) -> String {
        format!(
            "{}/{}",
            kube_bind_crds::names::FIELD_MANAGER_BACKEND,
            self.name
        )
    }
}

async fn attempt<K, S, F, Fut>(
    reconcile: F,
    object: Arc<K>,
    scoped: Arc<Scoped<S>>,
) -> Result<Action, std::convert::Infallible>
where
    K: Resource<DynamicType = ()>,
    F: Fn(Arc<K>, Arc<Scoped<S>>) -> Fut,
    Fut: Future<Output = Result<Action, Error>>,
{
    let (name, controller) = (object.meta().name.clone().unwrap_or_default(), scoped.name);
    let namespace = object.meta().namespace.clone();
    let key = (namespace, name);
    let started = scoped.context.clock.monotonic();
    let outcome = reconcile(object, Arc::clone(&scoped)).await;
    let metrics = &scoped.context.metrics;
    let took = scoped
        .context
        .clock
        .monotonic()
        .saturating_duration_since(started);
    metrics
        .duration
        .get_or_create(&ControllerLabel { controller })
        .observe(took.as_secs_f64());
    let (result, action) = match outcome {
        Ok(action) => {
            scoped.backoff.reset(&key);
            ("done", action)
        }
        Err(error) => {
            let delay = scoped.backoff.next(&key);
            let (namespace, name) = (key.0.as_deref().unwrap_or_default(), key.1.as_str());
            let quiet = error.is_expected();
            if quiet {
                tracing::debug!(
                    controller,
                    object.namespace = namespace,
                    object.name = name,
                    retry_ms = delay.as_millis(),
                    "{error}"
                );
            } else {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    controller,
                    object.namespace = namespace,
                    object.name = name,
                    retry_ms = delay.as_millis(),
                    "failed to reconcile {} {namespace}/{name}",
                    K::kind(&())
                );
            }
            (
                if quiet { "waiting" } else { "failed" },
                Action::requeue(delay),
            )
        }
    };
    metrics
        .reconciles
        .get_or_create(&Labels { controller, result })
        .inc();
    Ok(action)
}

fn check<K: Resource<DynamicType = ()>>(context: &Context, controller: &str) -> WatchCheck {
    WatchCheck::new(context.health.clone(), controller, &K::kind(&()))
}

/// A watch of what decodes.
fn tolerated<K>(
    api: Api<Tolerant<K>>,
    config: watcher::Config,
    store: Option<Store<K>>,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    watcher(api, config)
        .default_backoff()
        .filter_map(move |event| {
            std::future::ready(match event {
                Ok(event) => tolerant::event(event, store.as_ref()).map(Ok),
                Err(error) => Some(Err(error)),
            })
        })
}

fn requests<O, K>(
    name: &'static str,
    events: impl Stream<Item = Result<Event<O>, watcher::Error>> + Send + 'static,
    fingerprint: fn(&O) -> u64,
    targets: impl Fn(&O) -> Vec<ObjectRef<K>> + Send + 'static,
) -> impl Stream<Item = ObjectRef<K>> + Send + 'static
where
    O: Resource<DynamicType = ()> + Send + 'static,
    K: Resource<DynamicType = ()> + 'static,
{
    let mut seen = Seen::default();
    events
        .map(move |event| match event {
            Ok(event) => seen.observe(&event, fingerprint, &targets),
            Err(error) => {
                let kind = O::kind(&());
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    controller = name,
                    "failed to watch {kind}, trying again"
                );
                Vec::new()
            }
        })
        .flat_map(stream::iter)
}
