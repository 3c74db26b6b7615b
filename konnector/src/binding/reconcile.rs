//! One look at one binding: read, decide, act, report.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube_bind_crds::api::{APIServiceBinding, APIServiceExport, Phase};
use kube_bind_crds::names::ANNOTATION_PROVIDER_CLUSTER;
use kube_bind_crds::switches;

use super::Error;
use super::acceptance::{self, InForce};
use super::crds::Owner;
use super::facts::{
    ClaimState, ExportFacts, Facts, KindState, NamespaceFacts, ProviderFacts, Switches,
};
use super::look::Look;
use super::subtree::Subtree;
use super::{grant, mark, report, tally, unbind};
use crate::provider::{ConnectProblem, Connection, LinkState, Provider, SecretState};
use crate::supervisor::Supervisor;

/// When a binding is looked at again although nothing happened: events can be missed.
const AGAIN: Duration = Duration::from_secs(600);

/// When a binding is looked at again at the latest while something of it fails.
const FAILED: Duration = Duration::from_secs(30);

/// What was read.
pub(super) struct Observed {
    pub(super) connection: Connection,
    pub(super) export: Option<Arc<APIServiceExport>>,
    export_facts: ExportFacts,
}

impl Observed {
    /// What there is for a binding of that name at the end of this connection.
    pub(super) fn through(connection: Connection, name: &str) -> Self {
        let stores = connection
            .provider
            .as_ref()
            .map(|provider| &provider.stores);
        let export = stores.and_then(|stores| stores.export(name));
        let refused = stores
            .and_then(|stores| stores.request(name))
            .and_then(|request| request.status.clone())
            .filter(|status| status.phase == Phase::Failed);
        let export_facts = match (&export, refused) {
            (Some(_), _) => ExportFacts::Found,
            (None, Some(status)) => ExportFacts::Failed(
                status
                    .terminal_message
                    .unwrap_or_else(|| "the provider refused the request".to_owned()),
            ),
            (None, None) => ExportFacts::Missing,
        };
        Self {
            connection,
            export,
            export_facts,
        }
    }

    /// The provider if its kube-bind objects are known.
    pub(super) fn provider(&self) -> Option<&Arc<Provider>> {
        let provider = self.connection.provider.as_ref();
        provider.filter(|provider| provider.stores.synced())
    }

    /// Why there is no provider, in words.
    pub(super) fn why_not(&self) -> String {
        match (&self.connection.secret, &self.connection.problem) {
            (SecretState::Missing, _) => "the kubeconfig secret does not exist".into(),
            (SecretState::Invalid(why) | SecretState::Unreadable(why), _) => why.clone(),
            (
                _,
                Some(
                    ConnectProblem::Unusable(why)
                    | ConnectProblem::Link(
                        LinkState::Unreachable(why)
                        | LinkState::Unauthorized(why)
                        | LinkState::OtherProvider(why),
                    ),
                ),
            ) => why.clone(),
            _ => "there is no connection yet".into(),
        }
    }

    /// What can be said before anything is done.
    pub(super) fn facts(&self) -> Facts {
        Facts {
            secret: self.connection.secret.clone(),
            problem: self.connection.problem.clone(),
            provider: self.connection.provider.as_ref().map(|p| ProviderFacts {
                link: p.link.state(),
                synced: p.synced(),
                trouble: p.trouble.words(),
                heartbeat: p.heartbeat.borrow().clone(),
                export: self.export_facts.clone(),
            }),
            kinds: Vec::new(),
            claims: Vec::new(),
            taken_back: Vec::new(),
            recalled: Vec::new(),
            namespaces: NamespaceFacts::default(),
            switches: Switches::default(),
            waiting: None,
            failing: None,
            unbinding: None,
        }
    }
}

/// Looks at a binding.
pub(super) async fn reconcile(
    binding: Arc<APIServiceBinding>,
    supervisor: Arc<Supervisor>,
) -> Result<Action, Error> {
    let name = binding.name_any();
    let uid = binding.uid().unwrap_or_default();
    let is_new = supervisor.subtrees.is_anothers(&name, &uid);
    let subtree = supervisor.subtrees.get(&name, &uid).await;
    if is_new {
        supervisor.connections.forget(&name).await;
    }
    let mut subtree = subtree.lock().await;
    let observed = observe(&supervisor, &binding, &subtree);
    look_at(&binding, &supervisor, &mut subtree, observed).await
}

