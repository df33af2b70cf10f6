//! Registries: images come and go over the OCI distribution protocol.
//!
//! Called by the API (`/images/create`, `/images/NAME/push`, `/distribution`) and by the builder's host; `publish` pushes artifacts. Async.
//!
//! ```text
//! pull: reference -> manifest (index -> platform) -> config -> missing layers, several at once:
//!       download (resumed after a break, digest verified) -> unpack -> commit, names
//! push: layers, several at once: known there? mounted from another repository? else compress and upload
//!       -> config -> manifest
//! ```
//!
//! Credentials go to the host that they are for and to no other: a redirect elsewhere loses them. Layers' `urls` are
//! never followed.

mod artifact;
mod cache;
mod client;
mod connect;
mod credential;
mod download;
mod error;
mod event;
mod pull;
mod push;
mod settings;
mod token;
mod transfer;

pub use artifact::{Artifact, ArtifactForm, FetchedArtifact, Part, Pushed};
pub use credential::{Credential, CredentialSources};
pub use download::FileFacts;
pub use error::RegistryError;
pub use event::PullEvent;
pub use pull::{News, PullRequest, Pulled};
pub use push::PushRequest;
pub use settings::RegistrySettings;

use std::sync::Arc;

use connect::Connections;

/// The registry client of one engine.
#[derive(Debug, Clone)]
pub struct Registries {
    settings: Arc<RegistrySettings>,
    connections: Connections,
}

impl Registries {
    /// A client with these settings; nothing is connected yet.
    ///
    /// # Errors
    /// When the certificates of the settings cannot be read.
    pub fn new(settings: RegistrySettings) -> Result<Self, RegistryError> {
        let connections = Connections::new(&settings)?;
        Ok(Self {
            settings: Arc::new(settings),
            connections,
        })
    }
}
