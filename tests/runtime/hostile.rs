//! Images that lie, from archives and from registries: refused with a message, and the store is as it was.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use hoist::runtime::archive::{Entry, EntryKind, NoRecorder, TarWriter};
use hoist::runtime::image::{
    Digest, ImageStore, ImportRequest, ListRequest, Parents, Platform, Reference, Removal,
};
use hoist::runtime::registry::{PullRequest, Registries, RegistrySettings};
use serde_json::json;

use super::archive::archive as tar;
use crate::common::has_root;

type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn file<'a>(name: &str, content: &'a [u8]) -> (Entry, &'a [u8]) {
    (Entry::plain(name, content.len() as u64), content)
}

fn link(name: &str, kind: EntryKind, target: &str) -> (Entry, &'static [u8]) {
    let link = target.as_bytes().to_vec();
    let plain = Entry::plain(name, 0);
    (
        Entry {
            kind,
            link,
            ..plain
        },
        b"",
    )
}

/// An archive with one file whose header promises more than any disk has.
fn endless() -> TestResult<Vec<u8>> {
    let mut nothing = NoRecorder;
    let mut writer = TarWriter::new(Vec::new(), &mut nothing);
    writer.header(&Entry {
        size: 1 << 60,
        ..Entry::plain("f", 0)
    })?;
    Ok(writer.finish()?)
}

/// A file of the old GNU form that is 512 bytes of data in a terabyte of hole.
fn sparse() -> Vec<u8> {
    let mut header = [0u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, "hole");
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, "00000001000\0");
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "S");
    put(257, "ustar  \0");
    put(386, "00000000000\0");
    put(398, "00000001000\0");
    put(483, "20000000000000\0".get(..12).unwrap_or_default());
    header[483] = 0x80; // the size in binary: 2^40 bytes
    header[484..495].copy_from_slice(&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    [&header[..], &[b'x'; 512], &[0; 1024]].concat()
}

fn gzip(plain: &[u8]) -> TestResult<Vec<u8>> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(plain)?;
    Ok(writer.finish()?)
}

fn config(diff_ids: &[Digest]) -> Vec<u8> {
    let ids: Vec<String> = diff_ids.iter().map(Digest::to_string).collect();
    json!({"architecture": Platform::this_machine().architecture, "os": "linux", "config": {"Cmd": ["x"]},
        "rootfs": {"type": "layers", "diff_ids": ids}})
    .to_string()
    .into_bytes()
}

/// An archive of one image with one layer, as `docker save` made them.
fn docker_archive(layer: &[u8], diff_id: &Digest) -> TestResult<Vec<u8>> {
    let config = config(std::slice::from_ref(diff_id));
    let manifest = br#"[{"Config":"c.json","RepoTags":["evil:1"],"Layers":["l.tar"]}]"#;
    tar(&[
        file("c.json", &config),
        file("l.tar", layer),
        file("manifest.json", manifest),
    ])
}

fn descriptor(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

/// Documents and layers by digest, and the first of them.
#[derive(Default, Clone)]
struct Blobs {
    by_digest: BTreeMap<String, Vec<u8>>,
}

impl Blobs {
    fn add(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        self.by_digest
            .insert(Digest::of(&bytes).to_string(), bytes.clone());
        bytes
    }

    /// A true image of one layer; returns its manifest.
    fn image(&mut self, plain: &[u8]) -> TestResult<serde_json::Value> {
        let layer = self.add(gzip(plain)?);
        let config = self.add(config(&[Digest::of(plain)]));
        Ok(
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [descriptor(LAYER, &layer)],
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config)}),
        )
    }

    fn index_of(&mut self, media_type: &str, document: &serde_json::Value) -> serde_json::Value {
        let bytes = self.add(document.to_string().into_bytes());
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(media_type, &bytes)]})
    }

    fn layout(&self, index: &serde_json::Value) -> TestResult<Vec<u8>> {
        let index = index.to_string();
        let mut entries = vec![
            file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
            file("index.json", index.as_bytes()),
        ];
        let names: Vec<_> = self
            .by_digest
            .iter()
            .map(|(digest, bytes)| (digest.replace(':', "/"), bytes))
            .collect();
        for (name, bytes) in &names {
            entries.push(file(&format!("blobs/{name}"), bytes));
        }
        tar(&entries)
    }
}

/// A store with one good image, and a file outside that must stay as it is.
struct Place {
    folder: tempfile::TempDir,
    store: ImageStore,
}

