//! The binding on the consumer, with its rights, until it works. IO.

use anyhow::Context as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use kube_bind_crds::api::{APIServiceBinding, APIServiceBindingStatus, is_owner_of_kind};
use kube_bind_crds::conditions::reasons;
use kube_bind_crds::names::{FIELD_MANAGER_PLUGIN, GROUP, KONNECTOR_NAMESPACE, KUBECONFIG_KEY};
use kube_bind_crds::schema;
use kube_bind_runtime::apply::timed;
use kube_bind_runtime::clock::{Clock as _, SystemClock};
use serde_json::json;
use tokio::time::Instant;

use super::{Wanted, conditions, credential};
use crate::cluster::{self, Change, Error, Report};
use crate::guard;
use crate::manifests;
use crate::output::say;

/// The end of a binding is the end of everything in it, which nobody should learn afterwards.
const DELETE_FIRST: &str = "delete it first, which deletes all objects of its kinds";

/// Whether the rights of a binding are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// Exactly these: somebody agreed before.
    Already,
    /// None, or others.
    No,
}

/// Looks for what would make the binding fail, before anything is written anywhere.
pub async fn preflight(consumer: &Client, wanted: &Wanted) -> anyhow::Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(consumer.clone());
    for name in crd_names(wanted) {
        let found = timed(crds.get_opt(&name))
            .await
            .map_err(|source| read(&format!("customresourcedefinition/{name}"), source))?;
        if let Some(why) = found.and_then(|crd| in_the_way(&name, &crd, &wanted.name)) {
            anyhow::bail!(why);
        }
    }
    let name = &wanted.name;
    let before = cluster::get(consumer, &manifests::binding(wanted, "")).await?;
    anyhow::ensure!(
        before.is_none_or(|binding| binding.metadata.deletion_timestamp.is_none()),
        "apiservicebinding.{GROUP}/{name} is being deleted: try again when it is gone"
    );
    Ok(())
}

/// Why this definition cannot be the binding's, if it cannot.
fn in_the_way(name: &str, crd: &CustomResourceDefinition, binding: &str) -> Option<String> {
    match owner(crd) {
        Some(owner) if owner == binding => None,
        Some(owner) => Some(format!(
            "{name} is bound already, by apiservicebinding.{GROUP}/{owner}: use that, or {DELETE_FIRST}"
        )),
        None => Some(format!(
            "customresourcedefinition/{name} is in your cluster already and does not belong to binding {binding:?}: \
             it would be overwritten; remove whatever installed it first"
        )),
    }
}

/// Whether exactly the rights of this binding were granted before.
pub async fn already_granted(consumer: &Client, wanted: &Wanted) -> anyhow::Result<Granted> {
    for right in manifests::rights(wanted, None) {
        if right.0.get("rules").is_none() {
            continue;
        }
        let found = cluster::get(consumer, &right).await?;
        if found.is_none_or(|found| found.data["rules"] != right.0["rules"]) {
            return Ok(Granted::No);
        }
    }
    Ok(Granted::Already)
}

/// Which existing Secret gets the credential: the one that leads to the same place, or that of the
/// same binding if it is damaged. Refuses a binding of the same name that belongs to another provider,
/// or to another login there.
pub async fn secret(
    consumer: &Client,
    wanted: &Wanted,
    same_place: Option<String>,
) -> anyhow::Result<Option<String>> {
    let name = &wanted.name;
    let Some(found) = cluster::get(consumer, &manifests::binding(wanted, "")).await? else {
        return Ok(same_place);
    };
    let binding: APIServiceBinding = found
        .try_parse()
        .context("failed to understand the existing binding")?;
    let theirs = &binding.spec.kubeconfig_secret_ref;
    let same = theirs.namespace == KONNECTOR_NAMESPACE
        && theirs.key == KUBECONFIG_KEY
        && Some(&theirs.name) == same_place.as_ref();
    let secret = if same {
        same_place
    } else {
        credential::damaged(consumer, theirs).await?
    };
    if secret.is_none() {
        // A kind can be bound once only, so for the same kinds another name would not help.
        let bound = binding.status.unwrap_or_default().bound_schemas;
        let mut kinds = wanted.spec.resources.iter().map(|r| &r.group_resource);
        let remedy = if kinds.any(|kind| bound.contains(kind)) {
            format!("log in as whoever made it, or {DELETE_FIRST}")
        } else {
            "choose another name with --name".to_owned()
        };
        anyhow::bail!(
            "apiservicebinding.{GROUP}/{name} exists and uses another credential (secret {}/{}): {remedy}",
            theirs.namespace,
            theirs.name
        );
    }
    Ok(secret)
}

/// Grants the rights and makes the binding; rights come first, so that the konnector never finds a
/// binding that it may not serve, and get their owner when that has a uid.
pub async fn ensure(
    consumer: &Client,
    wanted: &Wanted,
    secret: &str,
    report: &Report,
) -> anyhow::Result<DynamicObject> {
    let name = &wanted.name;
    let object = manifests::binding(wanted, secret);
    let before = cluster::get(consumer, &object).await?;
    let uid = before
        .as_ref()
        .and_then(|binding| binding.metadata.uid.as_deref());
    if !wanted.spec.permission_claims.is_empty() {
        for object in guard::objects() {
            report.put(consumer, &object).await?;
        }
    }
    for right in manifests::rights(wanted, uid) {
        report.put(consumer, &right).await?;
    }
    let (binding, change) = cluster::put(consumer, &object).await?;
    report.changed(&object.display(), change)?;
    if change == Change::Created {
        for right in manifests::rights(wanted, binding.metadata.uid.as_deref()) {
            cluster::put(consumer, &right).await?;
        }
        announce(consumer, &binding, name).await;
    }
    Ok(binding)
}

