//! `kubectl bind version`.

use clap::{Args, ValueEnum};
use kube_bind_crds::version::VERSION;
use serde_json::json;

use crate::output;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Structured {
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// Print the version of the plugin
#[derive(Debug, Args)]
pub struct Version {
    /// Output format
    #[arg(long, short = 'o', value_enum, value_name = "FORMAT")]
    output: Option<Structured>,
}

impl Version {
    pub fn run(self) -> anyhow::Result<()> {
        let document = json!({"clientVersion": {"gitVersion": VERSION}});
        let format = match self.output {
            None => return Ok(output::data(VERSION)?),
            Some(Structured::Json) => output::Format::Json,
            Some(Structured::Yaml) => output::Format::Yaml,
        };
        Ok(output::objects(format, &[document], &[])?)
    }
}
