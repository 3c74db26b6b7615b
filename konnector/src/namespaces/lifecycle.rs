//! What follows when a consumer namespace and its mapping do not belong together any more (table
//! "Namespaces" of contract section 5.8). The decision is pure; IO: reads, and one write at most.
//!
//! A namespace that a person deletes waits for its objects, and these for their copies: when it is
//! gone, nothing is left to lose. One that is missing although copies are there was lost otherwise, by
//! a backup or with the cluster: then the copies are the breaker's to keep or to let go, and the
//! mapping stays for as long as there are any.

use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};
use kube_bind_crds::api::APIServiceNamespace;
use kube_bind_crds::names::{LABEL_OWNER, OWNER_PROVIDER};
use kube_bind_runtime::apply;
use kube_bind_runtime::lease::LEAST_WRITE_TIME;

use super::copies::{self, Left};
use super::{ServiceNamespaces, problem, target};
use crate::context::Context;
use crate::fault;
use crate::provider::Provider;

/// What became of a look at one mapping.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// Nothing is to be done any more.
    Settled,
    /// It has something to lose, in words.
    Waits(String),
    /// The provider does not take it, in its words.
    Refused(String),
}

/// What to do about one mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Nothing,
    /// The consumer's namespace is gone: its mapping goes as soon as nothing is lost with it.
    DeleteMapping,
    /// The provider brings the namespace along.
    CreateConsumerNamespace,
}

/// The provider brings the namespace along.
pub(super) fn is_brought(object: &APIServiceNamespace) -> bool {
    let owner = object.labels().get(LABEL_OWNER);
    owner.is_some_and(|owner| owner == OWNER_PROVIDER)
}

/// Namespaces of the cluster itself are not a provider's to create.
pub(super) fn is_reserved(name: &str) -> bool {
    name.starts_with("kube-")
}

/// `exists` is whether the consumer has the namespace, `None` while that is not known.
fn decide(object: &APIServiceNamespace, exists: Option<bool>) -> Decision {
    let by_provider = is_brought(object);
    match exists {
        None | Some(true) => Decision::Nothing,
        _ if object.metadata.deletion_timestamp.is_some() => Decision::Nothing,
        Some(false) if !by_provider => Decision::DeleteMapping,
        Some(false) if is_reserved(&object.name_any()) => Decision::Nothing,
        Some(false) => Decision::CreateConsumerNamespace,
    }
}

/// Why a mapping has to stay although its consumer namespace is gone.
fn keeps(left: &Left) -> Option<String> {
    match left {
        Left::Nothing => None,
        Left::Objects(plural) => Some(format!("it has {plural}")),
        Left::Unknown(why) => Some(format!("what it has is not known: {why}")),
    }
}

impl ServiceNamespaces {
    /// Looks at one mapping.
    pub(super) async fn check(
        &self,
        ctx: &Context,
        provider: &Provider,
        name: &str,
    ) -> Result<Checked, kube::Error> {
        let Some(object) = self.store.get(&self.object(name)) else {
            return Ok(Checked::Settled);
        };
        let known = decide(&object, self.consumer.known(name));
        if known == Decision::Nothing {
            return Ok(Checked::Settled);
        }
        if known == Decision::DeleteMapping {
            let left = match target(&object) {
                Some(service) => copies::left(ctx, provider, &service).await?,
                // The provider refuses to make one, and so nothing is there.
                None if problem(&object).is_some() => Left::Nothing,
                None => Left::Unknown("the provider has not said which one it is".into()),
            };
            if let Some(why) = keeps(&left) {
                return Ok(Checked::Waits(why));
            }
        }
        // The watch may be behind. Asked last: without the namespace no new copies can come.
        let exists = self.consumer.exists(name).await?;
        let decision = decide(&object, Some(exists));
        let time = provider.write_time(&ctx.leader);
        if decision != Decision::Nothing && time < LEAST_WRITE_TIME {
            return Ok(Checked::Waits("nothing may be written now".into()));
        }
        let limit = time.min(apply::TIMEOUT);
        match decision {
            Decision::Nothing => Ok(Checked::Settled),
            Decision::DeleteMapping if known == Decision::DeleteMapping => {
                let params = DeleteParams {
                    preconditions: Some(Preconditions {
                        uid: object.uid(),
                        resource_version: None,
                    }),
                    ..DeleteParams::default()
                };
                tracing::info!(
                    namespace.name = %name,
                    "namespace {name} is gone, deleting its service namespace"
                );
                match apply::timed_for(limit, self.api.delete(name, &params)).await {
                    Ok(_) => Ok(Checked::Settled),
                    Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => {
                        Ok(Checked::Settled)
                    }
                    Err(error) => Err(error),
                }
            }
            // Its label has changed meanwhile, and the event of that brings the next look.
            Decision::DeleteMapping => Ok(Checked::Settled),
            Decision::CreateConsumerNamespace if copies::all_suspended(ctx, provider) => {
                Ok(Checked::Waits("all bindings are suspended".into()))
            }
            // A right that is missing may come, and nothing tells when: the caller tries again.
            Decision::CreateConsumerNamespace => {
                apply::timed_for(limit, self.consumer.create_for_provider(name)).await?;
                Ok(Checked::Settled)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube_bind_crds::api::APIServiceNamespaceSpec;
    use kube_bind_crds::names::OWNER_CONSUMER;

    fn object(name: &str, owner: Option<&str>) -> APIServiceNamespace {
        let mut object = APIServiceNamespace::new(name, APIServiceNamespaceSpec {});
        if let Some(owner) = owner {
            object
                .labels_mut()
                .insert(LABEL_OWNER.to_owned(), owner.to_owned());
        }
        object
    }

    #[test]
    fn the_table_of_the_contract() {
        use Decision::{CreateConsumerNamespace, DeleteMapping, Nothing};
        let provider = Some(OWNER_PROVIDER);
        for (owner, exists, expected) in [
            (None, Some(false), DeleteMapping),
            (Some(OWNER_CONSUMER), Some(false), DeleteMapping),
            (None, Some(true), Nothing),
            (provider, Some(false), CreateConsumerNamespace),
            (provider, Some(true), Nothing),
            (None, None, Nothing),
            (provider, None, Nothing),
        ] {
            assert_eq!(
                decide(&object("team-a", owner), exists),
                expected,
                "{owner:?} {exists:?}"
            );
        }
    }

    #[test]
    fn a_provider_cannot_have_system_namespaces_created() {
        let asked = object("kube-evil", Some(OWNER_PROVIDER));
        assert_eq!(decide(&asked, Some(false)), Decision::Nothing);
    }

    #[test]
    fn a_mapping_that_is_going_is_left_alone() {
        let mut going = object("team-a", None);
        going.metadata.deletion_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH),
        );
        assert_eq!(decide(&going, Some(false)), Decision::Nothing);
    }

    #[test]
    fn a_service_namespace_stays_while_anything_is_left_or_nobody_knows() {
        assert_eq!(keeps(&Left::Nothing), None);
        assert!(keeps(&Left::Objects("widgets".into())).is_some());
        assert!(keeps(&Left::Unknown("no binding".into())).is_some());
    }
}
