//! The life of one object: created, extended by others, drifted, repaired, changed.

use kube_bind_crds::digest;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::compare::{drop_empty, holds, is_filled};
use crate::generate::{chance, drift, edited, extended, value, with_unknown};
use crate::server::Kind;

/// How often the consumer changes an object.
const CHANGES: usize = 3;

pub struct Case<'a> {
    kind: &'a Kind,
    seed: u64,
    index: usize,
    fragment: Value,
    rng: StdRng,
    /// How often the two sides differed by design.
    settled: usize,
    /// What happened so far, for who has to understand a failure.
    story: Vec<String>,
}

impl<'a> Case<'a> {
    pub fn new(kind: &'a Kind, seed: u64, index: usize, fragment: Value) -> Self {
        let rng = StdRng::seed_from_u64(seed << 16 | index as u64);
        Self {
            kind,
            seed,
            index,
            fragment,
            rng,
            settled: 0,
            story: Vec::new(),
        }
    }

    /// Runs it; the error is the whole story.
    pub async fn run(mut self) -> Result<usize, String> {
        self.live().await.map(|()| self.settled).map_err(|reason| {
            let Self {
                seed,
                index,
                fragment,
                story,
                ..
            } = &self;
            format!(
                "seed {seed}, case {index}: {reason}\n  schema: {fragment}\n  {}",
                story.join("\n  ")
            )
        })
    }

    async fn live(&mut self) -> Result<(), String> {
        let content = value(&mut self.rng, &self.fragment);
        let mut consumer = self.author(None, content).await?;
        let mut configuration = self.configuration(&consumer);
        let mut provider = self.did("create", self.kind.create(&configuration).await)?;
        provider = self.agree(&configuration, provider).await?;
        self.same(&consumer, &provider)?;

        let again = self.did(
            "apply again",
            self.kind.change(&provider, &configuration).await,
        )?;
        self.unchanged(&provider, &again)?;
        let shared = chance(&mut self.rng, 60);
        for _ in 0..CHANGES {
            if shared {
                provider = self.extend(provider).await?;
                provider = self.agree(&configuration, provider).await?;
                provider = self.drift(&configuration, provider).await?;
            }
            let content = self.part(&consumer).clone();
            let content = edited(&mut self.rng, &self.fragment, &content);
            consumer = self.author(Some(&consumer), content).await?;
            configuration = self.configuration(&consumer);
            provider = self.did("change", self.kind.change(&provider, &configuration).await)?;
            provider = self.agree(&configuration, provider).await?;
            if !shared {
                self.same(&consumer, &provider)?;
            }
        }
        Ok(())
    }

