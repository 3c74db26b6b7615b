//! `kubectl bind https://provider.example`: the front door. Logs in if needed, offers the catalogue,
//! asks for consent, binds, waits until it works.

use clap::Args;
use kube::ResourceExt as _;
use kube_bind_crds::api::{APIServiceExportRequestSpec, APIServiceExportTemplate};

use super::finish::{self, Side};
use super::{LOGIN_TIMEOUT, Target};
use crate::binder::Wanted;
use crate::choose::{self, Offering};
use crate::cli::{BindArgs, BrowserArgs, ServerArgs};
use crate::provider::{Listed, Provider};

/// The front door.
#[derive(Debug, Args)]
pub struct Bind {
    /// Address of the provider; default is where you logged in last
    #[arg(value_name = "SERVER_URL")]
    pub url: Option<String>,
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub browser: BrowserArgs,
    #[command(flatten)]
    pub args: BindArgs,
}

impl Bind {
    pub async fn run(self) -> anyhow::Result<()> {
        let mut target = Target::resolve(&self.server, self.url.as_deref())?;
        let mut provider = match target.logged_in() {
            Ok(provider) => provider,
            Err(err) if err.needs_login() => target.log_in(&self.browser, LOGIN_TIMEOUT).await?,
            Err(err) => return Err(err.into()),
        };
        let templates = match templates(&provider).await {
            // The stored login ended on the server before its time.
            Err(err) if err.needs_login() => {
                provider = target.log_in(&self.browser, LOGIN_TIMEOUT).await?;
                templates(&provider).await?
            }
            other => other?,
        };
        let template = choose_template(templates, self.args.template_name.as_deref()).await?;
        from_template(
            &provider,
            &template,
            &self.args,
            self.server.insecure_allow_http,
        )
        .await
    }
}

/// The catalogue.
pub async fn templates(
    provider: &Provider,
) -> Result<Vec<Listed<APIServiceExportTemplate>>, crate::provider::Error> {
    provider.list("/api/templates").await
}

/// The template that was named, the only one, or the one that the person chooses.
pub async fn choose_template(
    templates: Vec<Listed<APIServiceExportTemplate>>,
    named: Option<&str>,
) -> anyhow::Result<APIServiceExportTemplate> {
    let offerings = templates
        .iter()
        .map(|t| Offering {
            name: t.object.name_any(),
            description: t.object.spec.description.clone(),
        })
        .collect();
    let index = choose::offering(offerings, named).await?;
    Ok(templates
        .into_iter()
        .nth(index)
        .expect("the choice is among the offerings")
        .object)
}

/// Binds a template.
pub async fn from_template(
    provider: &Provider,
    template: &APIServiceExportTemplate,
    args: &BindArgs,
    allow_http: bool,
) -> anyhow::Result<()> {
    let wanted = Wanted {
        name: args.name.clone().unwrap_or_else(|| template.name_any()),
        spec: APIServiceExportRequestSpec {
            parameters: None,
            resources: template.spec.resources.clone(),
            permission_claims: template.spec.permission_claims.clone(),
            namespaces: template.spec.namespaces.clone(),
            schema_update_policy: template.spec.schema_update_policy,
        },
        claim_namespaces: None,
    };
    let from = provider.server().address();
    let side = Side::Server {
        provider,
        template: template.name_any(),
        allow_http,
    };
    finish::run(side, wanted, &from, args).await
}
