//! What a consumer cluster gets: the konnector with its fixed rights, and per binding the rights,
//! the credential and the binding itself (contract section 6.4, with less rights). Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{HostAlias, Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube_bind_crds::api::{APIServiceExportRequestSpec, PermissionClaim};
use kube_bind_crds::consumer_rights::{
    FIXED_ROLE, binding_rules, claim_rules, fixed_cluster_rules, fixed_namespace_rules,
    namespace_rules, role_name,
};
use kube_bind_crds::names::{
    API_VERSION, KONNECTOR_NAME, KONNECTOR_NAMESPACE, KUBECONFIG_KEY, LABEL_PROVIDER_KUBECONFIG,
};
use kube_bind_crds::switches::{ACCEPTANCE, CLAIM_NAMESPACES};
use serde_json::json;

use crate::binder::Wanted;
use crate::objects::Object;

/// Image of the konnector without its tag.
pub const IMAGE_REPOSITORY: &str = "ghcr.io/kube-bind/konnector";
/// Stands for the name of a Secret that is still to be made.
pub const SECRET_PREFIX: &str = "kubeconfig-";

/// Reads `IP:host1,host2`; an IPv6 address may stand in brackets.
pub fn parse_host_alias(text: &str) -> Result<HostAlias, String> {
    let expected = || format!("{text:?} is not of the form IP:host1,host2");
    let (ip, hosts) = text.rsplit_once(':').ok_or_else(expected)?;
    let ip: IpAddr = ip
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .map_err(|_| expected())?;
    let hosts: Vec<String> = hosts
        .split(',')
        .map(str::trim)
        .filter(|h| !h.is_empty())
        .map(str::to_owned)
        .collect();
    if hosts.is_empty() {
        return Err(expected());
    }
    Ok(HostAlias {
        ip: ip.to_string(),
        hostnames: Some(hosts),
    })
}

/// The namespace of everything else.
pub fn namespace() -> Object {
    Object::of(&Namespace {
        metadata: cluster_meta(KONNECTOR_NAMESPACE),
        ..Namespace::default()
    })
}

/// The konnector with its fixed rights, in the order in which it is applied.
pub fn konnector(image: &str, host_aliases: &[HostAlias]) -> Vec<Object> {
    vec![
        Object::of(&ServiceAccount {
            metadata: meta(KONNECTOR_NAME),
            ..ServiceAccount::default()
        }),
        cluster_role(FIXED_ROLE, fixed_cluster_rules(), None),
        cluster_role_binding(FIXED_ROLE, None),
        Object::of(&Role {
            metadata: meta(FIXED_ROLE),
            rules: Some(fixed_namespace_rules()),
        }),
        Object::of(&RoleBinding {
            metadata: meta(FIXED_ROLE),
            role_ref: role_ref("Role", FIXED_ROLE),
            subjects: Some(vec![subject()]),
        }),
        deployment(image, host_aliases),
    ]
}

fn deployment(image: &str, host_aliases: &[HostAlias]) -> Object {
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": 8090}});
    let mut pod = json!({
        "serviceAccountName": KONNECTOR_NAME,
        "restartPolicy": "Always",
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": KONNECTOR_NAME,
            "image": image,
            "env": [
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            ],
            "readinessProbe": probe("/readyz"),
            "livenessProbe": probe("/healthz"),
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
        }],
    });
    if !host_aliases.is_empty() {
        pod["hostAliases"] = json!(host_aliases);
    }
    // The selector is the original's, because it cannot be changed on an installation of it.
    let labels = json!({"app": KONNECTOR_NAME});
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": KONNECTOR_NAME, "namespace": KONNECTOR_NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }))
    .expect("the literal above is a Deployment");
    Object::of(&deployment)
}

