//! Whether a request stays within what its consumer is offered. Requests are written by consumers, so
//! the templates that their users were permitted to bind are the only thing that says what they may
//! have. Pure.

use std::sync::Arc;

use kube::ResourceExt;
use kube_bind_crds::api::{
    APIServiceExportRequestSpec, APIServiceExportTemplate, APIServiceExportTemplateSpec,
    ExportResource, PermissionClaim, SchemaUpdatePolicy,
};
use kube_bind_crds::schema;

use crate::provision::offerings::Permitted;

/// What one consumer is offered.
pub struct Offer {
    /// All templates of the provider.
    pub templates: Vec<Arc<APIServiceExportTemplate>>,
    /// Which of them this consumer may order.
    pub permitted: Permitted,
}

impl Offer {
    /// The templates that the consumer may order.
    pub fn permitted(&self) -> impl Iterator<Item = &APIServiceExportTemplateSpec> + Clone {
        self.templates
            .iter()
            .filter(|template| self.permitted.allows(&template.name_any()))
            .map(|template| &template.spec)
    }
}

/// What no single template allows, in a sentence; nothing if one of them allows all.
pub fn beyond<'a>(
    request: &APIServiceExportRequestSpec,
    templates: impl Iterator<Item = &'a APIServiceExportTemplateSpec> + Clone,
) -> Option<String> {
    let excess = |template| excess(request, template);
    if templates.clone().any(|template| excess(template).is_none()) {
        return None;
    }
    // The template that comes nearest makes the most helpful message: one with all the resources, else
    // the first.
    let nearest = templates.clone().find(|template| {
        request
            .resources
            .iter()
            .all(|wanted| offers(template, wanted))
    });
    Some(match nearest.map(excess) {
        Some(Some(what)) => format!("{what} is not part of the offer"),
        _ => match request
            .resources
            .iter()
            .find(|r| !templates.clone().any(|t| offers(t, r)))
        {
            Some(wanted) => format!("{} is not offered", describe(wanted)),
            None => "no single offer has all of the requested resources".to_owned(),
        },
    })
}

fn excess(
    request: &APIServiceExportRequestSpec,
    template: &APIServiceExportTemplateSpec,
) -> Option<String> {
    let APIServiceExportRequestSpec {
        parameters: _,
        resources,
        permission_claims,
        namespaces,
        schema_update_policy,
    } = request;
    let resource = resources
        .iter()
        .find(|wanted| !offers(template, wanted))
        .map(describe);
    let claim = || {
        let excess = permission_claims
            .iter()
            .find(|claim| !template.permission_claims.contains(claim));
        excess.map(describe_claim)
    };
    let namespace = || {
        let excess = namespaces
            .iter()
            .find(|namespace| !template.namespaces.contains(namespace));
        excess.map(|namespace| format!("namespace {}", namespace.name))
    };
    // The other way round is fine: who is offered updates may do without.
    let updates = || {
        let excess = *schema_update_policy == SchemaUpdatePolicy::Always
            && template.schema_update_policy == SchemaUpdatePolicy::Never;
        excess.then(|| "schemaUpdatePolicy Always".to_owned())
    };
    resource.or_else(claim).or_else(namespace).or_else(updates)
}

fn offers(template: &APIServiceExportTemplateSpec, wanted: &ExportResource) -> bool {
    template.resources.iter().any(|offered| {
        offered.group_resource == wanted.group_resource
            // An empty list means all versions.
            && (offered.versions.is_empty()
                || (!wanted.versions.is_empty()
                    && wanted.versions.iter().all(|version| offered.versions.contains(version))))
    })
}

fn describe(resource: &ExportResource) -> String {
    let name = schema::name(&resource.group_resource);
    if resource.versions.is_empty() {
        format!("resource {name} in all versions")
    } else {
        format!("resource {name} in {}", resource.versions.join(", "))
    }
}

fn describe_claim(claim: &PermissionClaim) -> String {
    format!("the claim on {}", schema::name(&claim.group_resource))
}

