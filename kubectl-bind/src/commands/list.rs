//! `kubectl bind templates` and `kubectl bind collections`.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube_bind_crds::api::{APIServiceExportTemplate, Collection};
use kube_bind_crds::names::API_VERSION;
use kube_bind_crds::schema;
use kube_bind_runtime::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::Target;
use crate::cli::ServerArgs;
use crate::output::{self, Format};
use crate::provider::Listed;
use crate::text;

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    /// Columns.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// `resource/name`, one a line.
    Name,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Address of the provider; default is where you logged in last
    #[arg(value_name = "SERVER_URL")]
    url: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// Output format
    #[arg(
        long,
        short = 'o',
        value_enum,
        value_name = "FORMAT",
        default_value = "table"
    )]
    output: ListFormat,
}

/// List what a provider offers
#[derive(Debug, Args)]
pub struct Templates {
    #[command(flatten)]
    list: ListArgs,
}

/// List the provider's collections of offerings
#[derive(Debug, Args)]
pub struct Collections {
    #[command(flatten)]
    list: ListArgs,
}

impl Templates {
    pub async fn run(self) -> anyhow::Result<()> {
        let provider = Target::resolve(&self.list.server, self.list.url.as_deref())?.logged_in()?;
        let items = provider
            .list::<APIServiceExportTemplate>("/api/templates")
            .await?;
        let now = SystemClock.now();
        let header = ["NAME", "RESOURCES", "PERMISSIONCLAIMS", "AGE"];
        print(
            self.list.output,
            "APIServiceExportTemplate",
            &items,
            &header,
            |template| {
                let resources = template.spec.resources.iter();
                let claims = template.spec.permission_claims.iter();
                vec![
                    template.name_any(),
                    joined(resources.map(|r| schema::name(&r.group_resource))),
                    joined(claims.map(|c| c.group_resource.resource.clone())),
                    text::age(created(template.creation_timestamp()), now),
                ]
            },
        )
    }
}

impl Collections {
    pub async fn run(self) -> anyhow::Result<()> {
        let provider = Target::resolve(&self.list.server, self.list.url.as_deref())?.logged_in()?;
        let items = provider.list::<Collection>("/api/collections").await?;
        let now = SystemClock.now();
        let header = ["NAME", "DESCRIPTION", "TEMPLATES", "AGE"];
        print(
            self.list.output,
            "Collection",
            &items,
            &header,
            |collection| {
                let description = &collection.spec.description;
                vec![
                    collection.name_any(),
                    if description.is_empty() {
                        "<none>".to_owned()
                    } else {
                        description.clone()
                    },
                    joined(
                        collection
                            .spec
                            .templates
                            .iter()
                            .map(|template| template.name.clone()),
                    ),
                    text::age(created(collection.creation_timestamp()), now),
                ]
            },
        )
    }
}

fn print<T: kube::Resource>(
    format: ListFormat,
    kind: &str,
    items: &[Listed<T>],
    header: &[&str],
    row: impl Fn(&T) -> Vec<String>,
) -> anyhow::Result<()> {
    let format = match format {
        ListFormat::Table if items.is_empty() => {
            output::say("No resources found");
            return Ok(());
        }
        ListFormat::Table => {
            let rows: Vec<Vec<String>> = items.iter().map(|item| row(&item.object)).collect();
            return Ok(output::data(&text::table(header, &rows))?);
        }
        ListFormat::Json => Format::Json,
        ListFormat::Yaml => Format::Yaml,
        ListFormat::Name => Format::Name,
    };
    let names: Vec<String> = items
        .iter()
        .map(|item| {
            format!(
                "{}.kube-bind.io/{}",
                kind.to_lowercase(),
                text::one_line(&item.object.name_any())
            )
        })
        .collect();
    let list = json!({"apiVersion": API_VERSION, "kind": format!("{kind}List"), "metadata": {}, "items": complete(kind, items)});
    Ok(output::objects(format, &[list], &names)?)
}

/// The documents with the type that servers may leave out in lists.
fn complete<T>(kind: &str, items: &[Listed<T>]) -> Vec<Value> {
    let with_type = |item: &Listed<T>| {
        let mut document = item.document.clone();
        document["apiVersion"] = API_VERSION.into();
        document["kind"] = kind.into();
        document
    };
    items.iter().map(with_type).collect()
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() {
        "<none>".to_owned()
    } else {
        parts.join(",")
    }
}

fn created(
    time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
) -> Option<Timestamp> {
    time.map(|time| time.0)
}
