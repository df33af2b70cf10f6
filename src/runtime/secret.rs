//! The store of external secrets: small files that are encrypted at rest, for `hoist secret` and for services that use
//! `external: true`.
//!
//! ```text
//! <root>/secrets/NAME    version (1 byte), nonce (12), AES-256-GCM of the value with NAME as associated data
//! <root>/secret.key      32 random bytes; HOIST_SECRET_KEY_FILE names another place (a token, a tmpfs)
//! ```
//!
//! The name is part of what is authenticated, so one secret cannot be passed off as another. Who has both key and store
//! can read: keep the key out of backups. Values go to the built-in engine only, which keeps them in memory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

use super::layout::Layout;

/// As Swarm's limit, with room to spare.
const SIZE_MAX: usize = 1 << 20;
const NAME_MAX: usize = 64;
const VERSION: u8 = 1;
const KEY_LEN: usize = 32;
/// Digits of a digest: 128 bits.
const DIGEST_SHOWN: usize = 32;

/// Why the store cannot do what was asked.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The name cannot be one.
    #[error(
        "`{0}` is no name of a secret: use up to {NAME_MAX} letters, digits and `-_.`, the first a letter or digit"
    )]
    Name(String),
    /// It is there already.
    #[error(
        "secret `{0}` exists: `hoist secret rm {0}` removes it, `--replace` gives it a new value"
    )]
    Exists(String),
    /// It is not there.
    #[error("secret `{0}` is not in the store: `hoist secret create {0} FILE` puts it there")]
    Missing(String),
    /// It has no or too much content.
    #[error("a secret has 1 to {SIZE_MAX} bytes, and `{name}` has {size}")]
    Size {
        /// The secret.
        name: String,
        /// Its bytes.
        size: usize,
    },
    /// The key is not the one that it was encrypted with, or the file was changed.
    #[error("secret `{name}` cannot be decrypted with the key in `{}`", key.display())]
    Sealed {
        /// The secret.
        name: String,
        /// The key.
        key: PathBuf,
    },
    /// The key file is no key.
    #[error("`{}` is no key: it must have {KEY_LEN} bytes", .0.display())]
    Key(PathBuf),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// A file cannot be used.
    #[error("cannot {what} `{}`", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The store of a layout.
#[derive(Debug)]
pub struct SecretStore {
    folder: PathBuf,
    key: PathBuf,
}

impl SecretStore {
    /// The store below a layout's root; `key` stands for `HOIST_SECRET_KEY_FILE`. Nothing is made yet.
    #[must_use]
    pub fn new(layout: &Layout, key: Option<&str>) -> Self {
        Self {
            folder: layout.root().join("secrets"),
            key: key.map_or_else(|| layout.root().join("secret.key"), PathBuf::from),
        }
    }

    /// Puts a secret into the store.
    ///
    /// # Errors
    /// When it is there already and is not to be replaced, or cannot be written.
    pub fn create(&self, name: &str, value: &[u8], replace: bool) -> Result<(), SecretError> {
        check_name(name)?;
        if value.is_empty() || value.len() > SIZE_MAX {
            return Err(SecretError::Size {
                name: name.to_owned(),
                size: value.len(),
            });
        }
        make_private(&self.folder)?;
        let path = self.folder.join(name);
        if path.exists() && !replace {
            return Err(SecretError::Exists(name.to_owned()));
        }
        let key = self.key_or_new()?;
        write_whole(&path, &seal(&key, name, value)?)
    }

    /// The value of a secret.
    ///
    /// # Errors
    /// When it is not there or cannot be decrypted.
    pub fn value(&self, name: &str) -> Result<Vec<u8>, SecretError> {
        check_name(name)?;
        let path = self.folder.join(name);
        let sealed = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SecretError::Missing(name.to_owned()));
            }
            read => read.map_err(failed("read", &path))?,
        };
        open(&self.read_key()?, name, &sealed).ok_or_else(|| SecretError::Sealed {
            name: name.to_owned(),
            key: self.key.clone(),
        })
    }

    /// Names, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn names(&self) -> Result<Vec<String>, SecretError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed("read", &self.folder))?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| check_name(name).is_ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Removes a secret.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove(&self, name: &str) -> Result<(), SecretError> {
        check_name(name)?;
        let path = self.folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(SecretError::Missing(name.to_owned()))
            }
            removed => removed.map_err(failed("remove", &path)),
        }
    }

    /// What a content is told by: a keyed digest under a name, with the beginning of the key's own, so that a digest of
    /// another key is told from one of another content. Without the key nothing follows from it.
    ///
    /// # Errors
    /// When there is no key, and none can be made.
    pub fn digest(&self, name: &str, content: &[u8]) -> Result<String, SecretError> {
        self.key_or_new()?;
        let bytes = fs::read(&self.key).map_err(failed("read the key", &self.key))?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        // A key of its own: what is encrypted and what is digested have nothing in common.
        let derived = hmac::sign(&key, b"digests of contents");
        let key = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
        let id = hmac::sign(&key, b"");
        let mut digest = hmac::Context::with_key(&key);
        digest.update(name.as_bytes());
        digest.update(&[0]);
        digest.update(content);
        let digest = hex::encode(digest.sign());
        let id = hex::encode(&id.as_ref()[..4]);
        Ok(format!("{id}:{}", &digest[..DIGEST_SHOWN]))
    }

    fn read_key(&self) -> Result<LessSafeKey, SecretError> {
        let bytes = fs::read(&self.key).map_err(failed("read the key", &self.key))?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| SecretError::Key(self.key.clone()))?;
        Ok(LessSafeKey::new(key))
    }

    /// Two that make it at the same time agree on the first one's.
    fn key_or_new(&self) -> Result<LessSafeKey, SecretError> {
        if !self.key.exists() {
            let bytes: [u8; KEY_LEN] = random()?;
            let whole = self
                .key
                .with_extension(format!("{}.tmp", std::process::id()));
            write_new(&whole, &bytes)?;
            let linked = fs::hard_link(&whole, &self.key);
            fs::remove_file(&whole).map_err(failed("remove", &whole))?;
            match linked {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("make the key", &self.key)(error));
                }
                _ => {}
            }
        }
        self.read_key()
    }
}

