//! The command line of the benchmark.

use std::path::PathBuf;

use clap::Parser;

/// Measures the konnector against targets and against a bare client.
#[derive(Debug, Parser)]
pub struct Args {
    /// How many objects to sync from a cold start, one run after the other.
    #[arg(long, value_delimiter = ' ', default_value = "100 1000 10000")]
    pub objects: Vec<usize>,

    /// Over how many namespaces the objects are spread.
    #[arg(long, default_value_t = 50)]
    pub namespaces: usize,

    /// Objects that are synced one at a time.
    #[arg(long, default_value_t = 100)]
    pub alone: usize,

    /// Changes a second while the steady rate is measured: half creations, half changes of status.
    #[arg(long, default_value_t = 50)]
    pub rate: u32,

    /// How long the steady rate is kept up; 0 leaves it out.
    #[arg(long, default_value_t = 60)]
    pub steady_seconds: u32,

    /// Where to write the results as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,

    /// Date of the run, for the JSON.
    #[arg(long, default_value = "")]
    pub date: String,

    /// Commit that is measured, for the JSON.
    #[arg(long, default_value = "")]
    pub commit: String,
}
