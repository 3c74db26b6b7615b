//! The provider's HTTP API (contract section 2.2). IO. Every status is examined, redirects are not
//! followed, and no message holds a token.

mod error;
mod http;

use jiff::Timestamp;
use kube_bind_crds::names;
use kube_bind_crds::wire::{BindingProvider, BindingResourceResponse, TokenRequest, TokenResponse};
use reqwest::Method;
use serde_json::{Value, json};

pub use error::Error;
pub use http::{Http, TlsOptions};

use crate::server::Server;
use crate::store::Entry;

/// A token that ends sooner than this is not used any more: the answer must arrive in time, too.
const LEAST_LIFE_SECONDS: i64 = 30;

/// An offering as it is stored in the catalogue: the document itself, so that nothing unknown is lost.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// As the server sent it.
    pub document: Value,
    /// The same, understood.
    pub object: T,
}

/// A server, and whether we are logged in there.
#[derive(Clone)]
pub struct Provider {
    http: Http,
    server: Server,
    authorization: Option<String>,
}

impl Provider {
    /// Talks to a server without being logged in.
    pub fn anonymous(http: Http, server: Server) -> Self {
        Self {
            http,
            server,
            authorization: None,
        }
    }

    /// Talks to a server with a stored token, if that is still good.
    pub fn with_entry(
        http: Http,
        server: Server,
        entry: Option<&Entry>,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let login = |why| Error::LoginNeeded {
            why,
            server: server.key(),
        };
        let entry = entry
            .filter(|e| !e.access_token.is_empty())
            .ok_or_else(|| login("not logged in"))?;
        let least = now.as_second() + LEAST_LIFE_SECONDS;
        if entry.expiry().is_some_and(|at| at.as_second() < least) {
            return Err(login("the login has expired"));
        }
        let kind = if entry.token_type.is_empty() {
            "Bearer"
        } else {
            &entry.token_type
        };
        let authorization = Some(format!("{kind} {}", entry.access_token));
        Ok(Self {
            http,
            server,
            authorization,
        })
    }

    /// Which server this is.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What the provider says about itself, and how to log in.
    pub async fn describe(&self) -> Result<BindingProvider, Error> {
        self.request(Method::GET, "/api/exports", None).await
    }

    /// Redeems the code of a login.
    pub async fn redeem(&self, request: &TokenRequest) -> Result<TokenResponse, Error> {
        let body = json!({
            "code": request.code,
            "codeVerifier": request.code_verifier,
            "redirectUri": request.redirect_uri,
        });
        self.request(Method::POST, "/api/token", Some(body)).await
    }

    /// The items of a list, such as `/api/templates`.
    pub async fn list<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Vec<Listed<T>>, Error> {
        let list: Value = self.request(Method::GET, path, None).await?;
        let Some(items) = list.get("items") else {
            return Err(self.strange("a list without items"));
        };
        let items = items.as_array().cloned().unwrap_or_default();
        items
            .into_iter()
            .map(|document| {
                let object = serde_json::from_value(document.clone()).map_err(|err| {
                    self.strange(&format!("an item that is not understood: {err}"))
                })?;
                Ok(Listed { document, object })
            })
            .collect()
    }

    /// Asks for credentials, and for the request that a template stands for.
    pub async fn bind(
        &self,
        name: &str,
        template: &str,
        identity: &str,
    ) -> Result<BindingResourceResponse, Error> {
        let body = json!({
            "apiVersion": names::API_VERSION,
            "kind": "BindableResourcesRequest",
            "metadata": {"name": name},
            "spec": {
                "templateRef": {"name": template},
                "clusterIdentity": {"identity": identity},
                "author": "",
            },
        });
        self.request(Method::POST, "/api/bind", Some(body)).await
    }

    async fn request<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, Error> {
        let url = self.server.endpoint(path);
        let answer = self
            .http
            .send(method, url, self.authorization.as_deref(), body.as_ref())
            .await;
        let bytes = answer.map_err(|failure| failure.explain(&self.server))?;
        // serde_json's own message would quote what the server sent, perhaps a credential.
        serde_json::from_slice(&bytes)
            .map_err(|_| self.strange("something else than the expected JSON"))
    }

    fn strange(&self, what: &str) -> Error {
        Error::Strange {
            server: self.server.address(),
            what: what.to_owned(),
        }
    }
}
