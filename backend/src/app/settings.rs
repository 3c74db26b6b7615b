//! What provisioning and the controllers need of the configuration. Reads the CA file.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::Config;
use crate::provision::Settings;

/// The settings; what no flag says about the API server's address comes from our own client.
pub fn settings(config: &Config, kube_config: &kube::Config) -> anyhow::Result<Settings> {
    let external_ca = match &config.external_ca_file {
        Some(path) => {
            let read = std::fs::read(path);
            Some(read.with_context(|| {
                format!("failed to read {} (--external-ca-file)", path.display())
            })?)
        }
        None => kube_config.root_cert.as_deref().map(pem),
    };
    let own_address = || {
        kube_config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned()
    };
    Ok(Settings {
        namespace: config.namespace.clone(),
        namespace_prefix: config.namespace_prefix.clone(),
        pretty_name: config.pretty_name.clone(),
        informer_scope: config.informer_scope,
        isolation: config.isolation,
        allow_shared_reads: config.allow_shared_reads,
        grant_cluster_wide_lists: config.grant_cluster_wide_lists,
        external_address: config.external_address.clone().unwrap_or_else(own_address),
        external_ca,
        external_server_name: config.external_server_name.clone(),
        credential_ttl: config.credential_ttl,
        credential_renew_after: config.credential_renew_after,
        max_requests: config.max_requests_per_consumer,
        max_namespaces: config.max_namespaces_per_consumer,
        allowed_groups: config.oidc_allowed_groups.clone(),
        allowed_users: config.oidc_allowed_users.clone(),
        username_prefix: config.oidc_username_prefix.clone(),
        groups_prefix: config.oidc_groups_prefix.clone(),
        schema_sync_interval: config.schema_sync_interval,
    })
}

/// Certificates in DER, as PEM.
fn pem(certificates: &[Vec<u8>]) -> Vec<u8> {
    let mut out = String::new();
    for certificate in certificates {
        out.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = STANDARD.encode(certificate);
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            out.push_str(line);
            out.push('\n');
            rest = after;
        }
        out.push_str("-----END CERTIFICATE-----\n");
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_become_pem_with_short_lines() {
        let text = String::from_utf8(pem(&[vec![1; 100]])).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.first().copied(), Some("-----BEGIN CERTIFICATE-----"));
        assert!(lines.iter().all(|line| line.len() <= 64));
        assert_eq!(
            lines[1..lines.len() - 1].concat(),
            STANDARD.encode(vec![1; 100])
        );
    }
}
