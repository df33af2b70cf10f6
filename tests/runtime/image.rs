//! The image store, on files of its own.

use std::io::Write;
use std::os::unix::fs::MetadataExt;

use hoist::runtime::archive::{Entry, EntryKind, NoRecorder, TarWriter};
use hoist::runtime::image::{
    CommitRequest, Digest, ErrorKind, ImageStore, ImageUse, ImportRequest, ListRequest, Parents,
    Removal, UseState,
};
use hoist::runtime::volume::VolumeStore;

use crate::common::has_root;

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn tar(files: &[(&str, &[u8])]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut nothing = NoRecorder;
    let mut writer = TarWriter::new(Vec::new(), &mut nothing);
    for (name, content) in files {
        if name.ends_with('/') {
            writer.header(&Entry {
                uid: 1000,
                mode: 0o750,
                ..Entry::directory(name)
            })?;
        } else {
            writer.bytes(name, content)?;
        }
    }
    Ok(writer.finish()?)
}

/// A docker-archive of layers, one below the other.
fn docker_archive(
    name: &str,
    layers: &[Vec<u8>],
    diff_ids: &[Digest],
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let ids: Vec<String> = diff_ids.iter().map(Digest::to_string).collect();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["x"]}, "rootfs": {"type": "layers", "diff_ids": ids}});
    let names: Vec<String> = (0..layers.len()).map(|i| format!("l{i}.tar")).collect();
    let manifest = serde_json::json!([{"Config": "c.json", "RepoTags": [name], "Layers": names}]);
    let (config, manifest) = (config.to_string(), manifest.to_string());
    let mut files: Vec<(&str, &[u8])> = vec![("c.json", config.as_bytes())];
    files.extend(
        names
            .iter()
            .map(String::as_str)
            .zip(layers.iter().map(Vec::as_slice)),
    );
    files.push(("manifest.json", manifest.as_bytes()));
    tar(&files)
}

fn import(
    store: &ImageStore,
    name: &str,
    files: &[(&str, &[u8])],
) -> Result<Digest, Box<dyn std::error::Error>> {
    let request = ImportRequest {
        repository: Some(name.to_owned()),
        changes: vec!["CMD [\"x\"]".into(), "ENV A=1".into()],
        ..ImportRequest::default()
    };
    Ok(store.import(&tar(files)?[..], &request)?)
}

#[test]
fn what_is_saved_loads_again_with_the_same_id() -> TestResult {
    if !has_root("what_is_saved_loads_again_with_the_same_id") {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let store = ImageStore::open(root.path())?;
    // The second `f` takes the place of the first, which the archive still has.
    let id = import(
        &store,
        "app:1",
        &[
            ("d/", b""),
            ("d/f", b"first"),
            ("d/f", b"second"),
            ("z", &vec![0; 100_000]),
        ],
    )?;
    let mut archive = Vec::new();
    store.save(&["app:1".to_owned()], &mut archive)?;
    store.remove("app:1", Removal::Plain, Parents::Prune, &Vec::new)?;
    assert_eq!(
        store
            .resolve("app:1")
            .err()
            .map(|e| e.to_string())
            .as_deref(),
        Some("No such image: app:1")
    );
    assert_eq!(
        std::fs::read_dir(root.path().join("layers"))?.count(),
        1,
        "only the empty layer is left"
    );
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    compressed.write_all(&archive)?;
    let mut news = Vec::new();
    assert_eq!(
        store.load(&compressed.finish()?[..], &mut |progress| news
            .push(progress))?,
        vec![id.clone()]
    );
    assert!(format!("{news:?}").contains("Loaded image: app:1"));
    let record = store.resolve(&id.short()[..6])?;
    assert_eq!(
        (record.id, record.config.cmd),
        (id.to_string(), Some(vec!["x".to_owned()]))
    );
    let lower = store.lower_dirs(&store.resolve("docker.io/library/app:1")?);
    assert_eq!(std::fs::read(lower[0].join("d/f"))?, b"second");
    assert_eq!(std::fs::read_dir(root.path().join("staging"))?.count(), 0);
    Ok(())
}

#[test]
fn deletions_hide_what_is_below() -> TestResult {
    if !has_root("deletions_hide_what_is_below") {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let store = ImageStore::open(root.path())?;
    let layers = vec![
        tar(&[
            ("d/", b""),
            ("d/old", b"x"),
            ("e/", b""),
            ("e/old", b"x"),
            ("keep", b"k"),
        ])?,
        tar(&[
            ("d/", b""),
            ("d/.wh.old", b""),
            ("e/", b""),
            ("e/.wh..wh..opq", b""),
            ("e/new", b"y"),
        ])?,
    ];
    let ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    store.load(&docker_archive("wh:1", &layers, &ids)?[..], &mut |_| ())?;
    let volumes = VolumeStore::open(root.path())?;
    let lower = store.lower_dirs(&store.resolve("wh:1")?);
    for (path, names) in [("/d", vec![]), ("/e", vec!["new"]), ("/nope", vec![])] {
        let volume = volumes.create(&bollard_stubs::models::VolumeCreateRequest::default())?;
        volumes.copy_up(&volume.name, &lower, path)?;
        let found: Vec<_> = std::fs::read_dir(&volume.mountpoint)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?;
        assert_eq!(found, names, "{path}");
        if path == "/d" {
            let owner =
                std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&volume.mountpoint)?);
            assert_eq!(owner, 1000);
        }
    }
    Ok(())
}

