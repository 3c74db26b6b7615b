//! `kubectl bind apiservice`: binding without a login and without questions, for scripts.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube_bind_crds::names::KUBECONFIG_KEY;
use kube_bind_runtime::apply::timed;
use serde_json::Value;

use super::bind::{choose_template, from_template, templates};
use super::finish::{self, Side};
use super::{Target, document};
use crate::cli::{BindArgs, ServerArgs};
use crate::cluster;

/// Bind without questions: a named template, or a request from a file
#[derive(Debug, Args)]
pub struct ApiService {
    /// Address of the provider; default is where you logged in last
    #[arg(value_name = "SERVER_URL", conflicts_with = "file")]
    url: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    args: BindArgs,
    /// File with an APIServiceExportRequest; - is standard input
    #[arg(
        long,
        short = 'f',
        value_name = "FILE",
        conflicts_with = "template_name"
    )]
    file: Option<PathBuf>,
    /// Kubeconfig for the provider cluster
    #[arg(long, value_name = "FILE", requires = "file")]
    remote_kubeconfig: Option<PathBuf>,
    /// Namespace of the Secret with the kubeconfig for the provider cluster
    #[arg(long, value_name = "NAMESPACE", requires = "remote_kubeconfig_name")]
    remote_kubeconfig_namespace: Option<String>,
    /// Name of the Secret with the kubeconfig for the provider cluster
    #[arg(
        long,
        value_name = "NAME",
        requires = "remote_kubeconfig_namespace",
        conflicts_with = "remote_kubeconfig"
    )]
    remote_kubeconfig_name: Option<String>,
    /// Namespace in the provider cluster [default: that of the kubeconfig]
    #[arg(long, value_name = "NAMESPACE", requires = "file")]
    remote_namespace: Option<String>,
}

impl ApiService {
    pub async fn run(self) -> anyhow::Result<()> {
        let allow_http = self.server.insecure_allow_http;
        let Some(file) = &self.file else {
            let provider = Target::resolve(&self.server, self.url.as_deref())?.logged_in()?;
            let template = choose_template(
                templates(&provider).await?,
                self.args.template_name.as_deref(),
            )
            .await?;
            return from_template(&provider, &template, &self.args, allow_http).await;
        };
        let wanted = document::request(&document::read(file)?, self.args.name.as_deref())?;
        let mut kubeconfig = self.remote_document().await?;
        if let Some(namespace) = &self.remote_namespace {
            kubeconfig = with_namespace(&kubeconfig, namespace)?;
        }
        let credential = finish::credential(kubeconfig, allow_http)?;
        let from = credential.parsed.server().to_owned();
        finish::run(Side::Kubeconfig(credential), wanted, &from, &self.args).await
    }

    async fn remote_document(&self) -> anyhow::Result<Vec<u8>> {
        if let Some(path) = &self.remote_kubeconfig {
            return document::read(path);
        }
        let (Some(namespace), Some(name)) = (
            &self.remote_kubeconfig_namespace,
            &self.remote_kubeconfig_name,
        ) else {
            anyhow::bail!(
                "no kubeconfig for the provider: use --remote-kubeconfig, or --remote-kubeconfig-namespace and \
                 --remote-kubeconfig-name"
            );
        };
        let consumer = &self.args.consumer;
        let client =
            cluster::connect(consumer.kubeconfig.as_deref(), consumer.context.as_deref()).await?;
        let api: Api<Secret> = Api::namespaced(client, namespace);
        let secret = timed(api.get(name))
            .await
            .with_context(|| format!("failed to read secret {namespace}/{name}"))?;
        let document = secret.data.and_then(|mut data| data.remove(KUBECONFIG_KEY));
        Ok(document
            .with_context(|| format!("secret {namespace}/{name} has no key {KUBECONFIG_KEY:?}"))?
            .0)
    }
}

/// The kubeconfig with another namespace in its current context.
fn with_namespace(document: &[u8], namespace: &str) -> anyhow::Result<Vec<u8>> {
    // The parser's message could quote a credential.
    let mut config: Value = serde_saphyr::from_slice(document)
        .map_err(|_| anyhow::anyhow!("the provider's kubeconfig is not YAML"))?;
    let current = config["current-context"].clone();
    let contexts = config.get_mut("contexts").and_then(Value::as_array_mut);
    let context = contexts
        .into_iter()
        .flatten()
        .find(|context| context["name"] == current);
    let context = context
        .and_then(|context| context.get_mut("context"))
        .and_then(Value::as_object_mut)
        .context("the provider's kubeconfig has no current context")?;
    context.insert("namespace".to_owned(), namespace.into());
    Ok(serde_saphyr::to_string(&config)
        .context("failed to write the kubeconfig")?
        .into_bytes())
}

#[cfg(test)]
mod tests {
    use kube_bind_runtime::kubeconfig::{Policy, SafeKubeconfig, render};

    use super::*;

    #[test]
    fn the_namespace_of_the_current_context_is_replaced() {
        let document = render("https://a.example", None, None, "old", "token");
        let changed = with_namespace(document.as_bytes(), "new").unwrap();
        let parsed = SafeKubeconfig::parse(&changed, Policy::default()).unwrap();
        assert_eq!(
            (parsed.namespace(), parsed.server()),
            ("new", "https://a.example")
        );
        assert!(with_namespace(b"contexts: []", "new").is_err());
    }
}