/// Looks at a binding of which this was read.
pub(super) async fn look_at(
    binding: &Arc<APIServiceBinding>,
    supervisor: &Arc<Supervisor>,
    subtree: &mut Subtree,
    mut observed: Observed,
) -> Result<Action, Error> {
    let name = binding.name_any();
    subtree.release_deletes(
        binding.metadata.deletion_timestamp.is_some()
            || switches::releases_deletes(binding.annotations()) == Ok(true),
    );
    if binding.metadata.deletion_timestamp.is_some() {
        return unbind::unbind(supervisor, binding, subtree, &observed).await;
    }
    let mut look = Look {
        supervisor,
        binding,
        owner: Owner {
            name: name.clone(),
            uid: binding.uid().unwrap_or_default(),
        },
        again: AGAIN,
        failed: false,
    };
    let in_force = observed
        .export
        .as_ref()
        .map(|e| acceptance::decide(binding, e));
    observed.export = in_force.as_ref().map(|i| i.export.clone());
    let mut facts = observed.facts();
    facts.switches = switches(binding);
    subtree.suspend(facts.switches.suspended);
    facts.waiting = waiting(binding, &in_force, &observed);
    let began = look.now();
    let acted = match act(&mut look, &observed, &mut facts, subtree).await {
        // The event of that change brings the next look.
        Ok(Acted::Marked) => return Ok(Action::await_change()),
        Ok(Acted::Done) => {
            subtree.patience.works();
            Ok(())
        }
        Err(error) => {
            if subtree.patience.failed(began, look.now()).is_some() {
                return Err(error);
            }
            facts.failing = Some(error.in_words());
            Err(error)
        }
    };
    let manual = in_force.as_ref().is_some_and(|i| i.manual);
    report::binding(supervisor, binding, &observed, &facts, subtree, manual).await?;
    acted?;
    let told = report::provider(supervisor, binding, &observed, &facts).await;
    if facts.waiting.is_none() && in_force.is_some_and(|i| i.recorded) {
        mark::accepted(&supervisor.ctx, binding).await?;
    }
    // Before the provider was reached nobody knows whether the last counts are still true.
    let due = match subtree.provider {
        Some(_) => tally::publish(&supervisor.ctx, binding, subtree).await?,
        None => None,
    };
    look.again = due.map_or(look.again, |due| look.again.min(due));
    if let Some(left) = subtree.beginning(look.now()) {
        look.again = look.again.min(left);
    }
    told?;
    tracing::debug!(binding.name = %name, "looked at APIServiceBinding {name}: {facts:?}");
    if look.failed {
        let pause = supervisor.backoff.next(&name).min(FAILED);
        look.again = look.again.min(pause);
    } else {
        supervisor.backoff.reset(&name);
    }
    if !rights_are_missing(&facts) {
        supervisor.rights.reset(&name);
    }
    Ok(Action::requeue(look.again))
}

/// What a look came to.
enum Acted {
    /// The binding itself was marked, and is looked at again.
    Marked,
    /// All was done that can be.
    Done,
}

/// Brings everything as far as possible and adds to the facts how far that is.
async fn act(
    look: &mut Look<'_>,
    observed: &Observed,
    facts: &mut Facts,
    subtree: &mut Subtree,
) -> Result<Acted, Error> {
    let ctx = &look.supervisor.ctx;
    if mark::finalizer(ctx, look.binding).await? {
        return Ok(Acted::Marked);
    }
    if let (Some(provider), Some(export)) = (observed.provider(), &observed.export) {
        if mark::provider(ctx, look.binding, &provider.uid, export).await? {
            return Ok(Acted::Marked);
        }
        subtree.provider = Some(provider.clone());
        let (claims, active) = look.claims(provider, export, subtree).await;
        facts.claims = claims;
        facts.recalled = look.recall(export, &active).await;
        facts.taken_back = look.take_back(provider, export, subtree).await;
        facts.kinds = look.kinds(provider, export, &active, subtree).await;
        look.tell_claims(export, &active, &facts.kinds, subtree)
            .await;
        facts.namespaces = look.namespaces(provider, subtree).await;
        if subtree.breaker().held() == 0 {
            provider.namespaces.copies_changed();
        }
        grant::show(&ctx.client, look.binding, export, facts, subtree).await;
    } else if observed.export_is_gone() {
        // Nothing is released: a list lacks an export also while a provider is being restored, or set up
        // anew. Then copies would stay of what a person deleted, which look as if their objects had vanished
        // once the export is back. Only of a kind that left an export that is there the provider has said that
        // it is not wanted, and a person may always end the binding.
        subtree.stop_all().await;
    }
    Ok(Acted::Done)
}

