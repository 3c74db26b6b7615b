//! Certificate authorities that the operator trusts beside those that a kubeconfig brings: of a
//! provider with a private one, or of a proxy that looks inside. IO: reads one file, and the
//! machine's own authorities where a kubeconfig leaves it to them.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// It cannot be read.
    #[error("failed to read certificate authorities from {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is no certificate in it, or something that only looks like one.
    #[error("failed to use certificate authorities from {path}: expected PEM with certificates")]
    Pem {
        /// The file.
        path: String,
    },
}

/// Further authorities; none by default.
#[derive(Clone, Default)]
pub struct Authorities {
    extra: Arc<Vec<Vec<u8>>>,
}

impl std::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authorities({})", self.extra.len())
    }
}

impl Authorities {
    /// Those in a PEM file.
    pub fn from_file(path: &Path) -> Result<Self, AuthoritiesError> {
        let name = || path.display().to_string();
        let pem = std::fs::read(path).map_err(|source| AuthoritiesError::Read {
            path: name(),
            source,
        })?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|_| AuthoritiesError::Pem { path: name() })?;
        if certificates.is_empty() || !certificates.iter().all(is_usable) {
            return Err(AuthoritiesError::Pem { path: name() });
        }
        let extra = certificates.iter().map(|c| c.to_vec()).collect();
        Ok(Self {
            extra: Arc::new(extra),
        })
    }

    /// These and those of a kubeconfig, or of the machine where it names none. Without any of our own
    /// everything stays as it is.
    pub(super) fn beside(&self, kubeconfig: Option<Vec<Vec<u8>>>) -> Option<Vec<Vec<u8>>> {
        if self.extra.is_empty() {
            return kubeconfig;
        }
        let mut all = kubeconfig.unwrap_or_else(machine);
        all.extend(self.extra.iter().cloned());
        Some(all)
    }
}

/// The machine's authorities; a container image may have none.
fn machine() -> Vec<Vec<u8>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(
            error = error as &dyn std::error::Error,
            "failed to read an authority of this machine"
        );
    }
    found
        .certs
        .iter()
        .filter(|certificate| is_usable(certificate))
        .map(|certificate| certificate.to_vec())
        .collect()
}

fn is_usable(certificate: &CertificateDer<'_>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = include_str!("../kubeconfig/testdata/ca.pem");

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn they_stand_beside_what_a_kubeconfig_brings_or_the_machine_has() {
        let (_dir, path) = file(CA);
        let ours = Authorities::from_file(&path).unwrap();
        let theirs = vec![vec![1, 2, 3]];
        let both = ours.beside(Some(theirs.clone())).unwrap();
        assert_eq!((both.len(), &both[0]), (2, &theirs[0]));
        let alone = ours.beside(None).unwrap();
        assert_eq!(alone.len(), machine().len() + 1);
        assert_eq!(Authorities::default().beside(None), None);
        assert_eq!(
            Authorities::default().beside(Some(theirs.clone())),
            Some(theirs)
        );
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let missing = Authorities::from_file(Path::new("/no/such/ca.pem")).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "failed to read certificate authorities from /no/such/ca.pem"
        );
        let nonsense = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        for text in ["", "no certificate", nonsense] {
            let (_dir, path) = file(text);
            let error = Authorities::from_file(&path).unwrap_err();
            assert!(
                error
                    .to_string()
                    .ends_with("expected PEM with certificates")
            );
        }
    }
}
