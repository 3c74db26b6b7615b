//! The renewed kubeconfig on its way from the provider's Secret to the consumer's. The judgement is
//! pure; IO: one patch of the consumer's Secret when it differs.
//!
//! The provider must be able to renew its credential, and must not be able to do anything else: what
//! it writes is parsed like all foreign kubeconfigs, and has to name the server and the namespace
//! that the administrator agreed to. That goes for every key that something on the consumer reads, and
//! no other key is copied: the provider chooses its own names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, ResourceExt};
use kube_bind_crds::api::{ClusterBinding, ClusterSecretKeyRef};
use kube_bind_crds::names::LABEL_PROVIDER_KUBECONFIG;
use kube_bind_runtime::apply;
use kube_bind_runtime::kubeconfig::{Policy, SafeKubeconfig};
use serde_json::json;

use crate::binding::acceptance;
use crate::consumer::Secrets;
use crate::context::Context;
use crate::fault;
use crate::names::MANAGER_HEARTBEAT;
use crate::provider::Provider;

/// What the provider's Secret is worth.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// These may be copied.
    Usable {
        /// The kubeconfigs that were judged, by their keys.
        data: BTreeMap<String, ByteString>,
    },
    /// There is none: why that is known.
    Missing(String),
    /// It is not copied: why.
    Refused(String),
}

/// Without the data, which is a credential.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usable { data: _ } => f.write_str("Usable"),
            Self::Missing(why) => write!(f, "Missing({why})"),
            Self::Refused(why) => write!(f, "Refused({why})"),
        }
    }
}

impl Source {
    /// May be copied.
    pub fn usable(&self) -> bool {
        matches!(self, Self::Usable { .. })
    }
}

/// Judges the provider's Secret by what is in use now, and says which other server it names if a person
/// has to accept that.
pub fn judge(
    ctx: &Context,
    secret: Option<&Secret>,
    cluster_binding: &ClusterBinding,
    provider: &Provider,
) -> (Source, Option<String>) {
    let in_use = provider.secrets().into_iter().find_map(|secret| {
        let kubeconfig = provider.credential(&secret)?;
        Some((
            kubeconfig.server().to_owned(),
            kubeconfig.namespace().to_owned(),
        ))
    });
    let Some((server, namespace)) = in_use else {
        return (Source::Refused("no kubeconfig is in use".into()), None);
    };
    let targets = provider.secrets();
    let bindings = ctx.bindings_of(&targets);
    let stored = ctx.bindings.state();
    let accepts = |server: &str| {
        let mut users = stored.iter().filter(|b| bindings.contains(&b.name_any()));
        !bindings.is_empty() && users.all(|b| acceptance::accepts_server(b.annotations(), server))
    };
    let keys = targets.iter().map(|target| &*target.key).collect();
    let agreed = Agreed {
        server: &server,
        namespace: &namespace,
        accepts,
        policy: ctx.policy,
    };
    compare(secret, cluster_binding, keys, &agreed)
}

/// What the administrator agreed to.
struct Agreed<'a, F> {
    server: &'a str,
    namespace: &'a str,
    /// Whether another server was accepted by its name.
    accepts: F,
    policy: Policy,
}

/// Judges what is under the provider's own key, and under each of the keys that the consumer reads.
fn compare<'a>(
    secret: Option<&Secret>,
    cluster_binding: &'a ClusterBinding,
    mut keys: BTreeSet<&'a str>,
    agreed: &Agreed<'_, impl Fn(&str) -> bool>,
) -> (Source, Option<String>) {
    let wanted = &cluster_binding.spec.kubeconfig_secret_ref;
    let Some(secret) = secret else {
        let why = format!("secret {} does not exist", wanted.name);
        return (Source::Missing(why), None);
    };
    let all = secret.data.as_ref();
    if all.is_none_or(|all| !all.contains_key(&wanted.key)) {
        let why = format!("secret {} has no key {:?}", wanted.name, wanted.key);
        return (Source::Refused(why), None);
    }
    keys.insert(&wanted.key);
    let mut data = BTreeMap::new();
    for key in keys {
        // Who reads a key that is not there is told so when it is copied.
        let Some(document) = all.and_then(|all| all.get(key)) else {
            continue;
        };
        if let Err(refused) = examine(document, agreed) {
            return refused;
        }
        data.insert(key.to_owned(), document.clone());
    }
    (Source::Usable { data }, None)
}

