//! What bindings claim of one kind: labels, names, and where. References are in `index`. No IO.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube_bind_crds::api::{APIServiceBinding, NamedResource, PermissionClaim};
use kube_bind_crds::claims::{is_named, labels_match, names_only};
use kube_bind_crds::switches;

use crate::sync::Key;

/// The claim of one binding.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    label: Option<LabelSelector>,
    named: Vec<NamedResource>,
    /// It selects what bound objects refer to, which is not told by the claim.
    refers: bool,
    /// The only objects that the claim can ever select, if it is limited to some.
    names_only: Option<BTreeSet<NamedResource>>,
    /// The consumer namespaces that it is limited to.
    namespaces: Option<BTreeSet<String>>,
    /// Nothing is written for it.
    suspended: bool,
    ending: Option<Ending>,
}

/// How the claim of a binding ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its copies go.
    Delete,
    /// Its copies stay, without our marks.
    Orphan,
}

impl Rule {
    /// The claim, in these consumer namespaces or in all.
    pub fn new(claim: &PermissionClaim, namespaces: Option<BTreeSet<String>>) -> Self {
        let selector = &claim.selector;
        Self {
            label: selector.label_selector.clone(),
            named: selector.named_resources.clone(),
            refers: !selector.references.is_empty(),
            names_only: names_only(selector).map(|names| names.into_iter().cloned().collect()),
            namespaces,
            suspended: false,
            ending: None,
        }
    }

    /// What a binding claims, and where it says that this is.
    pub fn of(
        binding: &APIServiceBinding,
        claim: &PermissionClaim,
    ) -> Result<Self, switches::Invalid> {
        let annotations = binding.annotations();
        let namespaces = switches::claim_namespaces(annotations)?;
        // A mistyped value is not meant to go on, and is told as such elsewhere.
        let suspended = switches::suspended(annotations).unwrap_or(true);
        Ok(Self::new(claim, namespaces).suspend(suspended))
    }

    /// The same, with or without writes.
    pub fn suspend(self, suspended: bool) -> Self {
        Self { suspended, ..self }
    }

    /// The namespaces in which its rights are asked about; `None` is all of them.
    pub fn reviewed(&self) -> Vec<Option<&str>> {
        match &self.namespaces {
            None => vec![None],
            Some(namespaces) => namespaces.iter().map(|n| Some(n.as_str())).collect(),
        }
    }

    /// The same of which it is not known what it selects: it may be anything.
    pub fn of_anything(self) -> Self {
        Self {
            refers: true,
            ..self
        }
    }

    /// What is left of it: it selects nothing, but what it made is still watched.
    pub fn end(self, ending: Ending) -> Self {
        Self {
            ending: Some(ending),
            ..self
        }
    }

    /// Whether it is ending.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    fn is_active_in(&self, namespace: &str) -> bool {
        self.ending.is_none()
            && self
                .namespaces
                .as_ref()
                .is_none_or(|namespaces| namespaces.contains(namespace))
    }

    /// What has to be watched on the consumer for it.
    pub fn scopes(&self) -> BTreeSet<Scope> {
        let namespaces: Vec<Option<String>> = match &self.namespaces {
            None => vec![None],
            Some(namespaces) => namespaces.iter().cloned().map(Some).collect(),
        };
        let Some(names) = &self.names_only else {
            let whole = |namespace| Scope {
                namespace,
                name: None,
            };
            return namespaces.into_iter().map(whole).collect();
        };
        let mut scopes = BTreeSet::new();
        for named in names {
            let own = (!named.namespace.is_empty()).then(|| named.namespace.clone());
            for namespace in &namespaces {
                let both = match (namespace, &own) {
                    (Some(limit), Some(own)) if limit != own => continue,
                    (limit, own) => limit.clone().or_else(|| own.clone()),
                };
                scopes.insert(Scope {
                    namespace: both,
                    name: Some(named.name.clone()),
                });
            }
        }
        scopes
    }
}

/// What one watch on the consumer sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// A namespace, or all.
    pub namespace: Option<String>,
    /// A name, or all.
    pub name: Option<String>,
}

impl Scope {
    /// Whether it sees an object.
    pub fn covers(&self, key: &Key) -> bool {
        self.namespace.as_ref().is_none_or(|n| *n == key.namespace)
            && self.name.as_ref().is_none_or(|n| *n == key.name)
    }

    /// Whether it sees everything that another one does.
    pub fn includes(&self, other: &Self) -> bool {
        let wider = |own: &Option<String>, other: &Option<String>| own.is_none() || own == other;
        wider(&self.namespace, &other.namespace) && wider(&self.name, &other.name)
    }
}

/// The claims of all bindings to one provider on one kind.
#[derive(Debug, Default)]
pub struct Rules {
    by_binding: BTreeMap<String, Rule>,
}

impl Rules {
    /// Sets the claim of a binding and says whether that changed anything.
    pub fn set(&mut self, binding: &str, rule: Rule) -> bool {
        let old = self.by_binding.insert(binding.to_owned(), rule);
        old.as_ref() != self.by_binding.get(binding)
    }

