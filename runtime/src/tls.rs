//! The one cryptography provider of a process. No IO.

/// Makes aws-lc-rs the process's rustls provider; to be called first in every `main` and test harness.
///
/// rustls panics at the first connection when the build holds several providers and none was
/// chosen, which a build alone does not show. Calling this again changes nothing.
pub fn install_provider() {
    // An error means that a provider is installed already: by an earlier call, as tests do.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    #[test]
    fn installing_twice_is_harmless() {
        super::install_provider();
        super::install_provider();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
