//! Objects that are none of our business, planted where our programs work, to be found untouched.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use kube_bind_crds::names;
use serde_json::{Value, json};

use crate::cluster::ControlPlane;
use crate::objects::{api, create, create_namespace};
use crate::widgets::widget;

/// What was planted, as it was then.
pub struct Foreign {
    planted: Vec<(Api<DynamicObject>, String, Option<String>)>,
}

const WIDGET: (&str, &str, &str) = ("example.org", "v1", "Widget");
const SECRET: (&str, &str, &str) = ("", "v1", "Secret");
const CONFIG_MAP: (&str, &str, &str) = ("", "v1", "ConfigMap");

impl Foreign {
    /// Plants objects without markers, and copies that bear another consumer's, in the service namespace
    /// and elsewhere at the provider; objects of kinds that nobody claimed at the consumer.
    pub async fn plant(
        consumer: (&ControlPlane, &str),
        provider: (&ControlPlane, &str),
    ) -> Result<Foreign> {
        let mut native = widget("native", 1);
        native["metadata"]["labels"] = json!({"of": "the-provider"});
        let mut others = widget("of-another-consumer", 1);
        others["metadata"]["annotations"] = json!({
            names::ANNOTATION_CLUSTER_NAMESPACE: "kube-bind-somebody-else",
            names::ANNOTATION_CONSUMER_NAMESPACE: consumer.1,
            names::ANNOTATION_CONSUMER_UID: "00000000-0000-4000-8000-000000000000",
        });
        let mut foreign = Foreign {
            planted: Vec::new(),
        };
        let elsewhere = format!("{}-of-the-provider", consumer.1);
        create_namespace(provider.0, &elsewhere).await?;
        for namespace in [provider.1, &elsewhere] {
            for object in [&native, &others] {
                foreign.add(provider.0, WIDGET, namespace, object).await?;
            }
        }
        for (plane, namespace) in [provider, consumer] {
            let config_map = object("ConfigMap", "settings-of-somebody");
            foreign
                .add(plane, CONFIG_MAP, namespace, &config_map)
                .await?;
            let secret = object("Secret", "secret-of-somebody");
            foreign.add(plane, SECRET, namespace, &secret).await?;
        }
        Ok(foreign)
    }

    async fn add(
        &mut self,
        plane: &ControlPlane,
        kind: (&str, &str, &str),
        namespace: &str,
        object: &Value,
    ) -> Result<()> {
        let api = api(plane.client(), kind, namespace);
        let made = create(&api, object).await?;
        self.planted
            .push((api, made.name_any(), made.resource_version()));
        Ok(())
    }

    /// Nobody wrote to any of them.
    pub async fn ensure_untouched(&self) -> Result<()> {
        for (api, name, version) in &self.planted {
            let now = api
                .get(name)
                .await
                .with_context(|| format!("lost {name}"))?;
            ensure!(
                now.resource_version() == *version,
                "somebody wrote to {name} in {:?}: {now:?}",
                now.namespace()
            );
        }
        Ok(())
    }
}

fn object(kind: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": {"team": "shop"}}})
}
