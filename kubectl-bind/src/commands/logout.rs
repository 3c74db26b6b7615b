//! `kubectl bind logout`: forgets the token. It stays valid at the provider until it expires.

use clap::Args;

use super::Target;
use crate::cli::ServerArgs;
use crate::output;

/// Forget the login to a provider
#[derive(Debug, Args)]
pub struct Logout {
    /// Address of the provider
    #[arg(value_name = "SERVER_URL")]
    url: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

impl Logout {
    pub fn run(self) -> anyhow::Result<()> {
        let mut target = Target::resolve(&self.server, self.url.as_deref())?;
        let word = if target.store.remove(&target.server) {
            target.store.save(&target.path)?;
            "logged out"
        } else {
            "unchanged"
        };
        Ok(output::data(&format!(
            "server/{} {word}",
            target.server.key()
        ))?)
    }
}
