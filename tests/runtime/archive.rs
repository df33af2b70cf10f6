//! Archives that mean harm: nothing outside of the directory is touched.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hoist::runtime::archive::{
    ArchiveWhiteouts, Entry, EntryKind, Limits, NoRecorder, Overwrite, Owner, PutOptions, Root,
    TarWriter, UnpackOptions, changes, get_path, open_merged, put_path, stat_path, unpack,
};

use crate::common::has_root;

type TestResult = Result<(), Box<dyn std::error::Error>>;

pub(super) fn archive(entries: &[(Entry, &[u8])]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut nothing = NoRecorder;
    let mut writer = TarWriter::new(Vec::new(), &mut nothing);
    for (entry, content) in entries {
        if entry.kind == EntryKind::File {
            writer.file(entry, Path::new(""), *content)?;
        } else {
            writer.header(entry)?;
        }
    }
    Ok(writer.finish()?)
}

fn file<'a>(name: &str, content: &'a str) -> (Entry, &'a [u8]) {
    (Entry::plain(name, content.len() as u64), content.as_bytes())
}

fn other(name: &str, kind: EntryKind, link: &Path) -> (Entry, &'static [u8]) {
    (
        Entry {
            kind,
            link: link.as_os_str().as_bytes().to_vec(),
            ..Entry::plain(name, 0)
        },
        b"",
    )
}

/// A directory to unpack into, and one beside it that must stay as it is.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Result<Self, std::io::Error> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("root"))?;
        std::fs::create_dir(folder.path().join("outside"))?;
        std::fs::write(folder.path().join("outside/secret"), "host")?;
        Ok(Self { folder })
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("root")
    }

    fn outside(&self) -> std::path::PathBuf {
        self.folder.path().join("outside")
    }

    fn unpack(
        &self,
        bytes: &[u8],
        whiteouts: ArchiveWhiteouts,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let root = Root::open(&self.root())?;
        let options = UnpackOptions {
            whiteouts,
            limits: Limits {
                bytes: 1 << 20,
                entries: 1000,
                ..Limits::default()
            },
            ..UnpackOptions::default()
        };
        unpack(bytes, &root, &options, &mut NoRecorder)?;
        Ok(())
    }

    fn is_outside_untouched(&self) -> Result<bool, std::io::Error> {
        let names = std::fs::read_dir(self.outside())?.count();
        let whole = std::fs::read_dir(self.folder.path())?.count();
        Ok(names == 1
            && whole == 2
            && std::fs::read_to_string(self.outside().join("secret"))? == "host")
    }
}

#[test]
fn names_and_links_that_lead_out_change_nothing_outside() -> TestResult {
    if !has_root("names_and_links_that_lead_out_change_nothing_outside") {
        return Ok(());
    }
    let link = |name: &str, to: &Path| other(name, EntryKind::Symlink, to);
    let hard = |name: &str, to: &Path| other(name, EntryKind::HardLink, to);
    let sample = Place::new()?;
    let outside = sample.outside();
    let up = Path::new("../outside");
    let hostile: Vec<Vec<(Entry, &[u8])>> = vec![
        vec![file("../outside/evil", "x")],
        vec![file("a/../../outside/evil", "x")],
        vec![file(&outside.join("evil").display().to_string(), "x")],
        vec![link("e", &outside), file("e/evil", "x")],
        vec![link("e", up), file("e/evil", "x")],
        vec![link("e", &outside), file("e/secret", "x")],
        vec![link("e", &outside.join("secret")), file("e", "x")],
        vec![hard("h", &outside.join("secret")), file("h", "x")],
        vec![hard("h", Path::new("../outside/secret")), file("h", "x")],
        vec![
            link("e", &outside),
            hard("h", Path::new("e/secret")),
            file("h", "x"),
        ],
        vec![
            link("e", &outside),
            (Entry::directory("e"), b""),
            file("e/evil", "x"),
        ],
        vec![
            link("e", &outside),
            other("e/sub", EntryKind::Directory, Path::new("")),
        ],
        vec![link("e", &outside), file("e/.wh.secret", "")],
        vec![link("e", &outside), file("e/.wh..wh..opq", "")],
        vec![file(".wh...", "")],
        vec![file(".wh.", "")],
        vec![
            link("a", Path::new("b")),
            link("b", Path::new("a")),
            file("a/x", "x"),
        ],
    ];
    for (index, entries) in hostile.iter().enumerate() {
        let bytes = archive(entries)?;
        for whiteouts in [ArchiveWhiteouts::Overlay, ArchiveWhiteouts::Ordinary] {
            let place = Place {
                folder: tempfile::tempdir()?,
            };
            std::fs::create_dir(place.root())?;
            // Refused or kept inside: both are right, as long as nothing outside changes.
            let _result = sample.unpack(&bytes, whiteouts);
            assert!(sample.is_outside_untouched()?, "archive {index}");
            std::fs::remove_dir_all(sample.root())?;
            std::fs::create_dir(sample.root())?;
        }
    }
    Ok(())
}

