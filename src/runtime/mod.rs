//! The container engine built into the binary. Knows no Compose.

pub mod archive;
pub mod build;
pub mod container;
pub mod error;
pub mod image;
pub mod keeper;
pub mod launch;
pub mod layout;
pub mod network;
pub mod registry;
pub mod rootless;
pub mod secret;
pub mod supervise;
pub mod sys;
pub mod volume;
