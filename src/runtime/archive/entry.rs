//! One entry of an archive: header blocks and PAX records to a value.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::ArchiveError;

pub(super) const BLOCK: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// Another name of an earlier entry.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// An entry with its long names and PAX records merged in.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Name as in the archive; see [`clean_name`].
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Bytes of content in the archive.
    pub size: u64,
    /// Target of a link.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// Of a sparse file: where its pieces lie, and its real size.
    pub sparse: Option<Sparse>,
}

/// The map of a sparse file.
#[derive(Debug, Clone, Default)]
pub struct Sparse {
    /// Offset and length of each piece, in the order of the content.
    pub pieces: Vec<(u64, u64)>,
    /// Size of the file.
    pub size: u64,
}

/// What PAX records and GNU long names say about the next entry.
#[derive(Debug, Default)]
pub(super) struct Extension {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Extension {
    /// Reads `length key=value\n` records.
    pub(super) fn add_pax(&mut self, mut records: &[u8]) -> Result<(), ArchiveError> {
        while !records.is_empty() {
            let (record, rest) =
                split_record(records).ok_or_else(|| malformed("broken PAX record"))?;
            let equals = record
                .iter()
                .position(|b| *b == b'=')
                .ok_or_else(|| malformed("PAX record without `=`"))?;
            self.set(&record[..equals], &record[equals + 1..])?;
            records = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), ArchiveError> {
        let key = std::str::from_utf8(key).map_err(|_| malformed("PAX key is not UTF-8"))?;
        match key {
            "path" => self.path = Some(without_nul(value)?),
            "linkpath" => self.link = Some(without_nul(value)?),
            "size" => self.size = Some(parse_decimal(value)?),
            "uid" => self.uid = Some(parse_decimal(value)?),
            "gid" => self.gid = Some(parse_decimal(value)?),
            "mtime" => self.mtime = Some(parse_time(value)?),
            _ if key.starts_with("GNU.sparse.") => {
                return Err(malformed("sparse file in PAX format"));
            }
            _ => {
                if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                    self.xattrs.push((name.to_owned(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

fn split_record(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = records.iter().take(20).position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let record = records.get(space + 1..length)?;
    Some((record.strip_suffix(b"\n")?, &records[length..]))
}

fn without_nul(value: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    if value.contains(&0) {
        return Err(malformed("name with a NUL byte"));
    }
    Ok(value.to_vec())
}

fn parse_decimal<T: std::str::FromStr>(value: &[u8]) -> Result<T, ArchiveError> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| malformed("PAX number out of range"))
}

fn parse_time(value: &[u8]) -> Result<(i64, u32), ArchiveError> {
    let text = std::str::from_utf8(value).map_err(|_| malformed("PAX time is not a number"))?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds
        .parse()
        .map_err(|_| malformed("PAX time is not a number"))?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: u32 = digits
        .parse()
        .map_err(|_| malformed("PAX time is not a number"))?;
    Ok(if text.starts_with('-') && nanoseconds > 0 {
        (seconds - 1, 1_000_000_000 - nanoseconds)
    } else {
        (seconds, nanoseconds)
    })
}

/// A header block, its checksum verified.
pub(super) struct Header<'a>(&'a [u8; BLOCK]);

impl<'a> Header<'a> {
    pub(super) fn verified(block: &'a [u8; BLOCK]) -> Result<Self, ArchiveError> {
        let stated = number(&block[148..156])?;
        let blanked = |(i, b): (usize, &u8)| if (148..156).contains(&i) { b' ' } else { *b };
        let unsigned: u64 = block
            .iter()
            .enumerate()
            .map(|e| u64::from(blanked(e)))
            .sum();
        let signed: i64 = block
            .iter()
            .enumerate()
            .map(|e| i64::from(blanked(e).cast_signed()))
            .sum();
        if stated == unsigned || i64::try_from(stated) == Ok(signed) {
            Ok(Self(block))
        } else {
            Err(malformed("header checksum does not match"))
        }
    }

    pub(super) fn flag(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn size(&self) -> Result<u64, ArchiveError> {
        number(&self.0[124..136])
    }

    /// GNU's first sparse map and whether more follows; then the real size.
    pub(super) fn sparse(&self) -> Result<(Sparse, bool), ArchiveError> {
        let pieces = sparse_pieces(&self.0[386..482])?;
        Ok((
            Sparse {
                pieces,
                size: number(&self.0[483..495])?,
            },
            self.0[482] != 0,
        ))
    }

    fn name(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = text(&self.0[345..500]);
        if &self.0[257..263] == b"ustar\0" && !prefix.is_empty() {
            return [prefix, b"/", name].concat();
        }
        name.to_vec()
    }

    pub(super) fn entry(&self, extension: Extension) -> Result<Entry, ArchiveError> {
        let name = extension.path.unwrap_or_else(|| self.name());
        let kind = self.kind(&name)?;
        let field = |range: std::ops::Range<usize>| number(&self.0[range]);
        let id = |value: u64| u32::try_from(value).map_err(|_| malformed("owner out of range"));
        let size = if kind == EntryKind::File {
            extension.size.map_or_else(|| self.size(), Ok)?
        } else {
            0
        };
        Ok(Entry {
            kind,
            mode: u32::try_from(field(100..108)? & 0o7777).unwrap_or(0),
            uid: extension.uid.map_or_else(|| id(field(108..116)?), Ok)?,
            gid: extension.gid.map_or_else(|| id(field(116..124)?), Ok)?,
            mtime: extension
                .mtime
                .map_or_else(|| Ok((field(136..148)?.cast_signed(), 0)), Ok)?,
            size,
            link: extension
                .link
                .unwrap_or_else(|| text(&self.0[157..257]).to_vec()),
            device: (
                id(field(329..337).unwrap_or(0))?,
                id(field(337..345).unwrap_or(0))?,
            ),
            xattrs: extension.xattrs,
            sparse: None,
            name,
        })
    }

    fn kind(&self, name: &[u8]) -> Result<EntryKind, ArchiveError> {
        Ok(match self.flag() {
            b'0' | 0 if name.ends_with(b"/") => EntryKind::Directory,
            b'0' | 0 | b'7' | b'S' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'3' => EntryKind::CharDevice,
            b'4' => EntryKind::BlockDevice,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            flag => {
                return Err(malformed(&format!(
                    "unknown entry type `{}`",
                    char::from(flag).escape_default()
                )));
            }
        })
    }
}

pub(super) fn sparse_pieces(map: &[u8]) -> Result<Vec<(u64, u64)>, ArchiveError> {
    let mut pieces = Vec::new();
    for piece in map.chunks_exact(24).take_while(|piece| piece[0] != 0) {
        pieces.push((number(&piece[..12])?, number(&piece[12..])?));
    }
    Ok(pieces)
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// An octal number, or a big-endian one after a byte 0x80.
fn number(field: &[u8]) -> Result<u64, ArchiveError> {
    if field[0] == 0xff {
        // A negative number: only times have them; before 1970 is as good as 1970.
        return Ok(0);
    }
    if field[0] & 0x80 != 0 {
        let digits = std::iter::once(field[0] & 0x7f).chain(field[1..].iter().copied());
        return digits
            .into_iter()
            .try_fold(0u64, |n, b| n.checked_mul(256)?.checked_add(u64::from(b)))
            .ok_or_else(|| malformed("number out of range"));
    }
    let digits = text(field);
    let digits = std::str::from_utf8(digits)
        .map_err(|_| malformed("number with bytes that are no digits"))?
        .trim();
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(digits, 8)
        .map_err(|_| malformed("number with bytes that are no octal digits"))
}

pub(super) fn malformed(what: &str) -> ArchiveError {
    ArchiveError::Malformed(what.to_owned())
}

/// A name of an archive as a relative path: `/a/./b/../c` is `a/c`. The root itself is the empty path.
///
/// # Errors
/// When it would leave the root, or is too long for the system.
pub fn clean_name(name: &[u8], longest: usize) -> Result<PathBuf, ArchiveError> {
    let refused = |reason| ArchiveError::Refused {
        name: String::from_utf8_lossy(&name[..name.len().min(200)]).into_owned(),
        reason,
    };
    if name.len() > longest {
        return Err(refused("its name is too long"));
    }
    let mut clean = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) if part.len() > 255 => {
                return Err(refused("a part of its name is too long"));
            }
            Component::Normal(part) => clean.push(part),
            Component::ParentDir if !clean.pop() => {
                return Err(refused("it leads out of the directory"));
            }
            Component::ParentDir
            | Component::CurDir
            | Component::RootDir
            | Component::Prefix(_) => {}
        }
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Extension, clean_name, number};

    #[test]
    fn names_are_cleaned_and_never_leave_the_root() -> Result<(), Box<dyn std::error::Error>> {
        for (name, clean) in [
            ("./", ""),
            ("/a/./b", "a/b"),
            ("a/../b", "b"),
            ("a//b/", "a/b"),
        ] {
            assert_eq!(
                clean_name(name.as_bytes(), 4096)?,
                Path::new(clean),
                "{name}"
            );
        }
        for name in ["..", "../x", "a/../../x", "/../etc"] {
            assert!(clean_name(name.as_bytes(), 4096).is_err(), "{name}");
        }
        assert!(clean_name(&[b'a'; 300], 4096).is_err());
        Ok(())
    }

    #[test]
    fn numbers_are_octal_or_binary() -> Result<(), Box<dyn std::error::Error>> {
        assert_eq!(number(b"0000644\0")?, 0o644);
        assert_eq!(number(b"  644 \0 ")?, 0o644);
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 0])?, 256);
        assert!(number(b"00006x4\0").is_err());
        assert!(number(&[0x8f, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]).is_err());
        Ok(())
    }

    #[test]
    fn broken_pax_records_are_refused() {
        for records in [
            "9 a=bc\n",
            "99999 path=x\n",
            "7 abcd\n",
            "x a=b\n",
            "-1 a=b\n",
            "8 size=x\n",
            "9 path=\0\n",
        ] {
            assert!(
                Extension::default().add_pax(records.as_bytes()).is_err(),
                "{records}"
            );
        }
    }
}
