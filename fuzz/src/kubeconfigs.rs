//! Kubeconfigs that a provider hands out.

use kube_bind_runtime::kubeconfig::{Credential, MAX_BYTES, Policy, SafeKubeconfig, render};

use crate::document::{recipe, text};

/// Stands for what must never be repeated in a message.
const SECRET: &str = "s3cr3t-of-somebody";

/// What kubeconfigs are made of, whole and in parts, good and bad.
const PIECES: &[&str] = &[
    "apiVersion: v1\nkind: Config\n",
    "current-context: a\n",
    "contexts:\n- name: a\n  context:\n    cluster: a\n    user: a\n    namespace: kube-bind-x\n",
    "clusters:\n- name: a\n  cluster:\n    server: https://10.0.0.1:6443\n",
    "users:\n- name: a\n  user:\n    token: s3cr3t-of-somebody\n",
    "    token: s3cr3t-of-somebody\n",
    "    exec: {command: s3cr3t-of-somebody}\n",
    "    auth-provider: {name: s3cr3t-of-somebody}\n",
    "    tokenFile: /s3cr3t-of-somebody\n",
    "    client-certificate-data: s3cr3t-of-somebody\n",
    "    client-key-data: czNjcjN0\n",
    "    certificate-authority-data: s3cr3t-of-somebody\n",
    "    certificate-authority: /s3cr3t-of-somebody\n",
    "    insecure-skip-tls-verify: true\n",
    "    tls-server-name: s3cr3t-of-somebody.example\n",
    "    proxy-url: http://s3cr3t-of-somebody\n",
    "    namespace: s3cr3t-of-somebody_\n",
    "    server: http://s3cr3t-of-somebody:pw@host\n",
    "    server: https://[::1]:443/path/?s3cr3t-of-somebody\n",
    "- name: a\n",
    "  cluster: ",
    "  user: ",
    "  context: ",
    "&a ",
    "*a",
    "<<: *a\n",
    "{",
    "}",
    "[",
    "]",
    ": ",
    ", ",
    "\n",
    "- ",
    "|-\n    ",
    "!!binary ",
    "\"",
    "'",
    "---\n",
    "null",
    "1e999",
    "0x10",
    "? ",
    "#",
    "\u{feff}",
    "\t",
    "  ",
];

/// Reads a kubeconfig under the strictest and under the most lenient policy.
pub fn kubeconfigs(input: &[u8]) {
    let cooked = recipe(input).map(|recipe| text(recipe, PIECES));
    let document = cooked.as_ref().map_or(input, |text| text.as_bytes());
    let lenient = Policy {
        allow_insecure_tls: true,
        allow_http: true,
    };
    let strict = SafeKubeconfig::parse(document, Policy::default());
    let loose = SafeKubeconfig::parse(document, lenient);
    for result in [&strict, &loose] {
        match result {
            Ok(config) => accepted(config, document),
            Err(error) => {
                let said = format!("{error} {error:?}");
                assert!(!said.contains(SECRET), "an error repeats the document");
                assert!(said.len() < 1000, "an error grows with the document");
            }
        }
    }
    if let Ok(strict) = &strict {
        assert!(strict.server().starts_with("https://"));
        assert!(!strict.skips_tls_verification());
        assert_eq!(loose.as_ref().ok(), Some(strict));
    }
}

fn accepted(config: &SafeKubeconfig, document: &[u8]) {
    assert!(document.len() <= MAX_BYTES);
    assert!(!config.namespace().is_empty());
    if document
        .windows(SECRET.len())
        .any(|part| part == SECRET.as_bytes())
        && !config.server().contains(SECRET)
        && !config
            .tls_server_name()
            .is_some_and(|name| name.contains(SECRET))
        && !config.namespace().contains(SECRET)
    {
        assert!(!format!("{config:?}").contains(SECRET));
    }
    let Credential::Token(token) = config.credential() else {
        return;
    };
    if config.skips_tls_verification() {
        return;
    }
    // What we write ourselves is read as the same.
    let written = render(
        config.server(),
        config.ca_pem(),
        config.tls_server_name(),
        config.namespace(),
        token,
    );
    let lenient = Policy {
        allow_insecure_tls: true,
        allow_http: true,
    };
    let again = SafeKubeconfig::parse(written.as_bytes(), lenient)
        .expect("our own writing of an accepted kubeconfig is accepted");
    assert_eq!(again.fingerprint(), config.fingerprint());
}
