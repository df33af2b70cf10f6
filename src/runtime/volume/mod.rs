//! Named and anonymous volumes of the `local` driver.
//!
//! Owned: `<root>/volumes/<name>/{volume.json,_data}`, and the mounts on `_data` of volumes with driver options. Which
//! container uses which volume is the caller's knowledge and comes in with each call.
//!
//! ```text
//! create -> (mount: first user) -> in use -> (unmount: last user) -> remove
//! ```

mod content;
mod error;
mod options;
mod query;
mod record;
mod store;

pub use error::{ErrorKind, VolumeError};
pub use store::{VolumeStore, VolumeUse};