fn examine(
    document: &ByteString,
    agreed: &Agreed<'_, impl Fn(&str) -> bool>,
) -> Result<(), (Source, Option<String>)> {
    let new = SafeKubeconfig::parse(&document.0, agreed.policy)
        .map_err(|error| (Source::Refused(error.to_string()), None))?;
    if new.namespace() != agreed.namespace {
        let why = "the renewed kubeconfig names another namespace; to use it, bind again";
        return Err((Source::Refused(why.into()), None));
    }
    if new.server() != agreed.server && !(agreed.accepts)(new.server()) {
        let why =
            "the renewed kubeconfig names another server, which the consumer has not accepted";
        let offered = new.server().to_owned();
        return Err((Source::Refused(why.into()), Some(offered)));
    }
    Ok(())
}

/// What has to be done to the consumer's Secret.
#[derive(Debug, PartialEq, Eq)]
enum Write {
    Nothing,
    Patch(serde_json::Value),
    Create(ByteString),
    Refuse(String),
}

fn plan(
    source: &BTreeMap<String, ByteString>,
    target: Option<&Secret>,
    key: &str,
    has_binding: bool,
) -> Write {
    let Some(new) = source.get(key) else {
        return Write::Refuse(format!("the provider's secret has no key {key:?}"));
    };
    let Some(target) = target else {
        // Without a binding, deleting the Secret is how somebody ends the connection.
        return if has_binding {
            Write::Create(new.clone())
        } else {
            Write::Nothing
        };
    };
    if target.data.as_ref().and_then(|data| data.get(key)) == Some(new) {
        return Write::Nothing;
    }
    // Other keys are not the provider's: they may lead to somebody else.
    Write::Patch(json!({
        "metadata": {"uid": target.uid(), "resourceVersion": target.resource_version()},
        "data": {key: new},
    }))
}

