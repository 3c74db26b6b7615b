//! The control plane itself: real, quick, observable, and gone when its owner is.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]
#![expect(
    clippy::print_stdout,
    reason = "the child tells its parent what to look for"
)]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use kube_bind_e2e::cluster::count_by_kind;
use kube_bind_e2e::{ControlPlane, Options, User, eventually, run};

/// Set for the child of [`processes_end_with_the_test_whatever_ends_it`]: how it has to die.
const VICTIM: &str = "KUBE_BIND_E2E_VICTIM";

fn namespace(name: &str) -> Namespace {
    Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..Default::default()
        },
        ..Default::default()
    }
}

async fn gone<K>(api: Api<K>, name: &str) -> bool
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    api.get_opt(name).await.is_ok_and(|found| found.is_none())
}

#[test]
fn a_control_plane_does_what_kubernetes_does_and_tells_who_asked() {
    run(async {
        let start = Instant::now();
        let konnector = User::service_account("kube-bind", "konnector");
        let options = Options {
            users: vec![konnector.clone()],
            ..Default::default()
        };
        let plane = ControlPlane::start("basics", options).await.unwrap();
        println!("ready after {} ms", start.elapsed().as_millis());
        let client = plane.client();

        let mark = plane.audit().mark().unwrap();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces
            .create(&PostParams::default(), &namespace("team-a"))
            .await
            .unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "team-a");
        eventually("the default service account", || async {
            accounts.get("default").await.is_ok()
        })
        .await
        .unwrap();
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "team-a");
        eventually("the cluster's authority", || async {
            maps.get("kube-root-ca.crt").await.is_ok()
        })
        .await
        .unwrap();

        // A user without any right is refused under the name that RBAC would know it by.
        let stranger: Client = plane.client_for(&konnector.name).await.unwrap();
        let refused = Api::<ConfigMap>::namespaced(stranger, "team-a")
            .get("x")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("system:serviceaccount:kube-bind:konnector"),
            "{refused}"
        );

        namespaces
            .delete("team-a", &DeleteParams::default())
            .await
            .unwrap();
        eventually("the namespace is deleted", || {
            gone(namespaces.clone(), "team-a")
        })
        .await
        .unwrap();

        let requests = plane.audit().since(mark).unwrap();
        let ours: Vec<_> = requests
            .into_iter()
            .filter(|request| {
                request.user == "admin"
                    && request.name == "team-a"
                    && request.is_write()
                    && !request.user_agent.contains("kube-controller-manager")
            })
            .collect();
        let counts = count_by_kind(&ours);
        assert_eq!(counts.get("create core/namespaces"), Some(&1), "{counts:?}");
        assert_eq!(counts.get("delete core/namespaces"), Some(&1), "{counts:?}");

        let version = plane.kubectl(&["version", "-o", "json"]).await.unwrap();
        assert!(version.contains("\"gitVersion\": \"v1.34.4\""), "{version}");
        assert!(plane.memory().unwrap() > 50 << 20);
    });
}

#[test]
fn an_api_server_that_comes_back_has_its_data_and_its_address() {
    run(async {
        let plane = ControlPlane::start(
            "restart",
            Options {
                without_controller_manager: true,
                ..Default::default()
            },
        )
        .await
        .unwrap();
        let namespaces: Api<Namespace> = Api::all(plane.client());
        namespaces
            .create(&PostParams::default(), &namespace("kept"))
            .await
            .unwrap();
        plane.pause().unwrap();
        plane.resume().unwrap();
        namespaces.get("kept").await.unwrap();
        plane.kill_api_server().unwrap();
        assert!(namespaces.get("kept").await.is_err());
        plane.start_api_server().await.unwrap();
        namespaces.get("kept").await.unwrap();
    });
}

#[test]
fn processes_end_with_the_test_whatever_ends_it() {
    if let Ok(death) = std::env::var(VICTIM) {
        return run(die(death));
    }
    for death in ["panic", "abort"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "processes_end_with_the_test_whatever_ends_it",
            ])
            .env(VICTIM, death)
            .env("KUBE_BIND_E2E_KEEP", "0")
            .output()
            .unwrap();
        assert!(!output.status.success(), "{death}: {}", output.status);
        let said = String::from_utf8_lossy(&output.stdout);
        let value = |key: &str| {
            said.lines()
                .find_map(|line| line.split_once(key)?.1.strip_prefix('='))
                .map(str::to_owned)
        };
        let pids = value("victim-pids").unwrap_or_else(|| panic!("{death}: no pids in {said}"));
        let dir = value("victim-dir").unwrap();
        run(async {
            for pid in pids.split(',') {
                let proc = format!("/proc/{pid}");
                eventually(&format!("{death}: process {pid} is gone"), || async {
                    !Path::new(&proc).exists()
                })
                .await
                .unwrap();
            }
            eventually(&format!("{death}: {dir} is gone"), || async {
                !Path::new(&dir).exists()
            })
            .await
            .unwrap();
        });
    }
}

async fn die(death: String) {
    let plane = ControlPlane::start("victim", Options::default())
        .await
        .unwrap();
    let pids: Vec<String> = plane.pids().iter().map(u32::to_string).collect();
    println!("\nvictim-pids={}", pids.join(","));
    println!("victim-dir={}", plane.dir().display());
    match death.as_str() {
        "abort" => std::process::abort(),
        _ => panic!("as asked"),
    }
}
