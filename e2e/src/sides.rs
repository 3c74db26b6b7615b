//! Do both sides of a binding agree? The whole of it: every consumer object has exactly one copy, equal
//! in what a user can change; its status is the copy's; and there is no copy without its object.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams};
use kube_bind_crds::names;

use crate::cluster::ControlPlane;
use crate::objects;
use crate::wait::wait_for;

/// Two sides, and what to compare.
pub struct Sides<'a> {
    /// Where users create objects.
    pub consumer: &'a ControlPlane,
    /// Where the copies are.
    pub provider: &'a ControlPlane,
    /// Group, version and kind.
    pub kind: (&'a str, &'a str, &'a str),
    /// The marker of this consumer's copies.
    pub cluster_namespace: &'a str,
    /// Consumer namespaces, each with its service namespace.
    pub namespaces: Vec<(String, String)>,
}

impl Sides<'_> {
    /// Waits until [`Self::differences`] is empty; gives how many objects there are.
    pub async fn wait_equal(&self) -> Result<usize> {
        wait_for("both sides to be equal", || async {
            let (count, differences) = self.differences().await?;
            match differences.first() {
                None => Ok(count),
                Some(first) => Err(anyhow!("{} differences: {first}", differences.len())),
            }
        })
        .await
    }

    /// How many objects the consumer has, and what is wrong.
    pub async fn differences(&self) -> Result<(usize, Vec<String>)> {
        let (mut count, mut wrong) = (0, Vec::new());
        for (namespace, service) in &self.namespaces {
            let mine = self.list(self.consumer, namespace).await?;
            let mut copies = self.list(self.provider, service).await?;
            copies.retain(|_, copy| self.is_ours(copy));
            count += mine.len();
            for (name, object) in &mine {
                let place = format!("{namespace}/{name}");
                match copies.remove(name) {
                    None => wrong.push(format!("{place} has no copy")),
                    Some(copy) => {
                        let found = compare(object, &copy);
                        wrong.extend(found.into_iter().map(|what| format!("{place}: {what}")));
                    }
                }
            }
            wrong.extend(
                copies
                    .keys()
                    .map(|name| format!("{service}/{name} is an orphan")),
            );
        }
        Ok((count, wrong))
    }

    fn is_ours(&self, copy: &DynamicObject) -> bool {
        copy.annotations()
            .get(names::ANNOTATION_CLUSTER_NAMESPACE)
            .is_some_and(|owner| owner == self.cluster_namespace)
    }

    async fn list(
        &self,
        plane: &ControlPlane,
        namespace: &str,
    ) -> Result<BTreeMap<String, DynamicObject>> {
        let api = objects::api(plane.client(), self.kind, namespace);
        let list = api.list(&ListParams::default()).await?;
        Ok(list.into_iter().map(|o| (o.name_any(), o)).collect())
    }
}

fn compare(object: &DynamicObject, copy: &DynamicObject) -> Vec<String> {
    let mut wrong = Vec::new();
    if object.data["spec"] != copy.data["spec"] {
        wrong.push(format!(
            "spec {} against {}",
            object.data["spec"], copy.data["spec"]
        ));
    }
    if object.data["status"] != copy.data["status"] {
        wrong.push(format!(
            "status {} against {}",
            object.data["status"], copy.data["status"]
        ));
    }
    if object.labels() != copy.labels() {
        wrong.push(format!(
            "labels {:?} against {:?}",
            object.labels(),
            copy.labels()
        ));
    }
    let annotation = |of: &DynamicObject, key: &str| of.annotations().get(key).cloned();
    if annotation(copy, names::ANNOTATION_CONSUMER_UID) != object.uid() {
        wrong.push("the copy is of another object".to_owned());
    }
    if annotation(object, names::ANNOTATION_PROVIDER_UID) != copy.uid() {
        wrong.push("the object knows another copy".to_owned());
    }
    if let Some(problem) = annotation(object, names::ANNOTATION_SYNC_PROBLEM) {
        wrong.push(format!("problem {problem:?}"));
    }
    if object.metadata.deletion_timestamp.is_some() || copy.metadata.deletion_timestamp.is_some() {
        wrong.push("it is being deleted".to_owned());
    }
    wrong
}
