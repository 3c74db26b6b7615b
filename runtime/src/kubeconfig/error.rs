//! Why a kubeconfig is refused. Messages name the field and the remedy, never the content: they end
//! up in conditions and logs. No IO.

/// Why a kubeconfig is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Larger than [`super::MAX_BYTES`].
    #[error("kubeconfig has {bytes} bytes; at most {limit} are accepted")]
    TooLarge {
        /// Size of the document.
        bytes: usize,
        /// [`super::MAX_BYTES`].
        limit: usize,
    },
    /// Broken, several documents, repeated keys, aliases, or nested too deeply.
    #[error("kubeconfig is not acceptable YAML{}; it must be one plain document without aliases or repeated keys", at(*line))]
    NotYaml {
        /// Where, if known.
        line: Option<u64>,
    },
    /// A field has another type than kubeconfigs have there.
    #[error("kubeconfig field {field} must be {expected}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// The type that it must have.
        expected: &'static str,
    },
    /// Nothing says which context counts.
    #[error("kubeconfig has no current-context; set it to the context to use")]
    NoCurrentContext,
    /// `current-context` names no context.
    #[error(
        "kubeconfig has no context with the name that current-context gives; add it to contexts"
    )]
    MissingContext,
    /// The context names no cluster, or one that is not there.
    #[error(
        "kubeconfig has no cluster with the name that context.cluster gives; add it to clusters"
    )]
    MissingCluster,
    /// The context names no user, or one that is not there.
    #[error("kubeconfig has no user with the name that context.user gives; add it to users")]
    MissingUser,
    /// Two entries bear the name that is used; readers disagree on which one counts.
    #[error("kubeconfig has several {list} with the name in use; keep one")]
    Ambiguous {
        /// `contexts`, `clusters` or `users`.
        list: &'static str,
    },
    /// The context has no namespace.
    #[error(
        "kubeconfig field context.namespace is missing; set it to the namespace that the provider assigned"
    )]
    NoNamespace,
    /// The context's namespace cannot be the name of one.
    #[error(
        "kubeconfig field context.namespace is not a namespace name; use at most 63 lower-case letters, digits and '-'"
    )]
    BadNamespace,
    /// There is no usable server address.
    #[error(
        "kubeconfig field cluster.server {problem}; set it to an address like https://api.example.com:6443"
    )]
    BadServer {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Unencrypted.
    #[error(
        "kubeconfig field cluster.server begins with http://, which is not allowed; use https://"
    )]
    Http,
    /// The server's certificate would not be checked.
    #[error(
        "kubeconfig field cluster.insecure-skip-tls-verify is not allowed; set cluster.certificate-authority-data instead"
    )]
    InsecureTls,
    /// All requests would go through an address that the document chooses.
    #[error("kubeconfig field cluster.proxy-url is not allowed; remove it")]
    Proxy,
    /// Not the name of a host.
    #[error("kubeconfig field cluster.tls-server-name is not a host name; correct or remove it")]
    BadTlsServerName,
    /// A path: what it names would be read from our machine.
    #[error(
        "kubeconfig field {field} names a file, which is not allowed; put the content into {inline}"
    )]
    FilePath {
        /// The field.
        field: &'static str,
        /// The field that holds the same inline.
        inline: &'static str,
    },
    /// A program would be run.
    #[error("kubeconfig field user.exec runs a program, which is not allowed; use user.token")]
    Exec,
    /// Code of the reader's would be chosen by the document.
    #[error("kubeconfig field user.auth-provider is not allowed; use user.token")]
    AuthProvider,
    /// User name and password.
    #[error("kubeconfig field {field} is not allowed; use user.token")]
    BasicAuth {
        /// The field.
        field: &'static str,
    },
    /// Requests would be made in somebody else's name.
    #[error("kubeconfig field {field} asks for impersonation, which is not allowed; remove it")]
    Impersonation {
        /// The field.
        field: &'static str,
    },
    /// Not base64, or no PEM of the right kind in it.
    #[error("kubeconfig field {field} is not {expected}, base64-encoded; correct it")]
    BadPem {
        /// The field.
        field: &'static str,
        /// What it must hold.
        expected: &'static str,
    },
    /// A token that no HTTP header can carry.
    #[error("kubeconfig field user.token is not one line of visible ASCII characters; correct it")]
    BadToken,
    /// Only one half of a client certificate.
    #[error("kubeconfig field {field} is missing; client certificate and key belong together")]
    HalfCertificate {
        /// The half that is missing.
        field: &'static str,
    },
    /// Neither a token nor a client certificate.
    #[error(
        "kubeconfig has no credential; set user.token, or user.client-certificate-data and user.client-key-data"
    )]
    NoCredentials,
    /// A token and a client certificate.
    #[error("kubeconfig has both user.token and a client certificate; keep one")]
    TwoCredentials,
}

fn at(line: Option<u64>) -> String {
    line.map(|line| format!(" (line {line})"))
        .unwrap_or_default()
}
