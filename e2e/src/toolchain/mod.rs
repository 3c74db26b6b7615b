//! The real components under test: found in `$KUBEBUILDER_ASSETS`, or built once from pinned modules
//! into a cache outside the tree. One process builds at a time; the others wait for its result.

mod cache;
mod cert_manager;
mod go;
mod identity_provider;
mod kubernetes;

pub use cert_manager::{CertManager, cert_manager};
pub use identity_provider::{IdentityProvider, identity_provider};
pub use kubernetes::{Kubernetes, kubernetes};

use std::path::PathBuf;

/// Where the pins are: `e2e/tools/<component>`.
fn pins(component: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tools")
        .join(component)
}

/// Finds or builds everything, so that the first test does not pay for it.
pub fn prepare() -> anyhow::Result<()> {
    kubernetes()?;
    cert_manager()?;
    identity_provider()?;
    Ok(())
}
