//! Every reason has one owner and one test; what is ready is what can be used.

use kube_bind_crds::api::Condition;
use kube_bind_crds::conditions::{self, types};

use super::super::facts::{
    ClaimFacts, ClaimState, ExportFacts, KindFacts, KindState, ProviderFacts, Switches, SyncState,
    Unbinding,
};
use super::*;

fn good() -> Facts {
    Facts {
        secret: SecretState::Valid,
        problem: None,
        provider: Some(ProviderFacts {
            link: LinkState::Up,
            synced: true,
            trouble: None,
            heartbeat: HeartbeatState::Beating,
            export: ExportFacts::Found,
        }),
        kinds: vec![kind(KindState::Installed(SyncState::Running))],
        claims: vec![claim(ClaimState::Running)],
        taken_back: Vec::new(),
        recalled: Vec::new(),
        namespaces: Default::default(),
        switches: Switches::default(),
        waiting: None,
        failing: None,
        unbinding: None,
    }
}

fn kind(state: KindState) -> KindFacts {
    KindFacts {
        name: "widgets.example.org".into(),
        state,
        left_behind: Vec::new(),
    }
}

fn claim(state: ClaimState) -> ClaimFacts {
    ClaimFacts {
        name: "secrets".into(),
        state,
    }
}

fn all(facts: &Facts) -> Vec<Condition> {
    let now = jiff::Timestamp::UNIX_EPOCH;
    let mut all = Vec::new();
    for condition in conditions(facts) {
        conditions::set(&mut all, condition, now);
    }
    conditions::summarize(&mut all, now);
    all
}

fn reason(facts: &Facts, type_: &str) -> String {
    let all = all(facts);
    let found = conditions::get(&all, type_).unwrap();
    let severity = found.severity.clone().unwrap_or_default();
    format!("{}/{severity}", found.reason.clone().unwrap_or_default())
}

fn ready(facts: &Facts) -> bool {
    conditions::is_true(&all(facts), types::READY)
}

fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = good();
    change(&mut facts);
    facts
}

fn with_provider(change: impl FnOnce(&mut ProviderFacts)) -> Facts {
    with(|facts| change(facts.provider.as_mut().unwrap()))
}

fn with_kind(state: KindState) -> Facts {
    with(|facts| facts.kinds = vec![kind(state)])
}

#[test]
fn everything_in_order_is_ready_with_exactly_the_conditions_of_the_contract() {
    assert!(ready(&good()));
    assert!(is_ready(&good()));
    let types: Vec<_> = all(&good()).into_iter().map(|c| c.type_).collect();
    let expected = [
        "Ready",
        "Connected",
        "Heartbeating",
        "InformersSynced",
        "SchemaInSync",
        "SecretValid",
    ];
    assert_eq!(types, expected);
}

