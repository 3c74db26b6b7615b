//! Stands for a lease, leads, and stands again. Talks to the API server.

use std::time::Instant;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use tokio_util::sync::CancellationToken;

use super::{Decision, LeaderToken, LeaseConfig, Observed, Record, decide};
use crate::apply::timed_for;
use crate::clock::SharedClock;
use crate::shutdown::Shutdown;

/// Stands for the lease until `shutdown`, and runs `on_lead` as a task of it whenever we lead.
///
/// The token given to `on_lead` is cancelled when the lease is lost, some time before another one
/// may lead, and on shutdown. We stand again only after that task has ended. On shutdown the lease
/// is renewed until the task has ended and is then given up, so that another one leads at once.
///
/// Needs `get`, `create` and `patch` on the lease.
pub async fn run<F, Fut>(
    config: LeaseConfig,
    client: Client,
    clock: SharedClock,
    shutdown: Shutdown,
    mut on_lead: F,
) where
    F: FnMut(LeaderToken) -> Fut + Send,
    Fut: Future<Output = ()> + Send + 'static,
{
    let candidate = Candidate {
        api: Api::namespaced(client, &config.namespace),
        config,
        clock,
    };
    let lease = &candidate.config.name;
    let mut seen = None;
    while let Some(until) = candidate.acquire(&mut seen, &shutdown.token).await {
        tracing::info!(lease.name = %lease, lease.identity = %candidate.config.identity, "leading by lease {lease}");
        let token =
            LeaderToken::limited(candidate.clock.clone(), shutdown.token.child_token(), until);
        let work = shutdown.spawn(format!("leader of {lease}"), on_lead(token.clone()));
        match candidate.keep(&mut seen, &token, work).await {
            End::Done => {
                candidate.release(&mut seen).await;
                // Whoever else stands gets a chance, and work that ends at once does not spin.
                let _ = shutdown
                    .token
                    .run_until_cancelled(tokio::time::sleep(candidate.config.duration))
                    .await;
            }
            End::Lost => tracing::warn!(lease.name = %lease, "lost lease {lease}, standing again"),
        }
    }
}

struct Candidate {
    api: Api<Lease>,
    config: LeaseConfig,
    clock: SharedClock,
}

/// How leading ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The work is done; the lease is still ours.
    Done,
    /// Somebody else leads, or may do so soon.
    Lost,
}

impl Candidate {
    /// Waits until we lead; returns until when nobody else does. None means that the process stops.
    async fn acquire(
        &self,
        seen: &mut Option<Observed>,
        stop: &CancellationToken,
    ) -> Option<Instant> {
        let mut failing = false;
        loop {
            let attempt = timed_for(self.config.renew_deadline, self.look_and_write(seen));
            match stop.run_until_cancelled(attempt).await? {
                Ok(Some(until)) => return Some(until),
                Ok(None) => failing = false,
                Err(err) => self.report(&err, "acquire", &mut failing),
            }
            stop.run_until_cancelled(tokio::time::sleep(self.config.retry_period))
                .await?;
        }
    }

    /// Renews the lease until the work has ended or the lease is lost; then the work has ended, too.
    async fn keep<T>(
        &self,
        seen: &mut Option<Observed>,
        leader: &LeaderToken,
        mut work: tokio::task::JoinHandle<T>,
    ) -> End {
        // The lease is good for `duration` after a renewal; the rest is for requests under way.
        let reserve = self
            .config
            .duration
            .saturating_sub(self.config.renew_deadline)
            .max(self.config.duration / 4);
        let mut failing = false;
        loop {
            let left = leader.valid_for().saturating_sub(reserve);
            tokio::select! {
                _ = &mut work => return End::Done,
                () = tokio::time::sleep(self.config.retry_period.min(left)) => {}
            }
            let left = leader.valid_for().saturating_sub(reserve);
            // One lost answer must not use up all the time there is.
            let attempt = left.min(self.config.renew_deadline / 2);
            let lost = match timed_for(attempt, self.renew(seen)).await {
                Ok(Some(until)) => {
                    failing = false;
                    leader.extend(until);
                    false
                }
                Ok(None) => true,
                Err(err) => {
                    self.report(&err, "renew", &mut failing);
                    leader.valid_for() <= reserve
                }
            };
            if lost {
                leader.token().cancel();
                self.join(leader, work).await;
                return End::Lost;
            }
        }
    }

