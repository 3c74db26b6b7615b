//! One look at one bundle. IO: creates and deletes bindings, marks the bundle; reads single exports
//! before their bindings go, and all of them while their watch is broken.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Resource as _, ResourceExt};
use kube_bind_crds::api::{APIServiceBinding, APIServiceBindingBundle, APIServiceExport, Phase};
use kube_bind_crds::names::{ANNOTATION_PROVIDER_CLUSTER, API_VERSION};
use kube_bind_crds::switches::{ACCEPT, ACCEPTANCE};
use kube_bind_runtime::apply;
use serde_json::{Value, json};

use super::Error;
use super::decide::{self, Doomed, Gone, Plan, Seen};
use super::offer::Offer;
use super::report::{self, Facts, Outcome};
use crate::fault;
use crate::names::MANAGER_BUNDLE;
use crate::provider::{Connection, LinkState, Provider};
use crate::supervisor::Supervisor;

/// How long the first list of bindings may take before it is said.
const FIRST_LIST: Duration = Duration::from_secs(10);
/// Exports listed at once.
const PAGE: u32 = 500;
/// More exports than anybody has; a provider that lists more is not believed.
const MOST_EXPORTS: usize = 10_000;

/// Looks at a bundle; says when to look again if nothing happens.
pub(super) async fn look(
    supervisor: &Arc<Supervisor>,
    bundle: &APIServiceBindingBundle,
    gone: &mut Gone,
) -> Result<Duration, Error> {
    let ctx = &supervisor.ctx;
    if bundle.metadata.deletion_timestamp.is_some() {
        return Ok(ctx.polling);
    }
    let connection = supervisor
        .connections
        .get(&bundle.spec.kubeconfig_secret_ref);
    let mut again = ctx.polling;
    let outcome = if tokio::time::timeout(FIRST_LIST, ctx.bindings_listed.wait())
        .await
        .is_err()
    {
        Outcome::NoBindings
    } else {
        match exports(&connection).await {
            Exports::Unknown => Outcome::Waiting,
            Exports::Failed(why) => Outcome::NoExports(why),
            Exports::Listed(provider, offers) => {
                let seen = Seen {
                    bundle,
                    provider: &provider.uid,
                    offers: &offers,
                    bindings: &ctx.bindings.state(),
                    patience: ctx.polling,
                    now: ctx.clock.monotonic(),
                };
                match decide::plan(&seen, gone) {
                    Err(invalid) => Outcome::Invalid(invalid.to_string()),
                    Ok(plan) => {
                        let failures = act(supervisor, bundle, &provider, &offers, &plan).await?;
                        again = plan.again.map_or(again, |soon| soon.min(again));
                        Outcome::Planned(Box::new(plan), failures)
                    }
                }
            }
        }
    };
    let facts = Facts {
        secret: connection.secret.clone(),
        problem: connection.problem.clone(),
        link: connection.provider.as_ref().map(|p| p.link.state()),
        outcome,
    };
    report::report(ctx, bundle, &facts).await?;
    Ok(again)
}

enum Exports {
    /// Nobody knows yet, or the connection says why not.
    Unknown,
    /// They cannot be listed: why.
    Failed(String),
    /// They are these.
    Listed(Arc<Provider>, Vec<Offer>),
}

/// What the provider exports, from the watch, or from a list where the watch is broken.
async fn exports(connection: &Connection) -> Exports {
    let Some(provider) = connection
        .provider
        .as_ref()
        .filter(|provider| connection.problem.is_none() && provider.link.state() == LinkState::Up)
    else {
        return Exports::Unknown;
    };
    let offers: Vec<Offer> = if provider.exports_fail() {
        match list(provider).await {
            Ok(exports) => exports.iter().filter_map(Offer::of).collect(),
            // It may pass in a moment: the end of that, and that it lasts, brings the next look.
            Err(_) if !provider.exports_keep_failing() => return Exports::Unknown,
            Err(why) => return Exports::Failed(why),
        }
    } else if provider.stores.synced() {
        let exports = provider.stores.exports();
        exports.iter().filter_map(|e| Offer::of(e)).collect()
    } else {
        return Exports::Unknown;
    };
    Exports::Listed(provider.clone(), offers)
}

async fn list(provider: &Provider) -> Result<Vec<APIServiceExport>, String> {
    let api: Api<APIServiceExport> =
        Api::namespaced(provider.client.clone(), &provider.cluster_namespace);
    let mut params = ListParams::default().limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = apply::timed(api.list(&params))
            .await
            .map_err(|error| fault::describe(&error))?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            None => return Ok(all),
            Some(_) if all.len() > MOST_EXPORTS => {
                return Err(format!(
                    "the provider lists more than {MOST_EXPORTS} exports"
                ));
            }
            Some(token) => params.continue_token = Some(token),
        }
    }
}

