//! A server that takes its time, behind a limiter that has learned to let one request pass at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{Either, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::cluster::Error;
use super::super::fake::FakeCluster;
use super::super::*;
use super::world::{World, consumer_key, provider_key, widget};

/// How long the server takes.
const LATENCY: Duration = Duration::from_millis(600);
/// How many objects are worked on at a time, and how many there are.
const JOBS: usize = 16;
const OBJECTS: usize = 64;

/// A consumer in memory, and a provider behind HTTP.
struct Slow {
    world: World,
    engine: EngineHandle,
    limiter: Limiter,
    /// Milliseconds that this replica leads for certain.
    leads: Arc<AtomicU64>,
    /// Writes that reached the provider.
    sent: Arc<AtomicUsize>,
    /// It answers no write any more.
    stuck: Arc<AtomicBool>,
}

impl Slow {
    async fn started() -> Self {
        let world = World::new();
        world.consumer.widen(JOBS);
        let limiter = Limiter::new();
        while limiter.limit() > 1 {
            let refused = Error::Throttled { retry_after: None };
            limiter.acquire().await.done(Some(&refused));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        // Permits beyond the limit are withdrawn when they come back.
        for _ in 0..JOBS {
            limiter.acquire().await.unused();
        }
        let leads = Arc::new(AtomicU64::new(4_000));
        let (sent, stuck) = (Arc::default(), Arc::default());
        let (config, ports) = world.parts();
        let client = server(
            world.provider.clone(),
            Arc::clone(&sent),
            Arc::clone(&stuck),
        );
        let client = EngineClient::new(client);
        let fence = Arc::clone(&leads);
        let ports = Ports {
            provider: Arc::new(KubeCluster::new(client, limiter.clone(), &config.resource)),
            fence: Arc::new(move || Duration::from_millis(fence.load(Ordering::Relaxed))),
            ..ports
        };
        let engine = start(config, ports, &CancellationToken::new());
        world.wait(Duration::from_secs(2)).await;
        assert!(engine.counts().listed);
        Self {
            world,
            engine,
            limiter,
            leads,
            sent,
            stuck,
        }
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Lists what there is, keeps watches waiting, and applies after a while.
fn server(objects: FakeCluster, sent: Arc<AtomicUsize>, stuck: Arc<AtomicBool>) -> kube::Client {
    let serve = tower::service_fn(move |request: Request<Body>| {
        let (objects, sent) = (objects.clone(), Arc::clone(&sent));
        let stuck = stuck.load(Ordering::Relaxed);
        async move {
            let (parts, body) = request.into_parts();
            let path: Vec<&str> = parts.uri.path().split('/').collect();
            let key = || Key::new(path[5], path[7]);
            let answer = if parts
                .uri
                .query()
                .is_some_and(|query| query.contains("watch="))
            {
                let nothing = futures::stream::pending::<Result<_, std::io::Error>>();
                return Ok(Response::new(Either::Right(StreamBody::new(nothing))));
            } else if parts.method != http::Method::GET {
                if stuck {
                    std::future::pending::<()>().await;
                }
                sent.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(LATENCY).await;
                let body = body.collect_bytes().await?;
                let body: Value = serde_json::from_slice(&body).unwrap();
                if parts.method == http::Method::DELETE {
                    let of = |name: &str| body["preconditions"][name].as_str().unwrap().to_owned();
                    let (uid, version) = (of("uid"), of("resourceVersion"));
                    let left = objects.delete(&key(), &uid, &version).await.unwrap();
                    left.unwrap_or_else(|| json!({"kind": "Status", "status": "Success"}))
                } else {
                    objects.apply(&key(), "kube-bind.io", &body).await.unwrap()
                }
            } else if path.len() == 8 {
                objects.object(&key()).unwrap()
            } else {
                let items = objects.keys();
                let items: Vec<_> = items.iter().filter_map(|key| objects.object(key)).collect();
                json!({"metadata": {"resourceVersion": "1"}, "items": items})
            };
            let answer = Full::from(serde_json::to_vec(&answer).unwrap());
            Ok::<_, kube::Error>(Response::new(Either::Left(answer)))
        }
    });
    kube::Client::new(serve, "default")
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_turn_takes_nothing_from_the_time_of_a_request() {
    let slow = Slow::started().await;
    for n in 0..OBJECTS {
        slow.world.consumer.put(widget(&format!("w{n}")));
    }
    slow.world.wait(Duration::from_secs(60)).await;
    assert_eq!(slow.engine.counts().synced, OBJECTS);
    assert_eq!(slow.sent(), OBJECTS, "none was given up and sent again");
    assert!(slow.limiter.limit() > 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_turn_comes_after_the_end_of_a_term_is_not_sent() {
    let slow = Slow::started().await;
    let turn = slow.limiter.acquire().await;
    slow.world.consumer.put(widget("a"));
    slow.world.wait(Duration::from_secs(30)).await;
    assert_eq!(slow.sent(), 0);
    slow.leads.store(0, Ordering::Relaxed);
    turn.unused();
    slow.world.rest().await;
    assert_eq!((slow.sent(), slow.limiter.limit()), (0, 1));
    slow.leads.store(4_000, Ordering::Relaxed);
    slow.world.wait(Duration::from_secs(3)).await;
    assert_eq!(slow.engine.counts().synced, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_made_anew_while_the_end_of_its_copy_waits_for_a_turn_takes_the_copy_over() {
    let slow = Slow::started().await;
    let world = &slow.world;
    world.consumer.put(widget("a"));
    world.wait(Duration::from_secs(5)).await;
    let copy = || world.provider.object(&provider_key("a")).unwrap();
    let uid = copy()["metadata"]["uid"].clone();
    let turn = slow.limiter.acquire().await;
    world.consumer.lose(&consumer_key("a"));
    world.consumer.relist();
    world.wait(Duration::from_secs(30)).await;
    assert_eq!(slow.sent(), 1, "its end waits");
    let new = world.consumer.put(widget("a"));
    turn.unused();
    world.wait(Duration::from_secs(30)).await;
    assert_eq!(copy()["metadata"]["uid"], uid);
    let of = &copy()["metadata"]["annotations"]["kube-bind.io/consumer-uid"];
    assert_eq!(*of, new["metadata"]["uid"]);

    world.consumer.lose(&consumer_key("a"));
    world.consumer.relist();
    world.wait(Duration::from_secs(30)).await;
    assert_eq!(world.provider.keys(), [], "what stays away goes");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_no_write_is_said_within_a_minute_however_many_objects_wait() {
    let slow = Slow::started().await;
    slow.stuck.store(true, Ordering::Relaxed);
    for n in 0..OBJECTS {
        slow.world.consumer.put(widget(&format!("w{n}")));
    }
    slow.world.wait(Duration::from_secs(3)).await;
    assert_eq!(slow.engine.counts().provider_failing, None);
    slow.world.wait(Duration::from_secs(57)).await;
    assert!(slow.engine.counts().provider_failing.is_some());
    slow.stuck.store(false, Ordering::Relaxed);
    slow.world.wait(Duration::from_secs(120)).await;
    let counts = slow.engine.counts();
    assert_eq!((counts.synced, counts.provider_failing), (OBJECTS, None));
}

#[tokio::test(start_paused = true)]
async fn an_engine_stops_without_waiting_for_the_turns_of_its_requests() {
    let slow = Slow::started().await;
    let turn = slow.limiter.acquire().await;
    slow.world.consumer.put(widget("a"));
    slow.world.rest().await;
    let stopped = tokio::time::timeout(Duration::from_secs(1), slow.engine.stop()).await;
    assert!(stopped.is_ok());
    turn.unused();
    assert_eq!(slow.sent.load(Ordering::Relaxed), 0);
}
