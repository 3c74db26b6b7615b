//! The part that all ways of binding share: consent, the dry run, the steps, the result.

use kube::Client;
use kube::api::DynamicObject;
use kube_bind_runtime::kubeconfig::{Policy, SafeKubeconfig};
use serde_json::Value;
use tokio::time::Instant;

use super::document;
use crate::binder::{self, Binder, Credential, Granted, Wanted, advise};
use crate::cli::{BindArgs, DryRun};
use crate::cluster::{self, Report};
use crate::objects::Object;
use crate::output::{self, say};
use crate::provider::Provider;
use crate::{choose, consent, manifests};

/// Where the credential comes from.
pub enum Side<'a> {
    /// From the provider's server.
    Server {
        /// The server.
        provider: &'a Provider,
        /// The template to bind.
        template: String,
        /// Accept an API server without TLS.
        allow_http: bool,
    },
    /// From the person.
    Kubeconfig(Credential),
}

/// Reads a kubeconfig of the provider.
pub fn credential(document: Vec<u8>, allow_http: bool) -> anyhow::Result<Credential> {
    let policy = Policy {
        allow_insecure_tls: false,
        allow_http,
    };
    let parsed = SafeKubeconfig::parse(&document, policy)
        .map_err(|err| anyhow::anyhow!("the provider's kubeconfig is refused: {err}"))?;
    Ok(Credential { document, parsed })
}

/// Binds, or shows what would be applied.
pub async fn run(
    side: Side<'_>,
    wanted: Wanted,
    from: &str,
    args: &BindArgs,
) -> anyhow::Result<()> {
    document::check_name(&wanted.name)?;
    let wanted = Wanted {
        claim_namespaces: args.claim_namespaces.clone().map(|limit| limit.0),
        ..wanted
    };
    let konnector = args.konnector();
    let text = consent::text(&wanted, from);
    if args.dry_run == DryRun::Client {
        say(&text);
        return show(&binder::planned(&[wanted], &konnector), args);
    }
    let consumer = cluster::connect(
        args.consumer.kubeconfig.as_deref(),
        args.consumer.context.as_deref(),
    )
    .await?;
    binder::preflight(&consumer, &wanted).await?;
    ask_consent(&consumer, &wanted, &text, args.yes).await?;

    let (credential, requests) = match side {
        Side::Kubeconfig(credential) => (credential, vec![wanted]),
        Side::Server {
            provider,
            template,
            allow_http,
        } => {
            let identity = match &args.cluster_identity {
                Some(identity) => identity.clone(),
                None => cluster::identity(&consumer, &args.cluster_identity_namespace).await?,
            };
            let response = provider.bind(&wanted.name, &template, &identity).await?;
            let document = response.kubeconfig().map_err(|_| {
                anyhow::anyhow!("the kubeconfig in the provider's answer is not base64")
            })?;
            let requests = document::agreed_requests(&response, &wanted)?;
            (self::credential(document, allow_http)?, requests)
        }
    };
    let binder = Binder {
        consumer: &consumer,
        credential,
        konnector: &konnector,
        wait: args.wait,
        deadline: Instant::now() + args.timeout,
        report: Report {
            format: args.output,
        },
    };
    let bound = binder.run(&requests).await?;
    if args.wait {
        say(&format!("Binding {:?} works.", requests[0].name));
        advise(&requests);
    }
    result(&bound, args)
}

async fn ask_consent(
    consumer: &Client,
    wanted: &Wanted,
    text: &str,
    yes: bool,
) -> anyhow::Result<()> {
    if binder::already_granted(consumer, wanted).await? == Granted::Already {
        return Ok(());
    }
    say(text);
    if yes {
        return Ok(());
    }
    anyhow::ensure!(
        choose::is_interactive(),
        "nobody can be asked for consent here: agree to the rights above with --yes"
    );
    anyhow::ensure!(
        choose::agree("\nBind and grant these rights?").await?,
        "not bound, nothing was changed"
    );
    Ok(())
}

fn show(objects: &[Object], args: &BindArgs) -> anyhow::Result<()> {
    match args.output {
        None => {
            for object in objects {
                output::data(&format!("{} applied (dry run)", named(object)))?;
            }
        }
        Some(format) => {
            let values: Vec<Value> = objects.iter().map(|object| object.0.clone()).collect();
            let names: Vec<String> = objects.iter().map(named).collect();
            output::objects(format, &values, &names)?;
        }
    }
    Ok(())
}

/// A Secret that is still to be named shows that.
fn named(object: &Object) -> String {
    let mark = if object.name() == manifests::SECRET_PREFIX {
        "<generated>"
    } else {
        ""
    };
    format!("{}{mark}", object.display())
}

fn result(bound: &[DynamicObject], args: &BindArgs) -> anyhow::Result<()> {
    let Some(format) = args.output else {
        return Ok(());
    };
    let values: Result<Vec<Value>, _> = bound
        .iter()
        .map(|binding| {
            let mut binding = binding.clone();
            // Bookkeeping of the API server; kubectl hides it, too.
            binding.metadata.managed_fields = None;
            serde_json::to_value(binding)
        })
        .collect();
    let names: Vec<String> = bound
        .iter()
        .map(|binding| {
            format!(
                "apiservicebinding.kube-bind.io/{}",
                binding.metadata.name.as_deref().unwrap_or_default()
            )
        })
        .collect();
    Ok(output::objects(format, &values?, &names)?)
}
