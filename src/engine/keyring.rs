//! Who the user is to registries: engines ask when they pull, push and build. The front end knows where the user keeps
//! credentials; this layer only knows that someone does.

use std::fmt::Debug;

/// A name and password, or a token that stands for both.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistryKey {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// Token that stands for both.
    pub identity_token: String,
    /// The registry, as configuration files call it.
    pub server: String,
}

impl Debug for RegistryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryKey")
            .field("server", &self.server)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Where credentials are kept. Both calls may start programs and block.
pub trait Keyring: Send + Sync + Debug {
    /// The key to the registry of an image; none is nobody in particular.
    ///
    /// # Errors
    /// Says what failed where credentials are kept but cannot be read.
    fn key(&self, image: &str) -> Result<Option<RegistryKey>, String>;

    /// The keys to every registry that is known, for builds, whose Dockerfiles name images of their own.
    ///
    /// # Errors
    /// As [`Keyring::key`].
    fn all(&self) -> Result<Vec<RegistryKey>, String>;
}

/// A keyring without keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoKeys;

impl Keyring for NoKeys {
    fn key(&self, _: &str) -> Result<Option<RegistryKey>, String> {
        Ok(None)
    }

    fn all(&self) -> Result<Vec<RegistryKey>, String> {
        Ok(Vec::new())
    }
}
