//! The konnector in the consumer cluster: whether to install it, and waiting for its API. IO, with
//! a pure decision.

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use kube_bind_crds::api::{APIServiceBinding, GroupResource, PermissionClaim};
use kube_bind_crds::consumer_rights::{FIXED_ROLE, binding_rules};
use kube_bind_crds::switches::CLAIM_NAMESPACES;
use kube_bind_crds::version::VERSION;
use kube_bind_runtime::apply::timed;
use tokio::time::Instant;

use super::Konnector;
use crate::cluster::{self, Error, Report};
use crate::guard;
use crate::manifests::{self, IMAGE_REPOSITORY};
use crate::output::say;

/// What to do with the konnector.
#[derive(Debug, PartialEq, Eq)]
enum Install {
    /// Apply it with this image.
    Apply(String),
    /// Leave what is there, for this reason.
    Keep(String),
}

/// The image of this version.
pub fn default_image() -> String {
    format!("{IMAGE_REPOSITORY}:{VERSION}")
}

/// Installs or upgrades the konnector, unless somebody chose another image or a newer version.
pub async fn install(consumer: &Client, wanted: &Konnector, report: &Report) -> anyhow::Result<()> {
    let sketch = manifests::konnector(&default_image(), &wanted.host_aliases);
    let deployment = sketch.last().expect("the deployment comes last");
    let existing = cluster::get(consumer, deployment).await?;
    let installed = existing
        .as_ref()
        .and_then(|found| found.data.pointer("/spec/template/spec/containers/0/image"))
        .and_then(|image| image.as_str());
    let image = match decide(installed, wanted.image.as_deref()) {
        Install::Apply(image) => image,
        Install::Keep(why) => {
            say(&why);
            return report.line(&deployment.display(), "unchanged");
        }
    };
    keep_bindings_working(consumer, report).await?;
    for object in manifests::konnector(&image, &wanted.host_aliases) {
        report.put(consumer, &object).await?;
    }
    Ok(())
}

fn decide(installed: Option<&str>, named: Option<&str>) -> Install {
    if let Some(named) = named {
        return Install::Apply(named.to_owned());
    }
    let Some(installed) = installed else {
        return Install::Apply(default_image());
    };
    let ours = installed
        .strip_prefix(IMAGE_REPOSITORY)
        .and_then(|rest| rest.strip_prefix(':'));
    match (ours.and_then(version), version(VERSION)) {
        (Some(theirs), Some(own)) if theirs <= own => Install::Apply(default_image()),
        (Some(_), Some(_)) => Install::Keep(format!(
            "The konnector runs {installed}, which is newer than this plugin ({VERSION}): it stays as it is."
        )),
        _ => Install::Keep(format!(
            "The konnector runs {installed}, which somebody chose: it stays as it is. --konnector-image replaces it."
        )),
    }
}

/// Major, minor and patch of a released version; nothing for `latest`, `main` and pre-releases.
fn version(text: &str) -> Option<(u64, u64, u64)> {
    let mut parts = text
        .strip_prefix('v')?
        .split('.')
        .map(|part| part.parse::<u64>().ok());
    let version = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(version)
}

