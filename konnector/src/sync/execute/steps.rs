//! The steps, each with its request.

use super::answers::give_back;
use super::*;

impl Run<'_> {
    /// Finalizer, link and problem together: one manager owns all of them, and an apply that left
    /// one out would remove it. `first` is the mark before the copy exists.
    pub(super) async fn mark(&mut self, first: bool) -> Result<(), Stop> {
        let consumer = self.consumer()?;
        let marks = Marks::of(&self.pair, &self.rules);
        if !first
            && plan(&self.pair, &self.rules)
                .iter()
                .all(|step| *step != Step::Annotate)
        {
            return Ok(());
        }
        let copy = self.pair.provider.as_ref().filter(|_| marks.link.is_some());
        let link = match (&self.rules.target, copy) {
            (Target::At(at), Some(copy)) => Some((at.namespace.as_str(), &copy.uid)),
            _ => None,
        };
        let problem = marks
            .problem
            .as_ref()
            .map(|problem| problem.message.as_str());
        let finalizer = first || marks.finalizer || consumer.finalizer;
        let form = &self.shared.form;
        let mut body = form.marks(&self.key, &consumer.uid, finalizer, link, problem);
        if !finalizer {
            // It would take away a finalizer that was put there while it was under way.
            body["metadata"]["resourceVersion"] = consumer.version.0.to_string().into();
        }
        let request = self.shared.consumer.apply(&self.key, MARK_MANAGER, &body);
        let answer = self.write(CONSUMER_APPLY, request).await?;
        if let Err(Error::Rejected { .. }) = answer {
            // Nothing new may be put on an object that terminates, which no event may have told yet.
            self.read_consumer().await?;
            if self.consumer()?.terminating && !consumer.terminating {
                return Err(Stop::Replan);
            }
        }
        self.on_consumer(answer).await?;
        self.pair.marked = marks.digest();
        Ok(())
    }

    pub(super) async fn create(&mut self) -> Result<(), Stop> {
        let at = self.target()?;
        let body = self.consumer_body().await?;
        let sent = self.consumer()?.configuration;
        let mut configuration = self.shared.form.configuration(&body, &at);
        // Create, never change: an existing object answers 422.
        configuration["metadata"]["resourceVersion"] = "0".into();
        let request = self
            .shared
            .provider
            .apply(&at, names::FIELD_MANAGER_SYNC, &configuration);
        let answer = self.write(PROVIDER_APPLY, request).await?;
        self.on_applied(answer, sent).await
    }

    pub(super) async fn change(&mut self) -> Result<(), Stop> {
        let at = self.target()?;
        let body = self.consumer_body().await?;
        let (sent, uid) = (self.consumer()?.configuration, self.provider()?.uid.clone());
        let mut configuration = self.shared.form.configuration(&body, &at);
        configuration["metadata"]["uid"] = uid.to_string().into();
        if let Some(known) = self.held_provider_body() {
            self.shrink(&at, &known, &configuration).await?;
        }
        let request = self
            .shared
            .provider
            .apply(&at, names::FIELD_MANAGER_SYNC, &configuration);
        let mut answer = self.write(PROVIDER_APPLY, request).await?;
        // The sign of a container that apply cannot empty.
        if let Err(Error::Rejected { message, .. }) = &answer
            && message.contains("null")
        {
            self.read_provider(&at).await?;
            let current = self.held_provider_body().ok_or(Stop::Replan)?;
            if self.shrink(&at, &current, &configuration).await? {
                let again =
                    self.shared
                        .provider
                        .apply(&at, names::FIELD_MANAGER_SYNC, &configuration);
                answer = self.write(PROVIDER_APPLY, again).await?;
            }
        }
        self.on_applied(answer, sent).await?;
        if let Some(result) = self.held_provider_body() {
            self.shrink(&at, &result, &configuration).await?;
        }
        Ok(())
    }

    /// Removes what an apply of this configuration cannot remove, or has left behind as null.
    async fn shrink(
        &mut self,
        at: &Key,
        body: &Value,
        configuration: &Value,
    ) -> Result<bool, Stop> {
        let ours = FieldSet::applied_by(body, names::FIELD_MANAGER_SYNC);
        let others = FieldSet::of_others(body, names::FIELD_MANAGER_SYNC);
        let shrinking = self
            .shared
            .form
            .schema
            .shrink(body, &ours, &others, configuration);
        if shrinking.is_empty() {
            return Ok(false);
        }
        // Positions in lists are only right for the body they were computed from.
        let mut operations = tests(body);
        operations.extend(shrinking);
        let operations = Value::Array(operations);
        let request = self.shared.provider.json_patch(at, Part::Main, &operations);
        let answer = self.write(PROVIDER_PATCH, request).await?;
        self.on_provider(answer).await?;
        Ok(true)
    }

    pub(super) async fn adopt(&mut self) -> Result<(), Stop> {
        let at = self.target()?;
        let body = self.provider_body(&at).await?;
        let mut operations = tests(&body);
        let fields = adopt::adopted(&body);
        operations
            .push(json!({"op": "replace", "path": "/metadata/managedFields", "value": fields}));
        let operations = Value::Array(operations);
        let request = self
            .shared
            .provider
            .json_patch(&at, Part::Main, &operations);
        let answer = self.write(PROVIDER_PATCH, request).await?;
        self.on_provider(answer).await
    }

    pub(super) async fn status(&mut self) -> Result<(), Stop> {
        let at = self.target()?;
        let body = self.provider_body(&at).await?;
        let mirrored = self.provider()?.status;
        let uid = self.consumer()?.uid.to_string();
        let change = match body.get("status").filter(|status| !status.is_null()) {
            Some(status) => json!({"op": "add", "path": "/status", "value": status}),
            None => json!({"op": "remove", "path": "/status"}),
        };
        let operations = json!([{"op": "test", "path": "/metadata/uid", "value": uid}, change]);
        let request =
            self.shared
                .consumer
                .json_patch(&self.key, self.shared.status_part, &operations);
        let answer = self.write(CONSUMER_PATCH, request).await?;
        if let Err(Error::Rejected { message, .. }) = answer {
            self.pair.status_refused = Some(Box::new(Refused {
                configuration: mirrored,
                problem: Problem {
                    kind: ProblemKind::StatusRejected,
                    message: format!(
                        "this cluster does not accept the status that the provider gave: {message}"
                    ),
                },
            }));
            self.rules.retry = false;
            return Err(Stop::Replan);
        }
        self.on_consumer(answer).await?;
        self.done.status_back = Some(Instant::now());
        self.pair.status_refused = None;
        self.pair.mirrored = mirrored;
        let consumer = self.consumer()?;
        // What the consumer's schema made of it stays that way.
        let differs = !consumer.unreadable && consumer.status != mirrored;
        self.pair.settle(Settled {
            status: differs.then_some((consumer.status, mirrored)),
            ..self.pair.settled()
        });
        Ok(())
    }

    pub(super) async fn delete(&mut self) -> Result<(), Stop> {
        let (at, copy) = (self.target()?, self.provider()?);
        // A turn may take minutes, in which the object can be made anew: what is confirmed is confirmed
        // when there is nothing more to wait for. No other step holds a turn while it waits for one.
        let turn = self.turn(Side::Provider).await?;
        if let Err(stop) = self.confirm_end().await {
            give_back(turn);
            return Err(stop);
        }
        let (uid, version) = (copy.uid.to_string(), copy.version.0.to_string());
        // Another object may take the copy over, perhaps by another leader's hand and while this
        // request is under way: then it is not what was to be deleted any more.
        let request = self.shared.provider.delete(&at, &uid, &version);
        let write = (Side::Provider, Verb::Delete);
        match self.write_at(turn, write, request).await? {
            Ok(Some(body)) => self.on_provider(Ok(body)).await,
            Ok(None) | Err(Error::NotFound) => {
                self.lose_provider();
                Ok(())
            }
            Err(error) => self.on_provider(Err(error)).await,
        }
    }

    pub(super) async fn release(&mut self) -> Result<(), Stop> {
        // Another leader may have made the copy of an older object its own, and no event has told yet.
        let taken = matches!(&self.pair.provider, Some(copy) if copy.owner != Owner::Foreign);
        if (taken || std::mem::take(&mut self.unsure)) && self.pair.owned_copy().is_none() {
            let at = self.target()?;
            match self.read_provider(&at).await {
                Ok(_) if self.pair.owned_copy().is_some() => return Err(Stop::Replan),
                Ok(_) | Err(Stop::Replan) => {}
                Err(stop) => {
                    self.unsure = true;
                    return Err(stop);
                }
            }
        }
        let consumer = self.consumer()?;
        let body = json!({"metadata": {
            "uid": consumer.uid.to_string(),
            "resourceVersion": consumer.version.0.to_string(),
            "finalizers": consumer.other_finalizers,
        }});
        let last = consumer.other_finalizers.is_empty();
        let request = self.shared.consumer.merge_patch(&self.key, &body);
        let answer = self.write(CONSUMER_PATCH, request).await?;
        let gone = last && matches!(answer, Ok(_) | Err(Error::Unreadable(_)));
        self.on_consumer(answer).await?;
        if gone {
            // The answer of the write that removes the last finalizer is the object's last state.
            self.lose_consumer();
        }
        Ok(())
    }
}

const CONSUMER_APPLY: (Side, Verb) = (Side::Consumer, Verb::Apply);
const CONSUMER_PATCH: (Side, Verb) = (Side::Consumer, Verb::Patch);
const PROVIDER_APPLY: (Side, Verb) = (Side::Provider, Verb::Apply);
const PROVIDER_PATCH: (Side, Verb) = (Side::Provider, Verb::Patch);

/// Preconditions of a JSON patch that was computed from this very body.
fn tests(body: &Value) -> Vec<Value> {
    ["uid", "resourceVersion"]
        .into_iter()
        .map(|field| {
            json!({"op": "test", "path": format!("/metadata/{field}"), "value": body["metadata"][field]})
        })
        .collect()
}