/// Says that a fresh binding is pending, unless the konnector has said something already.
async fn announce(consumer: &Client, binding: &DynamicObject, name: &str) {
    let now = SystemClock.now();
    let whole_seconds = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
    let patch = json!({
        "metadata": {"uid": binding.metadata.uid, "resourceVersion": binding.metadata.resource_version},
        "status": {"conditions": [{
            "type": "Ready", "status": "False", "severity": "Info", "reason": reasons::PENDING,
            "message": "waiting for the konnector", "lastTransitionTime": whole_seconds.to_string(),
        }]},
    });
    let api: Api<APIServiceBinding> = Api::all(consumer.clone());
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER_PLUGIN.into()),
        ..PatchParams::default()
    };
    // Only for people who look at that moment, so a conflict or a refusal changes nothing.
    let _ = timed(api.patch_status(name, &parameters, &Patch::Merge(patch))).await;
}

/// Follows a binding until it is ready and its kinds are served.
pub async fn wait_ready(
    consumer: &Client,
    wanted: &Wanted,
    deadline: Instant,
) -> anyhow::Result<DynamicObject> {
    let object = manifests::binding(wanted, "");
    let mut told = conditions::Told::default();
    let mut waiting = false;
    let mut status = APIServiceBindingStatus::default();
    let mut missing = None;
    loop {
        match look(consumer, &object, wanted).await {
            Ok(Some((binding, now, lacks))) => {
                let works = conditions::is_ready(&now.conditions) && lacks.is_none();
                if !works && !waiting {
                    say(&format!("Waiting for {} to work...", object.display()));
                    waiting = true;
                }
                for line in told.news(&now.conditions).iter().filter(|_| waiting) {
                    say(&format!("  {line}"));
                }
                if works {
                    return Ok(binding);
                }
                (status, missing) = (now, lacks);
            }
            Ok(None) => anyhow::bail!("{} was deleted while it was waited for", object.display()),
            Err(err) if cluster::is_transient(&err) => {}
            Err(source) => return Err(read(&object.display(), source).into()),
        }
        if !cluster::look_again(deadline).await {
            let crd = missing
                .map(|crd| format!("\n  {crd} is not served yet"))
                .unwrap_or_default();
            anyhow::ensure!(
                conditions::somebody_reported(&status.conditions, reasons::PENDING),
                "{} does not work yet; it is kept, but no konnector has looked at it: is it running? See \
                 \"kubectl --namespace {KONNECTOR_NAMESPACE} get deployments,pods,events\"",
                object.display()
            );
            let unmet = conditions::unmet(&status.conditions, "");
            anyhow::bail!(
                "{} does not work yet; it is kept, and the konnector goes on trying{}{crd}",
                object.display(),
                unmet.trim_end()
            );
        }
    }
}

type Seen = (DynamicObject, APIServiceBindingStatus, Option<String>);

async fn look(
    consumer: &Client,
    object: &crate::objects::Object,
    wanted: &Wanted,
) -> Result<Option<Seen>, kube::Error> {
    let Some(binding) = timed(object.api(consumer).get_opt(&wanted.name)).await? else {
        return Ok(None);
    };
    let status = binding.data.get("status").cloned().unwrap_or_default();
    let status: APIServiceBindingStatus = serde_json::from_value(status).unwrap_or_default();
    let crds: Api<CustomResourceDefinition> = Api::all(consumer.clone());
    let mut missing = None;
    for name in crd_names(wanted) {
        let crd = timed(crds.get_opt(&name)).await?;
        if !crd.is_some_and(|crd| is_established(&crd)) {
            missing = Some(name);
            break;
        }
    }
    Ok(Some((binding, status, missing)))
}

fn crd_names(wanted: &Wanted) -> Vec<String> {
    let resources = wanted.spec.resources.iter();
    resources.map(|r| schema::name(&r.group_resource)).collect()
}

/// The binding that a definition belongs to.
fn owner(crd: &CustomResourceDefinition) -> Option<&str> {
    let mut owners = crd.metadata.owner_references.iter().flatten();
    let binding = owners.find(|owner| is_owner_of_kind::<APIServiceBinding>(owner));
    binding.map(|owner| owner.name.as_str())
}

fn is_established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|c| c.type_ == "Established" && c.status == "True")
}

fn read(what: &str, source: kube::Error) -> Error {
    Error::Read {
        what: what.to_owned(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crd(owner: serde_json::Value, established: &str) -> CustomResourceDefinition {
        serde_json::from_value(json!({
            "metadata": {"name": "widgets.example.org", "ownerReferences": owner},
            "spec": {"group": "example.org", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"}, "versions": []},
            "status": {"conditions": [{"type": "Established", "status": established}]},
        }))
        .unwrap()
    }

    #[test]
    fn crds_of_others_are_told_apart() {
        let owner = |kind: &str, name: &str| json!([{"apiVersion": "kube-bind.io/v1alpha2", "kind": kind, "name": name, "uid": "u"}]);
        let why = |owners| in_the_way("widgets.example.org", &crd(owners, "True"), "widgets");
        assert_eq!(why(owner("APIServiceBinding", "widgets")), None);
        let other = why(owner("APIServiceBinding", "other")).unwrap();
        assert!(
            other.contains("by apiservicebinding.kube-bind.io/other"),
            "{other}"
        );
        for foreign in [owner("Something", "widgets"), json!([])] {
            assert!(why(foreign).unwrap().contains("does not belong"));
        }
    }

    #[test]
    fn a_crd_counts_when_it_is_established() {
        assert!(is_established(&crd(json!([]), "True")));
        assert!(!is_established(&crd(json!([]), "False")));
    }
}
