//! What a provider exports, as far as a person is to agree to it. No IO.

use kube::ResourceExt;
use kube_bind_crds::api::{APIServiceExport, GroupResource};
use kube_bind_crds::schema;

/// One export.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offer {
    /// Its name, and that of its binding.
    pub name: String,
    /// Its kinds and the kinds that it claims, in the words of a message.
    pub words: String,
    /// All that is offered, as one text: who accepts it accepts exactly this.
    pub text: String,
}

impl Offer {
    /// The offer of an export; none while the export is being deleted, because it ends.
    pub fn of(export: &APIServiceExport) -> Option<Self> {
        if export.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let kinds = names(export.spec.resources.iter().map(|r| &r.group_resource));
        let claims = names(
            export
                .spec
                .permission_claims
                .iter()
                .map(|claim| &claim.group_resource),
        );
        let mut words = kinds;
        if !claims.is_empty() {
            words = format!("{words}; claims {claims}");
        }
        let name = export.name_any();
        let content = serde_json::to_string(&export.spec).expect("exports have only string keys");
        Some(Self {
            text: format!("{name} {content}"),
            name,
            words,
        })
    }
}

fn names<'a>(resources: impl Iterator<Item = &'a GroupResource>) -> String {
    let mut names: Vec<String> = resources
        .map(|resource| schema::name(resource).trim_end_matches(".core").to_owned())
        .collect();
    names.sort();
    names.dedup();
    names.join(", ")
}
