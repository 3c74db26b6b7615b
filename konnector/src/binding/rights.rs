//! May the konnector do what a sync needs? The questions are made purely; IO: one
//! `SelfSubjectAccessReview` per question, asked before the sync starts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
    SelfSubjectRulesReview, SelfSubjectRulesReviewSpec,
};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use kube_bind_crds::api::APIServiceBinding;
use kube_bind_crds::names::KONNECTOR_NAMESPACE;
use kube_bind_crds::switches;
use kube_bind_runtime::apply;

use crate::fault;
use crate::supervisor::Supervisor;

/// How often the konnector asks what it may do at all: one request, whatever is bound.
const FOLLOW: Duration = Duration::from_secs(15);
/// Where that cannot be told completely, each binding asks for itself after so many times.
const INCOMPLETE: u32 = 4;

/// Rights cannot be watched. Asks again and again for all of them together, and has the bindings ask for
/// theirs when something changed.
pub async fn follow(supervisor: Arc<Supervisor>) {
    let mut known: Option<BTreeSet<String>> = None;
    let mut unsure = 0;
    loop {
        tokio::time::sleep(FOLLOW).await;
        let namespaces = reviewed(&supervisor.ctx.bindings.state());
        let (rules, complete) = match all(&supervisor.ctx.client, &namespaces).await {
            Ok(rules) => rules,
            // What fails for everybody is told by everybody else.
            Err(error) => {
                tracing::debug!(
                    error = fault::describe(&error),
                    "failed to review all rights"
                );
                continue;
            }
        };
        unsure = if complete {
            0
        } else {
            (unsure + 1) % INCOMPLETE
        };
        // The first answer may be younger than what the bindings were told when they asked.
        let changed = known.as_ref() != Some(&rules);
        if changed || !complete && unsure == 0 {
            supervisor.rights_changed();
        }
        known = Some(rules);
    }
}

/// Where rights can be that are not rights in all namespaces.
fn reviewed(bindings: &[Arc<APIServiceBinding>]) -> BTreeSet<String> {
    let limits = bindings.iter().filter_map(|binding| {
        // What is mistyped is told elsewhere.
        switches::claim_namespaces(binding.annotations())
            .ok()
            .flatten()
    });
    limits
        .flatten()
        .chain([KONNECTOR_NAMESPACE.to_owned()])
        .collect()
}

/// All rules that apply to the konnector in these namespaces, and whether the API server could tell all.
async fn all(
    client: &Client,
    namespaces: &BTreeSet<String>,
) -> Result<(BTreeSet<String>, bool), kube::Error> {
    let api: Api<SelfSubjectRulesReview> = Api::all(client.clone());
    let (mut all, mut complete) = (BTreeSet::new(), true);
    for namespace in namespaces {
        let review = SelfSubjectRulesReview {
            spec: SelfSubjectRulesReviewSpec {
                namespace: Some(namespace.clone()),
            },
            ..SelfSubjectRulesReview::default()
        };
        let answer = apply::timed(api.create(&PostParams::default(), &review)).await?;
        let status = answer.status.unwrap_or_default();
        complete &= !status.incomplete;
        // In whatever order they come.
        all.extend(status.resource_rules.iter().map(|rule| {
            let rule = serde_json::to_string(rule).expect("rules have only string keys");
            format!("{namespace}: {rule}")
        }));
    }
    Ok((all, complete))
}

/// Reviews asked at the same time.
const PARALLEL: usize = 4;

/// One thing that one may or may not do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// One namespace, or all of them.
    namespace: Option<String>,
    group: String,
    resource: String,
    subresource: Option<String>,
    name: Option<String>,
    verb: String,
}

impl Question {
    fn attributes(&self) -> ResourceAttributes {
        ResourceAttributes {
            namespace: self.namespace.clone(),
            group: Some(self.group.clone()),
            resource: Some(self.resource.clone()),
            subresource: self.subresource.clone(),
            name: self.name.clone(),
            verb: Some(self.verb.clone()),
            ..ResourceAttributes::default()
        }
    }

    /// What is asked about, without the verb.
    fn object(&self) -> String {
        let mut text = self.resource.clone();
        if !self.group.is_empty() {
            text = format!("{text}.{}", self.group);
        }
        if let Some(subresource) = &self.subresource {
            text = format!("{text}/{subresource}");
        }
        if let Some(name) = &self.name {
            text = format!("{text} {name:?}");
        }
        if let Some(namespace) = &self.namespace {
            text = format!("{text} in namespace {namespace}");
        }
        text
    }
}

/// All questions that some rules amount to, in one namespace or in all.
pub fn questions(rules: &[PolicyRule], namespace: Option<&str>) -> Vec<Question> {
    let mut questions = Vec::new();
    for rule in rules {
        let names: Vec<Option<String>> = match rule.resource_names.as_deref() {
            Some(names) if !names.is_empty() => names.iter().cloned().map(Some).collect(),
            _ => vec![None],
        };
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let (resource, subresource) = match resource.split_once('/') {
                    Some((resource, sub)) => (resource, Some(sub.to_owned())),
                    None => (resource.as_str(), None),
                };
                for name in &names {
                    for verb in &rule.verbs {
                        questions.push(Question {
                            namespace: namespace.map(str::to_owned),
                            group: group.clone(),
                            resource: resource.to_owned(),
                            subresource: subresource.clone(),
                            name: name.clone(),
                            verb: verb.clone(),
                        });
                    }
                }
            }
        }
    }
    questions
}

/// Rules in words, verbs of one object together.
pub fn in_words(questions: &[Question]) -> Vec<String> {
    let mut verbs: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for question in questions {
        verbs
            .entry(question.object())
            .or_default()
            .push(&question.verb);
    }
    verbs
        .into_iter()
        .map(|(object, verbs)| format!("{} {object}", verbs.join("/")))
        .collect()
}

