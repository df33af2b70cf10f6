//! Images: the content-addressed store, its archives, its layers.
//!
//! Owned: `<root>/images` (configs, names, records) and `<root>/layers` (each layer unpacked once, shared by overlay
//! mounts). Called by the API server and by `build`. All calls block; async callers use `spawn_blocking`.
//!
//! ```text
//! load, import, pull, commit, build --stage--> staging/<random> --verify, rename under the lock--> layers/<chain id>
//!                                                                                             \--> images/config/<id>
//! names.json: reference -> id            remove: name gone -> config gone -> layers that nothing needs gone
//! ```
//!
//! Several processes may use one store: changes happen under an exclusive `flock`, readers see whole files because
//! each is renamed into place, and what a dead process left in `staging` is swept by the next to open the store. Who
//! works on layers pins them, so that nobody takes them away meanwhile.

mod catalog;
mod change;
mod config;
mod digest;
mod error;
mod filter;
mod held;
mod import;
mod layer;
mod listing;
mod load;
mod manifest;
mod pattern;
mod pin;
mod receive;
mod record;
mod reference;
mod removal;
mod save;
mod split;
mod staging;
mod store;
mod words;

pub use change::{
    apply, apply_changes, command, environment_of, is_config_instruction, join_workdir, json_form,
    set_env,
};
pub use config::{ConfigFile, HistoryEntry, RootFiles, architecture, chain_ids};
pub use digest::{Digest, Hashing};
pub use error::{ErrorKind, ImageError};
pub use held::Scratch;
pub use import::Step;
pub use manifest::{Descriptor, Document, Index, Manifest, Platform, media};
pub use pattern::{matches, matches_path};
pub use pin::{Pin, Presence};
pub use receive::{LayerOf, Receipt, RemoteLayer};
pub use record::{
    CommitRequest, Filters, ImageRecord, ImageSource, ImageUse, ImportRequest, ListRequest,
    ListScope, LoadProgress, Parents, Removal, SharedSize, UseState, Uses,
};
pub use reference::Reference;
pub use store::ImageStore;
pub use words::{Lookup, expand, split_words};
