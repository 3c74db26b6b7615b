//! Requests through a real, small proxy on a socket.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::health;
use crate::kubeconfig::{Policy, render};
use crate::shutdown::Shutdown;

/// A proxy that knows one server, whatever it is called, and what it was asked for.
async fn proxy(server: String, shutdown: &Shutdown) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (log, stop) = (asked.clone(), shutdown.token.clone());
    let serving = shutdown.clone();
    shutdown.spawn("proxy", async move {
        while let Some(Ok((mut client, _))) = stop.run_until_cancelled(listener.accept()).await {
            let (log, server, stop) = (log.clone(), server.clone(), stop.clone());
            serving.spawn("tunnel", async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                log.lock().unwrap().push(String::from_utf8(head).unwrap());
                let mut upstream = TcpStream::connect(server).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let copy = tokio::io::copy_bidirectional(&mut client, &mut upstream);
                let _ = stop.run_until_cancelled(copy).await;
            });
        }
    });
    (address, asked)
}

async fn provider(shutdown: &Shutdown) -> String {
    let namespace = || async {
        axum::Json(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant"}}))
    };
    let router = Router::new().fallback(namespace);
    let bound = health::serve("127.0.0.1:0", router, shutdown).await;
    bound.unwrap().to_string()
}

/// Reads the cluster namespace of the provider that a kubeconfig names.
async fn read(server: &str, proxy: Option<Proxy>) -> Result<Namespace, kube::Error> {
    let policy = Policy {
        allow_insecure_tls: false,
        allow_http: true,
    };
    let yaml = render(server, None, None, "tenant", "t0ken");
    let kubeconfig = SafeKubeconfig::parse(yaml.as_bytes(), policy).unwrap();
    let options = Options {
        proxy,
        ..Options::new("test")
    };
    let client = from_safe(&kubeconfig, &options).unwrap();
    let api: Api<Namespace> = Api::all(client.client());
    let limit = Duration::from_secs(20);
    crate::apply::timed_for(limit, api.get("tenant")).await
}

#[tokio::test]
async fn a_provider_is_reached_through_the_proxy_unless_it_is_excepted() {
    crate::tls::install_provider();
    let shutdown = Shutdown::new();
    let (proxy, asked) = proxy(provider(&shutdown).await, &shutdown).await;
    let named = |except: &str| Proxy::new(Some(&format!("http://me:s3cret@{proxy}")), Some(except));

    // Nobody but the proxy knows this name.
    let server = "http://provider.test:6443";
    read(server, named("other.test").unwrap()).await.unwrap();
    {
        let asked = asked.lock().unwrap();
        let head = asked[0].to_lowercase();
        assert_eq!(asked.len(), 1);
        assert!(
            head.starts_with("connect provider.test:6443 http/1.1"),
            "{head}"
        );
        assert!(head.contains("proxy-authorization: basic "), "{head}");
        assert!(
            !head.contains("t0ken"),
            "the proxy gets no credential: {head}"
        );
    }

    assert!(read(server, named("provider.test").unwrap()).await.is_err());
    assert!(read(server, None).await.is_err());
    assert_eq!(asked.lock().unwrap().len(), 1, "nothing more went its way");
    shutdown.drain(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn what_is_on_this_machine_needs_no_proxy() {
    crate::tls::install_provider();
    let shutdown = Shutdown::new();
    let server = provider(&shutdown).await;
    let (proxy, asked) = proxy(server.clone(), &shutdown).await;
    let proxy = Proxy::new(Some(&proxy), None).unwrap();
    read(&format!("http://{server}"), proxy).await.unwrap();
    assert!(asked.lock().unwrap().is_empty());
    shutdown.drain(Duration::from_secs(10)).await.unwrap();
}
