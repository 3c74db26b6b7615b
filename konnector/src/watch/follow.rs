//! List in pages, then watch, for ever: for what is read through kube's types. IO: reads only.
//!
//! kube's own watcher does not tell when a watch runs again, takes lists of any length, and resumes after
//! whatever happened from the last version it heard of: when a server was restored from a backup meanwhile,
//! it never hears what is different before that (`witness`). The sync engine has its own, over text
//! (`sync::kube_cluster`).

mod page;

use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use kube::api::{ListParams, WatchParams};
use kube::core::{Request, Status, WatchEvent};
use kube::runtime::watcher::{Config, Error, Event};
use kube::{Api, Resource, ResourceExt};
use kube_bind_runtime::apply;
use kube_bind_runtime::backoff::Backoff;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{EARLY, Found, SILENCE, Witness, Witnesses};
use page::{Glance, Page, Plain};

/// A page that takes longer is broken, and so is a watch that does not begin.
const ANSWER: Duration = Duration::from_secs(60);
/// The server ends a watch after this long; a random part is added so that not all end at once.
const WATCH_SECONDS: u32 = 240;
/// A watch that the server does not end in time is a dead connection.
const WATCH_GRACE: Duration = Duration::from_secs(30);
/// A watch that ended sooner tells of a server or a proxy that does not let it live.
const SHORT: Duration = Duration::from_secs(5);
/// Waiting after a failure: doubles from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Which objects are wanted, and how many of them at most.
#[derive(Clone, Debug)]
pub struct Wanted {
    config: Config,
    most: usize,
}

/// All of them: of a cluster that is trusted to hold no more than can be borne.
impl From<Config> for Wanted {
    fn from(config: Config) -> Self {
        let most = usize::MAX;
        Self { config, most }
    }
}

/// The watch of somebody who holds more fails, and says so.
pub fn at_most(most: usize, config: Config) -> Wanted {
    Wanted { config, most }
}

/// What is told while following.
pub enum Told<K> {
    /// A list or a watch brought this.
    Event(Event<K>),
    /// The watch runs, after a list or again after a failure.
    Running,
    /// A request failed and is being repeated.
    Failed(Error),
}

/// Follows until dropped. A panic in what is told costs a new list, and nothing else.
pub async fn follow<K>(api: Api<K>, wanted: impl Into<Wanted>, mut tell: impl FnMut(Told<K>))
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut following = Following {
        api,
        wanted: wanted.into(),
        backoff: Backoff::between(BACKOFF.0, BACKOFF.1),
        objects: 0,
        witnesses: Witnesses::default(),
        shaky: false,
    };
    loop {
        // The message is logged by the panic hook; what was told half is told again by the list.
        let run = AssertUnwindSafe(following.run(&mut tell));
        let _ = run.catch_unwind().await;
        following.pause().await;
    }
}

struct Following<K> {
    api: Api<K>,
    wanted: Wanted,
    backoff: Backoff<()>,
    /// How many there are.
    objects: usize,
    witnesses: Witnesses,
    /// The last watch began and failed at once: the next one runs when it brings something, or lives on.
    shaky: bool,
}

/// How one watch ended.
enum End {
    /// The server ended it when it was asked to: nothing is lost, watch again from where we were.
    InTime,
    /// Whatever ended it, the server may be another one now.
    Broke,
    /// The position is gone: list.
    List,
    /// The same for now, but something is wrong.
    Failed(Error),
    /// Something is wrong with the list.
    Broken(Error),
}

