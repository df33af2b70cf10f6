//! The builder on files of its own; a host of steps that notes what it was asked to run and changes a file for it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use hoist::runtime::archive::{Entry, NoRecorder, Root, TarWriter, open_merged};
use hoist::runtime::build::{
    BuildError, BuildEvent, BuildHost, BuildRequest, Builder, BuiltImage, CacheUse, Downloaded,
    HostError, OutputStream, RunStep, build,
};
use hoist::runtime::image::{ConfigFile, Descriptor, Filters, ImageStore, ImportRequest, LayerOf};
use rustix::fs::{Mode, OFlags};

use crate::common::has_root;

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// `fail` ends with 3, `prune` removes all that can be; everything else appends its last argument to `/log`.
#[derive(Default)]
struct NotingHost {
    pruned: Option<Builder>,
    ran: Mutex<Vec<RunStep>>,
}

impl NotingHost {
    fn commands(&self) -> Vec<String> {
        let ran = self
            .ran
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut commands: Vec<_> = ran
            .iter()
            .filter_map(|step| step.argv.last().cloned())
            .collect();
        commands.sort();
        commands
    }
}

impl BuildHost for NotingHost {
    fn run(
        &self,
        step: &RunStep,
        output: &mut dyn FnMut(OutputStream, &[u8]),
    ) -> Result<i64, HostError> {
        let last = step.argv.last().cloned().unwrap_or_default();
        output(OutputStream::Stdout, format!("ran {last}\n").as_bytes());
        self.ran
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(step.clone());
        if last == "fail" {
            return Ok(3);
        }
        if let Some(builder) = self.pruned.as_ref().filter(|_| last == "prune") {
            prune_all(builder).map_err(|error| HostError(error.to_string()))?;
        }
        append(step, &last).map_err(|error| HostError(error.to_string()))?;
        Ok(0)
    }

    fn pull(
        &self,
        reference: &str,
        _: Option<&str>,
        _: &mut dyn FnMut(serde_json::Value),
    ) -> Result<(), HostError> {
        Err(HostError(format!("no registry has {reference}")))
    }

    fn download(&self, url: &str, to: &Path) -> Result<Downloaded, HostError> {
        fs::write(to, format!("from {url}")).map_err(|error| HostError(error.to_string()))?;
        Ok(Downloaded {
            modified: Some(60),
            name: None,
        })
    }

    fn run_program(
        &self,
        mut command: std::process::Command,
    ) -> Result<std::process::ExitStatus, HostError> {
        command
            .status()
            .map_err(|error| HostError(error.to_string()))
    }

    fn cache_documents(&self, reference: &str) -> Result<(Vec<u8>, Vec<u8>), HostError> {
        Err(HostError(format!("no registry has {reference}")))
    }

    fn cache_layer(&self, reference: &str, _: &Descriptor) -> Result<fs::File, HostError> {
        Err(HostError(format!("no registry has {reference}")))
    }

