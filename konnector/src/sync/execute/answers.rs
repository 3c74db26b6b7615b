//! Requests to the two sides, and what their answers tell a job about them.

use futures::future::BoxFuture;

use super::super::concurrency::Permit;
use super::*;

impl Run<'_> {
    /// Begins a write only with enough leadership left for its own time-out.
    pub(super) async fn write<T>(
        &self,
        (side, verb): (Side, Verb),
        request: BoxFuture<'_, Result<T, Error>>,
    ) -> Result<Result<T, Error>, Stop> {
        let turn = self.turn(side).await?;
        self.write_at(turn, (side, verb), request).await
    }

    /// The same with a turn that was waited for.
    pub(super) async fn write_at<T>(
        &self,
        turn: Option<Permit>,
        (side, verb): (Side, Verb),
        request: BoxFuture<'_, Result<T, Error>>,
    ) -> Result<Result<T, Error>, Stop> {
        let Some(left) = self.shared.write_time() else {
            give_back(turn);
            return Err(Stop::Barred);
        };
        let answer = ask(turn, TIMEOUT.min(left), request).await;
        let result = WriteResult::of(&answer);
        self.shared.metrics.wrote(side, verb, result);
        Ok(answer)
    }

    async fn read(
        &self,
        side: Side,
        request: BoxFuture<'_, Result<Value, Error>>,
    ) -> Result<Result<Value, Error>, Stop> {
        let turn = self.turn(side).await?;
        Ok(ask(turn, TIMEOUT, request).await)
    }

    /// Waits until the server can take one more request. That takes as long as it takes: whoever gave up
    /// would lose the place, and a server that is slow would get less done, not more.
    pub(super) async fn turn(&self, side: Side) -> Result<Option<Permit>, Stop> {
        let Some(limiter) = self.shared.cluster(side).limiter() else {
            return Ok(None);
        };
        tokio::select! {
            biased;
            permit = limiter.acquire() => Ok(Some(permit)),
            () = self.shared.stop.cancelled() => Err(Stop::Barred),
        }
    }

    /// The answer of an apply on the provider: a refusal is the author's business.
    pub(super) async fn on_applied(
        &mut self,
        answer: Result<Value, Error>,
        sent: kube_bind_crds::digest::Digest,
    ) -> Result<(), Stop> {
        // A later answer that refuses says nothing about an earlier one that never came.
        self.unsure |= self.pair.owned_copy().is_none()
            && matches!(
                answer,
                Err(Error::Unavailable { .. } | Error::TimedOut { .. } | Error::Internal { .. })
            );
        if let Err(Error::Rejected { message, .. }) = answer {
            let problem = Problem {
                kind: ProblemKind::Rejected,
                message: format!(
                    "the provider does not accept this object, change it accordingly: {message}"
                ),
            };
            self.pair.refused = Some(Box::new(Refused {
                configuration: sent,
                problem,
            }));
            self.rules.retry = false;
            return Err(Stop::Replan);
        }
        let created = self.pair.provider.is_none();
        self.on_provider(answer).await?;
        self.done.visible = Some((Instant::now(), created));
        let copy = self.provider()?;
        let differs = !copy.unreadable && copy.owned != sent;
        self.pair.settle(Settled {
            configuration: differs.then_some((sent, copy.owned)),
            ..self.pair.settled()
        });
        self.pair.sent = sent;
        self.pair.refused = None;
        Ok(())
    }

    /// The answer of a write on the provider copy.
    pub(super) async fn on_provider(&mut self, answer: Result<Value, Error>) -> Result<(), Stop> {
        match answer {
            Ok(body) => {
                self.see_provider(body);
                Ok(())
            }
            Err(Error::Unreadable(metadata)) => {
                self.know_provider(&metadata);
                Ok(())
            }
            Err(Error::Changed | Error::NotFound) => {
                let at = self.target()?;
                self.read_provider(&at).await?;
                Err(Stop::Replan)
            }
            Err(error) => Err(Stop::Failed(Side::Provider, error)),
        }
    }

    /// The answer of a write on the consumer object.
    pub(super) async fn on_consumer(&mut self, answer: Result<Value, Error>) -> Result<(), Stop> {
        match answer {
            Ok(body) => {
                self.see_consumer(body);
                Ok(())
            }
            Err(Error::Unreadable(metadata)) => {
                self.know_consumer(&metadata);
                Ok(())
            }
            Err(Error::Changed | Error::NotFound) => {
                self.read_consumer().await?;
                Err(Stop::Replan)
            }
            Err(error) => Err(Stop::Failed(Side::Consumer, error)),
        }
    }

    /// Reads the provider copy; its absence is learned and means to plan anew.
    pub(super) async fn read_provider(&mut self, at: &Key) -> Result<(), Stop> {
        let request = self.shared.provider.get(at);
        match self.read(Side::Provider, request).await? {
            Ok(body) => self.see_provider(body),
            Err(Error::Unreadable(metadata)) => self.know_provider(&metadata),
            Err(Error::NotFound) => {
                self.lose_provider();
                return Err(Stop::Replan);
            }
            Err(error) => return Err(Stop::Failed(Side::Provider, error)),
        }
        Ok(())
    }

    /// Reads the consumer object; its absence is learned and means to plan anew.
    pub(super) async fn read_consumer(&mut self) -> Result<(), Stop> {
        let request = self.shared.consumer.get(&self.key);
        match self.read(Side::Consumer, request).await? {
            Ok(body) => self.see_consumer(body),
            Err(Error::Unreadable(metadata)) => self.know_consumer(&metadata),
            Err(Error::NotFound) => {
                self.lose_consumer();
                return Err(Stop::Replan);
            }
            Err(error) => return Err(Stop::Failed(Side::Consumer, error)),
        }
        Ok(())
    }

    /// Makes sure that the consumer object of a copy is gone, unless it was seen to terminate: it may
    /// be so new that no event has told of it, and its copy the work of another leader.
    pub(super) async fn confirm_end(&mut self) -> Result<(), Stop> {
        let Owner::Ours(owner) = self.provider()?.owner else {
            return Err(Stop::Replan);
        };
        let is_its_own = |consumer: &Option<Consumer>| {
            let consumer = consumer.as_ref();
            consumer.is_some_and(|consumer| consumer.uid == owner)
        };
        if is_its_own(&self.pair.consumer) {
            return Ok(());
        }
        let request = self.shared.consumer.get(&self.key);
        match self.read(Side::Consumer, request).await? {
            Ok(body) => self.see_consumer(body),
            Err(Error::Unreadable(metadata)) => self.know_consumer(&metadata),
            Err(Error::NotFound) => {
                self.lose_consumer();
                return Ok(());
            }
            Err(error) => return Err(Stop::Failed(Side::Consumer, error)),
        };
        if is_its_own(&self.pair.consumer) || succeeds(&self.pair, &self.rules) {
            return Err(Stop::Replan);
        }
        Ok(())
    }

    /// The consumer object's body: the one at hand, or read again. If what is read is not what the
    /// plan was made for, the plan is made anew.
    pub(super) async fn consumer_body(&mut self) -> Result<Arc<Value>, Stop> {
        if let Some(body) = &self.consumer_body {
            return Ok(Arc::clone(body));
        }
        let planned = self.consumer()?;
        self.read_consumer().await?;
        let now = self.consumer()?;
        let same = (now.uid, now.terminating) == (planned.uid, planned.terminating);
        let body = self.consumer_body.clone().filter(|_| same);
        body.ok_or(Stop::Replan)
    }

    /// The provider copy's body: the one at hand, or read again.
    pub(super) async fn provider_body(&mut self, at: &Key) -> Result<Arc<Value>, Stop> {
        if self.provider_body.is_none() {
            self.read_provider(at).await?;
        }
        self.held_provider_body().ok_or(Stop::Replan)
    }

    pub(super) fn held_provider_body(&self) -> Option<Arc<Value>> {
        self.provider_body.clone()
    }

    pub(super) fn see_provider(&mut self, body: Value) {
        self.pair.provider = Some(self.shared.form.provider(&body));
        self.lost.provider = false;
        self.done.answered[Side::Provider as usize] = true;
        self.provider_body = Some(Arc::new(body));
    }

    /// The same of one that cannot be read.
    fn know_provider(&mut self, metadata: &Value) {
        let before = self.pair.provider.as_ref();
        self.pair.provider = Some(self.shared.form.known_provider(metadata, before));
        self.lost.provider = false;
        self.done.answered[Side::Provider as usize] = true;
        self.provider_body = None;
    }

    pub(super) fn see_consumer(&mut self, body: Value) {
        let form = &self.shared.form;
        let before = self
            .consumer_body
            .as_deref()
            .zip(self.pair.consumer.as_ref());
        self.pair.consumer = Some(match before {
            Some((before, known)) => form.consumer_after((before, known.configuration), &body),
            None => form.consumer(&body),
        });
        self.lost.consumer = false;
        self.done.answered[Side::Consumer as usize] = true;
        self.consumer_body = Some(Arc::new(body));
    }

    /// The same of one that cannot be read.
    fn know_consumer(&mut self, metadata: &Value) {
        let before = self.pair.consumer.as_ref();
        self.pair.consumer = Some(self.shared.form.known_consumer(metadata, before));
        self.lost.consumer = false;
        self.done.answered[Side::Consumer as usize] = true;
        self.consumer_body = None;
    }

    pub(super) fn lose_provider(&mut self) {
        if let Some(known) = self.pair.provider.take() {
            self.pair.provider_gone = known.version;
        }
        self.lost.provider = true;
        self.provider_body = None;
    }

    pub(super) fn lose_consumer(&mut self) {
        if let Some(known) = self.pair.consumer.take() {
            self.pair.consumer_gone = known.version;
        }
        self.lost.consumer = true;
        self.consumer_body = None;
    }

    pub(super) fn consumer(&self) -> Result<Consumer, Stop> {
        self.pair.consumer.clone().ok_or(Stop::Replan)
    }

    pub(super) fn provider(&self) -> Result<Provider, Stop> {
        self.pair.provider.clone().ok_or(Stop::Replan)
    }

    pub(super) fn target(&self) -> Result<Key, Stop> {
        match &self.rules.target {
            Target::At(key) => Ok(key.clone()),
            Target::Waiting | Target::Impossible(_) => Err(Stop::Replan),
        }
    }
}

/// Nothing is sent after all.
pub(super) fn give_back(turn: Option<Permit>) {
    if let Some(turn) = turn {
        turn.unused();
    }
}

/// Sends a request whose turn it is, and tells the limiter how it went.
async fn ask<T>(
    mut turn: Option<Permit>,
    after: Duration,
    request: BoxFuture<'_, Result<T, Error>>,
) -> Result<T, Error> {
    if let Some(turn) = &mut turn {
        turn.begin();
    }
    let answer = tokio::time::timeout(after, request).await;
    let answer = answer.unwrap_or(Err(Error::TimedOut { after }));
    if let Some(turn) = turn {
        turn.done(answer.as_ref().err());
    }
    answer
}