#[test]
fn nothing_that_is_missing_leaves_the_binding_ready() {
    let not_ready = [
        with(|f| f.secret = SecretState::Unread),
        with(|f| f.secret = SecretState::Unreadable("denied".into())),
        with(|f| f.secret = SecretState::Missing),
        with(|f| f.secret = SecretState::Invalid("user.exec".into())),
        with(|f| f.problem = Some(ConnectProblem::Unusable("CA".into()))),
        with(|f| f.provider = None),
        with(|f| f.unbinding = Some(Unbinding::going("2 objects left".into()))),
        with(|f| f.claims = vec![claim(ClaimState::Listing)]),
        with(|f| f.claims = vec![claim(ClaimState::Unsupported)]),
        with(|f| f.claims = vec![claim(ClaimState::Failing("403".into()))]),
        with(|f| {
            f.claims = vec![claim(ClaimState::MissingRights(vec![
                "list secrets".into(),
            ]))];
        }),
        with_provider(|p| p.link = LinkState::Unreachable("refused".into())),
        with_provider(|p| p.link = LinkState::Unauthorized("expired".into())),
        with_provider(|p| p.link = LinkState::OtherProvider("uid".into())),
        with_provider(|p| p.synced = false),
        with_provider(|p| p.trouble = Some("forbidden".into())),
        with_provider(|p| p.heartbeat = HeartbeatState::Pending),
        with_provider(|p| p.heartbeat = HeartbeatState::Failed("x".into())),
        with_provider(|p| p.export = ExportFacts::Missing),
        with_provider(|p| p.export = ExportFacts::Failed("no".into())),
        with_kind(KindState::NoSchema),
        with_kind(KindState::Unusable("no served version".into())),
        with_kind(KindState::Foreign("not ours".into())),
        with_kind(KindState::MissingRights(vec!["patch widgets".into()])),
        with_kind(KindState::CreateFailed("bad".into())),
        with_kind(KindState::UpdateFailed("bad".into(), SyncState::Running)),
        with_kind(KindState::Terminating(SyncState::Running)),
        with_kind(KindState::NotEstablished),
        with_kind(KindState::Installed(SyncState::Listing)),
        with_kind(KindState::Installed(SyncState::Failing("403".into()))),
    ];
    for facts in not_ready {
        assert!(!ready(&facts) && !is_ready(&facts), "{facts:#?}");
    }
}

#[test]
fn secret_valid_says_what_is_wrong_with_the_secret() {
    for (facts, expected) in [
        (
            with(|f| f.secret = SecretState::Missing),
            "KubeconfigSecretNotFound/Error",
        ),
        (
            with(|f| f.secret = SecretState::Invalid("user.exec".into())),
            "KubeconfigSecretInvalid/Error",
        ),
        (
            with(|f| f.problem = Some(ConnectProblem::Unusable("CA".into()))),
            "KubeconfigSecretInvalid/Error",
        ),
        (
            with_provider(|p| p.link = LinkState::Unauthorized("expired".into())),
            "CredentialExpired/Error",
        ),
        (
            with(|f| {
                f.provider = None;
                f.problem = Some(ConnectProblem::Link(LinkState::Unauthorized("x".into())));
            }),
            "CredentialExpired/Error",
        ),
    ] {
        assert_eq!(reason(&facts, types::SECRET_VALID), expected);
        assert_eq!(reason(&facts, types::READY), expected);
    }
}

#[test]
fn connected_says_where_the_way_ends() {
    for (facts, expected) in [
        (
            with_provider(|p| p.link = LinkState::Unreachable("refused".into())),
            "ProviderUnreachable/Error",
        ),
        (
            with_provider(|p| p.export = ExportFacts::Missing),
            "APIServiceExportNotFound/Error",
        ),
        (
            with_provider(|p| p.export = ExportFacts::Failed("no".into())),
            "APIServiceExportFailed/Error",
        ),
        (
            with_kind(KindState::NoSchema),
            "BoundSchemaFetchFailed/Error",
        ),
        (
            with_kind(KindState::Unusable("x".into())),
            "BoundSchemaFetchFailed/Error",
        ),
        (
            with_kind(KindState::CreateFailed("x".into())),
            "CustomResourceDefinitionCreateFailed/Error",
        ),
        (
            with_kind(KindState::Foreign("x".into())),
            "ForeignCustomResourceDefinition/Error",
        ),
        (
            with_kind(KindState::UpdateFailed("x".into(), SyncState::Running)),
            "CustomResourceDefinitionUpdateFailed/Error",
        ),
        (
            with_kind(KindState::MissingRights(vec![])),
            "MissingPermissions/Error",
        ),
        (
            with_kind(KindState::NotEstablished),
            "CustomResourceDefinitionNotEstablished/Info",
        ),
        (
            with(|f| f.unbinding = Some(Unbinding::going("x".into()))),
            "Unbinding/Warning",
        ),
        (
            with(|f| f.unbinding = Some(Unbinding::blocked("x".into()))),
            "UnbindingBlocked/Error",
        ),
    ] {
        assert_eq!(reason(&facts, types::CONNECTED), expected, "{facts:#?}");
    }
}

