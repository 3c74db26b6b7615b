//! Loopback ports that two tests never share, even in different processes: each is claimed by a
//! file lock for as long as its owner lives, below the range that the kernel gives to connections.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result, bail};

const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// A claimed port on 127.0.0.1.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// The lock ends with the file, and the file with the process.
    _claim: File,
}

impl Port {
    /// Claims a port that nobody listens on.
    pub fn claim() -> Result<Port> {
        let locks = std::env::temp_dir().join("kube-bind-e2e-ports");
        std::fs::create_dir_all(&locks)
            .with_context(|| format!("failed to create {}", locks.display()))?;
        for _ in 0..1000 {
            let number = rand::random_range(RANGE);
            let path = locks.join(number.to_string());
            let claim = File::options()
                .create(true)
                .write(true)
                .truncate(false)
                .open(&path)
                .with_context(|| format!("failed to open {}", path.display()))?;
            if claim.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
            {
                return Ok(Port {
                    number,
                    _claim: claim,
                });
            }
        }
        bail!("no free port between {} and {}", RANGE.start, RANGE.end)
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
