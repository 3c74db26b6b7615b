//! A proxy in front of an API server that does to its clients what bad networks and busy servers do.
//! It shows the API server's own certificate, so clients only need another port.

mod connection;
mod request;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::cluster::ControlPlane;
use crate::ports::Port;

/// What happens to single requests. Every n-th one is counted over all connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Before each request is passed on, and before each piece of an answer.
    pub latency: Duration,
    /// Requests that are answered by the proxy and never reach the server.
    pub answer: Vec<Answer>,
    /// The connection is reset before every n-th request reaches the server.
    pub reset_every: Option<usize>,
    /// Every n-th request is done, but its answer breaks off in the middle.
    pub cut_every: Option<usize>,
}

/// An answer in place of the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// One of how many requests.
    pub every: usize,
    /// HTTP status.
    pub status: u16,
    /// Seconds in `Retry-After`.
    pub retry_after: Option<u32>,
}

/// What happens to all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Open,
    /// Nothing gets through and nobody is told; what was on its way arrives later.
    Silent,
    /// Connections are reset, new ones too.
    Refusing,
}

struct Shared {
    upstream: String,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    faults: watch::Receiver<Faults>,
    requests: AtomicUsize,
    /// Watches opened before this number of connections are silent for good.
    deaf: AtomicU64,
}

/// A running proxy. Dropping it breaks all its connections.
pub struct FaultProxy {
    port: Port,
    line: watch::Sender<Line>,
    faults: watch::Sender<Faults>,
    connections: Arc<AtomicU64>,
    shared: Arc<Shared>,
    listening: tokio::task::AbortHandle,
}

impl FaultProxy {
    /// Starts one in front of `plane`, which does no harm yet.
    pub async fn start(plane: &ControlPlane) -> Result<FaultProxy> {
        let port = Port::claim()?;
        let listener = TcpListener::bind(port.address())
            .await
            .context("failed to listen")?;
        let (line, _) = watch::channel(Line::Open);
        let (faults, watched) = watch::channel(Faults::default());
        let (acceptor, connector) = tls(plane)?;
        let upstream = plane.server().trim_start_matches("https://").to_owned();
        let shared = Arc::new(Shared {
            upstream,
            acceptor,
            connector,
            faults: watched,
            requests: AtomicUsize::default(),
            deaf: AtomicU64::default(),
        });
        let connections = Arc::new(AtomicU64::default());
        let (counter, serving, lines) = (connections.clone(), shared.clone(), line.subscribe());
        let listening = crate::runtime::runtime().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let serve = connection::serve(serving.clone(), lines.clone(), stream, number);
                crate::runtime::runtime().spawn(serve);
            }
        });
        Ok(FaultProxy {
            port,
            line,
            faults,
            connections,
            shared,
            listening: listening.abort_handle(),
        })
    }

    /// What a kubeconfig has as its server.
    pub fn url(&self) -> String {
        format!("https://{}", self.port.address())
    }

    /// From now on this happens to requests.
    pub fn disturb(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// A partition of which nobody is told: connections stay open, nothing gets through.
    pub fn silence(&self) {
        self.line.send_replace(Line::Silent);
    }

    /// A partition with refused connections.
    pub fn refuse(&self) {
        self.line.send_replace(Line::Refusing);
    }

    /// The watches that are open now deliver nothing any more and stay open; all else works.
    pub fn deafen_watches(&self) {
        let opened = self.connections.load(Ordering::SeqCst);
        self.shared.deaf.store(opened, Ordering::SeqCst);
    }

    /// All is well again.
    pub fn heal(&self) {
        self.faults.send_replace(Faults::default());
        self.line.send_replace(Line::Open);
    }

    /// How many requests came so far.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

fn tls(plane: &ControlPlane) -> Result<(TlsAcceptor, TlsConnector)> {
    let files = plane.certificates();
    let certificate = CertificateDer::from_pem_file(&files.server_certificate)
        .context("failed to read the server's certificate")?;
    let key = PrivateKeyDer::from_pem_file(&files.server_key)
        .context("failed to read the server's key")?;
    let authority =
        CertificateDer::from_pem_file(&files.ca).context("failed to read the authority")?;
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .context("failed to use the server's certificate")?;
    let mut roots = RootCertStore::empty();
    roots
        .add(authority)
        .context("failed to use the authority")?;
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((
        TlsAcceptor::from(Arc::new(server)),
        TlsConnector::from(Arc::new(client)),
    ))
}
