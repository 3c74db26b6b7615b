//! What a user is offered: templates and collections of the provider cluster, as far as the user
//! may bind them. Does IO.

mod shared;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube_bind_crds::api::{APIServiceExportTemplate, Collection};
use kube_bind_runtime::apply::timed;

use crate::provision::Settings;
use crate::session::User;
use crate::user_access::{Authorizer, Verdict};

/// What kubectl remembers of its last apply: the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Reviews under way at once for one request.
const REVIEWS: usize = 8;

/// Why the catalogue cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are offerings, but none for this user.
    #[error("nothing is offered to this user")]
    NothingPermitted,
    /// There is no such offering.
    #[error("template {0:?} does not exist")]
    UnknownTemplate(String),
    /// This offering is not for this user.
    #[error("this user may not bind template {template:?}")]
    NotPermitted {
        /// The template.
        template: String,
        /// What the API server says.
        reason: String,
    },
    /// The API server does not answer, or does not let us.
    #[error("failed to {action}")]
    Kube {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: kube::Error,
    },
}

/// The offerings of the provider cluster.
#[derive(Clone)]
pub struct Catalogue {
    client: kube::Client,
    settings: Arc<Settings>,
}

impl Catalogue {
    /// The catalogue of the cluster of `client`.
    pub fn new(client: kube::Client, settings: Arc<Settings>) -> Self {
        Self { client, settings }
    }

    /// Templates that `user` may bind, by name.
    pub async fn templates(
        &self,
        authorizer: &dyn Authorizer,
        user: &User,
    ) -> Result<Vec<APIServiceExportTemplate>, Error> {
        let api: Api<APIServiceExportTemplate> = Api::all(self.client.clone());
        let all = timed(api.list(&ListParams::default()))
            .await
            .map_err(|source| Error::Kube {
                action: "list templates",
                source,
            })?;
        let total = all.items.len();
        let mut permitted: Vec<_> = futures::stream::iter(all.items)
            .map(|template| async move {
                let verdict = may_bind(authorizer, user, name_of(&template)).await?;
                Ok::<_, Error>((verdict == Verdict::Allowed).then(|| published(template)))
            })
            .buffered(REVIEWS)
            .try_filter_map(|template| async move { Ok(template) })
            .try_collect()
            .await?;
        if permitted.is_empty() && total > 0 {
            return Err(Error::NothingPermitted);
        }
        shared::mark(&self.client, &self.settings, &mut permitted).await;
        Ok(permitted)
    }

    /// Collections with what `user` may bind of them; empty ones are left out.
    pub async fn collections(
        &self,
        authorizer: &dyn Authorizer,
        user: &User,
    ) -> Result<Vec<Collection>, Error> {
        let permitted = self.templates(authorizer, user).await?;
        let permitted: BTreeSet<_> = permitted.iter().map(name_of).collect();
        let api: Api<Collection> = Api::all(self.client.clone());
        let all = timed(api.list(&ListParams::default()))
            .await
            .map_err(|source| Error::Kube {
                action: "list collections",
                source,
            })?;
        let narrow = |mut collection: Collection| {
            collection
                .spec
                .templates
                .retain(|template| permitted.contains(template.name.as_str()));
            (!collection.spec.templates.is_empty()).then(|| published(collection))
        };
        Ok(all.items.into_iter().filter_map(narrow).collect())
    }

    /// One template that `user` may bind. Permission is asked first, so that names are not betrayed.
    pub async fn template(
        &self,
        authorizer: &dyn Authorizer,
        user: &User,
        name: &str,
    ) -> Result<APIServiceExportTemplate, Error> {
        if let Verdict::Denied(reason) = may_bind(authorizer, user, name).await? {
            return Err(Error::NotPermitted {
                template: name.to_owned(),
                reason,
            });
        }
        let api: Api<APIServiceExportTemplate> = Api::all(self.client.clone());
        timed(api.get_opt(name))
            .await
            .map_err(|source| Error::Kube {
                action: "read a template",
                source,
            })?
            .ok_or_else(|| Error::UnknownTemplate(name.to_owned()))
    }
}

async fn may_bind(
    authorizer: &dyn Authorizer,
    user: &User,
    template: &str,
) -> Result<Verdict, Error> {
    authorizer
        .may_bind(user, template)
        .await
        .map_err(|source| Error::Kube {
            action: "review access",
            source,
        })
}

fn name_of(template: &APIServiceExportTemplate) -> &str {
    template.metadata.name.as_deref().unwrap_or_default()
}

/// The object without what only matters to those who edit it.
fn published<K: ResourceExt>(mut object: K) -> K {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
    object
}
