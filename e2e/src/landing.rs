//! A page on a loopback address that a browser can be sent to: what a program waiting for the end of
//! a login listens on.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// Body of the page.
pub const LANDED: &str = "landed";

/// Serves until it is dropped.
#[derive(Debug)]
pub struct LandingPage {
    url: String,
    task: AbortHandle,
}

impl LandingPage {
    /// Starts it on a free port.
    pub async fn start(path: &str) -> Result<LandingPage> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("no free port")?;
        let address = listener
            .local_addr()
            .context("a listener without an address")?;
        let serve = async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                // Whatever is asked: the answer is the same, and a silent peer does not block the next.
                let _ =
                    tokio::time::timeout(Duration::from_secs(2), connection.read(&mut [0; 8192]))
                        .await;
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    LANDED.len()
                );
                let _ = connection
                    .write_all(format!("{head}{LANDED}").as_bytes())
                    .await;
            }
        };
        let task = crate::runtime::runtime().spawn(serve).abort_handle();
        Ok(LandingPage {
            url: format!("http://{address}{path}"),
            task,
        })
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for LandingPage {
    fn drop(&mut self) {
        self.task.abort();
    }
}