#[test]
fn a_layer_with_another_digest_leaves_nothing() -> TestResult {
    if !has_root("a_layer_with_another_digest_leaves_nothing") {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let store = ImageStore::open(root.path())?;
    let layer = tar(&[("f", b"x")])?;
    for bad in [
        docker_archive(
            "bad:1",
            std::slice::from_ref(&layer),
            &[Digest::of(b"other")],
        )?,
        docker_archive(
            "bad:1",
            &[layer.clone(), layer.clone()],
            &[Digest::of(&layer)],
        )?,
        docker_archive("BAD", std::slice::from_ref(&layer), &[Digest::of(&layer)])?,
        tar(&[(
            "manifest.json",
            br#"[{"Config":"../../../etc/passwd","Layers":[]}]"#,
        )])?,
        tar(&[("manifest.json", br#"[{"Config":"missing","Layers":[]}]"#)])?,
        tar(&[(
            "index.json",
            br#"{"schemaVersion":2,"manifests":[],"layers":[]}"#,
        )])?,
        b"rubbish".repeat(400),
    ] {
        assert!(store.load(&bad[..], &mut |_| ()).is_err());
    }
    assert!(store.list(&ListRequest::default(), &[])?.is_empty());
    assert_eq!(std::fs::read_dir(root.path().join("layers"))?.count(), 1);
    assert_eq!(std::fs::read_dir(root.path().join("staging"))?.count(), 0);
    Ok(())
}

#[test]
fn images_in_use_are_not_removed() -> TestResult {
    if !has_root("images_in_use_are_not_removed") {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let store = ImageStore::open(root.path())?;
    let id = import(&store, "used", &[("f", b"x")])?;
    let by = |state| {
        vec![ImageUse {
            container: "c".repeat(64),
            image: id.to_string(),
            state,
        }]
    };
    let refused = |reference: &str, removal, uses: &dyn Fn() -> Vec<ImageUse>| {
        store
            .remove(reference, removal, Parents::Prune, uses)
            .err()
            .map(|e| (e.kind(), e.to_string()))
    };
    let (kind, message) =
        refused("used", Removal::Plain, &|| by(UseState::Running)).ok_or("removed")?;
    assert_eq!(kind, ErrorKind::Conflict);
    assert!(
        message.contains("(must force) - container cccccccccccc is using its referenced image"),
        "{message}"
    );
    let (_, message) =
        refused(&id.to_string(), Removal::Forced, &|| by(UseState::Running)).ok_or("removed")?;
    assert_eq!(
        message,
        format!(
            "conflict: unable to delete {} (cannot be forced) - image is being used by running container cccccccccccc",
            id.short()
        )
    );
    store.tag("used", "other", "z")?;
    let (_, message) = refused(id.short(), Removal::Plain, &Vec::new).ok_or("removed")?;
    assert!(
        message.contains("(must be forced) - image is referenced in multiple repositories"),
        "{message}"
    );
    store.remove("other:z", Removal::Plain, Parents::Prune, &Vec::new)?;
    store.remove("used", Removal::Forced, Parents::Prune, &|| {
        by(UseState::Stopped)
    })?;
    assert!(store.list(&ListRequest::default(), &[])?.is_empty());
    let kept = store.resolve(&id.to_string())?;
    assert!(
        store.lower_dirs(&kept)[0].join("f").exists(),
        "the stopped container keeps its files"
    );
    store.prune(&hoist::runtime::image::Filters::new(), &Vec::new)?;
    assert!(store.resolve(&id.to_string()).is_err());
    Ok(())
}

#[test]
fn a_commit_is_a_layer_on_its_image() -> TestResult {
    if !has_root("a_commit_is_a_layer_on_its_image") {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let store = ImageStore::open(root.path())?;
    let parent = import(&store, "base", &[("f", b"x"), ("gone", b"x")])?;
    let upper = tempfile::tempdir()?;
    std::fs::write(upper.path().join("new"), "five!")?;
    std::fs::write(upper.path().join("hosts"), "")?;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        upper.path().join("gone"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::empty(),
        0,
    )?;
    let request = CommitRequest {
        parent: Some(parent.to_string()),
        upper: upper.path().to_owned(),
        mount_points: vec!["/hosts".into()],
        changes: vec!["LABEL a=b".into()],
        repository: Some("child".into()),
        tag: Some("1".into()),
        comment: "why".into(),
        ..CommitRequest::default()
    };
    let id = store.commit(&request)?;
    let history = store.history("child:1")?;
    assert_eq!(
        (
            history.len(),
            history[0].size,
            history[0].comment.as_str(),
            history[0].id.as_str()
        ),
        (2, 5, "why", id.to_string().as_str())
    );
    let lower = store.lower_dirs(&store.resolve("child:1")?);
    assert_eq!(
        (
            lower.len(),
            lower[0].join("new").exists(),
            lower[0].join("hosts").exists()
        ),
        (2, true, false)
    );
    let deleted =
        std::os::unix::fs::MetadataExt::rdev(&std::fs::symlink_metadata(lower[0].join("gone"))?);
    assert_eq!(deleted, 0);
    let mut archive = Vec::new();
    store.save(&["child:1".to_owned()], &mut archive)?;
    assert!(
        store
            .commit(&CommitRequest {
                repository: Some("UPPER".into()),
                ..request
            })
            .is_err()
    );
    Ok(())
}

#[test]
fn special_entries_survive_in_a_layer() -> TestResult {
    if !has_root("special_entries_survive_in_a_layer") {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let store = ImageStore::open(root.path())?;
    let mut nothing = NoRecorder;
    let mut writer = TarWriter::new(Vec::new(), &mut nothing);
    let setuid = Entry {
        mode: 0o4755,
        uid: 11,
        gid: 12,
        mtime: (1_700_000_000, 0),
        ..Entry::plain("s", 1)
    };
    writer.file(&setuid, std::path::Path::new(""), &b"x"[..])?;
    let link = |kind, name: &str, to: &str| Entry {
        kind,
        link: to.as_bytes().to_vec(),
        ..Entry::plain(name, 0)
    };
    writer.header(&link(EntryKind::HardLink, "h", "s"))?;
    writer.header(&link(EntryKind::Symlink, "l", "/etc/passwd"))?;
    let attributes = vec![
        ("user.kept".to_owned(), b"1".to_vec()),
        ("trusted.overlay.opaque".to_owned(), b"y".to_vec()),
    ];
    writer.header(&Entry {
        xattrs: attributes,
        ..Entry::directory("d")
    })?;
    let archive = writer.finish()?;
    store.import(
        &archive[..],
        &ImportRequest {
            repository: Some("x".into()),
            ..ImportRequest::default()
        },
    )?;
    let lower = store.lower_dirs(&store.resolve("x")?);
    let metadata = std::fs::metadata(lower[0].join("h"))?;
    assert_eq!(
        (
            metadata.mode() & 0o7777,
            metadata.uid(),
            metadata.gid(),
            metadata.mtime(),
            metadata.nlink()
        ),
        (0o4755, 11, 12, 1_700_000_000, 2)
    );
    assert_eq!(
        std::fs::read_link(lower[0].join("l"))?,
        std::path::Path::new("/etc/passwd")
    );
    let kept: Vec<_> = xattr::list(lower[0].join("d"))?.collect();
    assert_eq!(kept, ["user.kept"]);
    let mut again = Vec::new();
    store.save(&["x".to_owned()], &mut again)?;
    Ok(())
}