    fn part<'b>(&self, body: &'b Value) -> &'b Value {
        &body["spec"][format!("c{}", self.index)]
    }

    /// Its author writes the consumer object.
    async fn author(&mut self, current: Option<&Value>, content: Value) -> Result<Value, String> {
        self.story.push(format!("author writes {content}"));
        let mut body = current
            .cloned()
            .unwrap_or_else(|| self.identity("consumer"));
        body["spec"] = json!({format!("c{}", self.index): content});
        let answer = match current {
            None => self.kind.post(&body).await,
            Some(_) => self.kind.put("author", &body).await,
        };
        answer.map_err(|error| format!("the generator made an invalid value: {error}"))
    }

    fn identity(&self, side: &str) -> Value {
        let kind = format!("Seed{}", self.seed);
        json!({"apiVersion": "digests.example.io/v1", "kind": kind, "metadata": {"name": format!("{side}-{}", self.index)}})
    }

    /// What the engine would apply. The consumer's schema may know more fields than the provider's.
    fn configuration(&mut self, consumer: &Value) -> Value {
        let mut body = self.identity("provider");
        body["metadata"]["annotations"] = json!({"of": "the engine"});
        if let Some(spec) = consumer.get("spec") {
            let name = format!("c{}", self.index);
            body["spec"] = spec.clone();
            if let Some(content) = spec.get(&name) {
                body["spec"][name] = with_unknown(&mut self.rng, &self.fragment, content);
            }
        }
        self.kind.schema.prune(&mut body);
        self.story.push(format!("configuration {}", body["spec"]));
        body
    }

    fn did(&mut self, step: &str, answer: Result<Value, kube::Error>) -> Result<Value, String> {
        let body = answer.map_err(|error| format!("failed to {step}: {error}"))?;
        let fields: Vec<_> = body["metadata"]["managedFields"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        let fields: Vec<_> = fields
            .iter()
            .map(|entry| format!("{} {}", entry["manager"], entry["fieldsV1"]))
            .collect();
        self.story
            .push(format!("{step} -> {} {}", body["spec"], fields.join(", ")));
        Ok(body)
    }

    /// What was applied is what is owned, or one apply more shows that it will never be.
    async fn agree(&mut self, configuration: &Value, provider: Value) -> Result<Value, String> {
        if self.kind.applied(configuration) == self.kind.owned(&provider) {
            return Ok(provider);
        }
        if !is_filled(&configuration["spec"], &provider["spec"]) {
            return Err("what was applied is not what is owned".to_owned());
        }
        self.settled += 1;
        let answer = self.kind.change(&provider, configuration).await;
        let settled = self.did("apply once more", answer)?;
        let answer = self.kind.change(&settled, configuration).await;
        let again = self.did("apply what is settled", answer)?;
        self.unchanged(&settled, &again)?;
        Ok(again)
    }

    fn unchanged(&self, before: &Value, after: &Value) -> Result<(), String> {
        let version = |body: &Value| body["metadata"]["resourceVersion"].clone();
        if version(before) == version(after) {
            Ok(())
        } else {
            Err("the same apply again changed the object".to_owned())
        }
    }

    /// Without another writer the copies are the same as a whole. Only empty lists may stay behind:
    /// nobody owns those.
    fn same(&self, consumer: &Value, provider: &Value) -> Result<(), String> {
        let without_empty = |body: &Value| {
            let mut spec = body["spec"].clone();
            drop_empty(&mut spec);
            digest::whole(Some(&spec))
        };
        if without_empty(consumer) == without_empty(provider) {
            Ok(())
        } else {
            Err(format!(
                "the consumer has {}, the provider {}",
                consumer["spec"], provider["spec"]
            ))
        }
    }

    async fn extend(&mut self, provider: Value) -> Result<Value, String> {
        let mut body = provider;
        let name = format!("c{}", self.index);
        if let Some(content) = body["spec"].get(&name) {
            body["spec"][name] = extended(&mut self.rng, &self.fragment, content);
        }
        let answer = self.kind.put("operator", &body).await;
        self.did("extend", answer)
    }

    /// Another manager changes one of our fields, and the engine repairs that.
    async fn drift(&mut self, configuration: &Value, provider: Value) -> Result<Value, String> {
        let name = format!("c{}", self.index);
        let mut body = provider.clone();
        let (Some(ours), Some(content)) = (
            configuration["spec"].get(&name),
            body["spec"].get_mut(&name),
        ) else {
            return Ok(provider);
        };
        if !drift(&mut self.rng, &self.fragment, ours, content) {
            return Ok(provider);
        }
        let answer = self.kind.put("operator", &body).await;
        let drifted = self.did("drift", answer)?;
        // A default may have undone it, or there was a difference by design before.
        let agreed = self.kind.applied(configuration) == self.kind.owned(&provider);
        let lost = !holds(&self.fragment, ours, self.part(&drifted));
        if agreed && lost && self.kind.applied(configuration) == self.kind.owned(&drifted) {
            return Err("a drift of our fields is not seen".to_owned());
        }
        let answer = self.kind.change(&drifted, configuration).await;
        let repaired = self.did("repair", answer)?;
        self.agree(configuration, repaired).await
    }
}
