//! Binding: what has to be in the consumer cluster and on the provider, step by step. IO.
//!
//! The order is: look whether it can work, credential, konnector, request on the provider, the policy
//! and the rights, binding, wait. Every step can be repeated: what is there already stays.

mod bind;
mod conditions;
mod credential;
mod install;
mod request;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::HostAlias;
use kube::Client;
use kube::api::DynamicObject;
use kube_bind_crds::api::APIServiceExportRequestSpec;
use kube_bind_crds::schema;
use kube_bind_runtime::client::Options as ClientOptions;
use kube_bind_runtime::kubeconfig::SafeKubeconfig;
use kube_bind_runtime::proxy::Proxy;
use tokio::time::Instant;

use crate::cluster::{Report, USER_AGENT};
use crate::guard;
use crate::manifests;
use crate::objects::Object;
use crate::output::say;

pub use bind::{Granted, already_granted, preflight};
pub use install::default_image;

/// One binding to make.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Name of the binding, the request and the export.
    pub name: String,
    /// What is requested.
    pub spec: APIServiceExportRequestSpec,
    /// The only namespaces in which claimed objects are read and written; `None` for all.
    pub claim_namespaces: Option<BTreeSet<String>>,
}

/// How the konnector gets there.
#[derive(Clone, Debug)]
pub struct Konnector {
    /// Somebody else takes care of it.
    pub skip: bool,
    /// Image that was named.
    pub image: Option<String>,
    /// Entries for its hosts file.
    pub host_aliases: Vec<HostAlias>,
}

/// The provider's credential: as it came, and as it was understood.
pub struct Credential {
    /// What goes into the Secret.
    pub document: Vec<u8>,
    /// What it says.
    pub parsed: SafeKubeconfig,
}

/// Everything that a bind needs.
pub struct Binder<'a> {
    /// The consumer cluster.
    pub consumer: &'a Client,
    /// The credential for the provider.
    pub credential: Credential,
    /// How the konnector gets there.
    pub konnector: &'a Konnector,
    /// Whether to wait until the binding works.
    pub wait: bool,
    /// When to give up.
    pub deadline: Instant,
    /// Where to tell.
    pub report: Report,
}

impl Binder<'_> {
    /// Makes the bindings; they are returned as they are in the end.
    pub async fn run(self, wanted: &[Wanted]) -> anyhow::Result<Vec<DynamicObject>> {
        let Self {
            consumer,
            credential,
            konnector,
            wait,
            deadline,
            report,
        } = self;
        let mut options = ClientOptions::new(USER_AGENT);
        options.proxy = Proxy::from_env()?;
        let provider = kube_bind_runtime::client::from_safe(&credential.parsed, &options)?.client();

        // Nothing is said about an existing namespace: its labels are somebody else's.
        report.ensure(consumer, &manifests::namespace()).await?;
        let mut found = credential::find(consumer, &credential.parsed).await?;
        for one in wanted {
            found = bind::secret(consumer, one, found).await?;
        }
        let secret = found.unwrap_or_else(credential::fresh_name);
        report
            .put(
                consumer,
                &manifests::credential(Some(&secret), Some(&credential.document)),
            )
            .await?;
        if !konnector.skip {
            install::install(consumer, konnector, &report).await?;
        }
        install::wait_for_api(consumer, deadline).await?;

        let mut bound = Vec::new();
        for one in wanted {
            request::ensure(
                &provider,
                credential.parsed.namespace(),
                one,
                deadline,
                &report,
            )
            .await?;
            bound.push(bind::ensure(consumer, one, &secret, &report).await?);
        }
        if wait {
            for (one, binding) in wanted.iter().zip(&mut bound) {
                *binding = bind::wait_ready(consumer, one, deadline).await?;
            }
        }
        Ok(bound)
    }
}

/// Everything that a bind would apply, without looking at either side.
pub fn planned(wanted: &[Wanted], konnector: &Konnector) -> Vec<Object> {
    let mut objects = vec![manifests::namespace(), manifests::credential(None, None)];
    if !konnector.skip {
        let image = konnector.image.clone().unwrap_or_else(default_image);
        objects.extend(manifests::konnector(&image, &konnector.host_aliases));
    }
    if wanted
        .iter()
        .any(|one| !one.spec.permission_claims.is_empty())
    {
        objects.extend(guard::objects());
    }
    for one in wanted {
        objects.push(manifests::export_request(&one.name, None, &one.spec));
        objects.push(manifests::binding(one, "kubeconfig-<generated>"));
        objects.extend(manifests::rights(one, None));
    }
    objects
}

/// What to try when a binding works.
pub fn advise(wanted: &[Wanted]) {
    let kinds: Vec<String> = wanted
        .iter()
        .flat_map(|one| &one.spec.resources)
        .map(|r| schema::name(&r.group_resource))
        .collect();
    if let Some(first) = kinds.first() {
        say("\nTry next:");
        say(&format!("  kubectl explain {first}"));
        say(&format!(
            "  kubectl get {} --all-namespaces",
            kinds.join(",")
        ));
        say("  kubectl get apiservicebindings.kube-bind.io");
    }
}