impl Place {
    fn new() -> TestResult<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("outside"), "host")?;
        let store = ImageStore::open(&folder.path().join("store"))?;
        let repository = Some("good:1".to_owned());
        store.import(
            &tar(&[file("f", b"good")])?[..],
            &ImportRequest {
                repository,
                ..ImportRequest::default()
            },
        )?;
        Ok(Self { folder, store })
    }

    /// An archive is refused in these words, among others, and changes nothing.
    fn assert_refuses(&self, what: &str, archive: &[u8], part: &str) -> TestResult {
        let error = self.store.load(archive, &mut |_| ()).err().ok_or(what)?;
        let text = chain(&error);
        assert!(text.contains(part), "{what}: {text}");
        self.assert_as_it_was(what)
    }

    /// Nothing came, nothing is left over, and what was there is whole.
    fn assert_as_it_was(&self, what: &str) -> TestResult {
        let names: Vec<_> = self
            .store
            .list(&ListRequest::default(), &[])?
            .into_iter()
            .flat_map(|image| image.repo_tags)
            .collect();
        assert_eq!(names, ["good:1"], "{what}");
        let count = |name: &str| {
            Ok::<_, std::io::Error>(
                std::fs::read_dir(self.folder.path().join("store").join(name))?.count(),
            )
        };
        assert_eq!(
            (count("layers")?, count("staging")?),
            (2, 0),
            "{what}: the empty layer and that of `good`"
        );
        assert_eq!(
            std::fs::read_to_string(self.folder.path().join("outside"))?,
            "host",
            "{what}"
        );
        let mut saved = Vec::new();
        self.store.save(&["good:1".to_owned()], &mut saved)?;
        Ok(())
    }
}

#[test]
fn an_archive_that_lies_changes_nothing() -> TestResult {
    if !has_root("an_archive_that_lies_changes_nothing") {
        return Ok(());
    }
    let place = Place::new()?;
    let layer = tar(&[file("f", &[b'x'; 5000])])?;
    let outside = place.folder.path().join("outside").display().to_string();
    let whole = docker_archive(&layer, &Digest::of(&layer))?;
    let climbing = tar(&[file("../../../outside", b"taken")])?;
    let through = tar(&[
        link("d", EntryKind::Symlink, "/"),
        file(&format!("d{outside}"), b"taken"),
    ])?;
    let table = [
        (
            "truncated",
            whole[..whole.len() / 2].to_vec(),
            "ends within",
        ),
        (
            "truncated gzip",
            gzip(&whole)?[..120].to_vec(),
            "cannot read",
        ),
        ("an archive without end", endless()?, "exceeds the limit"),
        (
            "a layer without end",
            docker_archive(&endless()?, &Digest::of(&layer))?,
            "exceeds the limit",
        ),
        (
            "a terabyte of hole",
            docker_archive(&sparse(), &Digest::of(&sparse()))?,
            "exceeds the limit",
        ),
        (
            "another layer than promised",
            docker_archive(&layer, &Digest::of(b"other"))?,
            "digest",
        ),
        (
            "a hard link to the host",
            docker_archive(
                &tar(&[link("h", EntryKind::HardLink, &outside)])?,
                &Digest::of(b""),
            )?,
            "`h`",
        ),
        (
            "a path that climbs",
            docker_archive(&climbing, &Digest::of(b""))?,
            "`../../../outside`",
        ),
        (
            "a layer that is a link to the host",
            tar(&[
                link("l.tar", EntryKind::Symlink, &outside),
                file("c.json", &config(&[Digest::of(b"host")])),
                file(
                    "manifest.json",
                    br#"[{"Config":"c.json","RepoTags":["evil:1"],"Layers":["l.tar"]}]"#,
                ),
            ])?,
            "not in the archive",
        ),
        (
            "a pipe for a config",
            tar(&[
                link("c.json", EntryKind::Fifo, ""),
                file(
                    "manifest.json",
                    br#"[{"Config":"c.json","RepoTags":null,"Layers":[]}]"#,
                ),
            ])?,
            "not a file",
        ),
    ];
    for (what, archive, part) in table {
        place.assert_refuses(what, &archive, part)?;
    }
    // A link that leads out is legal in an image; what is written through it stays below the layer's own root.
    let through = docker_archive(&through, &Digest::of(&through))?;
    place.store.load(&through[..], &mut |_| ())?;
    assert_eq!(std::fs::read_to_string(&outside)?, "host");
    Ok(())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        text += &format!(": {cause}");
        at = cause.source();
    }
    text
}

