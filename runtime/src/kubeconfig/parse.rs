//! The checks of a hostile kubeconfig, from the document down to the credential. No IO.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube_bind_crds::isolation::MAX_NAMESPACE;
use kube_bind_crds::validate::is_label;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Map, Value};
use url::Url;

use super::{Ca, Credential, Error, MAX_BYTES, Policy, SafeKubeconfig};

type Object = Map<String, Value>;

/// Kubeconfigs are five levels deep; extensions may need some more.
const DEEPEST: usize = 32;

pub(super) fn parse(document: &[u8], policy: Policy) -> Result<SafeKubeconfig, Error> {
    if document.len() > MAX_BYTES {
        return Err(Error::TooLarge {
            bytes: document.len(),
            limit: MAX_BYTES,
        });
    }
    let root = yaml(document)?;
    let root = root.as_object().ok_or(Error::WrongType {
        field: "(document)",
        expected: "a mapping",
    })?;

    let current =
        text(root, "current-context", "current-context")?.ok_or(Error::NoCurrentContext)?;
    let context = entry(root, &CONTEXTS, current)?.ok_or(Error::MissingContext)?;
    let cluster = text(context, "cluster", "context.cluster")?.ok_or(Error::MissingCluster)?;
    let cluster = entry(root, &CLUSTERS, cluster)?.ok_or(Error::MissingCluster)?;
    let user = text(context, "user", "context.user")?.ok_or(Error::MissingUser)?;
    let user = entry(root, &USERS, user)?.ok_or(Error::MissingUser)?;

    // What is dangerous is refused before anything else is looked at, so that the message names it.
    refuse_in_user(user)?;
    refuse_in_cluster(cluster, policy)?;
    Ok(SafeKubeconfig {
        server: server(cluster, policy)?,
        ca: certificate_authority(cluster)?,
        tls_server_name: tls_server_name(cluster)?,
        insecure: insecure(cluster)?,
        namespace: namespace(context)?,
        credential: credential(user)?,
    })
}

fn yaml(document: &[u8]) -> Result<Value, Error> {
    let text = std::str::from_utf8(document).map_err(|_| Error::NotYaml { line: None })?;
    // Aliases are how a small document becomes a huge one; no kubeconfig needs them.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 0,
            max_anchors: 0,
            max_merge_keys: 0,
            max_depth: DEEPEST,
            max_documents: 1,
        },
        strict_booleans: true,
        with_snippet: false,
    };
    // The library's message may quote the document, which may hold secrets.
    serde_saphyr::from_str_with_options(text, options).map_err(|err| Error::NotYaml {
        line: err.location().map(|location| location.line()),
    })
}

/// One of the three lists of named entries.
struct List {
    field: &'static str,
    entry: &'static str,
}

const CONTEXTS: List = List {
    field: "contexts",
    entry: "context",
};
const CLUSTERS: List = List {
    field: "clusters",
    entry: "cluster",
};
const USERS: List = List {
    field: "users",
    entry: "user",
};

/// The one entry with that name. Other entries are not looked at: they are never used.
fn entry<'a>(root: &'a Object, list: &List, name: &str) -> Result<Option<&'a Object>, Error> {
    let entries = match root.get(list.field) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(entries)) => entries,
        Some(_) => {
            return Err(Error::WrongType {
                field: list.field,
                expected: "a list",
            });
        }
    };
    let mut named = entries
        .iter()
        .filter(|entry| entry.get("name").and_then(Value::as_str) == Some(name));
    let Some(found) = named.next() else {
        return Ok(None);
    };
    if named.next().is_some() {
        return Err(Error::Ambiguous { list: list.field });
    }
    match found.get(list.entry) {
        Some(Value::Object(object)) => Ok(Some(object)),
        _ => Err(Error::WrongType {
            field: list.entry,
            expected: "a mapping",
        }),
    }
}

/// A text field; null and empty count as absent, as they do for kubectl.
fn text<'a>(object: &'a Object, key: &str, field: &'static str) -> Result<Option<&'a str>, Error> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(Error::WrongType {
            field,
            expected: "text (in quotes if it looks like a number)",
        }),
    }
}

/// Whether a field is there at all, whatever its type: what must not be there is not interpreted.
fn present(object: &Object, key: &str) -> bool {
    !matches!(object.get(key), None | Some(Value::Null))
        && object.get(key).and_then(Value::as_str) != Some("")
}

fn refuse_in_user(user: &Object) -> Result<(), Error> {
    let refused = [
        ("exec", Error::Exec),
        ("auth-provider", Error::AuthProvider),
        (
            "tokenFile",
            Error::FilePath {
                field: "user.tokenFile",
                inline: "user.token",
            },
        ),
        (
            "client-certificate",
            Error::FilePath {
                field: "user.client-certificate",
                inline: "user.client-certificate-data",
            },
        ),
        (
            "client-key",
            Error::FilePath {
                field: "user.client-key",
                inline: "user.client-key-data",
            },
        ),
        (
            "username",
            Error::BasicAuth {
                field: "user.username",
            },
        ),
        (
            "password",
            Error::BasicAuth {
                field: "user.password",
            },
        ),
        ("as", Error::Impersonation { field: "user.as" }),
        (
            "as-uid",
            Error::Impersonation {
                field: "user.as-uid",
            },
        ),
        (
            "as-groups",
            Error::Impersonation {
                field: "user.as-groups",
            },
        ),
        (
            "as-user-extra",
            Error::Impersonation {
                field: "user.as-user-extra",
            },
        ),
    ];
    refused
        .into_iter()
        .find(|(key, _)| present(user, key))
        .map_or(Ok(()), |(_, error)| Err(error))
}

