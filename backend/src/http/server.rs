//! The public listener: plain or TLS, with its certificate read again when it changes. Does IO.

use std::error::Error as StdError;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use kube_bind_runtime::shutdown::Shutdown;
use sha2::{Digest, Sha256};
use tracing::{info, warn};

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const DRAIN: Duration = Duration::from_secs(10);
const CERTIFICATE_CHECK: Duration = Duration::from_secs(30);
const HEADERS_MAX: u32 = 64 * 1024;

/// Why the listener is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not ours.
    #[error("failed to listen on {address} (--listen-address)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("failed to use certificate {} (--tls-cert-file, --tls-key-file)", certificate.display())]
    Certificate {
        /// The certificate.
        certificate: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The listener failed later.
    #[error("failed to serve on {address}")]
    Serve {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Certificate and key.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// A listener that is bound but serves nothing yet.
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<(TlsFiles, RustlsConfig)>,
}

impl Listener {
    /// Binds the address and reads the certificate.
    pub async fn bind(address: SocketAddr, tls: Option<TlsFiles>) -> Result<Self, Error> {
        let listen = || -> io::Result<(TcpListener, SocketAddr)> {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let bound = listener.local_addr()?;
            Ok((listener, bound))
        };
        let (listener, address) = listen().map_err(|source| Error::Listen { address, source })?;
        let tls = match tls {
            None => None,
            Some(files) => {
                let config = RustlsConfig::from_pem_file(&files.certificate, &files.key).await;
                let certificate = files.certificate.clone();
                Some((
                    files,
                    config.map_err(|source| Error::Certificate {
                        certificate,
                        source,
                    })?,
                ))
            }
        };
        Ok(Self {
            listener,
            address,
            tls,
        })
    }

    /// The address that was bound, for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until shutdown, then lets requests under way finish.
    pub async fn serve(self, router: Router, shutdown: Shutdown) -> Result<(), Error> {
        let address = self.address;
        let handle: Handle<SocketAddr> = Handle::new();
        let stop = handle.clone();
        let token = shutdown.token.clone();
        shutdown.spawn("http-stop", async move {
            token.cancelled().await;
            stop.graceful_shutdown(Some(DRAIN));
        });
        let service = router.into_make_service();
        info!(address = %address, tls = self.tls.is_some(), "serving the API on {address}");
        let served = match self.tls {
            None => {
                let server = axum_server::from_tcp(self.listener);
                let mut server = server
                    .map_err(|source| Error::Serve { address, source })?
                    .handle(handle);
                limit(server.http_builder());
                server.serve(service).await
            }
            Some((files, config)) => {
                shutdown.spawn(
                    "tls-reload",
                    keep_fresh(files, config.clone(), shutdown.clone()),
                );
                let server = axum_server::from_tcp_rustls(self.listener, config);
                let mut server = server
                    .map_err(|source| Error::Serve { address, source })?
                    .handle(handle);
                limit(server.http_builder());
                server.serve(service).await
            }
        };
        served.map_err(|source| Error::Serve { address, source })
    }
}

/// A client that sends its request line or headers slowly, or endlessly, is cut off.
fn limit(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADERS_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADERS_MAX)
        .max_concurrent_streams(100);
}

/// Looks at the files' content, not at their times: mounted Secrets are swapped by symbolic links.
async fn keep_fresh(files: TlsFiles, config: RustlsConfig, shutdown: Shutdown) {
    let mut seen = digest(&files).await;
    while shutdown
        .token
        .run_until_cancelled(tokio::time::sleep(CERTIFICATE_CHECK))
        .await
        .is_some()
    {
        let now = digest(&files).await;
        if now.is_none() || now == seen {
            continue;
        }
        match config
            .reload_from_pem_file(&files.certificate, &files.key)
            .await
        {
            Ok(()) => {
                info!(
                    "read the changed certificate {}",
                    files.certificate.display()
                );
                seen = now;
            }
            // Certificate and key may be written one after the other: the next round tries again.
            Err(err) => warn!(
                error = &err as &dyn StdError,
                "failed to read the changed certificate {}; the old one stays in use",
                files.certificate.display()
            ),
        }
    }
}

async fn digest(files: &TlsFiles) -> Option<[u8; 32]> {
    let read = |path: &Path| tokio::fs::read(path.to_owned());
    let certificate = read(&files.certificate).await.ok()?;
    let key = read(&files.key).await.ok()?;
    Some(
        Sha256::new()
            .chain_update(certificate)
            .chain_update(key)
            .finalize()
            .into(),
    )
}
