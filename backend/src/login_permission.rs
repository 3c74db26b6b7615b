//! Whether the login permission is in effect, as a readiness check: the leader grants it after its
//! start, and before that a bind would be answered with 403. Asks the API server.

use std::error::Error as StdError;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Subject};
use kube::Client;
use kube::api::{Api, PostParams};
use kube_bind_runtime::apply::timed;
use kube_bind_runtime::backoff::Backoff;
use kube_bind_runtime::health::Health;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::provision::Settings;
use crate::provision::names::LOGIN_ROLE;
use crate::user_access::review;

/// Readiness check of every replica, at its start.
const AT_START: &str = "login-permission";
/// Readiness check of the leader, whose configuration counts.
const OF_LEADER: &str = "login-permission-of-leader";
const POLL_FIRST: Duration = Duration::from_millis(50);
const POLL_MOST: Duration = Duration::from_secs(2);

/// Makes the process not ready until [`at_start`] is done; to be called before anybody can ask.
pub fn pending(health: &Health) {
    health.set(AT_START, Err(not_yet()));
}

/// Waits until there is a login permission in effect, whoever it is for: a replica that waited for its
/// own groups while another one leads with other ones would wait for ever, and a rollout with it.
pub async fn at_start(client: Client, health: Health, stop: CancellationToken) {
    wait_for(AT_START, &client, Granted::ToAny, &health, &stop).await;
}

/// Waits until all groups and users that the leader lets in may bind.
pub async fn of_leader(
    client: &Client,
    settings: &Settings,
    health: &Health,
    stop: &CancellationToken,
) {
    let granted = Granted::ToAll(settings);
    wait_for(OF_LEADER, client, granted, health, stop).await;
    health.remove(OF_LEADER);
}

/// What is waited for.
enum Granted<'a> {
    /// The login permission is in effect, whoever it is for.
    ToAny,
    /// All that the settings let in may bind.
    ToAll(&'a Settings),
}

