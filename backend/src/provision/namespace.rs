//! Finds or makes a consumer's cluster namespace (IO); whose one is decides `ownership`.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams};
use kube::{Client, ResourceExt};
use kube_bind_crds::names::{ANNOTATION_AUTHOR, ANNOTATION_AUTHOR_ISSUER, ANNOTATION_IDENTITY};
use kube_bind_runtime::apply::timed;
use serde_json::Value;

use super::names::{COMPONENT_CLUSTER_NAMESPACE, LABEL_COMPONENT};
use super::ownership::{Verdict, candidates, has_identity, judge};
use super::{Consumer, Error, MANAGER, ensure};

/// Binds of the same consumer at the same time make each other look again; more often than this is no accident.
const ATTEMPTS: usize = 4;
const PAGE: u32 = 500;

/// Returns the name of the consumer's cluster namespace, which exists afterwards and is the consumer's.
pub async fn claim(client: &Client, prefix: &str, consumer: &Consumer) -> Result<String, Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    let names = candidates(prefix, consumer);
    for _ in 0..ATTEMPTS {
        match look(&api, &names, consumer).await? {
            Found::Ours {
                name,
                migration: None,
            } => return Ok(name),
            Found::Ours {
                name,
                migration: Some(patch),
            } => {
                if migrate(&api, &name, &patch).await? {
                    return Ok(name);
                }
            }
            Found::Free(name) => {
                let step = Error::request(format!("create namespace {name}"));
                if ensure::create(&api, &new(&name, consumer), MANAGER)
                    .await
                    .map_err(step)?
                {
                    return Ok(name);
                }
            }
        }
    }
    let [namespace, _] = names;
    Err(Error::Contended { namespace })
}

enum Found {
    Ours {
        name: String,
        migration: Option<Value>,
    },
    Free(String),
}

async fn look(
    api: &Api<Namespace>,
    names: &[String; 2],
    consumer: &Consumer,
) -> Result<Found, Error> {
    let mut free = None;
    for name in names {
        let step = Error::request(format!("read namespace {name}"));
        let Some(namespace) = timed(api.get_metadata_opt(name)).await.map_err(step)? else {
            free = free.or(Some(name));
            continue;
        };
        match judge(&namespace.metadata, consumer) {
            Verdict::Ours { migration } => {
                return Ok(Found::Ours {
                    name: name.clone(),
                    migration,
                });
            }
            Verdict::Terminating => {
                return Err(Error::Terminating {
                    namespace: name.clone(),
                });
            }
            Verdict::Foreign => {}
        }
    }
    // A namespace made under another prefix. Only those who come for the first time pay for this list.
    if let Some(found) = search(api, consumer).await? {
        return Ok(found);
    }
    let [_, last] = names;
    free.map(|name| Found::Free(name.clone()))
        .ok_or_else(|| Error::OtherAuthor {
            namespace: last.clone(),
        })
}

async fn search(api: &Api<Namespace>, consumer: &Consumer) -> Result<Option<Found>, Error> {
    let mut ours = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = timed(api.list_metadata(&params))
            .await
            .map_err(Error::request("list namespaces"))?;
        for namespace in page.items {
            if !has_identity(&namespace.metadata, &consumer.identity) {
                continue;
            }
            if let Verdict::Ours { migration } = judge(&namespace.metadata, consumer) {
                ours.push((namespace.name_any(), migration));
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    if ours.len() > 1 {
        return Err(Error::Ambiguous {
            namespaces: ours.into_iter().map(|(name, _)| name).collect(),
        });
    }
    Ok(ours
        .pop()
        .map(|(name, migration)| Found::Ours { name, migration }))
}

/// Says whether the patch went through; a conflict means that somebody was faster.
async fn migrate(api: &Api<Namespace>, name: &str, patch: &Value) -> Result<bool, Error> {
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    match timed(api.patch_metadata(name, &params, &Patch::Merge(patch))).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(false),
        Err(source) => Err(Error::request(format!("migrate namespace {name}"))(source)),
    }
}

fn new(name: &str, consumer: &Consumer) -> Namespace {
    let annotations = [
        (ANNOTATION_IDENTITY, &consumer.identity),
        (ANNOTATION_AUTHOR, &consumer.author.subject),
        (ANNOTATION_AUTHOR_ISSUER, &consumer.author.issuer),
    ];
    Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            annotations: Some(
                annotations
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value.clone()))
                    .collect(),
            ),
            labels: Some(
                [(
                    LABEL_COMPONENT.to_owned(),
                    COMPONENT_CLUSTER_NAMESPACE.to_owned(),
                )]
                .into(),
            ),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}