    /// Stops or resumes the writes for a binding that is known; says whether that changed anything.
    pub fn suspend(&mut self, binding: &str, suspended: bool) -> bool {
        let Some(rule) = self.by_binding.get_mut(binding) else {
            return false;
        };
        std::mem::replace(&mut rule.suspended, suspended) != suspended
    }

    /// Ends the claim of a binding, if it has one that has not ended; says whether it had.
    pub fn end(&mut self, binding: &str) -> bool {
        let Some(rule) = self.by_binding.get_mut(binding) else {
            return false;
        };
        let active = rule.ending.is_none();
        rule.ending.get_or_insert(Ending::Delete);
        active
    }

    /// Forgets a binding and says whether it was known.
    pub fn remove(&mut self, binding: &str) -> bool {
        self.by_binding.remove(binding).is_some()
    }

    /// Whether a binding has a claim, or had one that is ending.
    pub fn knows(&self, binding: &str) -> bool {
        self.by_binding.contains_key(binding)
    }

    /// Whether nothing is written for a binding.
    pub fn is_suspended(&self, binding: &str) -> bool {
        self.by_binding.get(binding).is_some_and(|r| r.suspended)
    }

    /// Whether the claim of a binding is ending.
    pub fn is_ending(&self, binding: &str) -> bool {
        self.by_binding.get(binding).is_some_and(Rule::is_ending)
    }

    /// Whether the copies of a binding stay when it ends.
    pub fn is_orphaning(&self, binding: &str) -> bool {
        let rule = self.by_binding.get(binding);
        rule.is_some_and(|rule| rule.ending == Some(Ending::Orphan))
    }

    /// Whether a binding may claim in a consumer namespace.
    pub fn allows(&self, binding: &str, namespace: &str) -> bool {
        let rule = self.by_binding.get(binding);
        rule.is_some_and(|rule| rule.is_active_in(namespace))
    }

    /// Whether a binding that goes on is limited to other namespaces: what it claimed in this one before
    /// stays as it is.
    pub fn leaves_alone(&self, binding: &str, namespace: &str) -> bool {
        let rule = self.by_binding.get(binding);
        rule.is_some_and(|rule| rule.ending.is_none() && !rule.is_active_in(namespace))
    }

    /// Whether a watch sees an object. Nobody can claim what none of them sees.
    pub fn cover(&self, key: &Key) -> bool {
        let mut rules = self.by_binding.values();
        rules.any(|rule| rule.scopes().iter().any(|scope| scope.covers(key)))
    }

    /// Bindings that claim what their objects in a namespace, or all of them, refer to.
    pub fn referring(&self, namespace: &str) -> Vec<&str> {
        let referring = self.by_binding.iter();
        let referring = referring.filter(|(_, rule)| rule.refers && rule.is_active_in(namespace));
        referring.map(|(binding, _)| binding.as_str()).collect()
    }

    /// All bindings.
    pub fn bindings(&self) -> impl Iterator<Item = &str> {
        self.by_binding.keys().map(String::as_str)
    }

    /// Whether a watch sees all that another one would.
    pub fn include(&self, scope: &Scope) -> bool {
        let mut rules = self.by_binding.values();
        rules.any(|rule| rule.scopes().iter().any(|own| own.includes(scope)))
    }

    /// What a binding claims, each part as narrow as it is.
    pub fn scopes_of(&self, binding: &str) -> BTreeSet<Scope> {
        let rule = self.by_binding.get(binding);
        rule.map(Rule::scopes).unwrap_or_default()
    }

    /// Whether a watch is the one that sees something of what a binding claims. One that is denied sees
    /// nothing for those who claim only a part of it.
    pub fn needs(&self, binding: &str, scope: &Scope, denied: bool) -> bool {
        let own = self.scopes_of(binding);
        own.contains(scope) || (!denied && own.iter().any(|own| scope.includes(own)))
    }

    /// Bindings whose label selector matches, in any namespace.
    pub fn labelled(&self, labels: &BTreeMap<String, String>) -> Vec<String> {
        let matching = self.by_binding.iter().filter(|(_, rule)| {
            rule.label
                .as_ref()
                .is_some_and(|selector| labels_match(selector, labels))
        });
        matching.map(|(binding, _)| binding.clone()).collect()
    }

    /// Whether a binding claims by labels.
    pub fn has_labels(&self, binding: &str) -> bool {
        let rule = self.by_binding.get(binding);
        rule.is_some_and(|rule| rule.label.is_some())
    }

    /// Bindings that name an object.
    pub fn naming(&self, key: &Key) -> Vec<&str> {
        let naming = self
            .by_binding
            .iter()
            .filter(|(_, rule)| is_named(&rule.named, &key.namespace, &key.name));
        naming.map(|(binding, _)| binding.as_str()).collect()
    }

