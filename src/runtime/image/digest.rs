//! Content digests, and streams that compute them on the way.

use std::fmt;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ImageError;

/// A `sha256:…` digest of content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Parses `sha256:<64 hex digits>`; no other algorithm is known.
    ///
    /// # Errors
    /// When the text is not such a digest.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let hex = text
            .strip_prefix("sha256:")
            .filter(|hex| hex.len() == 64 && hex.bytes().all(is_lower_hex));
        match hex {
            Some(hex) => Ok(Self(hex.to_owned())),
            None => Err(ImageError::invalid(format!(
                "`{text}` is not a sha256 digest"
            ))),
        }
    }

    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }

    /// The 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as shown to people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = ImageError;
    fn try_from(text: String) -> Result<Self, ImageError> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// A reader or writer that hashes and counts all that passes.
#[derive(Debug)]
pub struct Hashing<S> {
    inner: S,
    hash: Sha256,
    count: u64,
}

impl<S> Hashing<S> {
    /// Starts with nothing hashed.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            count: 0,
        }
    }

    /// The digest and the number of bytes that passed.
    pub fn finish(self) -> (Digest, u64) {
        (Digest(hex::encode(self.hash.finalize())), self.count)
    }
}

impl<S: Read> Read for Hashing<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        self.count += n as u64;
        Ok(n)
    }
}

impl<S: io::Write> io::Write for Hashing<S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buffer)?;
        self.hash.update(&buffer[..n]);
        self.count += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn only_sha256_in_lower_case_is_a_digest() {
        let good = format!("sha256:{}", "a1".repeat(32));
        assert!(Digest::parse(&good).is_ok());
        for bad in [
            "sha256:",
            "sha256:xyz",
            "sha512:aa",
            &good[..70],
            &good.to_uppercase(),
            "sha256:../../etc/passwd",
        ] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }
}
