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
//! each is renamed into place, and what a dead process left in `staging` is swept by the next to open the store.

mod digest;
mod error;
mod record;
mod reference;
mod store;

pub use digest::{Digest, Hashing};
pub use error::{ErrorKind, ImageError};
pub use record::{
    CommitRequest, Filters, ImageRecord, ImageSource, ImageUse, ImportRequest, ListRequest,
    ListScope, LoadProgress, Parents, Removal, SharedSize, UseState,
};
pub use reference::Reference;
pub use store::ImageStore;
