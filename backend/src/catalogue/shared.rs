//! Which offerings let their consumers read each other's objects, for those who choose. Asks the API
//! server for the scope of the kinds (IO), which templates state for people only.

use std::collections::BTreeMap;

use http::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroup, APIResourceList};
use kube::Client;
use kube_bind_crds::api::{APIServiceExportTemplate, ExportResource, GroupResource, ResourceScope};
use kube_bind_runtime::apply::timed;
use serde::de::DeserializeOwned;

use crate::provision::Settings;
use crate::provision::reach::Reach;

/// Annotation on such a template in answers to users: whether several consumers may have it.
pub const ANNOTATION_SHARED_READS: &str = "backend.kube-bind.io/shared-reads";

/// Marks the templates with kinds whose objects all of their consumers can read.
pub async fn mark(
    client: &Client,
    settings: &Settings,
    templates: &mut [APIServiceExportTemplate],
) {
    let can_be = [ResourceScope::Cluster, ResourceScope::Namespaced];
    if !can_be.into_iter().any(|scope| shares(scope, settings)) {
        return;
    }
    let mut scopes = BTreeMap::new();
    for template in templates {
        for resource in &template.spec.resources {
            let key = &resource.group_resource;
            if !scopes.contains_key(key) {
                // Without an answer what the template says has to do.
                let scope = scope(client, resource).await.unwrap_or(template.spec.scope);
                scopes.insert(key.clone(), scope);
            }
        }
        describe(template, &scopes, settings);
    }
}

fn shares(scope: ResourceScope, settings: &Settings) -> bool {
    Reach::of(scope, settings.isolation, settings.informer_scope, settings).shares_reads()
}

/// Says it in the description too, which every client shows.
fn describe(
    template: &mut APIServiceExportTemplate,
    scopes: &BTreeMap<GroupResource, ResourceScope>,
    settings: &Settings,
) {
    let is_shared = template.spec.resources.iter().any(|resource| {
        scopes
            .get(&resource.group_resource)
            .is_some_and(|scope| shares(*scope, settings))
    });
    if !is_shared {
        return;
    }
    let (value, note) = if settings.allow_shared_reads {
        (
            "allowed",
            "All who bind this can read each other's objects.",
        )
    } else {
        (
            "refused",
            "Only one consumer can bind this, because all could read each other's objects.",
        )
    };
    let annotations = template.metadata.annotations.get_or_insert_default();
    annotations.insert(ANNOTATION_SHARED_READS.to_owned(), value.to_owned());
    let description = &mut template.spec.description;
    if !description.is_empty() {
        description.push_str(" - ");
    }
    description.push_str(note);
}

/// From discovery, which is small; a CRD is not.
async fn scope(client: &Client, resource: &ExportResource) -> Option<ResourceScope> {
    let GroupResource {
        group,
        resource: plural,
    } = &resource.group_resource;
    let version = match resource.versions.first() {
        Some(version) => version.clone(),
        None => {
            let found: APIGroup = get(client, format!("/apis/{group}")).await?;
            found.preferred_version?.version
        }
    };
    let list: APIResourceList = get(client, format!("/apis/{group}/{version}")).await?;
    let found = list
        .resources
        .into_iter()
        .find(|found| found.name == *plural)?;
    Some(if found.namespaced {
        ResourceScope::Namespaced
    } else {
        ResourceScope::Cluster
    })
}

async fn get<T: DeserializeOwned>(client: &Client, path: String) -> Option<T> {
    let request = Request::get(path).body(Vec::new()).ok()?;
    timed(client.request(request)).await.ok()
}

#[cfg(test)]
mod tests {
    use kube_bind_crds::api::{APIServiceExportTemplateSpec, InformerScope, Isolation};
    use serde_json::json;

    use super::*;
    use crate::provision::test_support::{Script, resource, settings};

    fn template(description: &str) -> APIServiceExportTemplate {
        APIServiceExportTemplate::new(
            "offer",
            APIServiceExportTemplateSpec {
                description: description.into(),
                // Wrong, and not believed.
                scope: ResourceScope::Namespaced,
                resources: vec![resource("tenants.example.org", &[])],
                ..APIServiceExportTemplateSpec::default()
            },
        )
    }

    async fn marked(settings: &Settings, namespaced: bool) -> APIServiceExportTemplate {
        let (client, mut api) = Script::new();
        let mut templates = [template("Tenants")];
        let server = async {
            let version = json!({ "groupVersion": "example.org/v1", "version": "v1" });
            let group = json!({ "name": "example.org", "versions": [version], "preferredVersion": version });
            api.answer("GET", "/apis/example.org", 200, group).await;
            let kinds = json!({ "groupVersion": "example.org/v1", "resources": [{
                "name": "tenants", "kind": "Tenant", "namespaced": namespaced, "singularName": "", "verbs": [],
            }] });
            api.answer("GET", "/apis/example.org/v1", 200, kinds).await;
        };
        tokio::join!(mark(&client, settings, &mut templates), server);
        let [marked] = templates;
        marked
    }

    #[tokio::test]
    async fn who_chooses_is_told_who_can_read() {
        let mut settings = settings();
        let alone = marked(&settings, false).await;
        assert!(
            alone
                .spec
                .description
                .starts_with("Tenants - Only one consumer")
        );
        settings.allow_shared_reads = true;
        let shared = marked(&settings, false).await;
        assert!(
            shared
                .spec
                .description
                .contains("can read each other's objects")
        );
        assert_eq!(
            shared.metadata.annotations.unwrap()[ANNOTATION_SHARED_READS],
            "allowed"
        );
        assert_eq!(marked(&settings, true).await, template("Tenants"));
        settings.informer_scope = InformerScope::Cluster;
        assert_ne!(marked(&settings, true).await, template("Tenants"));
    }

    #[tokio::test]
    async fn nothing_is_asked_where_nothing_can_be_shared() {
        let mut settings = settings();
        settings.isolation = Isolation::Namespaced;
        let (client, _api) = Script::new();
        let mut templates = [template("Tenants")];
        mark(&client, &settings, &mut templates).await;
        assert_eq!(templates[0], template("Tenants"));
    }
}
