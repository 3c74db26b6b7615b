//! What is known about a binding before anything is said about it. No IO.

use kube_bind_crds::api::GroupResource;

use crate::heartbeat::HeartbeatState;
use crate::provider::{ConnectProblem, LinkState, SecretState};

/// All that decides about the conditions of a binding.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The kubeconfig Secret.
    pub secret: SecretState,
    /// Why the kubeconfig does not connect.
    pub problem: Option<ConnectProblem>,
    /// The provider, once connected.
    pub provider: Option<ProviderFacts>,
    /// The bound kinds, if the export was found.
    pub kinds: Vec<KindFacts>,
    /// The claims, if the export was found.
    pub claims: Vec<ClaimFacts>,
    /// Claimed kinds that left the export, and of which nothing is left.
    pub taken_back: Vec<GroupResource>,
    /// Claimed kinds whose claim is another one than on record, and that have nothing left that only the one
    /// on record sees.
    pub recalled: Vec<GroupResource>,
    /// The namespaces that the provider brings along.
    pub namespaces: NamespaceFacts,
    /// What a person says by annotations.
    pub switches: Switches,
    /// What waits for a person, in words.
    pub waiting: Option<String>,
    /// Why the binding cannot be looked after at all.
    pub failing: Option<String>,
    /// How far the unbinding is, if the binding is being deleted.
    pub unbinding: Option<Unbinding>,
}

/// The namespaces that the provider brings along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// Their names.
    pub names: Vec<String>,
    /// Rights that are missing to make those that are not there.
    pub missing: Vec<String>,
}

/// What a person says by annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// A value that means nothing.
    pub invalid: Option<String>,
    /// Nothing is to be written.
    pub suspended: bool,
}

/// How far an unbinding is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbinding {
    /// In words.
    pub message: String,
    /// It does not go on unless somebody does something.
    pub blocked: bool,
}

impl Unbinding {
    /// It goes on by itself.
    pub fn going(message: String) -> Self {
        Self {
            message,
            blocked: false,
        }
    }

    /// It needs a person.
    pub fn blocked(message: String) -> Self {
        Self {
            message,
            blocked: true,
        }
    }
}

/// The provider's side.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderFacts {
    /// Whether it answers.
    pub link: LinkState,
    /// Whether its kube-bind objects are known.
    pub synced: bool,
    /// Why they are not, or may be old, once that lasts.
    pub trouble: Option<String>,
    /// How the last heartbeat went.
    pub heartbeat: HeartbeatState,
    /// The export of the binding's name.
    pub export: ExportFacts,
}

/// The export of the binding's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportFacts {
    /// There is none (yet).
    Missing,
    /// It was asked for and refused.
    Failed(String),
    /// It is there.
    Found,
}

/// One bound kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindFacts {
    /// `<resource>.<group>`.
    pub name: String,
    /// How far it is.
    pub state: KindState,
    /// Served versions of the provider that do not cross.
    pub left_behind: Vec<String>,
}

/// How far a bound kind is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindState {
    /// The provider has no bound schema for it.
    NoSchema,
    /// The bound schema cannot be used.
    Unusable(String),
    /// A CRD of this name belongs to somebody else.
    Foreign(String),
    /// Rights on the consumer are missing.
    MissingRights(Vec<String>),
    /// The consumer refused the new CRD.
    CreateFailed(String),
    /// The consumer refused the changed CRD; the old one stays, and is synced.
    UpdateFailed(String, SyncState),
    /// A request for it fails, and nobody knows what it needs; what is installed is synced. Why, once that lasts.
    Failing(Option<String>, SyncState),
    /// The CRD is being deleted, and will be made again. Its objects go first, or are held.
    Terminating(SyncState),
    /// The CRD is not served yet.
    NotEstablished,
    /// The CRD is served and current.
    Installed(SyncState),
    /// The CRD is served; a changed one is held back, because of this.
    Held(Vec<String>, SyncState),
    /// The export does not have it any more; CRD and objects are still there. Why those that a person deletes
    /// cannot be released, if so.
    Withdrawn(Option<String>),
}

impl KindState {
    /// Whether the consumer has the kind as the provider exports it.
    pub fn is_current(&self) -> bool {
        matches!(
            self,
            Self::Installed(_) | Self::NotEstablished | Self::Failing(None, SyncState::Running)
        )
    }

    /// Whether it can have objects of ours that nobody reads. `installed` is whether the consumer has our
    /// definition of it.
    pub fn may_hide_objects(&self, installed: bool) -> bool {
        match self {
            Self::Foreign(_) | Self::CreateFailed(_) => false,
            Self::NoSchema | Self::Unusable(_) | Self::Failing(..) => installed,
            _ => true,
        }
    }

    /// How its sync is doing, if it may run.
    pub fn sync(&self) -> Option<&SyncState> {
        match self {
            Self::Installed(sync)
            | Self::Held(_, sync)
            | Self::Terminating(sync)
            | Self::UpdateFailed(_, sync)
            | Self::Failing(_, sync) => Some(sync),
            _ => None,
        }
    }

    /// The same, to be filled in.
    pub fn sync_mut(&mut self) -> Option<&mut SyncState> {
        match self {
            Self::Installed(sync)
            | Self::Held(_, sync)
            | Self::Terminating(sync)
            | Self::UpdateFailed(_, sync)
            | Self::Failing(_, sync) => Some(sync),
            _ => None,
        }
    }
}

/// How the sync of a served kind is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// First lists are under way.
    Listing,
    /// One side cannot be watched.
    Failing(String),
    /// So many copies are kept on the provider, because their objects vanished all at once.
    Held(usize),
    /// Running.
    Running,
}

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimFacts {
    /// `<resource>` or `<resource>.<group>`.
    pub name: String,
    /// How far it is.
    pub state: ClaimState,
}

/// How far a claim is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// This konnector cannot sync such a claim.
    Unsupported,
    /// It is not synced before a person does something.
    Refused(String),
    /// Rights on the consumer are missing.
    MissingRights(Vec<String>),
    /// First lists are under way.
    Listing,
    /// One side does not let it be watched or written.
    Failing(String),
    /// Running.
    Running,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kind_that_is_not_ours_or_not_there_has_no_objects_of_ours() {
        let foreign = KindState::Foreign("of somebody else".into());
        let failed = KindState::CreateFailed("refused".into());
        for none in [foreign, failed] {
            assert!(!none.may_hide_objects(true), "{none:?}");
        }
        for unknown in [
            KindState::NoSchema,
            KindState::Unusable("bad".into()),
            KindState::Failing(None, SyncState::Listing),
        ] {
            assert!(!unknown.may_hide_objects(false), "{unknown:?}");
            assert!(unknown.may_hide_objects(true), "{unknown:?}");
        }
        let missing = KindState::MissingRights(vec!["list widgets".into()]);
        for some in [missing, KindState::NotEstablished] {
            assert!(some.may_hide_objects(false), "{some:?}");
        }
    }
}
