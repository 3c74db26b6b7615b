//! The request on the provider: made once, and followed until it is decided. IO, with a pure decision.

use std::time::Duration;

use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use kube_bind_crds::api::{
    APIServiceExport, APIServiceExportRequest, APIServiceExportRequestSpec, GroupResource, Phase,
};
use kube_bind_crds::names::FIELD_MANAGER_PLUGIN;
use kube_bind_runtime::apply::timed;
use tokio::time::Instant;

use super::{Wanted, conditions};
use crate::cluster::{self, Change, Error, Report};
use crate::manifests;
use crate::output::say;

/// How long a fresh credential may be refused before that counts: authorization lags behind writes.
const RIGHTS_ARRIVE_WITHIN: Duration = Duration::from_secs(20);

/// What the provider has already.
struct Observed {
    request: Option<APIServiceExportRequest>,
    export: Option<APIServiceExport>,
}

/// What to do about it.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// The export is there.
    Done,
    /// Ask.
    Create,
    /// Somebody asked the same a moment ago.
    Wait,
    /// An old request stands in the way and does nothing any more.
    Replace,
    /// The name stands for something else.
    Taken,
}

/// Makes sure that the export exists.
pub async fn ensure(
    provider: &Client,
    namespace: &str,
    wanted: &Wanted,
    deadline: Instant,
    report: &Report,
) -> anyhow::Result<()> {
    let object = manifests::export_request(&wanted.name, Some(namespace), &wanted.spec);
    let display = object.display();
    let requests: Api<APIServiceExportRequest> = Api::namespaced(provider.clone(), namespace);
    let exports: Api<APIServiceExport> = Api::namespaced(provider.clone(), namespace);
    let patience = (Instant::now() + RIGHTS_ARRIVE_WITHIN).min(deadline);
    let mut written = false;
    let mut told = false;
    loop {
        let observed = match observe(&requests, &exports, &wanted.name).await {
            Ok(observed) => observed,
            Err(err) if is_lagging(&err) && cluster::look_again(patience).await => {
                if !told {
                    say("Waiting for the provider to accept the new credential...");
                    told = true;
                }
                continue;
            }
            Err(source) => {
                return Err(Error::Read {
                    what: format!("{display} on the provider"),
                    source: Box::new(source),
                }
                .into());
            }
        };
        let decision = decide(&observed, &wanted.spec);
        let attempt = match (decision, observed.request) {
            (Decision::Done, _) => {
                return if written {
                    Ok(())
                } else {
                    report.changed(&display, Change::Unchanged)
                };
            }
            (Decision::Taken, _) => anyhow::bail!(
                "{:?} is bound to something else at this provider already: choose another name with --name",
                wanted.name
            ),
            (Decision::Wait, request) => {
                if !written {
                    report.changed(&display, Change::Unchanged)?;
                }
                return follow(&requests, &exports, &wanted.name, request, deadline).await;
            }
            (Decision::Replace, Some(old)) if !written => {
                say(&format!("Replacing an old {display} on the provider."));
                let same = Preconditions {
                    uid: old.metadata.uid,
                    resource_version: None,
                };
                let parameters = DeleteParams {
                    preconditions: Some(same),
                    ..DeleteParams::default()
                };
                let deleted = timed(requests.delete(&wanted.name, &parameters))
                    .await
                    .map(|_| ());
                // It may have finalizers.
                cluster::look_again(deadline).await;
                deleted
            }
            // Ours was decided between two looks.
            (Decision::Replace, request) => {
                return follow(&requests, &exports, &wanted.name, request, deadline).await;
            }
            (Decision::Create, _) => {
                let body: APIServiceExportRequest = serde_json::from_value(object.0.clone())?;
                let parameters = PostParams {
                    field_manager: Some(FIELD_MANAGER_PLUGIN.into()),
                    ..PostParams::default()
                };
                let made = timed(requests.create(&parameters, &body)).await.map(|_| ());
                if made.is_ok() {
                    written = true;
                    report.changed(&display, Change::Created)?;
                }
                made
            }
        };
        if let Err(source) = attempt {
            // Gone or made by somebody else in the meantime: look again.
            let raced = matches!(cluster::status_code(&source), Some(404 | 409));
            let until = if raced { deadline } else { patience };
            if !((raced || is_lagging(&source)) && cluster::look_again(until).await) {
                return Err(cluster::write_error(&object, source).into());
            }
        }
    }
}

async fn observe(
    requests: &Api<APIServiceExportRequest>,
    exports: &Api<APIServiceExport>,
    name: &str,
) -> Result<Observed, kube::Error> {
    // A 404 of the whole kind would be "missing" too; the create then says what is wrong.
    let request = timed(requests.get_opt(name)).await?;
    let export = timed(exports.get_opt(name)).await?;
    Ok(Observed { request, export })
}

