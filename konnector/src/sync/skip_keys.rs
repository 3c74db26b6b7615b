//! Label and annotation keys that mean something in one cluster only, and therefore do not cross to
//! the other one: a GitOps tool prunes what carries its mark and is not in its repository. Pure.

use std::fmt;
use std::str::FromStr;

use kube_bind_crds::names;

/// What stays where it is unless somebody configures otherwise. Plain labels of
/// `app.kubernetes.io/` cross: they are data that selectors and operators read on both sides.
pub const DEFAULT_SKIP_KEYS: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/*",
    "control-plane.alpha.kubernetes.io/*",
    "applyset.kubernetes.io/*",
    "config.k8s.io/*",
    "config.kubernetes.io/*",
    "meta.helm.sh/*",
    "argocd.argoproj.io/*",
    "kustomize.toolkit.fluxcd.io/*",
    "helm.toolkit.fluxcd.io/*",
    "objectset.rio.cattle.io/*",
];

/// A pattern that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to read the key {pattern:?}: expected a label or annotation key, or prefix/*")]
pub struct InvalidSkipKey {
    /// What was given.
    pub pattern: String,
}

/// Which keys stay. [`DEFAULT_SKIP_KEYS`] by default; what belongs to kube-bind or kcp stays always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkipKeys {
    exact: Vec<String>,
    /// With the slash at the end.
    prefixes: Vec<String>,
}

impl SkipKeys {
    /// Reads exact keys and patterns of the form `prefix/*`; empty ones are ignored.
    ///
    /// # Errors
    /// A `*` anywhere else.
    pub fn new<S: AsRef<str>>(
        patterns: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidSkipKey> {
        let (mut exact, mut prefixes) = (Vec::new(), Vec::new());
        for pattern in patterns {
            let pattern = pattern.as_ref().trim();
            let prefix = pattern.strip_suffix('*');
            let known = prefix.unwrap_or(pattern);
            let strange = |c: char| c.is_whitespace() || c == '*' || c == ',';
            let valid = prefix.is_none_or(|prefix| prefix.len() > 1 && prefix.ends_with('/'));
            if known.contains(strange) || !valid {
                return Err(InvalidSkipKey {
                    pattern: pattern.chars().take(100).collect(),
                });
            }
            match prefix {
                Some(prefix) => prefixes.push(prefix.to_owned()),
                None if pattern.is_empty() => {}
                None => exact.push(pattern.to_owned()),
            }
        }
        Ok(Self { exact, prefixes })
    }

    /// Whether a key stays in its cluster.
    pub fn skips(&self, key: &str) -> bool {
        is_ours(key)
            || self.exact.iter().any(|exact| exact == key)
            || self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }
}

/// Markers never cross: behind the provider there may be another hop, with markers of its own.
fn is_ours(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let below = |parent: &str| {
        domain
            .strip_suffix(parent)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    below(names::GROUP) || below("kcp.io") || key.starts_with("claimed.internal.apis.kcp.io")
}

impl Default for SkipKeys {
    fn default() -> Self {
        Self::new(DEFAULT_SKIP_KEYS).expect("a test reads the defaults")
    }
}

/// Comma-separated patterns, as a flag has them.
impl FromStr for SkipKeys {
    type Err = InvalidSkipKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.split(','))
    }
}

/// The patterns, comma-separated.
impl fmt::Display for SkipKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefixes = self.prefixes.iter().map(|prefix| format!("{prefix}*"));
        let all: Vec<String> = self.exact.iter().cloned().chain(prefixes).collect();
        f.write_str(&all.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_use_to_own_an_object_stays_and_data_crosses() {
        let keys = SkipKeys::default();
        for key in [
            "kubectl.kubernetes.io/last-applied-configuration",
            "deployment.kubernetes.io/revision",
            "meta.helm.sh/release-name",
            "argocd.argoproj.io/tracking-id",
            "kustomize.toolkit.fluxcd.io/name",
            "helm.toolkit.fluxcd.io/namespace",
        ] {
            assert!(keys.skips(key), "{key}");
        }
        for key in [
            "tier",
            "example.io/note",
            "kubectl.kubernetes.io/restartedAt",
            "app.kubernetes.io/managed-by",
            "app.kubernetes.io/instance",
            "meta.helm.sh",
            "not-kube-bind.io/x",
        ] {
            assert!(!keys.skips(key), "{key}");
        }
    }

    #[test]
    fn our_own_keys_stay_whatever_is_configured() {
        let keys: SkipKeys = "example.io/*, exact".parse().expect("a list");
        for key in [
            "kube-bind.io/cluster-namespace",
            "backend.kube-bind.io/identity",
            "kcp.io/cluster",
            "internal.kcp.io/x",
            "claimed.internal.apis.kcp.io/abc",
            "example.io/note",
            "exact",
        ] {
            assert!(keys.skips(key), "{key}");
        }
        assert!(!keys.skips("meta.helm.sh/release-name"), "replaced");
        assert!(!keys.skips("exactly"));
        assert_eq!(keys.to_string(), "exact,example.io/*");
    }

    #[test]
    fn a_pattern_that_would_match_something_else_is_refused() {
        for pattern in ["*", "a*", "*/b", "a/*/b", "a b", "/*"] {
            assert!(SkipKeys::new([pattern]).is_err(), "{pattern}");
        }
        assert_eq!("".parse::<SkipKeys>().expect("nothing").to_string(), "");
    }
}
