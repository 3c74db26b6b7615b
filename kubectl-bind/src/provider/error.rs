//! What can go wrong between the plugin and a provider's server, with the remedy. Pure.

/// Why the server could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer.
    #[error("failed to reach {server}: {why}{remedy}")]
    Unreachable {
        /// Which server.
        server: String,
        /// The root of what the client says.
        why: String,
        /// What to do, or nothing.
        remedy: &'static str,
    },
    /// The CA file cannot be used, or TLS cannot be set up.
    #[error("failed to set up the connection: {what}")]
    SetUp {
        /// Which part.
        what: String,
    },
    /// Not logged in, or not any more.
    #[error("{why}: log in with \"kubectl bind login {server}\"")]
    LoginNeeded {
        /// What is the matter.
        why: &'static str,
        /// Key of the server.
        server: String,
    },
    /// The server answered with an error document, or at least with an error status.
    #[error("{message} ({code}){details}{remedy}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The server's words.
        message: String,
        /// Its code, or the HTTP status.
        code: String,
        /// Its details, each line indented, or nothing.
        details: String,
        /// What to do, or nothing.
        remedy: &'static str,
    },
    /// API calls carry a token, which must not follow a redirect to somebody else.
    #[error("{server} redirects to {location}: if you trust that address, use it instead")]
    Redirected {
        /// Which server.
        server: String,
        /// Where to, without its query.
        location: String,
    },
    /// Success, but not the success that was expected.
    #[error("{server} answered with {what}: is it a kube-bind server?")]
    Strange {
        /// Which server.
        server: String,
        /// What came.
        what: String,
    },
}

impl Error {
    /// Whether logging in again may help.
    pub fn needs_login(&self) -> bool {
        matches!(self, Self::LoginNeeded { .. })
    }
}