/// Brings one consumer Secret up to date, or restores it for its bindings.
pub async fn copy(
    ctx: &Context,
    secrets: &Secrets,
    source: &Source,
    target: &ClusterSecretKeyRef,
) -> Result<(), Source> {
    let Source::Usable { data } = source else {
        return Ok(());
    };
    let failed = |error: &kube::Error| {
        Source::Refused(format!(
            "failed to write secret {}/{} on the consumer: {}",
            target.namespace,
            target.name,
            fault::describe(error)
        ))
    };
    let current = secrets
        .get(&target.namespace, &target.name)
        .await
        .map_err(|error| Source::Refused(error.to_string()))?;
    let has_binding = !ctx.bindings_of(std::slice::from_ref(target)).is_empty();
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &target.namespace);
    match plan(data, current.as_deref(), &target.key, has_binding) {
        Write::Nothing => Ok(()),
        Write::Refuse(message) => Err(Source::Refused(message)),
        Write::Patch(patch) => {
            let params = PatchParams {
                field_manager: Some(MANAGER_HEARTBEAT.to_owned()),
                ..PatchParams::default()
            };
            let answer =
                apply::timed(api.patch(&target.name, &params, &Patch::Merge(&patch))).await;
            match answer {
                Ok(_) => {
                    tracing::info!(
                        secret.namespace = %target.namespace,
                        secret.name = %target.name,
                        "copied the renewed kubeconfig to secret {}/{}",
                        target.namespace,
                        target.name
                    );
                    Ok(())
                }
                Err(error) if fault::is_stale(&error) => Ok(()),
                Err(error) => Err(failed(&error)),
            }
        }
        Write::Create(kubeconfig) => {
            let restored = Secret {
                metadata: ObjectMeta {
                    name: Some(target.name.clone()),
                    namespace: Some(target.namespace.clone()),
                    labels: Some(
                        [(LABEL_PROVIDER_KUBECONFIG.to_owned(), "true".to_owned())].into(),
                    ),
                    ..ObjectMeta::default()
                },
                data: Some([(target.key.clone(), kubeconfig)].into()),
                ..Secret::default()
            };
            match apply::timed(api.create(&Default::default(), &restored)).await {
                Ok(_) => Ok(()),
                Err(error) if fault::code(&error) == Some(409) => Ok(()),
                Err(error) => Err(failed(&error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube_bind_crds::api::{ClusterBindingSpec, LocalSecretKeyRef};
    use kube_bind_runtime::kubeconfig::render;

    fn data(document: &str) -> BTreeMap<String, ByteString> {
        [("kubeconfig".to_owned(), ByteString(document.into()))].into()
    }

    fn secret(document: &str) -> Secret {
        Secret {
            data: Some(data(document)),
            ..Secret::default()
        }
    }

    #[test]
    fn a_credential_is_not_printed() {
        let source = Source::Usable {
            data: data("t0ken"),
        };
        assert_eq!(format!("{source:?}"), "Usable");
    }

    fn judged(secret: Option<&Secret>) -> Source {
        let (source, offered) = judged_by(secret, |_| false);
        assert_eq!(offered.is_some(), has_other_server(secret), "{offered:?}");
        source
    }

    fn has_other_server(secret: Option<&Secret>) -> bool {
        let data = secret.and_then(|secret| secret.data.as_ref()?.get("kubeconfig"));
        data.is_some_and(|bytes| String::from_utf8_lossy(&bytes.0).contains("attacker"))
    }

    fn judged_by(
        secret: Option<&Secret>,
        accepts: impl Fn(&str) -> bool,
    ) -> (Source, Option<String>) {
        judged_for("kubeconfig", secret, accepts)
    }

    /// For a binding that reads the key `kubeconfig`, of a provider that names this one.
    fn judged_for(
        providers_key: &str,
        secret: Option<&Secret>,
        accepts: impl Fn(&str) -> bool,
    ) -> (Source, Option<String>) {
        let cluster_binding = ClusterBinding::new(
            "cluster",
            ClusterBindingSpec {
                kubeconfig_secret_ref: LocalSecretKeyRef {
                    name: "kubeconfig".into(),
                    key: providers_key.into(),
                },
                ..ClusterBindingSpec::default()
            },
        );
        let agreed = Agreed {
            server: "https://provider.example",
            namespace: "tenant",
            accepts,
            policy: Policy::default(),
        };
        compare(secret, &cluster_binding, ["kubeconfig"].into(), &agreed)
    }

    #[test]
    fn a_good_kubeconfig_under_another_key_does_not_bring_a_bad_one_along() {
        let good = render("https://provider.example", None, None, "tenant", "new");
        let bad = render("https://attacker.example", None, None, "tenant", "new");
        let mut both = secret(&bad);
        let keys = both.data.as_mut().unwrap();
        keys.insert("a".into(), ByteString(good.clone().into()));
        let (source, offered) = judged_for("a", Some(&both), |_| false);
        assert!(matches!(source, Source::Refused(_)), "{source:?}");
        assert_eq!(offered.as_deref(), Some("https://attacker.example"));

        let mut more = secret(&good);
        let keys = more.data.as_mut().unwrap();
        keys.insert("unread".into(), ByteString(bad.into()));
        let (source, _) = judged_for("kubeconfig", Some(&more), |_| false);
        let Source::Usable { data: copied } = source else {
            panic!("expected it to be usable: {source:?}");
        };
        assert_eq!(copied, data(&good), "nobody has judged the other one");
    }

    #[test]
    fn a_renewed_token_is_copied_but_another_server_or_namespace_is_not() {
        let renewed = secret(&render(
            "https://provider.example",
            None,
            None,
            "tenant",
            "new",
        ));
        assert!(judged(Some(&renewed)).usable());
        for bad in [
            render("https://attacker.example", None, None, "tenant", "new"),
            render("https://provider.example", None, None, "other", "new"),
            "users: [{user: {exec: {command: steal}}}]".into(),
        ] {
            assert!(
                matches!(judged(Some(&secret(&bad))), Source::Refused(_)),
                "{bad}"
            );
        }
        assert!(matches!(judged(None), Source::Missing(_)));
    }

    #[test]
    fn another_server_is_taken_once_it_is_accepted_by_name() {
        let moved = render("https://attacker.example", None, None, "tenant", "new");
        let accepts = |server: &str| server == "https://attacker.example";
        let (source, offered) = judged_by(Some(&secret(&moved)), accepts);
        assert!(source.usable() && offered.is_none());
    }

    #[test]
    fn an_equal_secret_is_not_written() {
        assert_eq!(
            plan(&data("a"), Some(&secret("a")), "kubeconfig", true),
            Write::Nothing
        );
    }

    #[test]
    fn only_the_key_that_is_read_is_written() {
        let mut old = secret("a");
        let keys = old.data.as_mut().unwrap();
        keys.insert("elsewhere".into(), ByteString(b"x".to_vec()));
        let mut new = data("b");
        new.insert("elsewhere".into(), ByteString(b"y".to_vec()));
        let Write::Patch(patch) = plan(&new, Some(&old), "kubeconfig", true) else {
            panic!("expected a patch");
        };
        assert_eq!(patch["data"], json!({"kubeconfig": "Yg=="}));
    }

    #[test]
    fn a_deleted_secret_is_restored_for_a_binding_only() {
        assert_eq!(
            plan(&data("a"), None, "kubeconfig", true),
            Write::Create(ByteString(b"a".to_vec()))
        );
        assert_eq!(plan(&data("a"), None, "kubeconfig", false), Write::Nothing);
    }

    #[test]
    fn a_secret_without_the_consumers_key_is_refused() {
        assert!(matches!(
            plan(&data("a"), None, "other", true),
            Write::Refuse(_)
        ));
    }
}
