//! `GET /`: what this is, for whoever opens the URL in a browser.

use axum::extract::State;
use axum::response::Html;
use kube_bind_runtime::text::escape_html;

use crate::embedded::WARNING;
use crate::html::page;
use crate::state::AppState;

/// A plain page.
pub async fn handle(State(state): State<AppState>) -> Html<String> {
    let url = escape_html(&state.site.public_url);
    let warning = match &state.embedded {
        Some(_) => format!("<p><strong>{WARNING}.</strong></p>\n"),
        None => String::new(),
    };
    let body = format!(
        "{warning}<p>This service provider offers Kubernetes APIs. To use them in your own cluster, run</p>\n\
         <pre>kubectl bind {url}</pre>\n\
         <p>It logs you in, shows what is offered, and binds what you choose.</p>"
    );
    Html(page(&state.site.pretty_name, &body))
}