#[test]
fn a_layout_that_lies_changes_nothing() -> TestResult {
    if !has_root("a_layout_that_lies_changes_nothing") {
        return Ok(());
    }
    let place = Place::new()?;
    let layer = tar(&[file("f", b"x")])?;
    let mut deep = Blobs::default();
    let mut document = deep.image(&layer)?;
    let mut media_type = MANIFEST;
    for _ in 0..20 {
        document = deep.index_of(media_type, &document);
        media_type = INDEX;
    }
    let mut sized = Blobs::default();
    let mut index = {
        let image = sized.image(&layer)?;
        sized.index_of(MANIFEST, &image)
    };
    index["manifests"][0]["size"] = json!(3);
    let mut swapped = Blobs::default();
    let image = swapped.image(&layer)?;
    let other = swapped.index_of(MANIFEST, &image);
    for bytes in swapped.by_digest.values_mut() {
        bytes.push(b' ');
    }
    let mut both = Blobs::default();
    let mut two = both.image(&layer)?;
    two["manifests"] = json!([]);
    let two = both.index_of(MANIFEST, &two);
    // No digest can contain itself, so a circle is always a lie about a digest.
    let circle = json!({"schemaVersion": 2, "manifests": [{"mediaType": INDEX, "size": 10, "digest": Digest::of(b"circle").to_string()}]});
    let mut circular = Blobs::default();
    circular.by_digest.insert(
        Digest::of(b"circle").to_string(),
        circle.to_string().into_bytes(),
    );
    let table = [
        (
            "indexes in indexes",
            deep.layout(&document)?,
            "nested too deep",
        ),
        ("a wrong size", sized.layout(&index)?, "3 were promised"),
        (
            "other bytes than the digest says",
            swapped.layout(&other)?,
            "digest",
        ),
        ("manifest and index in one", both.layout(&two)?, "neither"),
        (
            "an index that lists itself",
            circular.layout(&circle)?,
            "digest",
        ),
    ];
    for (what, archive, part) in table {
        place.assert_refuses(what, &archive, part)?;
    }
    Ok(())
}

/// A registry that answers with these bytes, whatever they are.
struct Liar {
    address: String,
}

/// What is said of a path: a content type, the length that is promised, and the bytes.
type Answers = BTreeMap<String, (String, usize, Vec<u8>)>;

impl Liar {
    fn start(answers: Answers) -> TestResult<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let answers = Arc::new(answers);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = Arc::clone(&answers);
                std::thread::spawn(move || answer(stream, &answers).ok());
            }
        });
        Ok(Self { address })
    }
}

fn answer(mut stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default();
    let none = (String::new(), 0, Vec::new());
    let found = answers.get(path);
    let status = if found.is_some() || path == "/v2/" {
        "200 OK"
    } else {
        "404 Not Found"
    };
    let (media_type, length, bytes) = found.unwrap_or(&none);
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(bytes)
}

/// What a registry would say truthfully of an image.
fn answers(blobs: &Blobs, manifest: &serde_json::Value) -> Answers {
    let mut answers = Answers::new();
    for (digest, bytes) in &blobs.by_digest {
        answers.insert(
            format!("/v2/evil/blobs/{digest}"),
            (
                "application/octet-stream".into(),
                bytes.len(),
                bytes.clone(),
            ),
        );
    }
    let bytes = manifest.to_string().into_bytes();
    answers.insert(
        "/v2/evil/manifests/1".into(),
        (MANIFEST.into(), bytes.len(), bytes),
    );
    answers
}