/// Those of the rules that the API server does not grant, in words; in one namespace or in all.
pub async fn missing(
    client: &Client,
    rules: &[PolicyRule],
    namespace: Option<&str>,
) -> Result<Vec<String>, kube::Error> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let api = &api;
    let mut denied: Vec<Question> = futures::stream::iter(questions(rules, namespace))
        .map(|question| async move {
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(question.attributes()),
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            let answer = apply::timed(api.create(&PostParams::default(), &review)).await?;
            let allowed = answer.status.is_some_and(|status| status.allowed);
            Ok::<_, kube::Error>((!allowed).then_some(question))
        })
        .buffer_unordered(PARALLEL)
        .try_filter_map(|denied| async move { Ok(denied) })
        .try_collect()
        .await?;
    denied.sort();
    Ok(in_words(&denied))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::answering;
    use kube_bind_crds::api::{GroupResource, PermissionClaim};
    use kube_bind_crds::consumer_rights::binding_rules;
    use serde_json::json;

    fn rules() -> Vec<PolicyRule> {
        let gr = |resource: &str, group: &str| GroupResource {
            group: group.into(),
            resource: resource.into(),
        };
        let mut claim = PermissionClaim {
            group_resource: gr("secrets", ""),
            ..PermissionClaim::default()
        };
        claim.selector.label_selector = Some(Default::default());
        binding_rules(&[gr("widgets", "example.org")], &[claim])
    }

    #[test]
    fn every_verb_resource_and_name_is_asked_about() {
        let asked = questions(&rules(), None);
        let objects: std::collections::BTreeSet<_> = asked.iter().map(Question::object).collect();
        assert_eq!(
            objects.into_iter().collect::<Vec<_>>(),
            [
                "customresourcedefinitions.apiextensions.k8s.io \"widgets.example.org\"",
                "secrets",
                "widgets.example.org",
                "widgets.example.org/status",
            ]
        );
        let status = asked.iter().find(|q| q.subresource.is_some()).unwrap();
        assert_eq!(
            (status.resource.as_str(), status.verb.as_str()),
            ("widgets", "patch")
        );
    }

    #[tokio::test]
    async fn the_order_of_rules_is_no_change() {
        let rule =
            |resource: &str| json!({"apiGroups": [""], "resources": [resource], "verbs": ["get"]});
        let answered = |rules: Vec<serde_json::Value>| {
            answering(move |asked| {
                let mut answer = asked.body.clone();
                answer["status"] =
                    json!({"incomplete": false, "nonResourceRules": [], "resourceRules": rules});
                (201, answer)
            })
        };
        let here = ["kube-bind".to_owned()].into();
        let one = all(&answered(vec![rule("a"), rule("b")]), &here)
            .await
            .unwrap();
        let same = all(&answered(vec![rule("b"), rule("a")]), &here)
            .await
            .unwrap();
        let less = all(&answered(vec![rule("a")]), &here).await.unwrap();
        assert_eq!(one, same);
        assert_ne!(one.0, less.0);
    }

    #[tokio::test]
    async fn a_role_that_is_withdrawn_from_a_namespace_of_claims_is_noticed() {
        let mut limited = APIServiceBinding::new("widgets", Default::default());
        let annotations = limited.annotations_mut();
        annotations.insert(switches::CLAIM_NAMESPACES.into(), "shop, team".into());
        let unlimited = APIServiceBinding::new("gadgets", Default::default());
        let namespaces = reviewed(&[Arc::new(limited), Arc::new(unlimited)]);
        assert_eq!(
            namespaces,
            ["kube-bind", "shop", "team"].map(String::from).into()
        );
        let granted_in = |namespace: &'static str| {
            answering(move |asked| {
                let mut answer = asked.body.clone();
                let granted = answer["spec"]["namespace"] == namespace;
                let rules = if granted {
                    json!([{"verbs": ["get"]}])
                } else {
                    json!([])
                };
                answer["status"] =
                    json!({"incomplete": false, "nonResourceRules": [], "resourceRules": rules});
                (201, answer)
            })
        };
        let before = all(&granted_in("team"), &namespaces).await.unwrap();
        let after = all(&granted_in("nowhere"), &namespaces).await.unwrap();
        let moved = all(&granted_in("shop"), &namespaces).await.unwrap();
        assert!(before != after && before != moved);
    }

    #[tokio::test]
    async fn exactly_what_is_denied_is_listed() {
        let client = answering(|asked| {
            let wanted = &asked.body["spec"]["resourceAttributes"];
            let denied = wanted["resource"] == "secrets" && wanted["verb"] != "get";
            let mut answer = asked.body.clone();
            answer["status"] = json!({"allowed": !denied});
            (201, answer)
        });
        let missing = missing(&client, &rules(), None).await.unwrap();
        assert_eq!(missing, ["create/delete/list/patch/update/watch secrets"]);
    }

    #[tokio::test]
    async fn rights_in_one_namespace_are_asked_about_there() {
        let client = answering(|asked| {
            let wanted = &asked.body["spec"]["resourceAttributes"];
            let mut answer = asked.body.clone();
            answer["status"] = json!({"allowed": wanted["namespace"] == "shop"});
            (201, answer)
        });
        let rules = &rules()[3..];
        let there = missing(&client, rules, Some("shop")).await.unwrap();
        assert!(there.is_empty(), "{there:?}");
        let elsewhere = missing(&client, rules, Some("team")).await.unwrap();
        assert!(
            elsewhere[0].ends_with("secrets in namespace team"),
            "{elsewhere:?}"
        );
    }
}
