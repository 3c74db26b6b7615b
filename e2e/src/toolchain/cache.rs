//! A directory per pinned version of a component, complete or absent.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Overrides where built components are kept.
const CACHE_VARIABLE: &str = "KUBE_BIND_E2E_CACHE";

/// The directory of `component` for these inputs; `build` fills it if it does not exist yet.
pub(super) fn ensure(
    component: &str,
    inputs: &[&[u8]],
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let root = root()?;
    std::fs::create_dir_all(&root)
        .with_context(|| format!("failed to create {}", root.display()))?;
    let entry = format!("{component}-{}", fingerprint(inputs));
    let complete = root.join(&entry);
    if complete.is_dir() {
        return Ok(complete);
    }
    let lock_path = root.join(format!("{entry}.lock"));
    let lock = File::create(&lock_path)
        .with_context(|| format!("failed to create {}", lock_path.display()))?;
    lock.lock()
        .with_context(|| format!("failed to lock {}", lock_path.display()))?;
    // Somebody else may have built it while we waited.
    if complete.is_dir() {
        return Ok(complete);
    }
    let partial = root.join(format!("{entry}.partial"));
    if partial.exists() {
        std::fs::remove_dir_all(&partial)
            .with_context(|| format!("failed to remove {}", partial.display()))?;
    }
    std::fs::create_dir_all(&partial)
        .with_context(|| format!("failed to create {}", partial.display()))?;
    build(&partial).with_context(|| format!("failed to build {component}"))?;
    std::fs::rename(&partial, &complete)
        .with_context(|| format!("failed to move {} into place", partial.display()))?;
    Ok(complete)
}

/// Says on standard error what takes long.
#[expect(
    clippy::print_stderr,
    reason = "a first build takes minutes; the person waiting must see why"
)]
pub(super) fn announce(what: &str) {
    eprintln!("[e2e toolchain] {what}");
}

fn root() -> Result<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(dir) = variable(CACHE_VARIABLE) {
        return Ok(dir);
    }
    let caches = variable("XDG_CACHE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .with_context(|| format!("no place for built components: set {CACHE_VARIABLE} or HOME"))?;
    Ok(caches.join("kube-bind-e2e"))
}

fn fingerprint(inputs: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for input in inputs {
        hash.update(input.len().to_le_bytes());
        hash.update(input);
    }
    hash.finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn inputs_that_only_differ_in_their_borders_have_different_fingerprints() {
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
        assert_eq!(fingerprint(&[b"ab", b"c"]).len(), 16);
    }
}