/// Does what was decided; gives what could not be done.
async fn act(
    supervisor: &Supervisor,
    bundle: &APIServiceBindingBundle,
    provider: &Provider,
    offers: &[Offer],
    plan: &Plan,
) -> Result<Vec<String>, Error> {
    if plan.other_provider.is_some() || supervisor.ctx.leader.time_left().is_zero() {
        return Ok(Vec::new());
    }
    let api: Api<APIServiceBinding> = Api::all(supervisor.ctx.client.clone());
    let mut failures = Vec::new();
    // Something that there was at bind time may still be made.
    let mut unsettled = is_expected(provider, offers);
    for name in &plan.create {
        if let Err(error) = create(&api, bundle, name, plan.manual).await {
            // What is refused for good must not let everything that is offered later pass for accepted.
            unsettled |= !fault::is_refused(&error);
            failures.push(format!("{name}: {}", fault::describe(&error)));
        }
    }
    for doomed in &plan.delete {
        if let Err(error) = delete(&api, bundle, provider, doomed).await {
            failures.push(format!("{}: {}", doomed.name, fault::describe(&error)));
        }
    }
    if !unsettled {
        mark(supervisor, bundle, &provider.uid, plan.accepted).await?;
    }
    Ok(failures)
}

/// Whether what was asked for at bind time is still being made.
fn is_expected(provider: &Provider, offers: &[Offer]) -> bool {
    offers.is_empty()
        && provider.stores.requests().iter().any(|request| {
            let phase = request.status.as_ref().map(|status| status.phase);
            phase.is_none_or(|phase| phase == Phase::Pending)
        })
}

async fn create(
    api: &Api<APIServiceBinding>,
    bundle: &APIServiceBindingBundle,
    name: &str,
    manual: bool,
) -> Result<(), kube::Error> {
    let binding = binding_of(bundle, name, manual);
    let params = PostParams {
        field_manager: Some(MANAGER_BUNDLE.to_owned()),
        ..PostParams::default()
    };
    match apply::timed(api.create(&params, &binding)).await {
        Ok(_) => {
            tracing::info!(
                bundle.name = %bundle.name_any(),
                binding.name = %name,
                "bundle {} binds {name}",
                bundle.name_any()
            );
            Ok(())
        }
        // Its event brings the next look, which says whose it is.
        Err(error) if fault::code(&error) == Some(409) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The binding of an export, as the bundle makes it.
fn binding_of(bundle: &APIServiceBindingBundle, name: &str, manual: bool) -> APIServiceBinding {
    let mut metadata = json!({
        "name": name,
        "ownerReferences": [{
            "apiVersion": API_VERSION,
            "kind": APIServiceBindingBundle::kind(&()),
            "name": bundle.name_any(),
            "uid": bundle.uid(),
            "controller": true,
        }],
    });
    if manual {
        metadata["annotations"] = json!({ACCEPTANCE: "Manual"});
    }
    let mut binding = APIServiceBinding::new(
        name,
        kube_bind_crds::api::APIServiceBindingSpec {
            kubeconfig_secret_ref: bundle.spec.kubeconfig_secret_ref.clone(),
        },
    );
    binding.metadata =
        serde_json::from_value(metadata).expect("written here, and all fields are known");
    binding
}

/// Deletes a binding whose export the provider itself says is gone.
async fn delete(
    api: &Api<APIServiceBinding>,
    bundle: &APIServiceBindingBundle,
    provider: &Provider,
    doomed: &Doomed,
) -> Result<(), kube::Error> {
    let exports: Api<APIServiceExport> =
        Api::namespaced(provider.client.clone(), &provider.cluster_namespace);
    if apply::timed(exports.get_opt(&doomed.name)).await?.is_some() {
        return Ok(());
    }
    // Another server behind the same address has no such export either.
    if !provider.link.leads_home().await? {
        return Ok(());
    }
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(doomed.uid.clone()),
            resource_version: Some(doomed.resource_version.clone()),
        }),
        ..DeleteParams::default()
    };
    match apply::timed(api.delete(&doomed.name, &params)).await {
        Ok(_) => {
            tracing::info!(
                bundle.name = %bundle.name_any(),
                binding.name = %doomed.name,
                "bundle {} unbinds {}: its export is gone",
                bundle.name_any(),
                doomed.name
            );
            Ok(())
        }
        Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Notes whose exports these are, and takes off an acceptance that has been followed.
async fn mark(
    supervisor: &Supervisor,
    bundle: &APIServiceBindingBundle,
    provider: &str,
    accepted: bool,
) -> Result<(), Error> {
    let mut annotations = serde_json::Map::new();
    let known = bundle.annotations().get(ANNOTATION_PROVIDER_CLUSTER);
    if known.map(String::as_str) != Some(provider) {
        annotations.insert(ANNOTATION_PROVIDER_CLUSTER.into(), provider.into());
    }
    if accepted {
        annotations.insert(ACCEPT.into(), Value::Null);
    }
    if annotations.is_empty() {
        return Ok(());
    }
    let patch = json!({"metadata": {
        "uid": bundle.uid(),
        "resourceVersion": bundle.resource_version(),
        "annotations": annotations,
    }});
    let params = PatchParams {
        field_manager: Some(MANAGER_BUNDLE.to_owned()),
        ..PatchParams::default()
    };
    let api: Api<APIServiceBindingBundle> = Api::all(supervisor.ctx.client.clone());
    match apply::timed(api.patch(&bundle.name_any(), &params, &Patch::Merge(&patch))).await {
        Ok(_) => Ok(()),
        // The event of what is newer brings the next look.
        Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => Ok(()),
        Err(source) => Err(Error::Consumer {
            step: "mark the bundle",
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