    /// The watches that see all that is claimed, none of them superfluous. One that is denied makes no
    /// other superfluous.
    pub fn scopes(&self, denied: impl Fn(&Scope) -> bool) -> BTreeSet<Scope> {
        let all: BTreeSet<Scope> = self.by_binding.values().flat_map(Rule::scopes).collect();
        let sees_more =
            |wide: &Scope, scope: &Scope| wide != scope && wide.includes(scope) && !denied(wide);
        let is_needed = |scope: &&Scope| !all.iter().any(|wide| sees_more(wide, scope));
        all.iter().filter(is_needed).cloned().collect()
    }

    /// The label selectors by binding: what was matched with others has to be matched again.
    pub fn selectors(&self) -> BTreeSet<(String, String)> {
        let labelled = |(binding, rule): (&String, &Rule)| {
            let label = rule.label.as_ref()?;
            Some((binding.clone(), in_words(label)))
        };
        self.by_binding.iter().filter_map(labelled).collect()
    }
}

/// A label selector as text.
pub fn in_words(label: &LabelSelector) -> String {
    serde_json::to_string(label).expect("label selectors have only string keys")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(selector: serde_json::Value) -> PermissionClaim {
        serde_json::from_value(json!({"resource": "secrets", "selector": selector})).unwrap()
    }

    fn rule(selector: serde_json::Value, namespaces: &[&str]) -> Rule {
        let limit = namespaces.iter().map(|n| (*n).to_owned()).collect();
        Rule::new(&claim(selector), (!namespaces.is_empty()).then_some(limit))
    }

    fn scope(namespace: &str, name: &str) -> Scope {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Scope {
            namespace: some(namespace),
            name: some(name),
        }
    }

    fn scopes_of(rules: &[Rule]) -> Vec<Scope> {
        let mut all = Rules::default();
        for (n, rule) in rules.iter().enumerate() {
            all.set(&n.to_string(), rule.clone());
        }
        all.scopes(|_| false).into_iter().collect()
    }

    #[test]
    fn only_what_can_be_selected_is_watched() {
        let label = json!({"labelSelector": {}});
        let names = json!({"namedResources": [{"name": "a"}, {"name": "b", "namespace": "shop"}]});
        let one = |selector, namespaces: &[&str]| scopes_of(&[rule(selector, namespaces)]);
        assert_eq!(one(json!({}), &[]), []);
        assert_eq!(one(label.clone(), &[]), [scope("", "")]);
        assert_eq!(
            one(label.clone(), &["shop", "team"]),
            [scope("shop", ""), scope("team", "")]
        );
        assert_eq!(
            one(names.clone(), &[]),
            [scope("", "a"), scope("shop", "b")]
        );
        assert_eq!(one(names.clone(), &["team"]), [scope("team", "a")]);
        assert_eq!(
            scopes_of(&[rule(names.clone(), &[]), rule(label.clone(), &["shop"])]),
            [scope("", "a"), scope("shop", "")]
        );
        assert_eq!(
            scopes_of(&[rule(names, &[]), rule(label, &[])]),
            [scope("", "")]
        );
    }

    #[test]
    fn a_watch_that_is_denied_stands_for_no_other() {
        let mut rules = Rules::default();
        rules.set("wide", rule(json!({"labelSelector": {}}), &[]));
        rules.set("narrow", rule(json!({"labelSelector": {}}), &["shop"]));
        let (wide, narrow) = (scope("", ""), scope("shop", ""));
        assert_eq!(rules.scopes(|_| false), [wide.clone()].into());
        let denied = rules.scopes(|scope| *scope == wide);
        assert_eq!(denied, [wide.clone(), narrow.clone()].into());
        assert!(rules.needs("narrow", &wide, false));
        assert!(!rules.needs("narrow", &wide, true));
        assert!(rules.needs("wide", &wide, true));
        assert!(rules.needs("narrow", &narrow, true) && !rules.needs("wide", &narrow, false));
    }

    #[test]
    fn a_claim_counts_only_in_its_namespaces_and_while_it_lasts() {
        let mut rules = Rules::default();
        let limited = rule(json!({"labelSelector": {}}), &["shop"]);
        assert!(rules.set("a", limited.clone()));
        assert!(!rules.set("a", limited.clone()));
        assert!(rules.allows("a", "shop") && !rules.allows("a", "team"));
        assert_eq!(rules.labelled(&BTreeMap::new()), ["a"]);
        assert!(rules.end("a") && !rules.end("a"));
        assert!(!rules.allows("a", "shop"));
        assert!(rules.knows("a"), "its copies are still to be taken back");
        assert_eq!(rules.scopes_of("a").len(), 1);
        assert!(rules.set("a", limited.clone().end(Ending::Orphan)));
        assert!(rules.is_orphaning("a"));
        assert!(rules.remove("a") && rules.scopes_of("a").is_empty());
    }

    #[test]
    fn names_are_found_in_their_namespace_or_in_any() {
        let mut rules = Rules::default();
        let names = json!({"namedResources": [{"name": "a"}, {"name": "b", "namespace": "shop"}]});
        rules.set("x", rule(names, &[]));
        assert_eq!(rules.naming(&Key::new("team", "a")), ["x"]);
        assert_eq!(rules.naming(&Key::new("shop", "b")), ["x"]);
        assert!(rules.naming(&Key::new("team", "b")).is_empty());
    }
}
