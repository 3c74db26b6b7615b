//! `POST /api/bind`: gives a consumer its credentials and the request to create with them. The
//! offering is looked up before anything is made.

use std::error::Error as StdError;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use kube_bind_crds::api::{APIServiceExportRequestSpec, APIServiceExportTemplate, ClusterIdentity};
use kube_bind_crds::validate::object_name;
use kube_bind_crds::wire::{
    APIServiceExportRequestResponse, Authentication, BindingResourceResponse, ErrorCode,
    OAuth2CodeGrantState,
};
use serde::Deserialize;
use tracing::{error, info};

use super::catalogue_error::failure;
use crate::catalogue;
use crate::http::auth::Authenticated;
use crate::http::body::JsonBody;
use crate::http::failure::Failure;
use crate::provision::{self, Author, Consumer};
use crate::session::User;
use crate::state::AppState;

/// What the original's web page sends instead of an identity.
const UI_IDENTITY: &str = "ui-identity";
const IDENTITY_MAX: usize = 1024;
/// It becomes an annotation that people read.
const PRETTY_NAME_MAX: usize = 253;

/// A `BindableResourcesRequest` as clients send it: anything may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Request {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    template_ref: TemplateRef,
    cluster_identity: ClusterIdentity,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TemplateRef {
    name: String,
}

/// Query parameters.
#[derive(Debug, Default, Deserialize)]
pub struct Parameters {
    /// Identity of the consumer, from the original's plugin; as little trusted as the body.
    #[serde(default)]
    consumer_id: String,
}

/// Why nothing is bound.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The query cannot be read.
    #[error("failed to read the query")]
    Query(#[from] QueryRejection),
    /// The request is wrong.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no such offering, or not for this user.
    #[error("failed to use the template")]
    Catalogue {
        /// Why.
        source: catalogue::Error,
        /// Who asked.
        user: User,
    },
    /// The provider's cluster did not take it.
    #[error("failed to provision a consumer")]
    Provision(#[from] provision::Error),
}

impl IntoResponse for RouteError {
    fn into_response(self) -> Response {
        match &self {
            Self::Query(_) | Self::Invalid(_) => Failure::bad_request(self.to_string()),
            Self::Catalogue { source, user } => failure(source, user),
            Self::Provision(provision::Error::OtherAuthor { .. }) => Failure::new(
                ErrorCode::AuthorizationFailed,
                "this consumer cluster was bound by another user",
            )
            .with_details(
                "bind as that user, or ask the provider's administrator to remove the old binding",
            ),
            Self::Provision(_) => {
                error!(error = &self as &dyn StdError, "failed to bind");
                Failure::internal()
            }
        }
        .into_response()
    }
}

/// Binds.
pub async fn handle(
    State(state): State<AppState>,
    Authenticated(session): Authenticated,
    parameters: Result<Query<Parameters>, QueryRejection>,
    JsonBody(request): JsonBody<Request>,
) -> Result<Json<BindingResourceResponse>, RouteError> {
    let Query(parameters) = parameters?;
    let user = session.user;
    let wanted = Wanted::parse(request, parameters).map_err(RouteError::Invalid)?;
    let template = state
        .catalogue
        .template(state.authorizer.as_ref(), &user, &wanted.template)
        .await
        .map_err(|source| RouteError::Catalogue {
            source,
            user: user.clone(),
        })?;
    let consumer = Consumer {
        identity: wanted.identity,
        author: Author {
            subject: user.subject.clone(),
            issuer: user.issuer.clone(),
        },
        pretty_name: wanted.pretty_name,
    };
    let provisioned = state
        .provisioner
        .provision(&consumer, &wanted.template)
        .await?;
    info!(
        consumer.namespace = %provisioned.namespace,
        template.name = %wanted.template,
        "bound template {} for consumer {}", wanted.template, provisioned.namespace
    );
    let request = APIServiceExportRequestResponse::new(Some(wanted.name), request_of(template));
    let mut response =
        BindingResourceResponse::new(provisioned.kubeconfig.as_bytes(), vec![request]);
    response.provider_namespace = Some(provisioned.namespace);
    response.authentication = Authentication {
        oauth2_code_grant: Some(OAuth2CodeGrantState {
            sid: session.id,
            id: user.id(),
        }),
    };
    Ok(Json(response))
}

#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    template: String,
    name: String,
    identity: String,
    pretty_name: String,
}

impl Wanted {
    fn parse(request: Request, parameters: Parameters) -> Result<Self, &'static str> {
        let Request { metadata, spec } = request;
        let template = spec.template_ref.name;
        if object_name(&template).is_err() {
            return Err("spec.templateRef.name must be the name of a template");
        }
        let name = if metadata.name.is_empty() {
            template.clone()
        } else {
            metadata.name
        };
        if object_name(&name).is_err() {
            return Err(
                "metadata.name must be a valid object name: lower-case letters, digits, dashes and dots",
            );
        }
        let ClusterIdentity {
            identity,
            pretty_name,
        } = spec.cluster_identity;
        let identity = if parameters.consumer_id.is_empty() {
            identity
        } else {
            parameters.consumer_id
        };
        if identity.is_empty()
            || identity.len() > IDENTITY_MAX
            || identity.chars().any(char::is_control)
        {
            return Err("spec.clusterIdentity.identity must name the consumer cluster");
        }
        if identity == UI_IDENTITY {
            return Err(
                "spec.clusterIdentity.identity must name the consumer cluster: bind with kubectl bind",
            );
        }
        if pretty_name.chars().count() > PRETTY_NAME_MAX
            || pretty_name.chars().any(char::is_control)
        {
            return Err(
                "spec.clusterIdentity.prettyName must be one line of at most 253 characters",
            );
        }
        let pretty_name = if pretty_name.is_empty() {
            name.clone()
        } else {
            pretty_name
        };
        Ok(Self {
            template,
            name,
            identity,
            pretty_name,
        })
    }
}

fn request_of(template: APIServiceExportTemplate) -> APIServiceExportRequestSpec {
    let spec = template.spec;
    APIServiceExportRequestSpec {
        parameters: None,
        resources: spec.resources,
        permission_claims: spec.permission_claims,
        namespaces: spec.namespaces,
        schema_update_policy: spec.schema_update_policy,
    }
}