fn decide(observed: &Observed, wanted: &APIServiceExportRequestSpec) -> Decision {
    match observed {
        Observed {
            export: Some(export),
            ..
        } => {
            let mut theirs: Vec<&GroupResource> = export
                .spec
                .resources
                .iter()
                .map(|r| &r.group_resource)
                .collect();
            let mut ours: Vec<&GroupResource> =
                wanted.resources.iter().map(|r| &r.group_resource).collect();
            theirs.sort_unstable();
            ours.sort_unstable();
            let same = theirs == ours && export.spec.permission_claims == wanted.permission_claims;
            if same {
                Decision::Done
            } else {
                Decision::Taken
            }
        }
        Observed { request: None, .. } => Decision::Create,
        Observed {
            request: Some(request),
            ..
        } => {
            let phase = request
                .status
                .as_ref()
                .map_or(Phase::Pending, |status| status.phase);
            match phase {
                Phase::Pending if request.spec == *wanted => Decision::Wait,
                Phase::Pending => Decision::Taken,
                Phase::Failed | Phase::Succeeded => Decision::Replace,
            }
        }
    }
}

async fn follow(
    requests: &Api<APIServiceExportRequest>,
    exports: &Api<APIServiceExport>,
    name: &str,
    mut last: Option<APIServiceExportRequest>,
    deadline: Instant,
) -> anyhow::Result<()> {
    let mut told = conditions::Told::default();
    loop {
        let status = last
            .as_ref()
            .and_then(|request| request.status.clone())
            .unwrap_or_default();
        for line in told.news(&status.conditions) {
            say(&format!("  provider: {line}"));
        }
        match status.phase {
            Phase::Succeeded => return Ok(()),
            Phase::Failed => anyhow::bail!(
                "the provider refused the request: {}{}",
                status
                    .terminal_message
                    .as_deref()
                    .filter(|m| !m.is_empty())
                    .unwrap_or("it gives no reason"),
                if status.conditions.is_empty() {
                    String::new()
                } else {
                    conditions::unmet(&status.conditions, "")
                }
            ),
            Phase::Pending => {}
        }
        if !cluster::look_again(deadline).await {
            anyhow::bail!(
                "the provider did not decide the request in time; it is kept there, and the same command goes on waiting{}",
                conditions::unmet(
                    &status.conditions,
                    "it has not reported anything: is its backend running?"
                )
            );
        }
        match timed(requests.get_opt(name)).await {
            Ok(Some(request)) => last = Some(request),
            // Backends tidy up decided requests.
            Ok(None) if matches!(timed(exports.get_opt(name)).await, Ok(Some(_))) => return Ok(()),
            Ok(None) => {
                anyhow::bail!("the request was deleted on the provider before it was decided")
            }
            Err(err) if cluster::is_transient(&err) => {}
            Err(source) => {
                let what = format!("apiserviceexportrequest/{name} on the provider");
                return Err(Error::Read {
                    what,
                    source: Box::new(source),
                }
                .into());
            }
        }
    }
}

fn is_lagging(err: &kube::Error) -> bool {
    matches!(cluster::status_code(err), Some(401 | 403)) || cluster::is_transient(err)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(resource: &str) -> APIServiceExportRequestSpec {
        serde_json::from_value(
            json!({"resources": [{"group": "example.org", "resource": resource}]}),
        )
        .unwrap()
    }

    fn request(resource: &str, phase: Phase) -> Option<APIServiceExportRequest> {
        let mut request = APIServiceExportRequest::new("widgets", spec(resource));
        request.status.get_or_insert_default().phase = phase;
        Some(request)
    }

    fn export(resource: &str) -> Option<APIServiceExport> {
        let resources = spec(resource).resources;
        Some(APIServiceExport::new(
            "widgets",
            kube_bind_crds::api::APIServiceExportSpec {
                resources,
                ..Default::default()
            },
        ))
    }

    #[test]
    fn an_export_of_the_same_kinds_needs_no_request() {
        let observed = Observed {
            request: None,
            export: export("widgets"),
        };
        assert_eq!(decide(&observed, &spec("widgets")), Decision::Done);
        assert_eq!(decide(&observed, &spec("gadgets")), Decision::Taken);
    }

    #[test]
    fn a_request_that_is_under_way_is_followed() {
        let observed = |resource| Observed {
            request: request(resource, Phase::Pending),
            export: None,
        };
        assert_eq!(
            decide(&observed("widgets"), &spec("widgets")),
            Decision::Wait
        );
        assert_eq!(
            decide(&observed("gadgets"), &spec("widgets")),
            Decision::Taken
        );
    }

    #[test]
    fn decided_requests_without_an_export_are_replaced() {
        for phase in [Phase::Failed, Phase::Succeeded] {
            let observed = Observed {
                request: request("widgets", phase),
                export: None,
            };
            assert_eq!(decide(&observed, &spec("widgets")), Decision::Replace);
        }
        assert_eq!(
            decide(
                &Observed {
                    request: None,
                    export: None
                },
                &spec("widgets")
            ),
            Decision::Create
        );
    }
}
