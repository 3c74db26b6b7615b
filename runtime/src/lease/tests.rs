//! Candidates against a lease in memory that answers as an API server does.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{LeaderToken, LeaseConfig, run};
use crate::clock::{Clock as _, SystemClock};
use crate::shutdown::Shutdown;

const PATIENCE: Duration = Duration::from_secs(20);
const LEASE: Duration = Duration::from_secs(2);

/// How the server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Up,
    /// Answers 500.
    Failing,
    /// Does not answer.
    Silent,
    /// Writes take effect, but no answer to a write comes.
    LosesAnswers,
}

#[derive(Clone)]
struct Server {
    state: Arc<Mutex<(Mode, Option<Value>, u64)>>,
}

impl Server {
    fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new((Mode::Up, None, 0))),
        }
    }

    fn set(&self, mode: Mode) {
        self.state.lock().unwrap().0 = mode;
    }

    fn lease(&self) -> Option<Value> {
        self.state.lock().unwrap().1.clone()
    }

    fn holder(&self) -> Option<String> {
        self.lease().map(|lease| {
            lease["spec"]["holderIdentity"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
    }

    /// Somebody writes the lease without asking anybody.
    fn put(&self, spec: Value) {
        let mut state = self.state.lock().unwrap();
        state.2 += 1;
        let metadata = json!({"name": "lease", "namespace": "ns", "resourceVersion": state.2.to_string(), "labels": {"kept": "yes"}});
        state.1 = Some(
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}),
        );
    }

    fn answer(&self, method: &Method, body: &Value) -> (StatusCode, Value) {
        let mut state = self.state.lock().unwrap();
        let (_, lease, version) = &mut *state;
        match (method, lease) {
            (&Method::GET, Some(lease)) => (StatusCode::OK, lease.clone()),
            (&Method::POST, slot @ None) => {
                *version += 1;
                let mut made = body.clone();
                made["metadata"]["resourceVersion"] = version.to_string().into();
                *slot = Some(made.clone());
                (StatusCode::CREATED, made)
            }
            (&Method::POST, Some(_)) => refusal(StatusCode::CONFLICT, "AlreadyExists"),
            (&Method::PATCH, Some(lease)) => {
                let precondition = body["metadata"]["resourceVersion"]
                    .as_str()
                    .expect("never without precondition");
                if lease["metadata"]["resourceVersion"] != precondition {
                    return refusal(StatusCode::CONFLICT, "Conflict");
                }
                *version += 1;
                for (key, value) in body["spec"].as_object().expect("a spec") {
                    lease["spec"][key] = value.clone();
                }
                lease["metadata"]["resourceVersion"] = version.to_string().into();
                (StatusCode::OK, lease.clone())
            }
            (_, None) => refusal(StatusCode::NOT_FOUND, "NotFound"),
            (method, _) => panic!("unexpected {method}"),
        }
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let mode = server.state.lock().unwrap().0;
                let (status, answer) = match mode {
                    Mode::Up => server.answer(&parts.method, &body),
                    Mode::Failing => refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
                    Mode::Silent => std::future::pending().await,
                    Mode::LosesAnswers => {
                        let answer = server.answer(&parts.method, &body);
                        if parts.method == Method::GET {
                            answer
                        } else {
                            std::future::pending().await
                        }
                    }
                };
                let body = Body::from(serde_json::to_vec(&answer).unwrap());
                Ok::<_, std::convert::Infallible>(
                    Response::builder().status(status).body(body).unwrap(),
                )
            }
        });
        Client::new(service, "ns")
    }
}

fn refusal(status: StatusCode, reason: &str) -> (StatusCode, Value) {
    let code = status.as_u16();
    (
        status,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code}),
    )
}

/// A candidate that reports each time it leads, and works until its token is cancelled.
struct Candidate {
    shutdown: Shutdown,
    led: mpsc::UnboundedReceiver<LeaderToken>,
}

impl Candidate {
    fn stand(server: &Server, identity: &str) -> Self {
        let config = LeaseConfig {
            duration: LEASE,
            renew_deadline: Duration::from_millis(1400),
            retry_period: Duration::from_millis(30),
            ..LeaseConfig::new("ns", "lease", identity)
        };
        let shutdown = Shutdown::new();
        let (lead, led) = mpsc::unbounded_channel();
        let election = run(
            config,
            server.client(),
            SystemClock::shared(),
            shutdown.clone(),
            move |token| {
                let lead = lead.clone();
                async move {
                    lead.send(token.clone()).unwrap();
                    token.cancelled().await;
                }
            },
        );
        shutdown.spawn("election", election);
        Self { shutdown, led }
    }

    async fn leads(&mut self) -> LeaderToken {
        timeout(PATIENCE, self.led.recv())
            .await
            .expect("leads in time")
            .expect("still stands")
    }

    async fn stop(&self) {
        self.shutdown.drain(PATIENCE).await.expect("stops in time");
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} in time"));
}

