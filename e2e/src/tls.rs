//! Keys and certificates of one control plane, made with the `openssl` program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Paths of what was made.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The server's certificate, valid for loopback.
    pub server_certificate: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
    /// Key that signs ServiceAccount tokens.
    pub service_account_key: PathBuf,
}

impl Certificates {
    /// Makes all of them in `dir`.
    pub fn generate(dir: &Path, name: &str) -> Result<Certificates> {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("failed to create {}", dir.display()))?;
        let config = dir.join("openssl.cnf");
        let text = "[req]\ndistinguished_name = dn\nprompt = no\n[dn]\n\
            [authority]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,digitalSignature\n\
            subjectKeyIdentifier = hash\n\
            [server]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n\
            extendedKeyUsage = serverAuth\nsubjectAltName = IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc\n";
        std::fs::write(&config, text)
            .with_context(|| format!("failed to write {}", config.display()))?;
        let path = |file: &str| dir.join(file);
        let (ca, ca_key) = (path("ca.crt"), path("ca.key"));
        let made = Certificates {
            ca: ca.clone(),
            server_certificate: path("server.crt"),
            server_key: path("server.key"),
            service_account_key: path("service-account.key"),
        };
        let request = |section: &str, subject: &str, key: &Path, out: &Path| {
            let mut command = Command::new("openssl");
            command
                .args([
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                    "-days",
                    "30",
                ])
                .args(["-subj", subject, "-extensions", section, "-config"])
                .arg(&config)
                .arg("-keyout")
                .arg(key)
                .arg("-out")
                .arg(out);
            command
        };
        openssl(&mut request(
            "authority",
            &format!("/CN={name} authority"),
            &ca_key,
            &ca,
        ))?;
        let server = (&made.server_key, &made.server_certificate);
        openssl(
            request("server", &format!("/CN={name}"), server.0, server.1)
                .arg("-CA")
                .arg(&ca)
                .arg("-CAkey")
                .arg(&ca_key),
        )?;
        openssl(
            Command::new("openssl")
                // The traditional format: the API server does not read elliptic keys in PKCS #8.
                .args([
                    "ecparam",
                    "-name",
                    "prime256v1",
                    "-genkey",
                    "-noout",
                    "-out",
                ])
                .arg(&made.service_account_key),
        )?;
        Ok(made)
    }
}

/// Does `openssl verify` accept `certificate` under `authority`? The error is openssl's own text.
pub fn verify(authority: &Path, certificate: &Path) -> Result<()> {
    openssl(
        Command::new("openssl")
            .args(["verify", "-CAfile"])
            .arg(authority)
            .arg(certificate),
    )
}

fn openssl(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .context("failed to start openssl (Debian package openssl)")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "openssl failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            said
        );
    }
    Ok(())
}
