//! The document as a whole: what counts of it, tricks of YAML, what we write, and noise.

use proptest::prelude::*;

use super::*;

#[test]
fn only_the_current_context_counts() {
    let kubeconfig = parse(&valid()).expect("the other entries are never used");
    assert_eq!(kubeconfig.server(), "https://api.provider.test:6443");
    assert_eq!(kubeconfig.ca_pem(), Some(CA));
    assert_eq!(kubeconfig.ca_certificates().map(<[_]>::len), Some(1));
    assert_eq!(kubeconfig.tls_server_name(), Some("kubernetes.default.svc"));
    assert_eq!(kubeconfig.namespace(), "kube-bind-abc");
    assert_eq!(
        kubeconfig.credential(),
        &Credential::Token(SECRET.to_owned())
    );
    assert!(!kubeconfig.skips_tls_verification());
}

#[test]
fn large_documents_are_not_read() {
    let document = vec![b'#'; MAX_BYTES + 1];
    let error = SafeKubeconfig::parse(&document, Policy::default()).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "kubeconfig has 262145 bytes; at most 262144 are accepted"
    );
}

#[test]
fn tricks_of_yaml_are_refused() {
    let yaml = render(
        "https://api.example.com",
        Some(CA),
        None,
        "kube-bind-abc",
        SECRET,
    );
    let bomb = (1..20).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        let before = n - 1;
        text + &format!("a{n}: &a{n} [*a{before}, *a{before}, *a{before}, *a{before}, *a{before}, *a{before}, *a{before}]\n")
    });
    for (what, document) in [
        ("repeated key", format!("{yaml}current-context: evil\n")),
        ("second document", format!("{yaml}---\n{yaml}")),
        ("alias bomb", bomb),
        ("alias", format!("{yaml}x: &x y\nz: *x\n")),
        ("merge key", format!("{yaml}x:\n  <<: {{a: b}}\n")),
        ("unclosed", format!("{yaml}x: [")),
        ("tabs", format!("{yaml}x:\n\t- y\n")),
        ("depth", "[".repeat(100_000)),
        ("deep mappings", "{a: ".repeat(60_000)),
    ] {
        let error = SafeKubeconfig::parse(document.as_bytes(), Policy::default()).expect_err(what);
        assert!(matches!(error, Error::NotYaml { .. }), "{what}: {error}");
        assert!(!error.to_string().contains(SECRET), "{what}: {error}");
    }
    for document in [&b"\xff\xfe\x00"[..], b"\0", b"%YAML 9.9\n---\n!!evil [\n"] {
        assert!(SafeKubeconfig::parse(document, Policy::default()).is_err());
    }
    let error = Error::NotYaml { line: Some(3) }.to_string();
    assert_eq!(
        error,
        "kubeconfig is not acceptable YAML (line 3); it must be one plain document without aliases or repeated keys"
    );
}

#[test]
fn what_we_write_we_accept_and_others_read() {
    let yaml = render(
        "https://api.example.com:6443",
        Some(CA),
        Some("kubernetes"),
        "kube-bind-abc",
        SECRET,
    );
    let kubeconfig = SafeKubeconfig::parse(yaml.as_bytes(), Policy::default()).expect("our own");
    assert_eq!(kubeconfig.ca_pem(), Some(CA));
    assert_eq!(kubeconfig.tls_server_name(), Some("kubernetes"));
    assert_eq!(kubeconfig.namespace(), "kube-bind-abc");

    let theirs = kube::config::Kubeconfig::from_yaml(&yaml).expect("kube reads it");
    assert_eq!(theirs.current_context.as_deref(), Some("default"));
    assert_eq!(
        (
            theirs.clusters.len(),
            theirs.contexts.len(),
            theirs.auth_infos.len()
        ),
        (1, 1, 1)
    );
    let bare = render("https://api.example.com", None, None, "ns", "on");
    assert!(!bare.contains("certificate-authority-data") && !bare.contains("tls-server-name"));
    let bare = SafeKubeconfig::parse(bare.as_bytes(), Policy::default())
        .expect("words like booleans stay text");
    assert_eq!(bare.credential(), &Credential::Token("on".to_owned()));
}

#[test]
fn fingerprints_tell_any_change_and_nothing_else_of_it() {
    let base = parse(&valid()).expect("valid");
    assert_eq!(
        base.fingerprint(),
        parse(&valid()).expect("valid").fingerprint()
    );
    assert_eq!(base.fingerprint().len(), 32);
    for (field, value) in [
        ("user.token", json!("other")),
        ("context.namespace", json!("other")),
        ("cluster.server", json!("https://other")),
        ("cluster.tls-server-name", Value::Null),
        ("cluster.certificate-authority-data", Value::Null),
    ] {
        let other = parse(&with(field, value)).expect("valid");
        assert_ne!(other.fingerprint(), base.fingerprint(), "{field}");
    }
}

#[test]
fn debug_output_holds_no_secret() {
    let text = format!("{:?}", parse(&valid()).expect("valid"));
    assert!(text.contains("api.provider.test") && text.contains("redacted"));
    assert!(!text.contains(SECRET) && !text.contains("BEGIN"));
    let certificate = Credential::Certificate {
        certificate: CERTIFICATE.to_owned(),
        key: KEY.to_owned(),
    };
    assert_eq!(format!("{certificate:?}"), "Certificate(<redacted>)");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = SafeKubeconfig::parse(&bytes, Policy::default());
    }

    #[test]
    fn no_text_of_yaml_letters_panics(text in "[a-c:&*!?|>{}\\[\\],\"'#%@ \n-]{0,300}") {
        let _ = SafeKubeconfig::parse(text.as_bytes(), Policy::default());
    }

    /// Whatever is cut, doubled or overwritten: no panic, and no secret in a message.
    #[test]
    fn no_mutation_of_a_valid_document_panics_or_leaks(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8, 0..40_usize), 1..6)
    ) {
        let mut document = render("https://api.example.com", Some(CA), Some("kubernetes"), "kube-bind-abc", SECRET).into_bytes();
        for (at, byte, kind, length) in edits {
            let at = at.index(document.len());
            let end = (at + length).min(document.len());
            match kind {
                0 => document[at] = byte,
                1 => { document.drain(at..end); }
                _ => { let copy = document[at..end].to_vec(); document.splice(at..at, copy); }
            }
            if document.is_empty() { break; }
        }
        match SafeKubeconfig::parse(&document, Policy::default()) {
            Ok(kubeconfig) => prop_assert!(kubeconfig.server().starts_with("https://")),
            Err(error) => prop_assert!(!error.to_string().contains(SECRET)),
        }
    }
}