#[tokio::test]
async fn a_clean_stop_lets_another_lead_at_once() {
    let server = Server::new();
    let mut first = Candidate::stand(&server, "first");
    let token = first.leads().await;
    assert!(token.time_left() <= LEASE);
    assert_eq!(server.holder().as_deref(), Some("first"));

    let mut second = Candidate::stand(&server, "second");
    first.stop().await;
    assert!(token.is_cancelled());
    let released = Instant::now();
    second.leads().await;
    assert!(
        released.elapsed() < LEASE / 2,
        "did not wait for the lease to run out"
    );
    let lease = server.lease().unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "second");
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
    second.stop().await;
    assert_eq!(server.holder().as_deref(), Some(""));
}

#[tokio::test]
async fn a_leader_keeps_its_lease_while_it_renews() {
    let server = Server::new();
    let mut first = Candidate::stand(&server, "first");
    let token = first.leads().await;
    let mut second = Candidate::stand(&server, "second");
    // Longer than the lease lasts without renewals.
    assert!(timeout(LEASE * 5 / 4, second.led.recv()).await.is_err());
    assert!(!token.is_cancelled());
    second.stop().await;
    first.stop().await;
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops_before_its_lease_runs_out() {
    for mode in [Mode::Failing, Mode::Silent] {
        let server = Server::new();
        let mut candidate = Candidate::stand(&server, "us");
        let token = candidate.leads().await;
        server.set(mode);
        let renewed = SystemClock.monotonic();
        timeout(PATIENCE, token.cancelled())
            .await
            .expect("loses in time");
        assert!(
            renewed.elapsed() < LEASE,
            "{mode:?}: another could lead already"
        );
        assert_eq!(token.time_left(), Duration::ZERO);

        server.set(Mode::Up);
        assert!(
            !candidate.leads().await.is_cancelled(),
            "{mode:?}: stands again"
        );
        candidate.stop().await;
    }
}

#[tokio::test]
async fn a_lease_taken_by_another_is_lost_and_stood_for_again() {
    let server = Server::new();
    let mut candidate = Candidate::stand(&server, "us");
    let token = candidate.leads().await;
    server.put(json!({"holderIdentity": "them", "leaseDurationSeconds": 1, "leaseTransitions": 8}));
    timeout(PATIENCE, token.cancelled())
        .await
        .expect("loses in time");
    assert_eq!(server.holder().as_deref(), Some("them"));
    candidate.leads().await;
    let lease = server.lease().unwrap();
    assert_eq!(lease["spec"]["leaseTransitions"], 9);
    assert_eq!(lease["metadata"]["labels"]["kept"], "yes");
    candidate.stop().await;
}

#[tokio::test]
async fn a_holder_with_a_longer_lease_is_waited_for() {
    let server = Server::new();
    server.put(json!({"holderIdentity": "original", "leaseDurationSeconds": 3, "renewTime": "2001-01-01T00:00:00.000000Z"}));
    let start = Instant::now();
    let mut candidate = Candidate::stand(&server, "us");
    candidate.leads().await;
    assert!(start.elapsed() >= Duration::from_secs(3));
    candidate.stop().await;
}

#[tokio::test]
async fn a_lost_answer_or_a_deleted_lease_does_not_cost_the_lead() {
    let server = Server::new();
    let mut candidate = Candidate::stand(&server, "us");
    let token = candidate.leads().await;

    let before = server.lease().unwrap()["metadata"]["resourceVersion"].clone();
    server.set(Mode::LosesAnswers);
    until("a write without an answer", || {
        server.lease().unwrap()["metadata"]["resourceVersion"] != before
    })
    .await;
    server.set(Mode::Up);
    server.state.lock().unwrap().1 = None;
    until("a new lease", || server.lease().is_some()).await;
    assert!(!token.is_cancelled());
    assert!(
        candidate.led.try_recv().is_err(),
        "still leads for the first time"
    );
    candidate.stop().await;
}

#[tokio::test]
async fn work_that_ends_or_panics_releases_the_lease_and_leads_again() {
    let server = Server::new();
    let shutdown = Shutdown::new();
    let (lead, mut led) = mpsc::unbounded_channel();
    let config = LeaseConfig {
        duration: Duration::from_millis(50),
        renew_deadline: Duration::from_millis(40),
        retry_period: Duration::from_millis(10),
        ..LeaseConfig::new("ns", "lease", "us")
    };
    let mut round = 0;
    let election = run(
        config,
        server.client(),
        SystemClock::shared(),
        shutdown.clone(),
        move |_| {
            round += 1;
            lead.send(round).unwrap();
            async move { assert!(round != 1, "the first round panics") }
        },
    );
    shutdown.spawn("election", election);
    for round in 1..=3 {
        assert_eq!(
            timeout(PATIENCE, led.recv()).await.expect("leads in time"),
            Some(round)
        );
    }
    shutdown.drain(PATIENCE).await.expect("stops in time");
}
