//! The CRDs that a binding installs on the consumer (contract section 5.6). What to do is decided
//! purely; IO: one apply or one deletion.
//!
//! Creation is an apply with `resourceVersion: "0"` and a change is an apply with a uid, so that a
//! CRD which appeared meanwhile is never taken over.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource as _};
use kube_bind_crds::api::{APIServiceBinding, is_owner_of_kind};
use kube_bind_crds::names::API_VERSION;
use kube_bind_runtime::apply;
use serde_json::{Value, json};

use crate::consumer::CrdView;
use crate::fault;
use crate::names::MANAGER_CRD;

/// Who a CRD must belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Name of the binding.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Owner {
    /// Whether the binding owns the CRD.
    pub fn owns(&self, crd: &CrdView) -> bool {
        self.is_among(&crd.owners)
    }

    /// Whether the binding is one of these owners.
    pub fn is_among(&self, owners: &[OwnerReference]) -> bool {
        owners.iter().any(|owner| {
            is_owner_of_kind::<APIServiceBinding>(owner)
                && owner.name == self.name
                && owner.uid == self.uid
        })
    }

    fn reference(&self) -> Value {
        json!({
            "apiVersion": API_VERSION,
            "kind": APIServiceBinding::kind(&()),
            "name": self.name,
            "uid": self.uid,
            "controller": true,
        })
    }
}

/// What was last applied to a CRD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Hash of the bound schema.
    pub hash: String,
    /// Generation that the apply left behind; another one means drift.
    pub generation: i64,
    /// Uid of the CRD that it was applied to.
    pub uid: String,
}

/// What to do about one CRD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is none.
    Create,
    /// It is ours and not known to be what it should be.
    Update { uid: String },
    /// It is ours and current.
    Keep,
    /// It is ours and being deleted.
    WaitGone,
    /// It is not ours: who has it.
    Foreign(String),
}

/// Decides about one CRD.
pub fn plan(crd: Option<&CrdView>, owner: &Owner, hash: &str, applied: Option<&Applied>) -> Step {
    let Some(crd) = crd else {
        return Step::Create;
    };
    if !owner.owns(crd) {
        return Step::Foreign(describe_owners(&crd.owners));
    }
    if crd.terminating {
        return Step::WaitGone;
    }
    let current = applied.is_some_and(|applied| {
        applied.hash == hash && applied.generation == crd.generation && applied.uid == crd.uid
    });
    if current {
        Step::Keep
    } else {
        Step::Update {
            uid: crd.uid.clone(),
        }
    }
}

fn describe_owners(owners: &[OwnerReference]) -> String {
    match owners.first() {
        Some(owner) => format!("it belongs to {} {}", owner.kind, owner.name),
        None => "it was not installed by a binding".to_owned(),
    }
}

/// What became of an apply.
#[derive(Debug)]
pub enum Outcome {
    /// The CRD as it is now.
    Written(Box<CustomResourceDefinition>),
    /// It appeared, vanished or changed meanwhile.
    Stale,
    /// The consumer refuses it: why.
    Refused(String),
    /// The konnector may not: what the API server says.
    Denied(String),
}

/// Applies the CRD made from a bound schema. `uid` is that of the CRD to change; without one it
/// must not exist.
pub async fn write(
    client: &Client,
    name: &str,
    mut crd: Value,
    owner: &Owner,
    uid: Option<&str>,
) -> Result<Outcome, kube::Error> {
    crd["metadata"]["ownerReferences"] = json!([owner.reference()]);
    match uid {
        Some(uid) => crd["metadata"]["uid"] = uid.into(),
        None => crd["metadata"]["resourceVersion"] = "0".into(),
    }
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply(MANAGER_CRD).force();
    match apply::timed(api.patch(name, &params, &Patch::Apply(&crd))).await {
        Ok(crd) => Ok(Outcome::Written(Box::new(crd))),
        Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => {
            Ok(Outcome::Stale)
        }
        Err(error) if fault::is_refused(&error) => Ok(Outcome::Refused(fault::describe(&error))),
        Err(error) if fault::code(&error) == Some(403) => {
            Ok(Outcome::Denied(fault::describe(&error)))
        }
        Err(error) => Err(error),
    }
}

