//! `kubectl bind login`.

use std::time::Duration;

use clap::Args;
use kube_bind_runtime::go_duration;
use sha2::{Digest as _, Sha256};

use super::Target;
use crate::cli::{BrowserArgs, ServerArgs};
use crate::output;

/// Log in to a provider
#[derive(Debug, Args)]
pub struct Login {
    /// Address of the provider
    #[arg(value_name = "SERVER_URL")]
    url: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    browser: BrowserArgs,
    /// How long to wait for the browser
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = go_duration::parse)]
    timeout: Duration,
    /// Print a fingerprint of the token, never the token
    #[arg(long)]
    show_token: bool,
}

impl Login {
    pub async fn run(self) -> anyhow::Result<()> {
        let mut target = Target::resolve(&self.server, self.url.as_deref())?;
        target.log_in(&self.browser, self.timeout).await?;
        output::data(&format!("server/{} logged in", target.server.key()))?;
        if let Some(entry) = target
            .store
            .find(&target.server)
            .filter(|_| self.show_token)
        {
            let hash = Sha256::digest(&entry.access_token);
            let fingerprint: String = hash
                .iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            output::data(&format!(
                "token SHA256:{fingerprint} expires {}",
                entry.expires_at
            ))?;
        }
        Ok(())
    }
}