/// The rules that a request asks of the consumer in the whole cluster.
pub fn rules(wanted: &Wanted) -> Vec<PolicyRule> {
    let spec = &wanted.spec;
    let resources: Vec<_> = spec
        .resources
        .iter()
        .map(|r| r.group_resource.clone())
        .collect();
    let claims: &[PermissionClaim] = match wanted.claim_namespaces {
        None => &spec.permission_claims,
        Some(_) => &[],
    };
    let mut rules = binding_rules(&resources, claims);
    rules.extend(namespace_rules(&spec.namespaces));
    rules
}

/// All rights of a binding; they end with it, once its uid is known.
pub fn rights(wanted: &Wanted, uid: Option<&str>) -> Vec<Object> {
    let mut objects: Vec<Object> = binding_rights(&wanted.name, rules(wanted), uid).into();
    let name = role_name(&wanted.name);
    for namespace in wanted.claim_namespaces.iter().flatten() {
        let metadata = ObjectMeta {
            namespace: Some(namespace.clone()),
            ..owned(&name, uid.map(|uid| owner(&wanted.name, uid)))
        };
        objects.push(Object::of(&Role {
            metadata: metadata.clone(),
            rules: Some(claim_rules(&wanted.spec.permission_claims)),
        }));
        objects.push(Object::of(&RoleBinding {
            metadata,
            role_ref: role_ref("Role", &name),
            subjects: Some(vec![subject()]),
        }));
    }
    objects
}

/// The rights of one binding; they end with it, once its uid is known.
pub fn binding_rights(binding: &str, rules: Vec<PolicyRule>, uid: Option<&str>) -> [Object; 2] {
    let name = role_name(binding);
    let owner = uid.map(|uid| owner(binding, uid));
    [
        cluster_role(&name, rules, owner.clone()),
        cluster_role_binding(&name, owner),
    ]
}

fn owner(binding: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: "APIServiceBinding".to_owned(),
        name: binding.to_owned(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    }
}

/// The provider's kubeconfig; without a name yet, and without content, when nothing is written.
pub fn credential(name: Option<&str>, kubeconfig: Option<&[u8]>) -> Object {
    let mut metadata = ObjectMeta {
        namespace: Some(KONNECTOR_NAMESPACE.to_owned()),
        labels: Some(BTreeMap::from([(
            LABEL_PROVIDER_KUBECONFIG.to_owned(),
            "true".to_owned(),
        )])),
        ..ObjectMeta::default()
    };
    match name {
        Some(name) => metadata.name = Some(name.to_owned()),
        None => metadata.generate_name = Some(SECRET_PREFIX.to_owned()),
    }
    Object::of(&Secret {
        metadata,
        type_: Some("Opaque".to_owned()),
        data: kubeconfig
            .map(|k| BTreeMap::from([(KUBECONFIG_KEY.to_owned(), ByteString(k.to_vec()))])),
        ..Secret::default()
    })
}

/// The request on the provider.
pub fn export_request(
    name: &str,
    namespace: Option<&str>,
    spec: &APIServiceExportRequestSpec,
) -> Object {
    let mut metadata = json!({"name": name});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    Object(json!({
        "apiVersion": API_VERSION,
        "kind": "APIServiceExportRequest",
        "metadata": metadata,
        "spec": spec,
    }))
}

/// The binding, named like the export. What the provider adds to its offer later is asked about.
pub fn binding(wanted: &Wanted, secret: &str) -> Object {
    let mut annotations = json!({ACCEPTANCE: "Manual"});
    if let Some(namespaces) = &wanted.claim_namespaces {
        let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
        annotations[CLAIM_NAMESPACES] = names.join(",").into();
    }
    Object(json!({
        "apiVersion": API_VERSION,
        "kind": "APIServiceBinding",
        "metadata": {"name": wanted.name, "annotations": annotations},
        "spec": {
            "kubeconfigSecretRef": {"namespace": KONNECTOR_NAMESPACE, "name": secret, "key": KUBECONFIG_KEY},
        },
    }))
}

fn cluster_role(name: &str, rules: Vec<PolicyRule>, owner: Option<OwnerReference>) -> Object {
    Object::of(&ClusterRole {
        metadata: owned(name, owner),
        rules: Some(rules),
        ..ClusterRole::default()
    })
}

