//! What the konnector asks of both API servers: requests from their audit logs, as they grow, and bytes
//! from their own histograms. Neither puts anything between the programs that are measured.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube_bind_e2e::cluster::{AuditedRequest, Tail};

use crate::bed::Bed;
use crate::report::say;

/// Requests about widgets by the konnector since some moment.
pub struct Meter {
    /// Consumer, provider.
    tails: [Tail; 2],
    /// By side, verb and subresource; those that succeeded.
    pub done: BTreeMap<String, usize>,
    /// Those that did not.
    pub failed: BTreeMap<String, usize>,
    span: Option<(Timestamp, Timestamp)>,
}

impl Meter {
    pub fn start(bed: &Bed) -> Result<Meter> {
        Ok(Meter {
            tails: [
                bed.consumer.plane.audit().tail()?,
                bed.provider.plane.audit().tail()?,
            ],
            done: BTreeMap::new(),
            failed: BTreeMap::new(),
            span: None,
        })
    }

    /// Takes in what has been logged since the last time.
    pub fn read(&mut self) -> Result<()> {
        for (side, number) in [("consumer", 0), ("provider", 1)] {
            for request in self.tails[number].read()? {
                if request.resource == "widgets" && request.user_agent.contains("konnector") {
                    self.file(side, &request)?;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, side: &str, request: &AuditedRequest) -> Result<()> {
        if matches!(request.verb.as_str(), "list" | "watch") {
            return Ok(());
        }
        let kind = format!("{side} {} {}", request.verb, request.subresource);
        let counts = if request.code < 300 {
            &mut self.done
        } else {
            &mut self.failed
        };
        let kind = if request.code < 300 {
            kind
        } else {
            format!("{kind} {}", request.code)
        };
        *counts.entry(kind.trim_end().to_owned()).or_default() += 1;
        let at = |text: &str| text.parse::<Timestamp>().context("not a time");
        let (began, ended) = (at(&request.received)?, at(&request.finished)?);
        let (first, last) = self.span.unwrap_or((began, ended));
        self.span = Some((first.min(began), last.max(ended)));
        Ok(())
    }

    /// All requests but lists and watches.
    pub fn requests(&self) -> usize {
        self.done.values().sum::<usize>() + self.failed.values().sum::<usize>()
    }

    pub fn failures(&self) -> usize {
        if !self.failed.is_empty() {
            say(&format!("failed: {:?}", self.failed));
        }
        self.failed.values().sum()
    }

    /// Successful requests of one kind.
    pub fn of(&self, kind: &str) -> usize {
        self.done.get(kind).copied().unwrap_or_default()
    }

    /// Seconds between the first request and the last answer.
    pub fn seconds(&self) -> f64 {
        self.span.map_or(f64::NAN, |(first, last)| {
            last.duration_since(first).as_secs_f64()
        })
    }
}

/// Bytes of requests, answers and watch events about widgets, on both servers, whoever asked.
pub async fn bytes(bed: &Bed) -> Result<f64> {
    let consumer = sizes(&bed.consumer.plane.client()).await?;
    let provider = sizes(&bed.provider.plane.client()).await?;
    Ok(consumer + provider)
}

const SIZES: [&str; 3] = [
    "apiserver_request_body_size_bytes_sum",
    "apiserver_response_sizes_sum",
    "apiserver_watch_events_sizes_sum",
];

async fn sizes(client: &Client) -> Result<f64> {
    let request = http::Request::get("/metrics").body(Vec::new());
    let text = client
        .request_text(request.context("failed to ask for metrics")?)
        .await?;
    let of_widgets = |line: &&str| {
        SIZES.iter().any(|name| line.starts_with(name))
            && line.contains("\"example.org\"")
            && line.contains("\"widgets\"")
    };
    let values = text.lines().filter(of_widgets).filter_map(|line| {
        let (_, value) = line.rsplit_once(' ')?;
        value.parse::<f64>().ok()
    });
    Ok(values.sum())
}
