//! `kubectl bind cluster-identity`.

use clap::Args;

use crate::cli::ConsumerArgs;
use crate::{cluster, output};

/// Print the identity that a provider knows your cluster by
#[derive(Debug, Args)]
pub struct ClusterIdentity {
    #[command(flatten)]
    consumer: ConsumerArgs,
    /// Namespace whose uid identifies your cluster
    #[arg(
        long,
        short = 'n',
        value_name = "NAMESPACE",
        default_value = "kube-system"
    )]
    namespace: String,
}

impl ClusterIdentity {
    pub async fn run(self) -> anyhow::Result<()> {
        let client = cluster::connect(
            self.consumer.kubeconfig.as_deref(),
            self.consumer.context.as_deref(),
        )
        .await?;
        Ok(output::data(
            &cluster::identity(&client, &self.namespace).await?,
        )?)
    }
}
