//! The token store `~/.kube-bind/config`, shared with the original's plugin. File IO; never prints
//! a token. Fields that are not ours are kept as they are.

mod modes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::server::Server;

/// Directory below the home directory; ours, so its mode is enforced.
const DIRECTORY: &str = ".kube-bind";

/// What went wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("failed to read the token store {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not what it should be. The source could quote a token, so it stays out.
    #[error(
        "failed to parse the token store {path} (line {line}): correct or delete it, then log in again"
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
    },
    /// The file cannot be written.
    #[error("failed to write the token store {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// The file as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Store {
    #[serde(rename = "apiVersion", default = "v1")]
    api_version: String,
    #[serde(default = "config")]
    kind: String,
    /// Entries by server key; the original writes `null` for none.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub servers: BTreeMap<String, Entry>,
    /// Key of the server that commands use when none is named.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub current: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// What is known of one server.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// `scheme://host[:port]`.
    #[serde(default)]
    pub url: String,
    /// Cluster id, for providers with many.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// The access token.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub access_token: String,
    /// `Bearer`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token_type: String,
    /// RFC 3339; the original's zero time means unknown.
    #[serde(default)]
    pub expires_at: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("url", &self.url)
            .field("cluster", &self.cluster)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl Entry {
    /// A fresh entry.
    pub fn new(server: &Server, token: String, token_type: String, expires_at: Timestamp) -> Self {
        Self {
            url: server.address(),
            cluster: server.cluster().unwrap_or_default().to_owned(),
            access_token: token,
            token_type,
            expires_at: whole_seconds(expires_at).to_string(),
            others: Map::new(),
        }
    }

    /// When the token ends, if that is known.
    pub fn expiry(&self) -> Option<Timestamp> {
        // The original's zero time is long before anything that could have been issued.
        self.expires_at
            .parse()
            .ok()
            .filter(|at: &Timestamp| at.as_second() > 0)
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            api_version: v1(),
            kind: config(),
            servers: BTreeMap::new(),
            current: String::new(),
            others: Map::new(),
        }
    }
}

impl Store {
    /// Reads the file; a missing or empty one is an empty store. Tightens a mode that is too open.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(Error::Read {
                    path: path.into(),
                    source,
                });
            }
        };
        modes::tighten(path).map_err(|source| Error::Write {
            path: path.into(),
            source,
        })?;
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        serde_json::from_slice(&text).map_err(|err| Error::Parse {
            path: path.into(),
            line: err.line(),
        })
    }

    /// Writes the file so that readers see the old or the new one, and nobody else sees either.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let write = || -> std::io::Result<()> {
            // A link stays a link: what it points to is replaced.
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            let directory = path
                .parent()
                .filter(|p| !p.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            modes::create_directory(directory)?;
            let temporary = directory.join(format!(".config-{:016x}", rand::rng().random::<u64>()));
            let mut text = serde_json::to_vec_pretty(self)?;
            text.push(b'\n');
            let mut file = modes::create_file(&temporary)?;
            let written = file
                .write_all(&text)
                .and_then(|()| file.sync_all())
                .and_then(|()| fs::rename(&temporary, &path));
            if written.is_err() {
                let _ = fs::remove_file(&temporary);
            }
            written
        };
        write().map_err(|source| Error::Write {
            path: path.into(),
            source,
        })
    }

    /// The entry of a server, also when its key was written in another spelling.
    pub fn find(&self, server: &Server) -> Option<&Entry> {
        self.key_of(server).and_then(|key| self.servers.get(&key))
    }

    /// Key under which a server is stored.
    pub fn key_of(&self, server: &Server) -> Option<String> {
        let wanted = server.key();
        let same = |key: &&String| Server::parse(key, None).is_ok_and(|s| s.key() == wanted);
        self.servers.keys().find(same).cloned()
    }

    /// Puts an entry in place and makes it the current one.
    pub fn put(&mut self, server: &Server, entry: Entry) {
        if let Some(old) = self.key_of(server) {
            self.servers.remove(&old);
        }
        self.current = server.key();
        self.servers.insert(server.key(), entry);
    }

    /// Takes an entry out; whether there was one.
    pub fn remove(&mut self, server: &Server) -> bool {
        let Some(key) = self.key_of(server) else {
            return false;
        };
        self.servers.remove(&key);
        if self.current == key {
            self.current.clear();
        }
        true
    }

    /// The server that commands use when none is named.
    pub fn current(&self) -> Option<Server> {
        let entry = self.servers.get(&self.current)?;
        let address = if entry.url.is_empty() {
            self.current.as_str()
        } else {
            entry.url.as_str()
        };
        Server::parse(address, Some(&entry.cluster)).ok()
    }
}

/// Where the store is unless a flag says otherwise.
pub fn default_path() -> PathBuf {
    std::env::home_dir()
        .filter(|home| !home.as_os_str().is_empty())
        .map_or_else(
            || PathBuf::from("config"),
            |home| home.join(DIRECTORY).join("config"),
        )
}

/// People read it, and nobody measures a login more finely.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn v1() -> String {
    "v1".to_owned()
}

fn config() -> String {
    "Config".to_owned()
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Entry>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
