//! Which of a provider's own objects cannot be followed or made, and since when. No IO of its own.
//!
//! Whatever is watched or asked for in the cluster namespace tells of itself here. A watch that fails works again only when
//! its watch runs: that a list succeeds says nothing of a watch that is refused, nor does a first page of
//! the pages after it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Provider;
use crate::context::Context;
use crate::fault;
use crate::patience::Patience;
use crate::watch::Signal;

/// What failed and does not work again, by what it is about.
#[derive(Default)]
pub struct Trouble(Mutex<BTreeMap<&'static str, Failing>>);

/// A watch or a request that fails.
#[derive(Default)]
struct Failing {
    patience: Patience,
    /// Why, once that lasts.
    said: Option<String>,
}

/// What a signal changes in what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    None,
    /// A failure passed before it was worth a word.
    Passed,
    /// There is more trouble or less.
    Trouble,
}

impl Trouble {
    /// The watch is broken, so what it brought may be old.
    pub fn is_of(&self, what: &str) -> bool {
        self.failing().contains_key(what)
    }

    /// The same, and it has been for longer than what passes by itself.
    pub fn lasts(&self, what: &str) -> bool {
        let failing = self.failing();
        failing.get(what).is_some_and(|f| f.said.is_some())
    }

    /// Why something is not known, or may be old, once that lasts.
    pub fn words(&self) -> Option<String> {
        let failing = self.failing();
        failing.values().find_map(|failing| failing.said.clone())
    }

    fn tell<K>(&self, what: &'static str, signal: &Signal<'_, K>, now: Instant) -> News {
        match signal {
            Signal::Failed(error) => self.fails(what, now, || {
                let why = fault::describe_watch(error);
                format!("the {what} of the provider cannot be followed: {why}")
            }),
            Signal::Running => self.works(what),
            Signal::Changed(_) | Signal::Removed(_) | Signal::Listed => News::None,
        }
    }

    fn fails(&self, what: &'static str, now: Instant, say: impl FnOnce() -> String) -> News {
        let mut all = self.failing();
        let failing = all.entry(what).or_default();
        if failing.patience.failed(now, now).is_some() {
            return News::None;
        }
        match failing.said.replace(say()) {
            None => News::Trouble,
            Some(_) => News::None,
        }
    }

    fn works(&self, what: &str) -> News {
        match self.failing().remove(what).map(|failing| failing.said) {
            None => News::None,
            Some(None) => News::Passed,
            Some(Some(_)) => News::Trouble,
        }
    }

    fn failing(&self) -> MutexGuard<'_, BTreeMap<&'static str, Failing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Provider {
    /// What every watch of the provider's own objects tells of itself: logs, has the connection checked,
    /// and wakes whoever says what is new.
    pub fn watched<K: Debug>(
        &self,
        ctx: &Context,
        what: &'static str,
        signal: &Signal<'_, K>,
    ) -> News {
        let news = self.trouble.tell(what, signal, ctx.clock.monotonic());
        if let Signal::Failed(error) = signal {
            tracing::warn!(
                error = fault::describe_watch(error),
                provider.uid = %self.uid,
                "failed to watch {what} of provider {}",
                self.uid
            );
            self.link.check();
        }
        if news == News::Trouble || matches!(signal, Signal::Listed) {
            self.tell_users(ctx);
        }
        news
    }

    /// Something that is asked of the provider again and again is refused: in words.
    pub fn refuses(&self, ctx: &Context, what: &'static str, said: String) {
        let now = ctx.clock.monotonic();
        if self.trouble.fails(what, now, || said) == News::Trouble {
            self.tell_users(ctx);
        }
    }

    /// The same is not refused any more.
    pub fn grants(&self, ctx: &Context, what: &str) {
        if self.trouble.works(what) == News::Trouble {
            self.tell_users(ctx);
        }
    }

    fn tell_users(&self, ctx: &Context) {
        ctx.wake_users(&self.secrets());
        self.beat.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kube::runtime::watcher;

    use super::*;

    type Told<'a> = Signal<'a, ()>;

    #[test]
    fn what_fails_works_again_when_its_watch_runs_and_not_before() {
        let trouble = Trouble::default();
        let start = Instant::now();
        let error = watcher::Error::NoResourceVersion;
        let tell = |what, signal: Told<'_>, seconds| {
            trouble.tell(what, &signal, start + Duration::from_secs(seconds))
        };
        assert_eq!(tell("exports", Told::Running, 0), News::None);
        assert_eq!(tell("exports", Told::Failed(&error), 0), News::None);
        assert!(trouble.is_of("exports") && !trouble.lasts("exports"));
        assert_eq!(tell("exports", Told::Running, 1), News::Passed);
        assert!(!trouble.is_of("exports"));

        assert_eq!(tell("exports", Told::Failed(&error), 10), News::None);
        assert_eq!(tell("exports", Told::Failed(&error), 16), News::Trouble);
        assert_eq!(tell("exports", Told::Failed(&error), 20), News::None);
        for signal in [Told::Changed(&()), Told::Removed(&()), Told::Listed] {
            assert_eq!(tell("exports", signal, 21), News::None);
        }
        assert_eq!(tell("others", Told::Running, 22), News::None);
        assert!(trouble.lasts("exports") && !trouble.is_of("others"));
        assert!(
            trouble
                .words()
                .is_some_and(|words| words.contains("exports"))
        );
        assert_eq!(tell("exports", Told::Running, 23), News::Trouble);
        assert_eq!(trouble.words(), None);
    }
}