/// What a person says by annotations; a mistyped `suspend` is one.
fn switches(binding: &APIServiceBinding) -> Switches {
    let annotations = binding.annotations();
    let suspended = switches::suspended(annotations);
    let invalid = [
        switches::deletion_policy(annotations).err(),
        switches::acceptance(annotations).err(),
        suspended.clone().err(),
        switches::releases_deletes(annotations).err(),
    ];
    let invalid: Vec<String> = invalid.iter().flatten().map(ToString::to_string).collect();
    Switches {
        invalid: (!invalid.is_empty()).then(|| invalid.join("; ")),
        suspended: suspended.unwrap_or(true),
    }
}

/// What waits for a person; one thing at a time, since one annotation accepts one offer.
fn waiting(
    binding: &APIServiceBinding,
    in_force: &Option<InForce>,
    observed: &Observed,
) -> Option<String> {
    let name = binding.name_any();
    let provider = observed.connection.provider.as_ref();
    if let Some((provider, server)) = provider.and_then(|p| Some((p, p.offered_server()?))) {
        if acceptance::accepts_server(binding.annotations(), &server) {
            // The next heartbeat copies it.
            provider.beat.notify_one();
        }
        return Some(acceptance::server(&server).message(&name));
    }
    let waiting = in_force.as_ref()?.waiting.as_ref()?;
    Some(waiting.message(&name))
}

fn observe(supervisor: &Supervisor, binding: &APIServiceBinding, subtree: &Subtree) -> Observed {
    let name = binding.name_any();
    let mut connection = supervisor
        .connections
        .get(&binding.spec.kubeconfig_secret_ref);
    let in_use = subtree.provider.as_ref().map(|provider| &*provider.uid);
    if let Some(found) = &connection.provider
        && let Some(words) = other_provider(binding, in_use, &found.uid)
    {
        connection = Connection {
            secret: SecretState::Valid,
            problem: Some(ConnectProblem::Link(LinkState::OtherProvider(words))),
            provider: None,
        };
    }
    Observed::through(connection, &name)
}

/// Why a provider is not the one that the objects of a binding belong to: neither the one that is in
/// use, nor the one that was before a restart.
fn other_provider(
    binding: &APIServiceBinding,
    in_use: Option<&str>,
    found: &str,
) -> Option<String> {
    let marked = binding.annotations().get(ANNOTATION_PROVIDER_CLUSTER);
    let known = in_use.or(marked.map(String::as_str))?;
    (known != found).then(|| {
        format!(
            "the kubeconfig leads to another provider than the objects of this binding belong to \
             (uid {found}, was {known}); to use it, bind it under another name, or unbind first \
             with a kubeconfig of the old one"
        )
    })
}

impl Observed {
    /// The provider answers, and says that there is no export of this name.
    fn export_is_gone(&self) -> bool {
        self.export.is_none()
            && self
                .provider()
                .is_some_and(|provider| provider.link.state() == LinkState::Up)
    }
}

fn rights_are_missing(facts: &Facts) -> bool {
    let claims = facts.claims.iter();
    let kinds = facts.kinds.iter();
    claims
        .map(|c| matches!(c.state, ClaimState::MissingRights(_)))
        .chain(kinds.map(|k| matches!(k.state, KindState::MissingRights(_))))
        .any(|missing| missing)
        || !facts.namespaces.missing.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube_bind_crds::api::APIServiceBindingSpec;

    #[test]
    fn a_restart_does_not_make_another_provider_the_right_one() {
        let mut binding = APIServiceBinding::new("widgets", APIServiceBindingSpec::default());
        assert_eq!(other_provider(&binding, None, "new"), None, "the first one");
        assert!(other_provider(&binding, Some("old"), "new").is_some());
        binding
            .annotations_mut()
            .insert(ANNOTATION_PROVIDER_CLUSTER.into(), "old".into());
        assert_eq!(other_provider(&binding, None, "old"), None);
        assert!(other_provider(&binding, None, "new").is_some());
    }
}