#[tokio::test]
async fn a_registry_that_lies_changes_nothing() -> TestResult {
    if !has_root("a_registry_that_lies_changes_nothing") {
        return Ok(());
    }
    let place = Place::new()?;
    let plain = tar(&[file("f", b"x")])?;
    let mut blobs = Blobs::default();
    let manifest = blobs.image(&plain)?;
    let truth = answers(&blobs, &manifest);
    let layer = format!(
        "/v2/evil/blobs/{}",
        manifest["layers"][0]["digest"].as_str().unwrap_or_default()
    );
    let with = |path: &str, length: usize, bytes: &[u8]| {
        let mut changed = truth.clone();
        changed.insert(
            path.to_owned(),
            (MANIFEST.to_owned(), length, bytes.to_vec()),
        );
        changed
    };
    let tag = "/v2/evil/manifests/1";
    let mut two_layers = manifest.clone();
    two_layers["layers"] = json!([manifest["layers"][0], manifest["layers"][0]]);
    let two_layers = two_layers.to_string().into_bytes();
    let mut long = manifest.clone();
    long["layers"][0]["size"] = json!(1_u64 << 62);
    let long = long.to_string().into_bytes();
    let other = gzip(&tar(&[file("f", b"y")])?)?;
    let short =
        &blobs.by_digest[manifest["layers"][0]["digest"].as_str().unwrap_or_default()][..20];
    let table = [
        ("other bytes", with(&layer, other.len(), &other), "digest"),
        (
            "fewer bytes than promised by the manifest",
            with(&layer, short.len(), short),
            "that it has 20",
        ),
        (
            "a layer that is missing",
            {
                let mut less = truth.clone();
                less.remove(&layer);
                less
            },
            "404",
        ),
        ("no JSON", with(tag, 4, b"<ht>"), "manifest"),
        (
            "more layers than the config has",
            with(tag, two_layers.len(), &two_layers),
            "layers",
        ),
        (
            "a layer of four exabytes",
            with(tag, long.len(), &long),
            "4611686018427387904 bytes",
        ),
        (
            "an endless manifest",
            with(tag, 1 << 40, &vec![b' '; 20 << 20]),
            "limit",
        ),
    ];
    let registries = Registries::new(RegistrySettings::default())?;
    for (what, answers, part) in table {
        let server = Liar::start(answers)?;
        let request = PullRequest {
            reference: Reference::parse(&format!("{}/evil:1", server.address))?,
            platform: Platform::this_machine(),
            credential: None,
        };
        let error = registries
            .pull(&place.store, &request, |_| ())
            .await
            .err()
            .ok_or(what)?;
        let text = chain(&error);
        assert!(text.contains(part), "{what}: {text}");
        place.assert_as_it_was(what)?;
    }
    // The same registry, telling the truth: the lies were what was refused.
    let server = Liar::start(truth)?;
    let reference = Reference::parse(&format!("{}/evil:1", server.address))?;
    let request = PullRequest {
        reference,
        platform: Platform::this_machine(),
        credential: None,
    };
    registries.pull(&place.store, &request, |_| ()).await?;
    Ok(())
}

/// A file system of a few megabytes, gone with the test.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn new(megabytes: u32) -> TestResult<Self> {
        let folder = tempfile::tempdir()?;
        let data = std::ffi::CString::new(format!("size={megabytes}m"))?;
        rustix::mount::mount(
            "tmpfs",
            folder.path(),
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            Some(data.as_c_str()),
        )?;
        Ok(Self { folder })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        rustix::mount::unmount(self.folder.path(), rustix::mount::UnmountFlags::DETACH).ok();
    }
}

/// Bytes that no compression makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[tokio::test]
async fn a_full_disk_leaves_a_store_that_works() -> TestResult {
    if !has_root("a_full_disk_leaves_a_store_that_works") {
        return Ok(());
    }
    let disk = SmallDisk::new(4)?;
    let store = ImageStore::open(&disk.folder.path().join("store"))?;
    let large = tar(&[file("f", &noise(6 << 20))])?;
    let archive = docker_archive(&large, &Digest::of(&large))?;
    let error = store
        .load(&archive[..], &mut |_| ())
        .err()
        .ok_or("loaded")?;
    assert!(
        chain(&error).contains("No space left on device"),
        "{}",
        chain(&error)
    );
    let mut blobs = Blobs::default();
    let manifest = blobs.image(&large)?;
    let server = Liar::start(answers(&blobs, &manifest))?;
    let reference = Reference::parse(&format!("{}/evil:1", server.address))?;
    let request = PullRequest {
        reference,
        platform: Platform::this_machine(),
        credential: None,
    };
    let registries = Registries::new(RegistrySettings::default())?;
    let error = registries
        .pull(&store, &request, |_| ())
        .await
        .err()
        .ok_or("pulled")?;
    assert!(
        chain(&error).contains("No space left on device"),
        "{}",
        chain(&error)
    );
    assert_eq!(
        std::fs::read_dir(disk.folder.path().join("store/staging"))?.count(),
        0
    );

    let small = tar(&[file("f", &noise(1 << 20))])?;
    store.load(
        &docker_archive(&small, &Digest::of(&small))?[..],
        &mut |_| (),
    )?;
    let lower = store.lower_dirs(&store.resolve("evil:1")?);
    assert_eq!(std::fs::metadata(lower[0].join("f"))?.len(), 1 << 20);
    store.remove("evil:1", Removal::Plain, Parents::Prune, &Vec::new)?;
    Ok(())
}