fn refuse_in_cluster(cluster: &Object, policy: Policy) -> Result<(), Error> {
    if present(cluster, "certificate-authority") {
        let inline = "cluster.certificate-authority-data";
        return Err(Error::FilePath {
            field: "cluster.certificate-authority",
            inline,
        });
    }
    if present(cluster, "proxy-url") {
        return Err(Error::Proxy);
    }
    if insecure(cluster)? && !policy.allow_insecure_tls {
        return Err(Error::InsecureTls);
    }
    Ok(())
}

fn insecure(cluster: &Object) -> Result<bool, Error> {
    match cluster.get("insecure-skip-tls-verify") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(insecure)) => Ok(*insecure),
        Some(_) => Err(Error::WrongType {
            field: "cluster.insecure-skip-tls-verify",
            expected: "true or false",
        }),
    }
}

fn server(cluster: &Object, policy: Policy) -> Result<String, Error> {
    let bad = |problem| Error::BadServer { problem };
    let server = text(cluster, "server", "cluster.server")?.ok_or(bad("is missing"))?;
    let url = Url::parse(server).map_err(|_| bad("is not a URL"))?;
    match url.scheme() {
        "https" => {}
        "http" if policy.allow_http => {}
        "http" => return Err(Error::Http),
        _ => return Err(bad("has another scheme than https")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("holds a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("holds a query or fragment"));
    }
    // What was checked is what is used: the parser's own writing, not the document's.
    let checked = url.as_str().trim_end_matches('/').to_owned();
    match checked.parse::<http::Uri>() {
        Ok(uri) if uri.host() == url.host_str() && uri.port_u16() == url.port() => Ok(checked),
        _ => Err(bad("is not an unambiguous URL")),
    }
}

fn certificate_authority(cluster: &Object) -> Result<Option<Ca>, Error> {
    let (key, field) = (
        "certificate-authority-data",
        "cluster.certificate-authority-data",
    );
    let bad = || Error::BadPem {
        field,
        expected: "PEM with at least one certificate",
    };
    let Some(data) = text(cluster, key, field)? else {
        return Ok(None);
    };
    let pem = decode(data).ok_or_else(bad)?;
    let der = CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(|certificate| certificate.map(|certificate| certificate.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| bad())?;
    if der.is_empty() {
        return Err(bad());
    }
    Ok(Some(Ca { pem, der }))
}

fn tls_server_name(cluster: &Object) -> Result<Option<String>, Error> {
    let Some(name) = text(cluster, "tls-server-name", "cluster.tls-server-name")? else {
        return Ok(None);
    };
    ServerName::try_from(name).map_err(|_| Error::BadTlsServerName)?;
    Ok(Some(name.to_owned()))
}

fn namespace(context: &Object) -> Result<String, Error> {
    let name = text(context, "namespace", "context.namespace")?.ok_or(Error::NoNamespace)?;
    if name.len() <= MAX_NAMESPACE && is_label(name) {
        Ok(name.to_owned())
    } else {
        Err(Error::BadNamespace)
    }
}

fn credential(user: &Object) -> Result<Credential, Error> {
    let (certificate_field, key_field) = ("user.client-certificate-data", "user.client-key-data");
    let token = text(user, "token", "user.token")?;
    let certificate = text(user, "client-certificate-data", certificate_field)?;
    let key = text(user, "client-key-data", key_field)?;
    match (token, certificate, key) {
        (None, None, None) => Err(Error::NoCredentials),
        (Some(token), None, None) => {
            if token.bytes().all(|byte| byte.is_ascii_graphic()) {
                Ok(Credential::Token(token.to_owned()))
            } else {
                Err(Error::BadToken)
            }
        }
        (Some(_), _, _) => Err(Error::TwoCredentials),
        (None, None, Some(_)) => Err(Error::HalfCertificate {
            field: certificate_field,
        }),
        (None, Some(_), None) => Err(Error::HalfCertificate { field: key_field }),
        (None, Some(certificate), Some(key)) => Ok(Credential::Certificate {
            certificate: decode(certificate)
                .filter(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).is_ok())
                .ok_or(Error::BadPem {
                    field: certificate_field,
                    expected: "PEM with a certificate",
                })?,
            key: decode(key)
                .filter(|pem| PrivateKeyDer::from_pem_slice(pem.as_bytes()).is_ok())
                .ok_or(Error::BadPem {
                    field: key_field,
                    expected: "PEM with a private key",
                })?,
        }),
    }
}

/// Base64 of text; line breaks are usual in hand-made kubeconfigs.
fn decode(data: &str) -> Option<String> {
    let compact: String = data.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    String::from_utf8(STANDARD.decode(compact).ok()?).ok()
}
