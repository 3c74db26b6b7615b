//! How many objects of a binding are in which state, as an annotation. The words are made purely; IO: one
//! merge patch, when they differ and the last one is long enough ago.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use kube_bind_crds::api::APIServiceBinding;
use kube_bind_crds::names::ANNOTATION_OBJECTS;
use kube_bind_runtime::apply;
use serde_json::json;

use super::Error;
use super::subtree::Subtree;
use crate::context::Context;
use crate::fault;
use crate::names::MANAGER_BINDING;
use crate::sync::Counts;

/// A burst of changes is written once in this time.
pub(super) const PAUSE: Duration = Duration::from_secs(5);

/// States of all engines of a binding in words: what there is none of is not mentioned. `claims` is how
/// many claimed objects are not synced for it.
fn words(counts: &[Counts], claims: usize) -> String {
    let sum = |of: fn(&Counts) -> usize| counts.iter().map(of).sum::<usize>();
    let states = [
        ("pending", sum(|c| c.pending)),
        ("rejected", sum(|c| c.rejected)),
        ("conflict", sum(|c| c.conflict)),
        ("waiting-for-namespace", sum(|c| c.waiting_namespace)),
        ("held", sum(|c| c.held)),
        ("claim-conflict", claims),
    ];
    let mut text = format!("synced={}", sum(|c| c.synced));
    for (state, count) in states.into_iter().filter(|(_, count)| *count > 0) {
        text = format!("{text} {state}={count}");
    }
    text
}

/// When the words may be written.
#[derive(Debug, PartialEq, Eq)]
enum When {
    Never,
    Now,
    In(Duration),
}

/// `words` is `None` when nothing is known: what was written is not true any more.
fn when(written: Option<&str>, words: Option<&str>, last: Option<Instant>, now: Instant) -> When {
    if written == words {
        return When::Never;
    }
    let left = last.map(|last| PAUSE.saturating_sub(now.saturating_duration_since(last)));
    match left.filter(|left| !left.is_zero()) {
        Some(left) => When::In(left),
        None => When::Now,
    }
}

async fn claim_conflicts(binding: &str, subtree: &Subtree) -> usize {
    let Some(provider) = &subtree.provider else {
        return 0;
    };
    let engines = provider.running_claims().await;
    engines.iter().map(|e| e.conflicts_of(binding)).sum()
}

/// Writes the counts if they differ; says when they can be, if not now.
pub(super) async fn publish(
    ctx: &Context,
    binding: &APIServiceBinding,
    subtree: &mut Subtree,
) -> Result<Option<Duration>, Error> {
    let Some(counts) = subtree.all_counts() else {
        return Ok(None);
    };
    let claims = claim_conflicts(&binding.name_any(), subtree).await;
    let words = (!counts.is_empty()).then(|| words(&counts, claims));
    let written = binding.annotations().get(ANNOTATION_OBJECTS);
    let now = ctx.clock.monotonic();
    match when(
        written.map(String::as_str),
        words.as_deref(),
        subtree.tallied,
        now,
    ) {
        When::Never => return Ok(None),
        When::In(left) => return Ok(Some(left)),
        When::Now => subtree.tallied = Some(now),
    }
    let patch = json!({"metadata": {
        "uid": binding.uid(), "annotations": {ANNOTATION_OBJECTS: words},
    }});
    let params = PatchParams {
        field_manager: Some(MANAGER_BINDING.to_owned()),
        ..PatchParams::default()
    };
    let api: Api<APIServiceBinding> = Api::all(ctx.client.clone());
    let name = binding.name_any();
    match apply::timed(api.patch_metadata(&name, &params, &Patch::Merge(&patch))).await {
        Ok(_) => Ok(None),
        Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => Ok(None),
        Err(source) => Err(Error::Consumer {
            step: "write the counts of the binding",
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_are_counted_together_and_nothing_is_said_of_nothing() {
        let of = |synced, rejected| Counts {
            synced,
            rejected,
            ..Counts::default()
        };
        assert_eq!(words(&[of(100, 0), of(20, 1)], 0), "synced=120 rejected=1");
        assert_eq!(words(&[of(0, 0)], 0), "synced=0");
        assert_eq!(words(&[of(1, 0)], 2), "synced=1 claim-conflict=2");
    }

    #[test]
    fn a_burst_is_written_once_and_equal_counts_never() {
        let start = Instant::now();
        let later = start + Duration::from_secs(2);
        let (one, two) = (Some("synced=1"), Some("synced=2"));
        assert_eq!(when(one, one, None, start), When::Never);
        assert_eq!(when(None, one, None, start), When::Now);
        let soon = when(one, two, Some(start), later);
        assert_eq!(soon, When::In(Duration::from_secs(3)));
        let due = when(one, two, Some(start), start + PAUSE);
        assert_eq!(due, When::Now);
    }

    #[test]
    fn counts_go_when_no_engine_is_left_to_count() {
        let nothing = Subtree::default();
        assert_eq!(
            nothing.all_counts(),
            Some(Vec::new()),
            "not: not listed yet"
        );
        let start = Instant::now();
        assert_eq!(when(Some("synced=1"), None, None, start), When::Now);
        assert_eq!(when(None, None, None, start), When::Never);
    }
}
