//! Login through the browser: the plugin waits on a loopback address for a one-time code and
//! redeems it with a proof that only it has. IO. The token never passes through the browser.

mod callback;
mod page;
mod secret;

use std::time::Duration;

use jiff::SignedDuration;
use kube_bind_crds::wire::TokenRequest;
use kube_bind_runtime::clock::Clock;
use url::Url;

use crate::output::say;
use crate::provider::{self, Provider};
use crate::store::Entry;
use callback::{Answer, Listener};
use secret::Secrets;

/// The longest life that a server's answer is believed.
const LONGEST_LIFE_SECONDS: u64 = 31 * 24 * 3600;

/// Why there was no login.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server could not be asked, or refused the code.
    #[error(transparent)]
    Provider(#[from] provider::Error),
    /// There is no way of logging in that this plugin knows.
    #[error("{0} offers no login through the browser")]
    NoMethod(String),
    /// The login address of the server is not usable.
    #[error("failed to use the login address that the server names")]
    Address(#[source] crate::server::Error),
    /// No port on this machine.
    #[error("failed to listen on 127.0.0.1 for the end of the login")]
    Listen(#[source] std::io::Error),
    /// The identity provider or the backend said no.
    #[error("the provider refused the login: {0}")]
    Refused(String),
    /// Nobody logged in.
    #[error("nobody finished the login within {}: run the command again", kube_bind_runtime::go_duration::format(*.0))]
    TimedOut(Duration),
    /// Success without what it is for.
    #[error("the server's answer to the login holds no usable token")]
    NoToken,
    /// The original's backend puts the token into the redirect.
    #[error(
        "the server wants to send the token through the browser: use --allow-legacy-login if you accept that"
    )]
    Legacy,
}

/// How to log in.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only print the address.
    pub skip_browser: bool,
    /// How long to wait.
    pub timeout: Duration,
    /// Accept plain http to other machines.
    pub allow_http: bool,
    /// Accept a token in the redirect, as the original's backend sends it.
    pub allow_legacy: bool,
}

/// Logs in; the entry for the token store.
pub async fn login(
    provider: &Provider,
    options: &Options,
    clock: &dyn Clock,
) -> Result<Entry, Error> {
    let server = provider.server();
    let description = provider.describe().await?;
    let named = description
        .authenticated_url()
        .ok_or_else(|| Error::NoMethod(server.address()))?;
    let address = server
        .login_address(named, options.allow_http)
        .map_err(Error::Address)?;
    let secrets = Secrets::new();
    let listener = Listener::bind(&secrets.session_id, options.allow_legacy)
        .await
        .map_err(Error::Listen)?;
    let redirect_uri = listener.redirect_uri().to_owned();
    let address = browser_address(address, &redirect_uri, &secrets, server.cluster());
    invite(&address, options.skip_browser);

    let mut entry = None;
    let finished = listener
        .serve(options.timeout, async |answer| {
            let result = finish(provider, answer, &secrets, &redirect_uri, clock).await;
            let shown = result
                .as_ref()
                .map(|_| ())
                .map_err(|err| crate::text::causes(err));
            entry = Some(result);
            shown
        })
        .await;
    match entry {
        Some(result) => result,
        None if finished => Err(Error::NoToken),
        None => Err(Error::TimedOut(options.timeout)),
    }
}

async fn finish(
    provider: &Provider,
    answer: Answer,
    secrets: &Secrets,
    redirect_uri: &str,
    clock: &dyn Clock,
) -> Result<Entry, Error> {
    let (token, kind, seconds) = match answer {
        Answer::Refused(why) => return Err(Error::Refused(why)),
        Answer::LegacyRefused => return Err(Error::Legacy),
        Answer::Legacy {
            token,
            kind,
            seconds,
        } => (token, kind, seconds),
        Answer::Code(code) => {
            let request = TokenRequest {
                code,
                code_verifier: secrets.verifier.clone(),
                redirect_uri: redirect_uri.to_owned(),
            };
            let response = provider.redeem(&request).await?;
            (
                response.access_token,
                response.token_type,
                response.expires_in,
            )
        }
    };
    // Both end up in one header.
    if token.is_empty()
        || !format!("{kind}{token}")
            .bytes()
            .all(|b| b.is_ascii_graphic())
    {
        return Err(Error::NoToken);
    }
    let life = i64::try_from(seconds.min(LONGEST_LIFE_SECONDS)).expect("a month of seconds fits");
    Ok(Entry::new(
        provider.server(),
        token,
        kind,
        clock.now() + SignedDuration::from_secs(life),
    ))
}

fn browser_address(
    mut address: Url,
    redirect_uri: &str,
    secrets: &Secrets,
    cluster: Option<&str>,
) -> Url {
    let kept: Vec<(String, String)> = address
        .query_pairs()
        .filter(|(key, _)| key != "cluster_id" || cluster.is_none())
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    address
        .query_pairs_mut()
        .clear()
        .extend_pairs(kept)
        .append_pair("client_type", "cli")
        .append_pair("redirect_url", redirect_uri)
        .append_pair("session_id", &secrets.session_id)
        .append_pair("code_challenge", &secrets.challenge())
        .append_pair("code_challenge_method", "S256")
        .extend_pairs(cluster.map(|cluster| ("cluster_id", cluster)));
    address
}

fn invite(address: &Url, skip_browser: bool) {
    if skip_browser {
        say(&format!(
            "Open this address in a browser on this machine to log in:\n\n  {address}\n"
        ));
        return;
    }
    // What browsers print to stdout must not get between our data.
    let quietly = webbrowser::BrowserOptions::new();
    match webbrowser::open_browser_with_options(
        webbrowser::Browser::Default,
        address.as_str(),
        &quietly,
    ) {
        Ok(()) => say(&format!(
            "Your browser was opened for the login. If it was not, open:\n\n  {address}\n"
        )),
        Err(_) => say(&format!(
            "No browser could be opened. Open this address in one on this machine to log in:\n\n  {address}\n"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_address_carries_the_challenge_and_never_the_verifier() {
        let secrets = Secrets::new();
        let base =
            Url::parse("https://provider.example/api/authorize?cluster_id=stale&x=1").unwrap();
        let address = browser_address(base, "http://127.0.0.1:1/callback", &secrets, Some("kcp1"));
        let pairs: Vec<(String, String)> = address.query_pairs().into_owned().collect();
        let get = |key: &str| {
            pairs
                .iter()
                .filter(|(k, _)| k == key)
                .map(|(_, v)| v.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(get("client_type"), ["cli"]);
        assert_eq!(get("cluster_id"), ["kcp1"]);
        assert_eq!(get("x"), ["1"]);
        assert_eq!(get("redirect_url"), ["http://127.0.0.1:1/callback"]);
        assert_eq!(get("code_challenge"), [secrets.challenge()]);
        assert!(!address.as_str().contains(&secrets.verifier));
    }
}