    /// Waits for work whose lease is lost.
    async fn join<T>(&self, leader: &LeaderToken, mut work: tokio::task::JoinHandle<T>) {
        if tokio::time::timeout(leader.valid_for(), &mut work)
            .await
            .is_err()
        {
            let lease = &self.config.name;
            tracing::error!(lease.name = %lease, "work of the leader still runs after lease {lease} ran out");
            // A panic of the work was logged by its task.
            let _ = work.await;
        }
    }

    /// One attempt of a leader: straight on top of the last write, which saves reading.
    async fn renew(&self, seen: &mut Option<Observed>) -> Result<Option<Instant>, Error> {
        match self.write(seen).await {
            // Our own last write may have taken effect although its answer was lost; or the lease
            // was deleted, or taken. Looking tells.
            Ok(None) => self.look_and_write(seen).await,
            Err(Error::Api(status)) if status.is_not_found() => self.look_and_write(seen).await,
            result => result,
        }
    }

    /// One attempt: reads the lease, decides, and writes if it may. None means not leading.
    async fn look_and_write(&self, seen: &mut Option<Observed>) -> Result<Option<Instant>, Error> {
        let lease = self.api.get_opt(&self.config.name).await?;
        let now = self.clock.monotonic();
        *seen = lease.map(|lease| Observed::update(seen.take(), &lease, now));
        match decide(
            seen.as_ref(),
            &self.config.identity,
            self.config.duration,
            now,
        ) {
            Decision::Create | Decision::Take | Decision::Renew => self.write(seen).await,
            Decision::Wait(_) => Ok(None),
        }
    }

    /// Writes us as the holder on top of what was seen. None means that somebody wrote meanwhile.
    async fn write(&self, seen: &mut Option<Observed>) -> Result<Option<Instant>, Error> {
        // Counted from before the request: the others see the renewal only later.
        let until = self.clock.monotonic() + self.config.duration;
        let record = Record::held(
            seen.as_ref().map(|seen| &seen.record),
            &self.config,
            self.clock.now(),
        );
        let written = match seen.as_ref() {
            None => {
                self.api
                    .create(&PostParams::default(), &record.to_lease(&self.config, None))
                    .await
            }
            Some(seen) => self.replace(seen, &record).await,
        };
        match written {
            Ok(lease) => {
                *seen = Some(Observed::update(None, &lease, self.clock.monotonic()));
                Ok(Some(until))
            }
            Err(Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                Ok(None)
            }
            Err(err) => Err(err),
        }
    }

    /// A merge patch leaves labels and newer fields alone; the resourceVersion in it makes the API
    /// server refuse it if anybody wrote since.
    async fn replace(&self, seen: &Observed, record: &Record) -> Result<Lease, Error> {
        let lease = record.to_lease(&self.config, Some(seen.resource_version.clone()));
        self.api
            .patch(
                &self.config.name,
                &PatchParams::default(),
                &Patch::Merge(&lease),
            )
            .await
    }

    /// Gives up the lease, so that another one need not wait for it to run out.
    async fn release(&self, seen: &mut Option<Observed>) {
        let Some(held) = seen.take() else { return };
        let record = held.record.released(self.clock.now());
        let lease = &self.config.name;
        match timed_for(self.config.renew_deadline, self.replace(&held, &record)).await {
            Ok(_) => tracing::info!(lease.name = %lease, "released lease {lease}"),
            Err(err) => {
                tracing::warn!(error = &err as &dyn std::error::Error, lease.name = %lease, "failed to release lease {lease}");
            }
        }
    }

    /// Logs the first of several failures in a row; two attempts a second would fill the log.
    fn report(&self, err: &Error, attempt: &str, failing: &mut bool) {
        let lease = &self.config.name;
        let error = err as &dyn std::error::Error;
        if std::mem::replace(failing, true) {
            tracing::debug!(error, lease.name = %lease, "failed to {attempt} lease {lease} again");
        } else {
            tracing::warn!(error, lease.name = %lease, "failed to {attempt} lease {lease}");
        }
    }
}