#[test]
fn an_unbinding_that_needs_a_person_says_the_remedy_in_the_summary() {
    let stuck = with(|f| {
        f.unbinding = Some(Unbinding::blocked("annotate it".into()));
        f.provider.as_mut().unwrap().link = LinkState::Unreachable("refused".into());
    });
    let all = all(&stuck);
    let ready = conditions::get(&all, types::READY).unwrap();
    assert_eq!(ready.message.as_deref(), Some("annotate it"));
}

#[test]
fn a_suspended_binding_is_not_ready_and_that_is_no_trouble() {
    let suspended = with(|f| f.switches.suspended = true);
    assert!(!ready(&suspended));
    assert_eq!(reason(&suspended, types::READY), "Suspended/Info");
    let unmade = with(|f| {
        f.switches.suspended = true;
        f.kinds = vec![kind(KindState::NotEstablished)];
    });
    assert_eq!(reason(&unmade, types::CONNECTED), "Suspended/Info");
    let and_broken = with(|f| {
        f.switches.suspended = true;
        f.provider.as_mut().unwrap().link = LinkState::Unreachable("refused".into());
    });
    assert_eq!(
        reason(&and_broken, types::READY),
        "ProviderUnreachable/Error"
    );
}

#[test]
fn a_mistyped_annotation_is_said() {
    let typo = with(|f| f.switches.invalid = Some("allowed are Delete and Orphan".into()));
    assert_eq!(reason(&typo, types::READY), "InvalidSwitch/Warning");
}

#[test]
fn an_offer_that_waits_is_said_and_takes_nothing_away() {
    let waiting = with(|f| f.waiting = Some("annotate it".into()));
    assert!(ready(&waiting) && is_ready(&waiting));
    let all = all(&waiting);
    let connected = conditions::get(&all, types::CONNECTED).unwrap();
    assert_eq!(connected.reason.as_deref(), Some("AcceptancePending"));
    assert_eq!(connected.message.as_deref(), Some("annotate it"));
}

#[test]
fn a_held_schema_is_said_while_its_sync_goes_on() {
    let why = || vec!["team/one: spec.size has the value 50, the greatest is 10".to_owned()];
    let held = with_kind(KindState::Held(why(), SyncState::Running));
    assert_eq!(
        reason(&held, types::SCHEMA_IN_SYNC),
        "SchemaChangeHeld/Warning"
    );
    assert_eq!(reason(&held, types::CONNECTED), "/");
    assert_eq!(reason(&held, types::INFORMERS_SYNCED), "/");
    let failing = with_kind(KindState::Held(why(), SyncState::Failing("x".into())));
    assert_eq!(
        reason(&failing, types::INFORMERS_SYNCED),
        "InformerSyncTimeout/Error"
    );
}

#[test]
fn a_kind_that_left_the_export_is_said() {
    let gone = with_kind(KindState::Withdrawn(None));
    assert_eq!(
        reason(&gone, types::SCHEMA_IN_SYNC),
        "ResourceWithdrawn/Warning"
    );
    assert_eq!(reason(&gone, types::READY), "ResourceWithdrawn/Warning");
}

#[test]
fn versions_that_cannot_cross_are_said_of_a_schema_that_is_in_sync() {
    let one = with(|f| f.kinds[0].left_behind = vec!["v1beta1".into()]);
    assert!(ready(&one));
    assert_eq!(reason(&one, types::SCHEMA_IN_SYNC), "ConversionWebhook/");
}

#[test]
fn the_worst_kind_speaks() {
    let facts = with(|f| {
        f.kinds = vec![
            kind(KindState::NotEstablished),
            kind(KindState::Foreign("not ours".into())),
        ];
    });
    assert_eq!(
        reason(&facts, types::CONNECTED),
        "ForeignCustomResourceDefinition/Error"
    );
}

