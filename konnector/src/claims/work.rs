//! Performs what `plan` decides, one key at a time. IO.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube_bind_runtime::apply;
use kube_bind_runtime::lease::LEAST_WRITE_TIME;
use kube_bind_runtime::shutdown::survive;
use tokio::time::Instant;

use super::ClaimsEngine;
use super::body::Identity;
use super::look::{Seen, Work};
use super::plan::{Conflict, Step};
use super::state::Contest;
use super::vanished::HELD;
use super::write::{Writer, Written};
use crate::fault;
use crate::sync::Key;

/// A binding that has an object may end without a change of that object; looked up in memory only.
const OTHER_BINDING: Duration = Duration::from_secs(60);
/// So often within the window a copy is put right while its source does not change; then somebody on its
/// side means it.
const MOST_CORRECTIONS: u32 = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// A right that was missing may be there without any change of the object.
const RIGHTS: Duration = Duration::from_secs(30);
/// An object at which we panic is not tried again sooner.
const AFTER_PANIC: Duration = Duration::from_secs(10);

impl ClaimsEngine {
    pub(super) async fn work(self: Arc<Self>, worker: usize) {
        let queue = &self.queues[worker];
        loop {
            let key = queue.next().await;
            let settled = survive(self.settle(&key)).await;
            if let Some(Ok(_)) = settled {
                self.written(&key);
            }
            match settled {
                Some(Ok(None)) => self.backoff.reset(&key),
                Some(Ok(Some(pause))) => queue.push_after(key, pause),
                // The message was logged by the panic hook; other objects go on.
                None => {
                    let pause = self.backoff.next(&key).max(AFTER_PANIC);
                    queue.push_after(key, pause);
                }
                Some(Err(error)) => {
                    let mut pause = self.backoff.next(&key);
                    if matches!(&error, kube::Error::Api(status) if fault::lacks_right(status)) {
                        pause = pause.min(RIGHTS);
                    }
                    tracing::warn!(
                        error = fault::describe(&error),
                        object.namespace = %key.namespace,
                        object.name = %key.name,
                        "failed to sync claimed {} {key}, trying again in {pause:?}",
                        self.kind.singular
                    );
                    if fault::code(&error).is_none() {
                        self.provider.link.check();
                    }
                    queue.push_after(key, pause);
                }
            }
        }
    }

    /// Brings one key in order; says when to look again if nothing tells us to.
    async fn settle(&self, key: &Key) -> Result<Option<Duration>, kube::Error> {
        let seen = self.see(key).await?;
        let Some(work) = self.look(key, &seen) else {
            self.give_up(key, &seen);
            return Ok(None);
        };
        if let Seen::Apart(found) = &seen
            && work.steps.is_empty()
        {
            return Ok(self.clear(key, found.as_deref()));
        }
        self.share(key, &work).await;
        let conflict = work.steps.iter().find_map(|step| match step {
            Step::Conflict(conflict) => Some(conflict.clone()),
            _ => None,
        });
        if let Some(conflict) = conflict.or_else(|| self.contested(key, &work)) {
            let pause = matches!(conflict, Conflict::OtherBinding(_)).then_some(OTHER_BINDING);
            self.conflict(key, &work, conflict).await;
            return Ok(pause);
        }
        if work.steps.is_empty() {
            self.solved(key);
            return Ok(None);
        }
        if self.holds(key, &work) {
            return Ok(Some(HELD));
        }
        let resource = self.api_resource();
        let writer = Writer {
            plural: self.kind.plural,
            consumer: Api::namespaced_with(self.ctx.client.clone(), &key.namespace, &resource),
            provider: Api::namespaced_with(
                self.provider.client.clone(),
                &work.service_namespace,
                &resource,
            ),
            key,
            service_namespace: &work.service_namespace,
            identity: Identity {
                provider_cluster: &self.provider.uid,
                cluster_namespace: &self.provider.cluster_namespace,
                binding: &work.binding,
            },
            source_uid: work.source.as_ref().map_or("", |source| &*source.uid),
        };
        let mut again = None;
        for step in &work.steps {
            // No write may still be under way when another one leads.
            let left = self.provider.write_time(&self.ctx.leader);
            if left < LEAST_WRITE_TIME {
                return Ok(Some(LEAST_WRITE_TIME));
            }
            let limit = left.min(apply::TIMEOUT);
            let written = apply::timed_for(limit, writer.perform(step)).await;
            let failed = |error: &kube::Error| self.write_fails(key, &work.binding, error);
            match written.inspect_err(failed)? {
                Written::Found(side, mut copy) => {
                    // Labels cross, so what matches the source matches the copy.
                    copy.labelled = work
                        .source
                        .iter()
                        .flat_map(|s| s.labelled.clone())
                        .collect();
                    if matches!(step, Step::Update(..)) {
                        self.count(key, &work);
                    }
                    let key_there = self.key_on(side, key, &work.service_namespace);
                    self.state().file(side, &key_there, *copy, None);
                    // It may be another binding's now, and one that ends waits for that.
                    self.tell_waiting();
                    // It may be somebody else's: the next look says so.
                    self.queue(key).push(key.clone());
                }
                Written::Done => {}
                Written::Stale => return Ok(Some(self.backoff.next(key))),
                Written::Rejected(words) => {
                    let conflict = match step {
                        Step::Unmark(..) | Step::Delete(..) => Conflict::Kept(words),
                        _ => Conflict::Rejected(words),
                    };
                    self.conflict(key, &work, conflict).await;
                    again = Some(self.backoff.next(key));
                    // What one side keeps on, the other one may let go.
                    if !matches!(step, Step::Unmark(..)) {
                        return Ok(again);
                    }
                }
            }
        }
        // No watch tells what became of it.
        let unseen = matches!(seen, Seen::Apart(_));
        Ok(again.or_else(|| unseen.then(|| self.backoff.next(key))))
    }

    /// Whether the copy would have to be put right once more although its source is as it was.
    fn contested(&self, key: &Key, work: &Work) -> Option<Conflict> {
        let source = work.source.as_ref()?;
        if !work.steps.iter().any(|s| matches!(s, Step::Update(..))) {
            return None;
        }
        let mut state = self.state();
        let contest = state.contested.get(key)?;
        if contest.version != source.resource_version
            || (contest.times <= MOST_CORRECTIONS && contest.since.elapsed() > WINDOW)
        {
            state.contested.remove(key);
            return None;
        }
        (contest.times > MOST_CORRECTIONS).then_some(Conflict::Contested)
    }

    fn count(&self, key: &Key, work: &Work) {
        let Some(source) = &work.source else {
            return;
        };
        let mut state = self.state();
        let contest = state
            .contested
            .entry(key.clone())
            .or_insert_with(|| Contest {
                version: source.resource_version.clone(),
                times: 0,
                since: Instant::now(),
            });
        contest.times += 1;
    }

    /// Remembers who else claims an object that is synced for one binding.
    async fn share(&self, key: &Key, work: &Work) {
        let others: BTreeSet<String> = work
            .claimants
            .iter()
            .filter(|claimant| **claimant != work.binding)
            .cloned()
            .collect();
        let news = {
            let mut state = self.state();
            if others.is_empty() {
                state.shared.remove(key);
                return;
            }
            let before = state.shared.insert(key.clone(), others.clone());
            before.as_ref() != Some(&others)
        };
        if news {
            self.report_shared(key, &work.binding, &others).await;
        }
    }
}