fn cluster_role_binding(name: &str, owner: Option<OwnerReference>) -> Object {
    Object::of(&ClusterRoleBinding {
        metadata: owned(name, owner),
        role_ref: role_ref("ClusterRole", name),
        subjects: Some(vec![subject()]),
    })
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef {
        api_group: "rbac.authorization.k8s.io".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

fn subject() -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: KONNECTOR_NAME.to_owned(),
        namespace: Some(KONNECTOR_NAMESPACE.to_owned()),
        ..Subject::default()
    }
}

fn meta(name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(KONNECTOR_NAMESPACE.to_owned()),
        ..cluster_meta(name)
    }
}

fn owned(name: &str, owner: Option<OwnerReference>) -> ObjectMeta {
    ObjectMeta {
        owner_references: owner.map(|owner| vec![owner]),
        ..cluster_meta(name)
    }
}

fn cluster_meta(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_konnectors_manifests_are_these() {
        let objects = konnector(
            "ghcr.io/kube-bind/konnector:v1.2.3",
            &[parse_host_alias("10.0.0.1:a.example,b.example").unwrap()],
        );
        let values: Vec<_> = objects.into_iter().map(|o| o.0).collect();
        insta::assert_yaml_snapshot!(values);
    }

    #[test]
    fn rights_of_a_binding_end_with_it() {
        let [role, grant] = binding_rights("widgets", Vec::new(), Some("u-1"));
        assert_eq!(role.name(), "kube-bind-konnector-widgets");
        for object in [&role, &grant] {
            let owner = &object.0["metadata"]["ownerReferences"][0];
            assert_eq!(
                (&owner["kind"], &owner["uid"]),
                (&json!("APIServiceBinding"), &json!("u-1"))
            );
            assert!(owner.get("blockOwnerDeletion").is_none());
        }
        assert_eq!(grant.0["roleRef"]["name"], "kube-bind-konnector-widgets");
    }

    #[test]
    fn limited_claims_give_roles_in_their_namespaces_and_nothing_in_the_cluster() {
        let wanted = Wanted {
            name: "widgets".to_owned(),
            spec: serde_json::from_value(json!({
                "resources": [{"group": "example.org", "resource": "widgets"}],
                "permissionClaims": [{"resource": "secrets", "selector": {"labelSelector": {}}}],
            }))
            .unwrap(),
            claim_namespaces: Some(["shop".to_owned(), "team".to_owned()].into()),
        };
        let rights = rights(&wanted, Some("u-1"));
        let about_secrets: Vec<_> = rights
            .iter()
            .filter(|right| right.0["rules"].to_string().contains("secrets"))
            .map(|right| (&right.0["kind"], &right.0["metadata"]["namespace"]))
            .collect();
        assert_eq!(
            about_secrets,
            [
                (&json!("Role"), &json!("shop")),
                (&json!("Role"), &json!("team"))
            ]
        );
        let owned = |right: &Object| right.0["metadata"]["ownerReferences"][0]["uid"] == "u-1";
        assert!(rights.iter().all(owned));
        let binding = binding(&wanted, "kubeconfig-x");
        assert_eq!(
            binding.0["metadata"]["annotations"],
            json!({
                "kube-bind.io/acceptance": "Manual",
                "kube-bind.io/claim-namespaces": "shop,team",
            })
        );
    }

    #[test]
    fn host_aliases_need_an_address_and_a_name() {
        let alias = parse_host_alias("[::1]:a.example").unwrap();
        assert_eq!(
            (alias.ip.as_str(), alias.hostnames.unwrap()),
            ("::1", vec!["a.example".to_owned()])
        );
        for text in ["", "10.0.0.1", "10.0.0.1:", "host:10.0.0.1", "10.0.0:a"] {
            assert!(parse_host_alias(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_dry_runs_secret_has_neither_name_nor_content() {
        let secret = credential(None, None);
        assert!(secret.0["metadata"].get("name").is_none() && secret.0.get("data").is_none());
    }
}