/// An installation of the original may do everything. Before that ends, each binding that is there
/// gets its own rights, or its sync would stop.
async fn keep_bindings_working(consumer: &Client, report: &Report) -> anyhow::Result<()> {
    let roles: Api<ClusterRole> = Api::all(consumer.clone());
    let read = |source| Error::Read {
        what: format!("clusterrole/{FIXED_ROLE}"),
        source: Box::new(source),
    };
    let Some(role) = timed(roles.get_opt(FIXED_ROLE)).await.map_err(read)? else {
        return Ok(());
    };
    if !is_all_powerful(&role) {
        return Ok(());
    }
    let bindings: Api<APIServiceBinding> = Api::all(consumer.clone());
    let bindings = match timed(bindings.list(&ListParams::default())).await {
        Ok(list) => list.items,
        Err(err) if cluster::is_missing(&err) => return Ok(()),
        Err(source) => {
            return Err(Error::Read {
                what: "apiservicebindings".into(),
                source: Box::new(source),
            }
            .into());
        }
    };
    for binding in bindings {
        let (Some(name), Some(status)) = (&binding.metadata.name, &binding.status) else {
            continue;
        };
        if !status.permission_claims.is_empty() {
            for object in guard::objects() {
                report.put(consumer, &object).await?;
            }
        }
        let bound: &[GroupResource] = &status.bound_schemas;
        // Claims that are limited to namespaces have their Roles there.
        let claims: &[PermissionClaim] = match binding.annotations().get(CLAIM_NAMESPACES) {
            None => &status.permission_claims,
            Some(_) => &[],
        };
        let rules = binding_rules(bound, claims);
        for object in manifests::binding_rights(name, rules, binding.metadata.uid.as_deref()) {
            report.put(consumer, &object).await?;
        }
    }
    Ok(())
}

fn is_all_powerful(role: &ClusterRole) -> bool {
    role.rules.iter().flatten().any(|rule| {
        rule.resources
            .iter()
            .flatten()
            .any(|resource| resource == "*")
    })
}

/// Waits until bindings can be made: the konnector brings their CRD.
pub async fn wait_for_api(consumer: &Client, deadline: Instant) -> anyhow::Result<()> {
    let api: Api<APIServiceBinding> = Api::all(consumer.clone());
    let mut told = false;
    loop {
        match timed(api.list(&ListParams::default().limit(1))).await {
            Ok(_) => return Ok(()),
            Err(err) if cluster::is_missing(&err) || cluster::is_transient(&err) => {
                if !told {
                    say("Waiting for the konnector to bring its API...");
                    told = true;
                }
                if !cluster::look_again(deadline).await {
                    anyhow::bail!(
                        "the konnector did not bring its API in time; look at it with \
                         \"kubectl --namespace kube-bind get pods,events\", then run the same command again"
                    );
                }
            }
            Err(source) => {
                return Err(Error::Read {
                    what: "apiservicebindings".into(),
                    source: Box::new(source),
                }
                .into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_kept(installed: &str) -> bool {
        matches!(decide(Some(installed), None), Install::Keep(_))
    }

    #[test]
    fn a_named_image_is_always_applied() {
        for installed in [
            None,
            Some("registry.example/own:1"),
            Some("ghcr.io/kube-bind/konnector:v99.0.0"),
        ] {
            assert_eq!(decide(installed, Some("x:1")), Install::Apply("x:1".into()));
        }
    }

    #[test]
    fn upgrades_happen_and_downgrades_do_not() {
        assert_eq!(decide(None, None), Install::Apply(default_image()));
        assert_eq!(
            decide(Some("ghcr.io/kube-bind/konnector:v0.8.1"), None),
            Install::Apply(default_image())
        );
        assert_eq!(
            decide(Some(&default_image()), None),
            Install::Apply(default_image())
        );
        assert!(is_kept("ghcr.io/kube-bind/konnector:v99.0.0"));
    }

    #[test]
    fn images_that_somebody_chose_stay() {
        for installed in [
            "ghcr.io/kube-bind/konnector:latest",
            "ghcr.io/kube-bind/konnector:main",
            "ghcr.io/kube-bind/konnector-fork:v0.1.0",
            "registry.example/konnector:v0.1.0",
            "ghcr.io/kube-bind/konnector@sha256:abc",
        ] {
            assert!(is_kept(installed), "{installed}");
        }
    }

    #[test]
    fn the_originals_role_is_recognised() {
        let role = |resource: &str| -> ClusterRole {
            serde_json::from_value(json!({"metadata": {}, "rules": [{"apiGroups": ["*"], "resources": [resource], "verbs": ["*"]}]})).unwrap()
        };
        assert!(is_all_powerful(&role("*")));
        assert!(!is_all_powerful(&role("namespaces")));
    }
}