#[test]
fn heartbeating_is_false_while_the_provider_does_not_answer() {
    let facts = with_provider(|p| p.link = LinkState::Unreachable("refused".into()));
    assert_eq!(
        reason(&facts, types::HEARTBEATING),
        "ClusterBindingUpdateFailed/Warning"
    );
}

#[test]
fn a_schema_that_was_not_applied_is_not_in_sync() {
    let facts = with_kind(KindState::UpdateFailed("x".into(), SyncState::Running));
    assert_eq!(
        reason(&facts, types::SCHEMA_IN_SYNC),
        "CustomResourceDefinitionUpdateFailed/Error"
    );
    let facts = with_kind(KindState::Foreign("x".into()));
    assert_eq!(reason(&facts, types::SCHEMA_IN_SYNC), "Waiting/Info");
}

#[test]
fn what_fails_is_said_once_it_lasts() {
    let failing =
        |why: Option<&str>, sync| with_kind(KindState::Failing(why.map(str::to_owned), sync));
    let moment = failing(None, SyncState::Running);
    assert!(ready(&moment));
    let at_first = failing(None, SyncState::Listing);
    assert_eq!(reason(&at_first, types::CONNECTED), "Waiting/Info");
    assert_eq!(reason(&at_first, types::SCHEMA_IN_SYNC), "Waiting/Info");
    let lasting = failing(Some("failed calling webhook"), SyncState::Running);
    assert_eq!(reason(&lasting, types::READY), "RequestFailed/Error");
    assert_eq!(reason(&lasting, types::SCHEMA_IN_SYNC), "Waiting/Info");
    let at_all = with(|f| {
        f.failing = Some("failed to mark the binding".into());
        f.kinds = Vec::new();
    });
    assert_eq!(reason(&at_all, types::READY), "RequestFailed/Error");
    assert_eq!(reason(&at_all, types::INFORMERS_SYNCED), "Waiting/Info");
}

#[test]
fn what_the_provider_does_not_let_us_follow_is_said() {
    for synced in [false, true] {
        let blind = with_provider(|p| {
            p.synced = synced;
            p.trouble = Some("the exports of the provider cannot be followed".into());
        });
        let expected = "InformerSyncTimeout/Error";
        assert_eq!(reason(&blind, types::INFORMERS_SYNCED), expected);
        assert_eq!(reason(&blind, types::READY), expected);
    }
}

#[test]
fn missing_rights_are_listed_exactly() {
    let facts = with(|f| {
        f.claims = vec![claim(ClaimState::MissingRights(vec![
            "list secrets".into(),
            "watch secrets".into(),
        ]))];
    });
    let all = all(&facts);
    let message = conditions::get(&all, types::INFORMERS_SYNCED)
        .unwrap()
        .message
        .clone()
        .unwrap();
    assert!(message.contains("list secrets, watch secrets"), "{message}");
}

#[test]
fn held_deletions_are_told_with_the_way_out() {
    let held = with_kind(KindState::Installed(SyncState::Held(20)));
    assert_eq!(
        reason(&held, types::INFORMERS_SYNCED),
        "DeletesHeld/Warning"
    );
    let all = all(&held);
    let found = conditions::get(&all, types::INFORMERS_SYNCED).unwrap();
    let words = found.message.clone().unwrap_or_default();
    assert!(words.contains("20 copies"), "{words}");
    assert!(
        words.contains("kube-bind.io/release-deletes=true"),
        "{words}"
    );
    // What holds them up is most often that their definition was deleted.
    let going = with_kind(KindState::Terminating(SyncState::Held(20)));
    assert_eq!(reason(&going, types::READY), "DeletesHeld/Warning");
}

#[test]
fn endless_words_of_a_provider_fit_into_a_condition() {
    let wordy = with_provider(|p| p.export = ExportFacts::Failed("x".repeat(100_000)));
    let longest = all(&wordy)
        .iter()
        .filter_map(|c| c.message.as_ref().map(String::len))
        .max();
    assert!(longest < Some(1_000), "{longest:?}");
}
