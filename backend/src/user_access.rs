//! Who may bind which offering: asked of the provider's API server by SubjectAccessReview, so that
//! operators grant it with the roles they know. Does IO.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use kube_bind_crds::names::{GROUP, VERSION};
use kube_bind_runtime::apply::timed;
use kube_bind_runtime::clock::SharedClock;

use crate::session::User;

/// Plural of the kind that offerings are.
const TEMPLATES: &str = "apiserviceexporttemplates";
/// How long an answer is believed: the delay of a permission given or taken.
const BELIEVED: Duration = Duration::from_secs(3);
const BELIEVED_MAX: usize = 4096;

/// Decides whether a user may bind an offering.
pub trait Authorizer: Send + Sync {
    /// Whether `user` may bind `template`.
    fn may_bind<'a>(
        &'a self,
        user: &'a User,
        template: &'a str,
    ) -> BoxFuture<'a, Result<Verdict, kube::Error>>;
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allowed,
    /// No, with what the API server says about it.
    Denied(String),
}

/// How users of the identity provider are named in Kubernetes.
#[derive(Clone, Debug)]
pub struct Prefixes {
    /// Before the subject.
    pub username: String,
    /// Before each group.
    pub groups: String,
}

impl Prefixes {
    /// User and groups as the API server is asked about them. Kubernetes' own names (`system:...`)
    /// never come from an identity provider, whatever the prefixes are.
    fn subject(&self, user: &User) -> Option<(String, Vec<String>)> {
        let is_reserved = |name: &str| name.starts_with("system:");
        let name = format!("{}{}", self.username, user.subject);
        let groups = user
            .groups
            .iter()
            .map(|group| format!("{}{group}", self.groups));
        let groups = groups.filter(|group| !is_reserved(group)).collect();
        (!is_reserved(&name)).then_some((name, groups))
    }
}

/// The question whether a user or a group, by the name it has in Kubernetes, may bind `template`, or
/// whatever is offered. Pure.
pub fn review(
    user: Option<String>,
    groups: Vec<String>,
    template: Option<String>,
) -> SubjectAccessReview {
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user,
            groups: Some(groups),
            resource_attributes: Some(ResourceAttributes {
                verb: Some("bind".to_owned()),
                group: Some(GROUP.to_owned()),
                version: Some(VERSION.to_owned()),
                resource: Some(TEMPLATES.to_owned()),
                name: template,
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

/// Authorization by the provider's API server.
pub struct AccessReviews {
    api: Api<SubjectAccessReview>,
    prefixes: Prefixes,
    clock: SharedClock,
    believed: Mutex<HashMap<(User, String), (Instant, Verdict)>>,
}

impl AccessReviews {
    /// Asks the API server of `client`.
    pub fn new(client: kube::Client, prefixes: Prefixes, clock: SharedClock) -> Self {
        Self {
            api: Api::all(client),
            prefixes,
            clock,
            believed: Mutex::default(),
        }
    }

    async fn review(&self, user: &User, template: &str) -> Result<Verdict, kube::Error> {
        let Some((name, groups)) = self.prefixes.subject(user) else {
            return Ok(Verdict::Denied(
                "names of users must not begin with system:".to_owned(),
            ));
        };
        let key = (user.clone(), template.to_owned());
        let now = self.clock.monotonic();
        let is_fresh = |asked: Instant| now.duration_since(asked) < BELIEVED;
        {
            let believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((asked, verdict)) = believed.get(&key)
                && is_fresh(*asked)
            {
                return Ok(verdict.clone());
            }
        }
        let review = review(Some(name), groups, Some(template.to_owned()));
        let answer = timed(self.api.create(&PostParams::default(), &review)).await?;
        let status = answer.status.unwrap_or_default();
        let verdict = if status.allowed && status.denied != Some(true) {
            Verdict::Allowed
        } else {
            Verdict::Denied(status.reason.unwrap_or_default())
        };
        let mut believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        if believed.len() >= BELIEVED_MAX {
            believed.retain(|_, (asked, _)| is_fresh(*asked));
        }
        believed.insert(key, (now, verdict.clone()));
        Ok(verdict)
    }
}

impl Authorizer for AccessReviews {
    fn may_bind<'a>(
        &'a self,
        user: &'a User,
        template: &'a str,
    ) -> BoxFuture<'a, Result<Verdict, kube::Error>> {
        Box::pin(self.review(user, template))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(subject: &str, groups: &[&str]) -> User {
        User {
            subject: subject.into(),
            issuer: "https://idp.example".into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        }
    }

    #[test]
    fn names_of_the_identity_provider_are_prefixed() {
        let prefixes = Prefixes {
            username: "oidc:".into(),
            groups: "oidc:".into(),
        };
        let subject = prefixes.subject(&user("ada", &["system:masters", "ops"]));
        let groups = vec!["oidc:system:masters".to_owned(), "oidc:ops".to_owned()];
        assert_eq!(subject, Some(("oidc:ada".to_owned(), groups)));
    }

    #[test]
    fn without_prefixes_reserved_names_are_dropped() {
        let prefixes = Prefixes {
            username: String::new(),
            groups: String::new(),
        };
        let subject = prefixes.subject(&user("ada", &["system:masters", "ops"]));
        assert_eq!(subject, Some(("ada".to_owned(), vec!["ops".to_owned()])));
        assert_eq!(prefixes.subject(&user("system:admin", &[])), None);
    }
}