impl Granted<'_> {
    async fn holds(&self, client: &Client) -> Result<bool, kube::Error> {
        let reviews = match self {
            Self::ToAny => {
                let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
                let Some(binding) = timed(bindings.get_opt(LOGIN_ROLE)).await? else {
                    return Ok(false);
                };
                // All subjects get the permission together.
                let subjects = binding.subjects.unwrap_or_default();
                subjects.first().map(review_of).into_iter().collect()
            }
            Self::ToAll(settings) => reviews(settings),
        };
        for review in reviews {
            if !is_settled(client, &review).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Asks until it holds. Only once: who takes the permission away later means it.
async fn wait_for(
    check: &str,
    client: &Client,
    granted: Granted<'_>,
    health: &Health,
    stop: &CancellationToken,
) {
    let backoff = Backoff::between(POLL_FIRST, POLL_MOST);
    loop {
        let reason = match stop.run_until_cancelled(granted.holds(client)).await {
            Some(Ok(true)) => return health.set(check, Ok(())),
            Some(Ok(false)) => not_yet(),
            Some(Err(err)) => {
                warn!(
                    error = &err as &dyn StdError,
                    "failed to review the login permission"
                );
                "the login permission cannot be reviewed (see the log)".to_owned()
            }
            None => return,
        };
        health.set(check, Err(reason));
        let pause = tokio::time::sleep(backoff.next(&()));
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

fn not_yet() -> String {
    format!("nobody may bind yet: the leader has not granted {LOGIN_ROLE}, or it is not in effect")
}

/// Whether waiting changes nothing any more: it is allowed, or an authorizer other than RBAC forbids it.
async fn is_settled(client: &Client, review: &SubjectAccessReview) -> Result<bool, kube::Error> {
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = timed(api.create(&PostParams::default(), review)).await?;
    let status = answer.status.unwrap_or_default();
    Ok(status.allowed || status.denied == Some(true))
}

fn review_of(subject: &Subject) -> SubjectAccessReview {
    if subject.kind == "Group" {
        review(None, vec![subject.name.clone()], None)
    } else {
        review(Some(subject.name.clone()), Vec::new(), None)
    }
}

/// One question for each group and each user that is let in.
fn reviews(settings: &Settings) -> Vec<SubjectAccessReview> {
    let groups = settings.allowed_groups.iter().map(|group| {
        let group = format!("{}{group}", settings.groups_prefix);
        review(None, vec![group], None)
    });
    let users = settings.allowed_users.iter().map(|user| {
        let user = format!("{}{user}", settings.username_prefix);
        review(Some(user), Vec::new(), None)
    });
    groups.chain(users).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provision::test_support::{Script, failure, settings};

    const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    const BINDING: &str =
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kube-bind-oidc-user";

    fn answer(allowed: bool) -> Value {
        json!({ "spec": {}, "status": { "allowed": allowed } })
    }

    fn binding(subjects: Value) -> Value {
        json!({
            "metadata": { "name": LOGIN_ROLE }, "subjects": subjects,
            "roleRef": { "apiGroup": "", "kind": "ClusterRole", "name": LOGIN_ROLE },
        })
    }

    fn is_ready(health: &Health) -> bool {
        health.failing().is_empty()
    }

    #[tokio::test]
    async fn a_replica_is_not_ready_before_the_login_permission_is_in_effect() {
        let (client, mut api) = Script::new();
        let health = Health::new();
        pending(&health);
        assert!(!is_ready(&health));
        let server = async {
            api.not_found("GET", BINDING).await;
            api.answer("GET", BINDING, 500, failure(500, "InternalError"))
                .await;
            let subjects = json!([{ "kind": "Group", "name": "oidc:somebody" }]);
            api.answer("GET", BINDING, 200, binding(subjects.clone()))
                .await;
            let asked = api.answer("POST", REVIEWS, 201, answer(false)).await;
            assert_eq!(asked["spec"]["groups"], json!(["oidc:somebody"]));
            let attributes = &asked["spec"]["resourceAttributes"];
            assert_eq!(attributes["verb"], "bind");
            assert_eq!(attributes["resource"], "apiserviceexporttemplates");
            assert_eq!(attributes.get("name"), None, "whatever is offered");
            api.answer("GET", BINDING, 200, binding(subjects)).await;
            assert!(!is_ready(&health));
            api.answer("POST", REVIEWS, 201, answer(true)).await;
        };
        let waiting = at_start(client, health.clone(), CancellationToken::new());
        tokio::join!(waiting, server);
        assert!(is_ready(&health));
    }

    #[tokio::test]
    async fn a_provider_that_lets_in_by_roles_of_its_own_only_waits_for_the_leader() {
        let (client, mut api) = Script::new();
        let health = Health::new();
        pending(&health);
        let server = api.answer("GET", BINDING, 200, binding(Value::Null));
        let waiting = at_start(client, health.clone(), CancellationToken::new());
        tokio::join!(waiting, server);
        assert!(is_ready(&health));
    }

    #[tokio::test]
    async fn the_leader_waits_for_all_that_it_lets_in() {
        let (client, mut api) = Script::new();
        let mut settings = settings();
        settings.allowed_users = vec!["anna".into(), "bert".into()];
        let health = Health::new();
        let server = async {
            let asked = api.answer("POST", REVIEWS, 201, answer(true)).await;
            assert_eq!(asked["spec"]["groups"], json!(["oidc:tenants"]));
            assert_eq!(asked["spec"].get("user"), None);
            let asked = api.answer("POST", REVIEWS, 201, answer(false)).await;
            assert_eq!(asked["spec"]["user"], "oidc:anna");
            api.answer("POST", REVIEWS, 201, answer(true)).await;
            assert!(!is_ready(&health));
            api.answer("POST", REVIEWS, 201, answer(true)).await;
            // Another authorizer forbids it, which no waiting changes.
            let forbidden = json!({ "spec": {}, "status": { "allowed": false, "denied": true } });
            let asked = api.answer("POST", REVIEWS, 201, forbidden).await;
            assert_eq!(asked["spec"]["user"], "oidc:bert");
        };
        let stop = CancellationToken::new();
        tokio::join!(of_leader(&client, &settings, &health, &stop), server);
        assert!(is_ready(&health));
    }

    #[tokio::test]
    async fn who_leads_no_more_waits_no_more() {
        let (client, _api) = Script::new();
        let (health, stop) = (Health::new(), CancellationToken::new());
        health.set(OF_LEADER, Err(not_yet()));
        stop.cancel();
        of_leader(&client, &settings(), &health, &stop).await;
        assert!(is_ready(&health));
    }
}
