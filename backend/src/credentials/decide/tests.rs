//! Tests of the parent module.

use k8s_openapi::ByteString;
use kube::api::ObjectMeta;

use super::*;
use crate::provision::test_support::settings;

const BOUND: &str = "uid-of-token-secret";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn secret(change: impl FnOnce(&mut BTreeMap<String, String>)) -> Secret {
    let mut annotations: BTreeMap<String, String> = [
        (ANNOTATION_ISSUED, "2026-01-01T00:00:00Z".to_owned()),
        (ANNOTATION_EXPIRES, "2026-01-08T00:00:00Z".to_owned()),
        (ANNOTATION_BOUND_TO, BOUND.to_owned()),
        (ANNOTATION_DIGEST, digest("the kubeconfig")),
        (ANNOTATION_ENDPOINT, endpoint(&settings())),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    change(&mut annotations);
    Secret {
        metadata: ObjectMeta {
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        data: Some(
            [(
                "kubeconfig".to_owned(),
                ByteString(b"the kubeconfig".to_vec()),
            )]
            .into(),
        ),
        ..Secret::default()
    }
}

fn decided(secret: &Secret, bound: Option<&str>, now: &str) -> Decision {
    decide(Some(secret), "kubeconfig", bound, &settings(), at(now))
}

#[test]
fn a_good_credential_is_kept_until_it_is_due() {
    assert_eq!(
        decided(&secret(|_| {}), Some(BOUND), "2026-01-01T23:59:59Z"),
        Decision::Keep {
            kubeconfig: "the kubeconfig".into(),
            renew_at: at("2026-01-02T00:00:00Z"),
        }
    );
    assert_eq!(
        decided(&secret(|_| {}), Some(BOUND), "2026-01-02T00:00:00Z"),
        Decision::Issue(Reason::Due)
    );
}

#[test]
fn a_life_that_the_api_server_shortened_is_renewed_at_its_half() {
    let short = secret(|a| {
        a.insert(ANNOTATION_EXPIRES.into(), "2026-01-01T02:00:00Z".into());
    });
    assert_eq!(
        decided(&short, Some(BOUND), "2026-01-01T01:00:00Z"),
        Decision::Issue(Reason::Due)
    );
}

#[test]
fn everything_that_is_wrong_with_a_credential_has_a_reason() {
    let now = "2026-01-01T00:00:01Z";
    assert_eq!(
        decide(None, "kubeconfig", Some(BOUND), &settings(), at(now)),
        Decision::Issue(Reason::Missing)
    );
    let mut empty = secret(|_| {});
    empty.data = None;
    assert_eq!(
        decided(&empty, Some(BOUND), now),
        Decision::Issue(Reason::Missing)
    );
    let mut changed = secret(|_| {});
    changed.data = Some([("kubeconfig".to_owned(), ByteString(b"another".to_vec()))].into());
    assert_eq!(
        decided(&changed, Some(BOUND), now),
        Decision::Issue(Reason::Damaged)
    );
    let original = secret(BTreeMap::clear);
    assert_eq!(
        decided(&original, Some(BOUND), now),
        Decision::Issue(Reason::Damaged)
    );
    assert_eq!(
        decided(&secret(|_| {}), None, now),
        Decision::Issue(Reason::Revoked)
    );
    assert_eq!(
        decided(&secret(|_| {}), Some("another"), now),
        Decision::Issue(Reason::Revoked)
    );
    let mut moved = settings();
    moved.external_address = "https://elsewhere.example".into();
    assert_eq!(
        decide(
            Some(&secret(|_| {})),
            "kubeconfig",
            Some(BOUND),
            &moved,
            at(now)
        ),
        Decision::Issue(Reason::EndpointChanged)
    );
}

#[test]
fn a_credential_that_ended_before_it_began_is_not_replaced_without_a_pause() {
    let issued = at("2026-01-02T00:00:00Z");
    let expired = at("2026-01-01T00:00:00Z");
    for ttl in [Duration::from_secs(60), Duration::ZERO] {
        assert_eq!(renew_at(issued, expired, ttl), at("2026-01-02T00:00:05Z"));
    }
}

#[test]
fn what_was_revoked_stays_revoked_even_when_it_was_withdrawn() {
    let mut withdrawn = secret(|_| {});
    withdrawn.data = None;
    for bound in [None, Some("made by hand afterwards")] {
        let Decision::Issue(reason) = decided(&withdrawn, bound, "2026-01-01T00:00:01Z") else {
            panic!("kept")
        };
        assert_eq!(reason, Reason::Revoked);
        assert!(!is_renewal(reason, bound.is_some()));
    }
}

#[test]
fn without_a_login_only_what_a_consumer_has_is_made_anew() {
    assert!(is_renewal(Reason::Due, true));
    assert!(is_renewal(Reason::EndpointChanged, true));
    // Somebody deleted the kubeconfig, or the original's consumer has never had ours.
    assert!(is_renewal(Reason::Missing, true) && is_renewal(Reason::Damaged, false));
    assert!(!is_renewal(Reason::Missing, false));
}