#[test]
fn archives_that_lie_or_are_too_large_are_refused() -> TestResult {
    if !has_root("archives_that_lie_or_are_too_large_are_refused") {
        return Ok(());
    }
    let place = Place::new()?;
    let whole = archive(&[file("f", "content")])?;
    let mut broken_checksum = whole.clone();
    broken_checksum[0] = b'g';
    let huge = Entry {
        size: 1 << 40,
        ..Entry::plain("f", 0)
    };
    let mut nothing = NoRecorder;
    let mut writer = TarWriter::new(Vec::new(), &mut nothing);
    writer.header(&huge)?;
    let bomb = writer.finish()?;
    let many: Vec<_> = (0..2000).map(|i| file(&format!("f{i}"), "")).collect();
    let long = "d/".repeat(3000);
    let null_device = Entry {
        kind: EntryKind::CharDevice,
        ..Entry::plain("w", 0)
    };
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("rubbish", b"rubbish".repeat(500)),
        ("truncated", whole[..514].to_vec()),
        ("truncated header", whole[..100].to_vec()),
        ("checksum", broken_checksum),
        ("bomb", bomb),
        ("entries", archive(&many)?),
        ("long name", archive(&[file(&long, "")])?),
        ("whiteout device", archive(&[(null_device, b"")])?),
        ("long part", archive(&[file(&"n".repeat(300), "")])?),
    ];
    for (what, bytes) in table {
        assert!(
            place.unpack(&bytes, ArchiveWhiteouts::Overlay).is_err(),
            "{what}"
        );
    }
    Ok(())
}

#[test]
fn copying_into_a_container_stays_in_its_root() -> TestResult {
    if !has_root("copying_into_a_container_stays_in_its_root") {
        return Ok(());
    }
    let place = Place::new()?;
    std::fs::create_dir(place.root().join("tmp"))?;
    std::os::unix::fs::symlink(place.outside(), place.root().join("out"))?;
    std::os::unix::fs::symlink("../../../../../../../..", place.root().join("tmp/up"))?;
    let root = Root::open(&place.root())?;
    let options = PutOptions {
        overwrite: Overwrite::Any,
        owner: Owner::Archive,
    };
    assert!(stat_path(&root, "/out/secret").is_err());
    assert!(put_path(&root, "/out", &archive(&[file("evil", "x")])?[..], options).is_err());
    put_path(
        &root,
        "/tmp/up",
        &archive(&[file("inside", "x")])?[..],
        options,
    )?;
    assert!(place.root().join("inside").exists());
    assert!(place.is_outside_untouched()?);
    let stat = stat_path(&root, "/tmp/up")?;
    assert_eq!(
        (
            stat.name.as_str(),
            stat.link_target.as_str(),
            stat.mode & (1 << 27)
        ),
        ("up", "/", 1 << 27)
    );
    let mut out = Vec::new();
    get_path(&root, "/tmp/.", &mut out)?;
    assert!(out.starts_with(b"./\0"));
    Ok(())
}

#[test]
fn changes_are_told_apart_from_mount_points() -> TestResult {
    if !has_root("changes_are_told_apart_from_mount_points") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    for name in ["lower/d", "upper/d", "upper/v", "work"] {
        std::fs::create_dir_all(folder.path().join(name))?;
    }
    std::fs::write(folder.path().join("lower/d/old"), "x")?;
    let (upper, work) = (folder.path().join("upper"), folder.path().join("work"));
    let lower = [folder.path().join("lower")];
    {
        let merged = Root::from_fd(open_merged(&lower, Some((&upper, &work)))?);
        let options = PutOptions {
            overwrite: Overwrite::Any,
            owner: Owner::Archive,
        };
        put_path(
            &merged,
            "/d",
            &archive(&[file("new", "x"), file("old", "y")])?[..],
            options,
        )?;
    }
    let list = changes(&upper, &lower, &["/v".to_owned()])?;
    let shown: Vec<String> = list
        .iter()
        .map(|change| format!("{:?} {}", change.kind, change.path.display()))
        .collect();
    assert_eq!(shown, ["Modified /d", "Added /d/new", "Modified /d/old"]);
    Ok(())
}
