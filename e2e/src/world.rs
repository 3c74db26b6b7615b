//! A provider and its consumers, all at once.

use anyhow::Result;

use crate::consumer::Consumer;
use crate::provider::{Provider, ProviderOptions};

/// One provider, two consumers who must never see each other.
pub struct World {
    /// The provider.
    pub provider: Provider,
    /// The consumer that Alice administers.
    pub north: Consumer,
    /// The consumer that Bob administers.
    pub south: Consumer,
}

impl World {
    /// Starts all control planes together; nobody has bound anything yet.
    pub async fn start(options: ProviderOptions) -> Result<World> {
        let (provider, north, south) = tokio::try_join!(
            Provider::start(options),
            Consumer::start("consumer-north"),
            Consumer::start("consumer-south")
        )?;
        Ok(World {
            provider,
            north,
            south,
        })
    }
}
