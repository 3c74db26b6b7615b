//! Asks the API server what a consumer's service account may do (IO): rights take a moment to be in
//! effect, and nothing is announced before they are.

use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};
use kube_bind_crds::names::BINDER;
use kube_bind_runtime::apply::timed;

/// One thing to be allowed in one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Namespace of the resource.
    pub namespace: String,
    /// API group.
    pub group: String,
    /// Plural name.
    pub resource: String,
    /// Verb.
    pub verb: &'static str,
}

/// The review that asks whether the consumer of `cluster_namespace` has this access. Pure.
pub fn review(cluster_namespace: &str, access: &Access) -> SubjectAccessReview {
    let Access {
        namespace,
        group,
        resource,
        verb,
    } = access;
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!(
                "system:serviceaccount:{cluster_namespace}:{BINDER}"
            )),
            groups: Some(vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{cluster_namespace}"),
                "system:authenticated".to_owned(),
            ]),
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.clone()),
                group: Some(group.clone()),
                resource: Some(resource.clone()),
                verb: Some((*verb).to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

/// The first of these that is not allowed yet.
pub async fn first_denied<'a>(
    client: &Client,
    cluster_namespace: &str,
    wanted: &'a [Access],
) -> Result<Option<&'a Access>, kube::Error> {
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let params = PostParams::default();
    let answers = try_join_all(wanted.iter().map(|access| {
        let (api, params) = (&api, &params);
        let review = review(cluster_namespace, access);
        async move { timed(api.create(params, &review)).await }
    }))
    .await?;
    Ok(wanted
        .iter()
        .zip(answers)
        .find(|(_, answer)| !answer.status.as_ref().is_some_and(|status| status.allowed))
        .map(|(access, _)| access))
}