    fn push_cache(&self, reference: &str, _: Vec<u8>, _: Vec<LayerOf>) -> Result<(), HostError> {
        Err(HostError(format!("no registry takes {reference}")))
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

fn prune_all(builder: &Builder) -> TestResult {
    builder.prune()?;
    let all = Filters::from([("dangling".to_owned(), vec!["false".to_owned()])]);
    builder.store.prune(&all, &Vec::new)?;
    Ok(())
}

fn append(step: &RunStep, text: &str) -> TestResult {
    let root = Root::from_fd(open_merged(&step.lower, Some((&step.upper, &step.work)))?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND;
    let fd = rustix::fs::openat(root.fd(), "log", flags, Mode::from_raw_mode(0o644))?;
    rustix::io::write(&fd, format!("{text}\n").as_bytes())?;
    Ok(())
}

struct Bench {
    _folder: tempfile::TempDir,
    context: PathBuf,
    builder: Builder,
    host: NotingHost,
    events: Mutex<Vec<BuildEvent>>,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let store = ImageStore::open(&folder.path().join("root"))?;
        import_base(&store)?;
        let context = folder.path().join("context");
        fs::create_dir(&context)?;
        for (name, content) in files {
            let path = context.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, content)?;
        }
        Ok(Self {
            context,
            builder: Builder {
                store,
                root: folder.path().join("root/build"),
            },
            _folder: folder,
            host: NotingHost::default(),
            events: Mutex::default(),
        })
    }

    fn build(&self, dockerfile: &str) -> Result<BuiltImage, BuildError> {
        self.build_with(dockerfile, BuildRequest::default())
    }

    fn build_with(
        &self,
        dockerfile: &str,
        request: BuildRequest,
    ) -> Result<BuiltImage, BuildError> {
        let request = BuildRequest {
            context: self.context.clone(),
            dockerfile: hoist::runtime::build::DockerfileSource::Text(dockerfile.to_owned()),
            ..request
        };
        let tell = |event| self.events().push(event);
        build(&self.builder, &self.host, &request, &tell)
    }

    fn events(&self) -> std::sync::MutexGuard<'_, Vec<BuildEvent>> {
        self.events
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn cached(&self) -> usize {
        let events = std::mem::take(&mut *self.events());
        events
            .iter()
            .filter(|event| matches!(event, BuildEvent::Cached { .. }))
            .count()
    }

    fn config(&self, image: &BuiltImage) -> Result<ConfigFile, Box<dyn std::error::Error>> {
        Ok(self.builder.store.config_file(&image.id)?)
    }

    /// The layer directories of an image, the uppermost first.
    fn layers(&self, image: &BuiltImage) -> Result<Vec<PathBuf>, Box<dyn std::error::Error>> {
        let file = self.config(image)?;
        Ok(self.builder.store.layer_paths(&file.rootfs.diff_ids))
    }

    fn read(&self, image: &BuiltImage, path: &str) -> Result<String, Box<dyn std::error::Error>> {
        let layers = self.layers(image)?;
        let found = layers
            .iter()
            .map(|layer| layer.join(path))
            .find(|path| path.exists());
        Ok(fs::read_to_string(found.ok_or(format!("no {path}"))?)?)
    }
}

fn import_base(store: &ImageStore) -> TestResult {
    let mut nothing = NoRecorder;
    let mut writer = TarWriter::new(Vec::new(), &mut nothing);
    writer.header(&Entry::directory("etc"))?;
    writer.bytes("etc/passwd", b"root:x:0:0::/:\napp:x:1000:1001::/:\n")?;
    writer.bytes("etc/group", b"extra:x:2000:\n")?;
    let request = ImportRequest {
        repository: Some("base".to_owned()),
        changes: vec!["CMD [\"base\"]".to_owned()],
        ..ImportRequest::default()
    };
    store.import(&writer.finish()?[..], &request)?;
    Ok(())
}

fn mode_and_owner(path: &Path) -> std::io::Result<(u32, u32, u32)> {
    let seen = fs::symlink_metadata(path)?;
    Ok((seen.mode() & 0o7777, seen.uid(), seen.gid()))
}

#[test]
fn only_needed_stages_are_built_and_files_pass_between_them() -> TestResult {
    if !has_root("only_needed_stages_are_built_and_files_pass_between_them") {
        return Ok(());
    }
    let bench = Bench::new(&[("f", "file")])?;
    let image = bench.build(
        "FROM base AS one\nRUN one\nFROM base AS never\nRUN never\nFROM scratch\nCOPY --from=one /log /copied\nCOPY f /d/\n",
    )?;
    assert_eq!(bench.host.commands(), ["one"]);
    assert_eq!(bench.read(&image, "copied")?, "one\n");
    assert_eq!(bench.read(&image, "d/f")?, "file");
    let file = bench.config(&image)?;
    assert_eq!(file.rootfs.diff_ids.len(), 2);
    let history: Vec<_> = file
        .history
        .iter()
        .map(|entry| entry.created_by.as_str())
        .collect();
    assert_eq!(history, ["COPY --from=one /log /copied", "COPY f /d/"]);
    Ok(())
}

#[test]
fn a_step_is_taken_from_the_cache_until_what_it_depends_on_changes() -> TestResult {
    if !has_root("a_step_is_taken_from_the_cache_until_what_it_depends_on_changes") {
        return Ok(());
    }
    let bench = Bench::new(&[("f", "one")])?;
    let dockerfile = "FROM base\nENV A=1\nCOPY f /f\nRUN x\n";
    let first = bench.build(dockerfile)?;
    assert_eq!(bench.cached(), 0);
    assert_eq!(bench.build(dockerfile)?.id, first.id);
    assert_eq!(bench.cached(), 3);
    fs::write(bench.context.join("f"), "two")?;
    assert_ne!(bench.build(dockerfile)?.id, first.id);
    assert_eq!(bench.cached(), 1);
    let skip = BuildRequest {
        cache: CacheUse::Skip,
        ..BuildRequest::default()
    };
    bench.build_with(dockerfile, skip)?;
    assert_eq!(bench.cached(), 0);
    assert_eq!(bench.host.commands().len(), 3);
    Ok(())
}

#[test]
fn copies_have_the_owner_and_mode_that_are_asked_for() -> TestResult {
    if !has_root("copies_have_the_owner_and_mode_that_are_asked_for") {
        return Ok(());
    }
    let bench = Bench::new(&[("d/x", "x"), ("d/skip", "s"), (".dockerignore", "d/skip\n")])?;
    let image = bench.build(
        "FROM base\nCOPY --chown=app:extra d /a\nCOPY --chmod=640 d/x /b\nCOPY --parents d/x /c/\nCOPY <<EOF /e\n$A \"q\"\nEOF\nUSER app\nWORKDIR /w/sub\n",
    )?;
    let layers = bench.layers(&image)?;
    let at = |path: &str| {
        layers
            .iter()
            .map(|layer| layer.join(path))
            .find(|p| p.exists())
    };
    let seen = |path: &str| at(path).ok_or("missing").map(|path| mode_and_owner(&path));
    assert_eq!(seen("a")??, (0o755, 1000, 2000));
    assert_eq!(seen("a/x")??, (0o644, 1000, 2000));
    assert_eq!(seen("b")??, (0o640, 0, 0));
    assert_eq!(seen("w/sub")??, (0o755, 1000, 1001));
    assert!(at("a/skip").is_none());
    assert_eq!(bench.read(&image, "c/d/x")?, "x");
    assert_eq!(bench.read(&image, "e")?, " \"q\"\n");
    assert!(bench.build("FROM base\nCOPY d/skip /x").is_err());
    Ok(())
}

#[test]
fn a_step_sees_its_arguments_mounts_and_secrets() -> TestResult {
    if !has_root("a_step_sees_its_arguments_mounts_and_secrets") {
        return Ok(());
    }
    let bench = Bench::new(&[("f", "file")])?;
    let request = BuildRequest {
        args: BTreeMap::from([("A".to_owned(), "given".to_owned())]),
        secrets: BTreeMap::from([("token".to_owned(), b"s3cret".to_vec())]),
        ..BuildRequest::default()
    };
    let dockerfile = "FROM base\nARG A\nENV B=b-$A\nRUN --mount=type=bind,source=f,target=/in --mount=type=cache,target=/cache --mount=type=secret,id=token,env=TOKEN x\n";
    let image = bench.build_with(dockerfile, request)?;
    let ran = bench.host.ran.lock().map_err(|_| "poisoned")?;
    let step = &ran[0];
    for expected in ["A=given", "B=b-given", "TOKEN=s3cret"] {
        assert!(step.env.iter().any(|pair| pair == expected), "{expected}");
    }
    let targets: Vec<_> = step
        .mounts
        .iter()
        .map(|mount| mount.target.as_str())
        .collect();
    assert_eq!(targets, ["/in", "/cache"]);
    let text = String::from_utf8(bench.config(&image)?.to_bytes())?;
    assert!(!text.contains("s3cret") && text.contains("RUN |1 A=given"));
    Ok(())
}

#[test]
fn a_failed_step_says_where_and_what() -> TestResult {
    if !has_root("a_failed_step_says_where_and_what") {
        return Ok(());
    }
    let bench = Bench::new(&[])?;
    let error = bench
        .build("FROM base\nRUN fail\nRUN never\n")
        .err()
        .ok_or("built")?;
    assert_eq!(
        error.to_string(),
        "The command '/bin/sh -c fail' returned a non-zero code: 3"
    );
    let events = bench.events();
    let excerpt = events.iter().find_map(|event| match event {
        BuildEvent::Excerpt(text) => Some(text.as_str()),
        _ => None,
    });
    assert!(
        excerpt.is_some_and(|text| text.contains("ran fail") && text.contains("2 | >>> RUN fail"))
    );
    assert_eq!(bench.host.commands(), ["fail"]);
    Ok(())
}

#[test]
fn the_same_epoch_gives_the_same_image() -> TestResult {
    if !has_root("the_same_epoch_gives_the_same_image") {
        return Ok(());
    }
    let build = || -> Result<BuiltImage, Box<dyn std::error::Error>> {
        let bench = Bench::new(&[("f", "x")])?;
        let request = BuildRequest {
            args: BTreeMap::from([("SOURCE_DATE_EPOCH".to_owned(), "1000000000".to_owned())]),
            ..BuildRequest::default()
        };
        Ok(bench.build_with("FROM scratch\nCOPY f /d/f\nWORKDIR /w\n", request)?)
    };
    assert_eq!(build()?.id, build()?.id);
    Ok(())
}

#[test]
fn pruning_the_cache_keeps_the_layers_of_images() -> TestResult {
    if !has_root("pruning_the_cache_keeps_the_layers_of_images") {
        return Ok(());
    }
    let bench = Bench::new(&[("f", "x")])?;
    let kept = bench.build("FROM base\nCOPY f /kept\n")?;
    bench.build("FROM base AS a\nCOPY f /gone\nFROM base\nCOPY --from=a /gone /there\n")?;
    let (keys, _) = bench.builder.prune()?;
    assert_eq!(keys.len(), 3);
    assert_eq!(bench.read(&kept, "kept")?, "x");
    bench.cached();
    bench.build("FROM base\nCOPY f /kept\n")?;
    assert_eq!(bench.cached(), 0);
    Ok(())
}

#[test]
fn a_build_goes_on_while_everything_is_pruned() -> TestResult {
    if !has_root("a_build_goes_on_while_everything_is_pruned") {
        return Ok(());
    }
    let mut bench = Bench::new(&[("f", "x")])?;
    bench.build("FROM base\nCOPY f /cached\n")?;
    bench.host.pruned = Some(bench.builder.clone());
    let built = bench.build(
        "FROM base AS other\nRUN one\nFROM base\nCOPY f /cached\nCOPY --from=other /log /o\nRUN prune\nRUN two\nCOPY --from=other /log /again\n",
    )?;
    assert_eq!(bench.read(&built, "log")?, "prune\ntwo\n");
    assert_eq!(bench.read(&built, "cached")?, "x");
    assert_eq!(bench.read(&built, "again")?, "one\n");
    assert_eq!(bench.read(&built, "etc/group")?, "extra:x:2000:\n");
    // What only the build stood on has gone with it; the other directory is that of images without layers.
    let layers = bench.layers(&built)?.len();
    let root = bench.builder.root.parent().ok_or("no root")?;
    assert_eq!(fs::read_dir(root.join("layers"))?.count(), layers + 1);
    Ok(())
}

#[test]
fn a_history_tells_what_variables_stood_for() -> TestResult {
    if !has_root("a_history_tells_what_variables_stood_for") {
        return Ok(());
    }
    let bench = Bench::new(&[("f", "x")])?;
    let built = bench.build(
        "FROM base\nARG S=f\nENV T=/t U=\"a b\"\nCOPY --chown=1:${N:-7} $S ${T}/\nUSER ${N:-8}\nCMD echo $T\n",
    )?;
    let history = bench.config(&built)?.history;
    let steps: Vec<_> = history
        .iter()
        .skip(1)
        .map(|step| step.created_by.as_str())
        .collect();
    assert_eq!(
        steps,
        [
            "ARG S=f",
            "ENV T=/t U=a b",
            "COPY --chown=1:7 f /t/",
            "USER 8",
            "CMD echo $T"
        ]
    );
    Ok(())
}

#[test]
fn a_wrong_mount_is_found_before_anything_runs() -> TestResult {
    if !has_root("a_wrong_mount_is_found_before_anything_runs") {
        return Ok(());
    }
    let bench = Bench::new(&[])?;
    let failed = bench.build("FROM base\nRUN one\nRUN --mount=type=bogus,target=/x two\n");
    let message = failed.err().ok_or("it was built")?.chain();
    assert_eq!(
        message,
        "dockerfile parse error on line 3: unsupported mount type \"bogus\""
    );
    assert!(bench.host.commands().is_empty());
    Ok(())
}

#[test]
fn a_linked_copy_and_a_download_have_the_files_that_were_asked_for() -> TestResult {
    if !has_root("a_linked_copy_and_a_download_have_the_files_that_were_asked_for") {
        return Ok(());
    }
    let bench = Bench::new(&[("f", "file")])?;
    let image = bench.build(
        "FROM base\nCOPY --link --chown=app f /opt/f\nADD http://example.test/a/b.txt /d/\n",
    )?;
    let layers = bench.layers(&image)?;
    assert_eq!(mode_and_owner(&layers[1].join("opt/f"))?.1, 1000);
    assert_eq!(
        bench.read(&image, "d/b.txt")?,
        "from http://example.test/a/b.txt"
    );
    let added = layers[0].join("d/b.txt");
    assert_eq!(mode_and_owner(&added)?, (0o600, 0, 0));
    assert_eq!(fs::metadata(&added)?.mtime(), 60);
    let wrong = format!(
        "FROM base\nADD --checksum=sha256:{} http://example.test/x /x\n",
        "0".repeat(64)
    );
    let error = bench
        .build(&wrong)
        .err()
        .ok_or("a wrong sum was accepted")?;
    assert!(
        error.chain().contains("digest mismatch"),
        "{}",
        error.chain()
    );
    Ok(())
}

#[test]
fn a_dockerfile_reads_no_directory_of_this_machine() -> TestResult {
    if !has_root("a_dockerfile_reads_no_directory_of_this_machine") {
        return Ok(());
    }
    let bench = Bench::new(&[])?;
    for dockerfile in [
        "FROM rootfs:/etc\n",
        "FROM scratch\nCOPY --from=rootfs:/etc /passwd /\n",
        "FROM base\nADD git@example.test:a/b /\n",
    ] {
        let refused = bench.build(dockerfile);
        let message = refused.err().ok_or("it was built")?.chain();
        assert!(message.contains("this machine"), "{message}");
    }
    Ok(())
}