/// Begins the deletion of exactly this CRD.
pub async fn delete(client: &Client, name: &str, uid: &str) -> Result<(), kube::Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match apply::timed(api.delete(name, &params)).await {
        Ok(_) => Ok(()),
        Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes the binding's owner reference off a CRD, which then belongs to nobody of ours.
pub async fn disown(
    client: &Client,
    name: &str,
    crd: &CrdView,
    owner: &Owner,
) -> Result<(), kube::Error> {
    let is_us = |o: &&OwnerReference| owner.is_among(std::slice::from_ref(*o));
    let others: Vec<_> = crd.owners.iter().filter(|o| !is_us(o)).collect();
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let patch = json!({"metadata": {
        "uid": crd.uid, "resourceVersion": crd.resource_version, "ownerReferences": others,
    }});
    let params = PatchParams {
        field_manager: Some(MANAGER_CRD.to_owned()),
        ..PatchParams::default()
    };
    match apply::timed(api.patch_metadata(name, &params, &Patch::Merge(&patch))).await {
        Ok(_) => Ok(()),
        Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{WEBHOOK_DENIES, answering, failure, lacks};

    fn owner() -> Owner {
        Owner {
            name: "widgets".into(),
            uid: "binding-1".into(),
        }
    }

    fn crd(owners: Vec<OwnerReference>) -> CrdView {
        CrdView {
            uid: "crd-1".into(),
            generation: 3,
            owners,
            ..CrdView::default()
        }
    }

    fn reference(kind: &str, name: &str, uid: &str) -> OwnerReference {
        OwnerReference {
            api_version: "kube-bind.io/v1alpha2".into(),
            kind: kind.into(),
            name: name.into(),
            uid: uid.into(),
            ..OwnerReference::default()
        }
    }

    fn ours() -> CrdView {
        crd(vec![reference("APIServiceBinding", "widgets", "binding-1")])
    }

    fn applied(hash: &str, generation: i64) -> Applied {
        Applied {
            hash: hash.into(),
            generation,
            uid: "crd-1".into(),
        }
    }

    #[test]
    fn a_crd_without_our_reference_is_foreign() {
        for owners in [
            vec![],
            vec![reference(
                "APIServiceBinding",
                "widgets",
                "an older binding",
            )],
            vec![reference("APIServiceBinding", "gadgets", "binding-1")],
            vec![reference("Deployment", "widgets", "binding-1")],
        ] {
            let step = plan(Some(&crd(owners)), &owner(), "h", Some(&applied("h", 3)));
            assert!(matches!(step, Step::Foreign(_)), "{step:?}");
        }
    }

    #[test]
    fn a_crd_is_written_when_the_schema_or_the_crd_changed_and_not_otherwise() {
        let update = Step::Update {
            uid: "crd-1".into(),
        };
        assert_eq!(plan(None, &owner(), "h", None), Step::Create);
        assert_eq!(plan(Some(&ours()), &owner(), "h", None), update);
        assert_eq!(
            plan(Some(&ours()), &owner(), "h", Some(&applied("h", 3))),
            Step::Keep
        );
        assert_eq!(
            plan(Some(&ours()), &owner(), "new", Some(&applied("h", 3))),
            update
        );
        assert_eq!(
            plan(Some(&ours()), &owner(), "h", Some(&applied("h", 2))),
            update
        );
    }

    #[test]
    fn a_crd_that_is_going_is_waited_for() {
        let mut going = ours();
        going.terminating = true;
        assert_eq!(plan(Some(&going), &owner(), "h", None), Step::WaitGone);
    }

    #[tokio::test]
    async fn creation_cannot_take_over_and_a_refusal_is_told() {
        let client = answering(|asked| {
            assert_eq!(asked.method, "PATCH");
            assert!(asked.uri.contains("force=true"), "{}", asked.uri);
            assert_eq!(asked.body["metadata"]["resourceVersion"], "0");
            assert_eq!(
                asked.body["metadata"]["ownerReferences"][0]["controller"],
                true
            );
            failure(422, "Invalid")
        });
        let crd = json!({"metadata": {"name": "widgets.example.org"}});
        let outcome = write(&client, "widgets.example.org", crd, &owner(), None).await;
        assert!(matches!(outcome, Ok(Outcome::Refused(_))), "{outcome:?}");
    }

    #[tokio::test]
    async fn admission_refuses_the_definition_and_the_authorizer_the_konnector() {
        let outcome = async |answer: (u16, Value)| {
            let client = answering(move |_| answer.clone());
            let crd = json!({"metadata": {"name": "widgets.example.org"}});
            write(&client, "widgets.example.org", crd, &owner(), Some("crd-1")).await
        };
        let admission = outcome(failure(403, WEBHOOK_DENIES)).await;
        assert!(
            matches!(&admission, Ok(Outcome::Refused(why)) if why == WEBHOOK_DENIES),
            "{admission:?}"
        );
        let authorizer = outcome(lacks("patch", "customresourcedefinitions")).await;
        assert!(
            matches!(authorizer, Ok(Outcome::Denied(_))),
            "{authorizer:?}"
        );
    }

    #[tokio::test]
    async fn a_crd_that_appeared_meanwhile_is_looked_at_again() {
        let client = answering(|_| {
            let (code, mut status) = failure(422, "Invalid");
            status["details"] = json!({"causes": [{"field": "metadata.resourceVersion"}]});
            (code, status)
        });
        let crd = json!({"metadata": {"name": "widgets.example.org"}});
        let outcome = write(&client, "widgets.example.org", crd, &owner(), None).await;
        assert!(matches!(outcome, Ok(Outcome::Stale)), "{outcome:?}");
    }
}