fn check_name(name: &str) -> Result<(), SecretError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let begins = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && name.len() <= NAME_MAX && name.bytes().all(fits) {
        Ok(())
    } else {
        Err(SecretError::Name(name.to_owned()))
    }
}

fn random<const N: usize>() -> Result<[u8; N], SecretError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| SecretError::Random)?;
    Ok(bytes)
}

fn seal(key: &LessSafeKey, name: &str, value: &[u8]) -> Result<Vec<u8>, SecretError> {
    let nonce: [u8; NONCE_LEN] = random()?;
    let mut text = value.to_vec();
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(name.as_bytes()),
        &mut text,
    )
    .map_err(|_| SecretError::Random)?;
    Ok([&[VERSION], nonce.as_slice(), &text].concat())
}

fn open(key: &LessSafeKey, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (version, rest) = sealed.split_first()?;
    let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
    if *version != VERSION {
        return None;
    }
    let mut text = text.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let value = key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut text);
    value.ok().map(|value| value.to_vec())
}

fn make_private(folder: &Path) -> Result<(), SecretError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed("make", folder))
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), SecretError> {
    let written = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(failed("write", path))
}

/// Whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), SecretError> {
    // `check_name` admits no name that begins with a dot, so no secret is in the way.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let whole = path.with_file_name(format!(".{name}.{}", std::process::id()));
    write_new(&whole, bytes)?;
    fs::rename(&whole, path).map_err(failed("write", path))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SecretError + use<> {
    let path = path.to_owned();
    move |source| SecretError::File { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn store(folder: &Path) -> SecretStore {
        SecretStore {
            folder: folder.join("secrets"),
            key: folder.join("secret.key"),
        }
    }

    #[test]
    fn a_secret_comes_back_and_lies_encrypted() -> TestResult {
        let folder = tempfile::tempdir()?;
        let store = store(folder.path());
        assert_eq!(store.names()?, Vec::<String>::new());
        store.create("db.password", b"hunter2", false)?;
        assert_eq!(store.value("db.password")?, b"hunter2");
        assert_eq!(store.names()?, ["db.password"]);
        let lies = fs::read(folder.path().join("secrets/db.password"))?;
        assert!(!lies.windows(7).any(|bytes| bytes == b"hunter2"));
        let again = store.create("db.password", b"other", false);
        assert!(matches!(again, Err(SecretError::Exists(_))));
        store.create("db.password", b"other", true)?;
        assert_eq!(store.value("db.password")?, b"other");
        store.remove("db.password")?;
        assert!(matches!(
            store.value("db.password"),
            Err(SecretError::Missing(_))
        ));
        assert!(matches!(
            store.remove("db.password"),
            Err(SecretError::Missing(_))
        ));
        Ok(())
    }

    #[test]
    fn a_secret_under_another_name_or_key_or_changed_is_refused() -> TestResult {
        let folder = tempfile::tempdir()?;
        let store = store(folder.path());
        store.create("one", b"value", false)?;
        let path = folder.path().join("secrets/one");
        let sealed = fs::read(&path)?;
        fs::write(folder.path().join("secrets/two"), &sealed)?;
        assert!(matches!(
            store.value("two"),
            Err(SecretError::Sealed { .. })
        ));
        for cut in [0, 1, 12, sealed.len() - 1] {
            fs::write(&path, &sealed[..cut])?;
            assert!(matches!(
                store.value("one"),
                Err(SecretError::Sealed { .. })
            ));
        }
        fs::write(&path, &sealed)?;
        fs::write(folder.path().join("secret.key"), [7; KEY_LEN])?;
        assert!(matches!(
            store.value("one"),
            Err(SecretError::Sealed { .. })
        ));
        fs::write(folder.path().join("secret.key"), "short")?;
        assert!(matches!(store.value("one"), Err(SecretError::Key(_))));
        Ok(())
    }

    #[test]
    fn names_lead_nowhere_else() {
        for wrong in [
            "",
            "..",
            ".hidden",
            "a/b",
            "/etc/passwd",
            "a b",
            "-x",
            &"x".repeat(65),
        ] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
        assert!(check_name("Db_password-1.txt").is_ok());
    }
}
