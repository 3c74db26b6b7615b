//! Publishes what the sync engines find wrong with a consumer's object as Events on that object.
//! IO: one Event per problem.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::claims::reference_to;
use crate::context::Context;
use crate::sync::{ObjectRef, Problem, ProblemSink};

/// Problems that wait to be published; more are dropped, the annotation on the object remains.
const WAITING: usize = 256;

/// The way to the publisher.
pub struct Problems {
    queue: mpsc::Sender<(ObjectRef, Problem)>,
}

impl Problems {
    /// Publishes until the term ends.
    pub fn start(ctx: &Arc<Context>) -> Arc<Self> {
        let (queue, mut waiting) = mpsc::channel::<(ObjectRef, Problem)>(WAITING);
        let (events, stop) = (ctx.events.clone(), ctx.shutdown.token.clone());
        ctx.shutdown.spawn("events on objects", async move {
            let work = async {
                while let Some((object, problem)) = waiting.recv().await {
                    events
                        .warning(
                            &reference_to(&object),
                            problem.kind.reason(),
                            problem.message,
                        )
                        .await;
                }
            };
            stop.run_until_cancelled(work).await;
        });
        Arc::new(Self { queue })
    }
}

impl ProblemSink for Problems {
    fn raised(&self, object: &ObjectRef, problem: &Problem) {
        if self
            .queue
            .try_send((object.clone(), problem.clone()))
            .is_err()
        {
            tracing::debug!(
                object.namespace = %object.key.namespace,
                object.name = %object.key.name,
                "too many problems at once, no event for {}",
                object.key
            );
        }
    }

    fn solved(&self, object: &ObjectRef) {
        tracing::debug!(
            object.namespace = %object.key.namespace,
            object.name = %object.key.name,
            "{} {} is in order again",
            object.kind,
            object.key
        );
    }
}
