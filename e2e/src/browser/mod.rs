//! A browser without JavaScript: follows redirects with a cookie jar, fills in forms, and remembers
//! every URL that it was sent to.

mod form;

pub use form::Form;

use anyhow::{Context, Result, bail};
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use url::Url;

use crate::idp::Person;

/// More hops than any login has.
const MAX_REDIRECTS: usize = 30;

/// One request that was made.
#[derive(Debug, Clone)]
pub struct Visit {
    /// `GET` or `POST`.
    pub method: Method,
    /// The whole URL.
    pub url: Url,
    /// Status of the answer; none if there was no connection.
    pub status: Option<StatusCode>,
}

/// A person's browser.
#[derive(Debug)]
pub struct Browser {
    client: reqwest::Client,
    visits: Vec<Visit>,
}

/// Where the browser ended up.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its address.
    pub url: Url,
    /// The answer's status.
    pub status: StatusCode,
    /// Its text.
    pub body: String,
}

impl Page {
    /// Its forms, in order.
    pub fn forms(&self) -> Result<Vec<Form>> {
        form::parse(&self.body, &self.url)
    }
}

impl Browser {
    /// A browser with an empty cookie jar.
    pub fn new() -> Result<Browser> {
        let client = reqwest::Client::builder()
            .cookie_store(true)
            .redirect(Policy::none())
            .no_proxy()
            .user_agent("scripted-browser")
            .build()
            .context("failed to make a browser")?;
        Ok(Browser {
            client,
            visits: Vec::new(),
        })
    }

    /// Opens an address and follows redirects to the page behind them.
    pub async fn open(&mut self, url: &str) -> Result<Page> {
        let url = Url::parse(url).with_context(|| format!("{url:?} is no URL"))?;
        self.go(Method::GET, url, &[]).await
    }

    /// Sends a form with its own values and `fields` over them.
    pub async fn submit(&mut self, form: &Form, fields: &[(&str, &str)]) -> Result<Page> {
        let values = form.filled(fields);
        if form.method == Method::GET {
            let mut url = form.action.clone();
            url.query_pairs_mut().clear().extend_pairs(&values);
            return self.go(Method::GET, url, &[]).await;
        }
        self.go(form.method.clone(), form.action.clone(), &values)
            .await
    }

    /// Opens `url` and goes through the identity provider's sign-in and consent forms as `person`.
    /// `say` hears what is being filled in. Ends at the first page that is neither.
    pub async fn sign_in(
        &mut self,
        url: &str,
        person: &Person,
        mut say: impl FnMut(&str),
    ) -> Result<Page> {
        let mut page = self.open(url).await?;
        for _ in 0..5 {
            if !page.status.is_success() {
                return Ok(page);
            }
            let form = page
                .forms()?
                .into_iter()
                .find(|form| form.method == Method::POST);
            let Some(form) = form.filter(|form| form.asks_for("prompt")) else {
                return Ok(page);
            };
            page = if form.asks_for("password") {
                say(&format!("{} signs in at {}", person.name, form.action));
                self.submit(
                    &form,
                    &[("login", &person.name), ("password", &person.password)],
                )
                .await?
            } else {
                say(&format!("{} consents at {}", person.name, form.action));
                self.submit(&form, &[]).await?
            };
        }
        bail!(
            "the identity provider asks again and again; at last on {}",
            page.url
        )
    }

    /// Everything that was requested so far.
    pub fn visits(&self) -> &[Visit] {
        &self.visits
    }

    async fn go(&mut self, method: Method, url: Url, form: &[(String, String)]) -> Result<Page> {
        let (mut method, mut url, mut form) = (method, url, Some(form));
        for _ in 0..MAX_REDIRECTS {
            let mut request = self.client.request(method.clone(), url.clone());
            if let Some(fields) = form.take().filter(|_| method == Method::POST) {
                request = request.form(fields);
            }
            let visit = self.visits.len();
            self.visits.push(Visit {
                method: method.clone(),
                url: url.clone(),
                status: None,
            });
            let answer = request
                .send()
                .await
                .with_context(|| format!("failed to open {url}"))?;
            let status = answer.status();
            self.visits[visit].status = Some(status);
            let location = answer
                .headers()
                .get(LOCATION)
                .cloned()
                .filter(|_| status.is_redirection());
            let Some(location) = location else {
                let body = answer
                    .text()
                    .await
                    .with_context(|| format!("failed to read {url}"))?;
                return Ok(Page { url, status, body });
            };
            let location = location
                .to_str()
                .context("a redirect to something that is no text")?;
            url = url
                .join(location)
                .with_context(|| format!("a redirect to {location:?}"))?;
            if !matches!(
                status,
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
            ) {
                method = Method::GET;
            }
        }
        bail!("more than {MAX_REDIRECTS} redirects; at last to {url}")
    }
}