impl<K> Following<K>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    async fn run(&mut self, tell: &mut impl FnMut(Told<K>)) {
        loop {
            match self.list(tell).await {
                Ok(version) => self.watches(version, tell).await,
                Err(error) => tell(Told::Failed(error)),
            }
            self.pause().await;
        }
    }

    /// Watches again and again, until a new list is needed.
    async fn watches(&mut self, mut version: String, tell: &mut impl FnMut(Told<K>)) {
        let mut broke = false;
        loop {
            if broke {
                match self.witnesses.resume(|one| self.look_up(one)).await {
                    Ok(Some(at)) => version = at.to_string(),
                    Ok(None) => return,
                    Err(error) => {
                        tell(Told::Failed(Error::WatchStartFailed(error)));
                        self.pause().await;
                        continue;
                    }
                }
            }
            let began = Instant::now();
            let end = self.watch(&mut version, tell).await;
            let lived = began.elapsed();
            let failed = matches!(
                end,
                End::Failed(Error::WatchError(_) | Error::WatchFailed(_))
            );
            self.shaky = failed && lived < SHORT;
            broke = !matches!(end, End::InTime);
            if lived >= SHORT {
                self.backoff.reset(&());
            }
            match end {
                End::List => return,
                End::Broken(error) => return tell(Told::Failed(error)),
                End::InTime | End::Broke if lived >= SHORT => {}
                End::InTime | End::Broke => self.pause().await,
                End::Failed(error) => {
                    tell(Told::Failed(error));
                    self.pause().await;
                }
            }
        }
    }

    /// All pages; the version of the list.
    async fn list(&mut self, tell: &mut impl FnMut(Told<K>)) -> Result<String, Error> {
        let mut params = self.params(self.wanted.config.page_size);
        let mut found = 0;
        self.witnesses.clear();
        tell(Told::Event(Event::Init));
        loop {
            let page = self.page::<Page<K>>(&params).await;
            let page = page.map_err(Error::InitialListFailed)?;
            found += page.items.len();
            self.bear(found)?;
            for Plain(object) in page.items {
                self.remember(&object, true);
                tell(Told::Event(Event::InitApply(object)));
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_some() {
                continue;
            }
            let version = page.metadata.resource_version;
            let version = version.filter(|version| !version.is_empty());
            let version = version.ok_or(Error::NoResourceVersion)?;
            self.objects = found;
            tell(Told::Event(Event::InitDone));
            return Ok(version);
        }
    }

    /// One watch until it ends; `version` follows what was told.
    async fn watch(&mut self, version: &mut String, tell: &mut impl FnMut(Told<K>)) -> End {
        let seconds = WATCH_SECONDS + rand::random_range(0..50);
        let asked_for = Instant::now() + Duration::from_secs(seconds.into());
        let params = WatchParams {
            label_selector: self.wanted.config.label_selector.clone(),
            field_selector: self.wanted.config.field_selector.clone(),
            timeout: Some(seconds),
            ..WatchParams::default()
        };
        let begun = apply::timed_for(ANSWER, self.events(&params, version)).await;
        let events = match begun {
            Ok(events) => events,
            Err(kube::Error::Api(status)) if status.code == 410 => return End::List,
            Err(error) => return End::Failed(Error::WatchStartFailed(error)),
        };
        let mut runs = !self.shaky;
        if runs {
            tell(Told::Running);
        }
        let mut events = pin!(events);
        let deadline = asked_for + WATCH_GRACE;
        loop {
            let silent = Instant::now() + if runs { SILENCE } else { SHORT };
            let event = tokio::time::timeout_at(deadline.min(silent), events.next()).await;
            if !runs && !matches!(event, Ok(Some(Ok(WatchEvent::Error(_)) | Err(_)) | None)) {
                runs = true;
                tell(Told::Running);
                if event.is_err() {
                    continue;
                }
            }
            let event = match event {
                Ok(Some(event)) => event,
                // A server that lives on ends a watch when it was asked to, by its own clock.
                Ok(None) if Instant::now() + EARLY >= asked_for => return End::InTime,
                Ok(None) | Err(_) => return End::Broke,
            };
            // Whether it is there now, and how many more that makes.
            let (at, told) = match event {
                Ok(WatchEvent::Added(Plain(object))) => {
                    (object.resource_version(), Some((object, true, 1)))
                }
                Ok(WatchEvent::Modified(Plain(object))) => {
                    (object.resource_version(), Some((object, true, 0)))
                }
                Ok(WatchEvent::Deleted(Plain(object))) => {
                    (object.resource_version(), Some((object, false, -1)))
                }
                Ok(WatchEvent::Bookmark(mark)) => (Some(mark.metadata.resource_version), None),
                Ok(WatchEvent::Error(status)) if status.code == 410 => return End::List,
                Ok(WatchEvent::Error(status)) => {
                    return End::Failed(Error::WatchError(status.boxed()));
                }
                // One object that makes no sense: those after it do, and it would come again.
                Err(error) if is_of_one_object(&error) => {
                    tell(Told::Failed(Error::WatchFailed(error)));
                    continue;
                }
                Err(error) => return End::Failed(Error::WatchFailed(error)),
            };
            let Some(at) = at.filter(|at| !at.is_empty()) else {
                return End::Broken(Error::NoResourceVersion);
            };
            // Events that are older than our position are never sent: the server was restored.
            if is_before(&at, version) {
                return End::List;
            }
            *version = at;
            let Some((object, present, more)) = told else {
                continue;
            };
            if !self.remember(&object, present) {
                continue;
            }
            self.objects = self.objects.saturating_add_signed(more);
            if let Err(error) = self.bear(self.objects) {
                return End::Broken(error);
            }
            tell(Told::Event(match present {
                true => Event::Apply(object),
                false => Event::Delete(object),
            }));
        }
    }

    /// Remembers what was told of an object; `false` if it is known to be newer.
    fn remember(&mut self, object: &K, present: bool) -> bool {
        let version = object.resource_version().and_then(|v| v.parse().ok());
        // A version that cannot be compared is no witness.
        version.is_none_or(|version| {
            let namespace = object.namespace().unwrap_or_default();
            self.witnesses
                .tell(&namespace, &object.name_any(), version, present)
        })
    }

    /// What the server says now of an object that it told of; `None` if it refuses to say.
    async fn look_up(&self, witness: Witness) -> Result<Option<Found>, kube::Error> {
        let mut one = vec![format!("metadata.name={}", witness.name)];
        if !witness.namespace.is_empty() {
            one.push(format!("metadata.namespace={}", witness.namespace));
        }
        one.extend(self.wanted.config.field_selector.clone());
        let mut params = self.params(Some(1));
        params.field_selector = Some(one.join(","));
        // It may have become something that cannot be read, which must hold nothing up.
        let page = match self.page::<Glance>(&params).await {
            Ok(page) => page,
            // The list will say what is wrong.
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404 | 422) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(Some(Found {
            server: page.metadata.number(),
            object: page.items.first().and_then(|item| item.metadata.number()),
        }))
    }

    async fn page<T: DeserializeOwned>(&self, params: &ListParams) -> Result<T, kube::Error> {
        let request = Request::new(self.api.resource_url()).list(params);
        let request = request.map_err(kube::Error::BuildRequest)?;
        let client = self.api.clone().into_client();
        apply::timed_for(ANSWER, client.request(request)).await
    }

    async fn events(
        &self,
        params: &WatchParams,
        version: &str,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Plain<K>>, kube::Error>> + use<K>, kube::Error>
    {
        let request = Request::new(self.api.resource_url()).watch(params, version);
        let request = request.map_err(kube::Error::BuildRequest)?;
        let client = self.api.clone().into_client();
        client.request_events(request).await
    }

    fn params(&self, limit: Option<u32>) -> ListParams {
        ListParams {
            label_selector: self.wanted.config.label_selector.clone(),
            field_selector: self.wanted.config.field_selector.clone(),
            limit,
            ..ListParams::default()
        }
    }

    fn bear(&self, objects: usize) -> Result<(), Error> {
        let most = self.wanted.most;
        if objects <= most {
            return Ok(());
        }
        let words = format!("there are more than {most} objects, which is more than is read");
        let status = Status::failure(&words, "TooManyObjects").with_code(413);
        Err(Error::WatchError(status.boxed()))
    }

    async fn pause(&self) {
        let pause = self.backoff.next(&());
        tokio::time::sleep(pause.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
    }
}

/// An event that cannot be read; kube takes some of them for a `Status` that says nothing.
fn is_of_one_object(error: &kube::Error) -> bool {
    match error {
        kube::Error::SerdeError(_) => true,
        kube::Error::Api(status) => status.code == 0,
        _ => false,
    }
}

/// Whether a version is older than another one; unknown is no.
pub fn is_before(one: &str, other: &str) -> bool {
    let number = |version: &str| version.parse::<u64>().ok();
    number(one)
        .zip(number(other))
        .is_some_and(|(one, other)| one < other)
}

#[cfg(test)]
mod tests;
