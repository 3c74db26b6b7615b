//! What follows when a consumer namespace and its mapping do not belong together any more (table
//! "Namespaces" of contract section 5.8). The decision is pure; IO: one write at most.

use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};
use kube_bind_crds::api::APIServiceNamespace;
use kube_bind_crds::names::{LABEL_OWNER, OWNER_PROVIDER};
use kube_bind_runtime::apply;

use super::ServiceNamespaces;
use crate::fault;

/// What to do about one mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Nothing,
    /// The consumer's namespace is gone, and with it all its objects.
    DeleteMapping,
    /// The provider brings the namespace along.
    CreateConsumerNamespace,
}

/// `exists` is whether the consumer has the namespace, `None` while that is not known.
fn decide(object: &APIServiceNamespace, exists: Option<bool>) -> Decision {
    let by_provider = object
        .labels()
        .get(LABEL_OWNER)
        .is_some_and(|owner| owner == OWNER_PROVIDER);
    match exists {
        None | Some(true) => Decision::Nothing,
        _ if object.metadata.deletion_timestamp.is_some() => Decision::Nothing,
        Some(false) if !by_provider => Decision::DeleteMapping,
        // Namespaces of the cluster itself are not a provider's to create.
        Some(false) if object.name_any().starts_with("kube-") => Decision::Nothing,
        Some(false) => Decision::CreateConsumerNamespace,
    }
}

impl ServiceNamespaces {
    /// Looks at one mapping.
    pub(super) async fn check(&self, name: &str) -> Result<(), kube::Error> {
        let Some(object) = self.store.get(&self.object(name)) else {
            return Ok(());
        };
        let known = self.consumer.known(name);
        if decide(&object, known) == Decision::Nothing {
            return Ok(());
        }
        // The watch may be behind, and a mapping that is deleted takes the data with it.
        let exists = self.consumer.exists(name).await?;
        match decide(&object, Some(exists)) {
            Decision::Nothing => Ok(()),
            Decision::DeleteMapping => {
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
                match apply::timed(self.api.delete(name, &params)).await {
                    Ok(_) => Ok(()),
                    Err(error) if fault::is_stale(&error) || fault::code(&error) == Some(404) => {
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
            // A right that is missing may come, and nothing tells when: the caller tries again.
            Decision::CreateConsumerNamespace => self.consumer.create_for_provider(name).await,
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
}
