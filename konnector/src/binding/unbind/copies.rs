//! The claims of a binding that ends. IO only in the claims engines.

use std::collections::BTreeSet;

use kube::ResourceExt;

use super::super::claims::ending;
use super::Unbinding;
use super::next::Kind;
use crate::claims::Ending;
use crate::fault;
use crate::recorded;

/// The copies of claimed objects that an unbinding takes back.
#[derive(Default)]
pub(super) struct Copies {
    /// How many are left, if that is known.
    pub(super) left: Option<usize>,
    /// Other bindings that have to be heard before any of them goes.
    pub(super) unheard: BTreeSet<String>,
    /// Why claimed objects cannot be listed, or their copies not be written or deleted.
    pub(super) denied: Option<String>,
}

/// Which other bindings something waits for.
pub(super) fn waiting_for(unheard: &BTreeSet<String>) -> String {
    if unheard.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = unheard.iter().map(String::as_str).collect();
    format!(
        "; it is not known yet which of them {} may claim, see the conditions there",
        names.join(", ")
    )
}

impl Unbinding<'_> {
    /// Takes the claims back once the objects that made them are gone; says how many copies are left.
    pub(super) async fn copies(&self, kinds: &[Kind]) -> Copies {
        let mut copies = Copies::default();
        if kinds.iter().any(|kind| kind.crd) {
            return copies;
        }
        let name = self.binding.name_any();
        copies.left = Some(0);
        for claim in &recorded::claims(self.binding) {
            let provider = self.observed.provider().or(self.subtree.provider.as_ref());
            // Without it nothing tells whose copies there are.
            let Some(provider) = provider else {
                copies.left = None;
                return copies;
            };
            let ctx = &self.supervisor.ctx;
            if let Some(engine) = provider.claims(ctx, &claim.group_resource).await {
                engine.claim(&name, ending(self.binding, claim, Ending::Delete));
                for former in recorded::former(self.binding, &claim.group_resource) {
                    let former = ending(self.binding, former, Ending::Delete);
                    if let Err(error) = engine.recall(&name, &former).await {
                        copies.denied = Some(fault::describe(&error));
                        copies.left = None;
                    }
                }
                copies.left = copies.left.zip(engine.copies_of(&name)).map(|(a, b)| a + b);
                copies.unheard.extend(engine.unheard(&name));
                let failing = engine.failing(&name, ctx.clock.monotonic()).why;
                let denied = engine
                    .denied(&name)
                    .or(failing)
                    .or_else(|| engine.kept(&name));
                copies.denied = copies.denied.or(denied);
            }
        }
        copies
    }
}