#[cfg(test)]
mod tests {
    use kube_bind_crds::api::{NamespaceName, Selector};

    use super::*;
    use crate::provision::test_support::{claim, resource};

    fn template() -> APIServiceExportTemplateSpec {
        APIServiceExportTemplateSpec {
            resources: vec![
                resource("widgets.example.org", &["v1", "v2"]),
                resource("gadgets.example.org", &[]),
            ],
            permission_claims: vec![claim("secrets.")],
            namespaces: vec![NamespaceName {
                name: "shared".into(),
            }],
            ..APIServiceExportTemplateSpec::default()
        }
    }

    fn request(resources: Vec<ExportResource>) -> APIServiceExportRequestSpec {
        APIServiceExportRequestSpec {
            resources,
            ..APIServiceExportRequestSpec::default()
        }
    }

    fn refused(request: &APIServiceExportRequestSpec) -> Option<String> {
        beyond(request, [template()].iter())
    }

    #[test]
    fn a_subset_of_a_template_is_allowed() {
        let mut wanted = request(vec![resource("widgets.example.org", &["v1"])]);
        wanted.permission_claims = vec![claim("secrets.")];
        wanted.namespaces = vec![NamespaceName {
            name: "shared".into(),
        }];
        assert_eq!(refused(&wanted), None);
        assert_eq!(
            refused(&request(vec![resource("gadgets.example.org", &["v7"])])),
            None
        );
        assert_eq!(
            refused(&request(vec![resource("gadgets.example.org", &[])])),
            None
        );
    }

    #[test]
    fn what_is_not_offered_is_named() {
        let message = refused(&request(vec![
            resource("widgets.example.org", &["v1"]),
            resource("nodes.example.org", &[]),
        ]));
        assert!(message.unwrap().contains("nodes.example.org"));
        let message = refused(&request(vec![resource("widgets.example.org", &["v3"])]));
        assert!(message.unwrap().contains("v3"));
        let message = refused(&request(vec![resource("widgets.example.org", &[])]));
        assert!(message.unwrap().contains("all versions"));
    }

    #[test]
    fn a_wider_claim_and_an_additional_namespace_are_refused() {
        let mut wider = request(vec![resource("gadgets.example.org", &[])]);
        let mut everything = claim("secrets.");
        everything.selector = Selector {
            label_selector: Some(Default::default()),
            ..Selector::default()
        };
        wider.permission_claims = vec![everything];
        assert!(refused(&wider).unwrap().contains("secrets"));
        let mut more = request(vec![resource("gadgets.example.org", &[])]);
        more.namespaces = vec![NamespaceName {
            name: "private".into(),
        }];
        assert!(refused(&more).unwrap().contains("private"));
    }

    #[test]
    fn updates_of_schemas_are_part_of_the_offer() {
        let mut wanted = request(vec![resource("gadgets.example.org", &[])]);
        wanted.schema_update_policy = SchemaUpdatePolicy::Always;
        assert!(refused(&wanted).unwrap().contains("Always"));
        let mut generous = template();
        generous.schema_update_policy = SchemaUpdatePolicy::Always;
        assert_eq!(beyond(&wanted, [generous.clone()].iter()), None);
        wanted.schema_update_policy = SchemaUpdatePolicy::Never;
        assert_eq!(beyond(&wanted, [generous].iter()), None);
    }

    #[test]
    fn two_templates_do_not_add_up() {
        let one = APIServiceExportTemplateSpec {
            resources: vec![resource("a.example.org", &[])],
            ..APIServiceExportTemplateSpec::default()
        };
        let two = APIServiceExportTemplateSpec {
            resources: vec![resource("b.example.org", &[])],
            ..APIServiceExportTemplateSpec::default()
        };
        let both = request(vec![
            resource("a.example.org", &[]),
            resource("b.example.org", &[]),
        ]);
        assert!(
            beyond(&both, [one, two].iter())
                .unwrap()
                .contains("no single offer")
        );
        assert!(beyond(&both, [].iter()).is_some());
    }
}
