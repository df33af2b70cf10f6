//! Reading of files that others name, up to a limit: `/dev/zero` has no end, and a file of this kind is small.
//!
//! Used by what reads a Compose file or a file of variables.

use std::{
    fs::File,
    io::{Error, ErrorKind, Read, Result},
    path::Path,
};

/// Compose files and files of variables of more bytes are refused: twenty thousand services take 10 MiB.
const LARGEST: u64 = 128 << 20;

/// Reads a file.
///
/// # Errors
/// Fails where it cannot be read, or is too large.
pub(super) fn read(file: &Path) -> Result<Vec<u8>> {
    up_to(LARGEST, File::open(file)?)
}

/// Reads a file that is text.
///
/// # Errors
/// Fails where it cannot be read, is too large, or is not text.
pub fn read_text(file: &Path) -> Result<String> {
    text_of(read(file)?)
}

/// Reads text to its end, such as standard input.
///
/// # Errors
/// Fails where it cannot be read, is too large, or is not text.
pub fn text_from(from: impl Read) -> Result<String> {
    text_of(up_to(LARGEST, from)?)
}

fn text_of(bytes: Vec<u8>) -> Result<String> {
    let not_text = |error: std::string::FromUtf8Error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].split(|byte| *byte == b'\n').count();
        let text = format!("it is not UTF-8 text: byte {at}, in line {line}, is wrong");
        Error::new(ErrorKind::InvalidData, text)
    };
    String::from_utf8(bytes).map_err(not_text)
}

fn up_to(largest: u64, from: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest {
        let text = format!("it has more than {} MiB", largest >> 20);
        return Err(Error::new(ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_at_the_limit() {
        let (largest, error) = (2 << 20, "it has more than 2 MiB");
        let read = |length| up_to(largest, std::io::repeat(b'a').take(length));
        assert!(read(largest).is_ok());
        assert!(read(largest + 1).is_err_and(|found| found.to_string() == error));
        assert!(up_to(largest, std::io::repeat(0)).is_err());
    }

    #[test]
    fn says_what_is_not_text() {
        let found = text_of(b"a\n\xff".to_vec()).map_err(|error| error.to_string());
        let want = "it is not UTF-8 text: byte 2, in line 2, is wrong";
        assert_eq!(found, Err(want.to_owned()));
    }
}
