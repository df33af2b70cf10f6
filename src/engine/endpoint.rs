//! Where an engine listens, and the files that open it.

use std::path::{Path, PathBuf};

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `unix://…`, `tcp://…`, `http://…` or `ssh://…`.
    pub address: String,
    /// Where `tcp://` is spoken with TLS: who is trusted, and who we are.
    pub tls: Option<TlsFiles>,
}

impl From<String> for Endpoint {
    fn from(address: String) -> Self {
        Self { address, tls: None }
    }
}

/// The files of a TLS connection, in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    /// The authority that signed the engine's certificate.
    pub ca: PathBuf,
    /// Our certificate; none is a connection without one.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

impl TlsFiles {
    /// The files of a folder, under the names that the docker command line gives them.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        let there = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        Self {
            ca: folder.join("ca.pem"),
            cert: there("cert.pem"),
            key: there("key.pem"),
        }
    }
}
