//! The sync engine's digests against a real API server: for generated schemas and objects, what was
//! applied is what is owned, whoever else writes to the object, and what drifted is seen.
//!
//! A seed is one CRD with many schemas in it, and one object for each. `KUBE_BIND_SEED=7` or
//! `KUBE_BIND_SEED=100-160` chooses others than the usual ones.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod case;
mod compare;
mod generate;
mod server;

use std::ops::RangeInclusive;

use futures::{StreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client};
use kube_bind_crds::digest::Schema;
use kube_bind_e2e::{ControlPlane, Options, eventually, run};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use case::Case;
use server::Kind;

const GROUP: &str = "digests.example.io";
const SEEDS: RangeInclusive<u64> = 1..=3;
const CASES: usize = 40;
/// Objects that are worked on at once.
const CONCURRENCY: usize = 8;

fn seeds() -> RangeInclusive<u64> {
    let Ok(text) = std::env::var("KUBE_BIND_SEED") else {
        return SEEDS;
    };
    let number = |text: &str| {
        text.trim()
            .parse()
            .expect("KUBE_BIND_SEED is a number or a range such as 1-9")
    };
    match text.split_once('-') {
        Some((first, last)) => number(first)..=number(last),
        None => number(&text)..=number(&text),
    }
}

/// Installs the schemas as `spec.c<n>` of one kind.
async fn install(client: &Client, seed: u64, fragments: &[Value]) -> Kind {
    let properties: Map<_, _> = fragments
        .iter()
        .enumerate()
        .map(|(index, schema)| (format!("c{index}"), schema.clone()))
        .collect();
    let open_api = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}});
    let (plural, kind) = (format!("seed{seed}s"), format!("Seed{seed}"));
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Cluster",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": open_api}}],
        },
    });
    let kind = Kind {
        client: client.clone(),
        path: format!("/apis/{GROUP}/v1/{plural}"),
        schema: Schema::new(&open_api),
    };
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    // Typed CRDs would lose what the client library does not know; these are all known.
    let crd = serde_json::from_value(crd).unwrap();
    if let Err(refused) = crds.create(&PostParams::default(), &crd).await {
        panic!("seed {seed}: the generator made an invalid schema: {refused}");
    }
    eventually(&format!("{plural} are served"), || async {
        let list = kube::core::Request::new(&kind.path)
            .list(&Default::default())
            .unwrap();
        kind.client.request::<Value>(list).await.is_ok()
    })
    .await
    .unwrap();
    kind
}

#[test]
fn what_was_applied_is_what_is_owned() {
    run(async {
        let options = Options {
            without_controller_manager: true,
            ..Default::default()
        };
        let plane = ControlPlane::start("digests", options).await.unwrap();
        let mut failures = Vec::new();
        let (mut cases, mut settled) = (0, 0);
        for seed in seeds() {
            let mut rng = StdRng::seed_from_u64(seed);
            let fragments: Vec<_> = (0..CASES).map(|_| generate::schema(&mut rng, 3)).collect();
            let kind = install(&plane.client(), seed, &fragments).await;
            let mut outcomes = stream::iter(fragments.into_iter().enumerate())
                .map(|(index, fragment)| {
                    let case = Case::new(&kind, seed, index, fragment);
                    case.run()
                })
                .buffer_unordered(CONCURRENCY);
            while let Some(outcome) = outcomes.next().await {
                cases += 1;
                match outcome {
                    Ok(times) => settled += times,
                    Err(failure) => failures.push(failure),
                }
            }
        }
        println!(
            "{cases} cases, {settled} differences by design, {} failures",
            failures.len()
        );
        // Short ones tell the most.
        failures.sort_by_key(String::len);
        let shown = failures
            .iter()
            .take(5)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n\n");
        assert!(
            failures.is_empty(),
            "{} of {cases} cases failed, such as\n{shown}",
            failures.len()
        );
        assert!(
            settled * 2 < cases,
            "{settled} differences by design in {cases} cases"
        );
    });
}
