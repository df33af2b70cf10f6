//! The mounts of a container, out of the places where the Docker API keeps them: `VolumesFrom`, `Binds`, `Mounts`,
//! `Tmpfs` and `Volumes`. Pure: volumes are not made and paths of the host not looked at here.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use bollard_stubs::models::{
    ContainerConfig, HostConfig, Mount, MountBindOptionsPropagationEnum, MountTmpfsOptions,
    MountType as WishedType,
};

use super::record::{Content, Missing, MountRecord, MountType, VolumeOwner};
use crate::runtime::container::request::{Access, Propagation, Recursion};
use crate::runtime::error::{RuntimeError, RuntimeResult};

/// A mount as wished, with what its volume is made of where it is not there.
#[derive(Debug, Clone)]
pub struct WishedMount {
    /// The mount.
    pub record: MountRecord,
    /// Labels of a volume that the mount makes.
    pub labels: HashMap<String, String>,
    /// Driver of that volume.
    pub driver: Option<String>,
    /// Options of that driver.
    pub driver_options: HashMap<String, String>,
}

impl From<MountRecord> for WishedMount {
    fn from(record: MountRecord) -> Self {
        Self {
            record,
            labels: HashMap::new(),
            driver: None,
            driver_options: HashMap::new(),
        }
    }
}

/// All mounts of a container; those of `inherited` (`VolumesFrom`) give way to its own.
///
/// # Errors
/// When a mount cannot be read.
pub fn wished_mounts(
    config: &ContainerConfig,
    host: &HostConfig,
    inherited: Vec<MountRecord>,
) -> RuntimeResult<Vec<WishedMount>> {
    let mut own: Vec<WishedMount> = Vec::new();
    for bind in host.binds.iter().flatten() {
        add_own(&mut own, parse_bind(bind)?.into())?;
    }
    for mount in host.mounts.iter().flatten() {
        add_own(&mut own, from_mount(mount)?)?;
    }
    for (destination, options) in host.tmpfs.iter().flatten() {
        let mut record = MountRecord::new(MountType::Tmpfs, &clean(destination));
        check_destination(destination)?;
        record.options.clone_from(options);
        add_own(&mut own, record.into())?;
    }
    let taken = |own: &[WishedMount], destination: &str| {
        own.iter()
            .any(|mount| mount.record.destination == destination)
    };
    for record in inherited {
        if !taken(&own, &record.destination) {
            own.push(record.into());
        }
    }
    for destination in config.volumes.iter().flatten() {
        let destination = clean(destination);
        check_destination(&destination)?;
        if !taken(&own, &destination) {
            own.push(anonymous(&destination).into());
        }
    }
    Ok(own)
}

fn add_own(own: &mut Vec<WishedMount>, mount: WishedMount) -> RuntimeResult<()> {
    let destination = &mount.record.destination;
    if own
        .iter()
        .any(|other| other.record.destination == *destination)
    {
        return Err(RuntimeError::invalid(format!(
            "Duplicate mount point: {destination}"
        )));
    }
    own.push(mount);
    Ok(())
}

fn anonymous(destination: &str) -> MountRecord {
    let mut record = MountRecord::new(MountType::Volume, destination);
    record.owner = VolumeOwner::Anonymous;
    record
}

/// Reads `SOURCE:DESTINATION[:MODE]`, or `DESTINATION` alone.
fn parse_bind(bind: &str) -> RuntimeResult<MountRecord> {
    let invalid =
        |why: &str| RuntimeError::invalid(format!("invalid volume specification: '{bind}'{why}"));
    let parts: Vec<&str> = bind.split(':').collect();
    let (source, destination, mode) = match parts.as_slice() {
        [destination] if !destination.is_empty() => (None, *destination, ""),
        [source, destination] => (Some(*source), *destination, ""),
        [source, destination, mode] => (Some(*source), *destination, *mode),
        _ => return Err(invalid("")),
    };
    if source == Some("") {
        return Err(invalid(": empty source"));
    }
    check_destination(destination).map_err(|error| invalid(": ").caused_by(error))?;
    let mut record = match source {
        None => anonymous(&clean(destination)),
        Some(path) if path.starts_with('/') => {
            let mut record = MountRecord::new(MountType::Bind, &clean(destination));
            record.source = PathBuf::from(clean(path));
            record.missing = Missing::Create;
            record
        }
        Some(name) => {
            let mut record = MountRecord::new(MountType::Volume, &clean(destination));
            name.clone_into(&mut record.name);
            record
        }
    };
    apply_mode(&mut record, mode)?;
    Ok(record)
}

fn apply_mode(record: &mut MountRecord, mode: &str) -> RuntimeResult<()> {
    let is_volume = record.kind == MountType::Volume;
    mode.clone_into(&mut record.mode);
    if is_volume && mode.is_empty() {
        "z".clone_into(&mut record.mode);
    }
    for word in mode.split(',').filter(|word| !word.is_empty()) {
        match word {
            "ro" | "readonly" => record.access = Access::ReadOnly,
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" | "copy" => {}
            "nocopy" if is_volume => record.content = Content::Skip,
            _ => match propagation(word) {
                Some(propagation) if !is_volume => record.propagation = propagation,
                _ => return Err(RuntimeError::invalid(format!("invalid mode: {mode}"))),
            },
        }
    }
    Ok(())
}

fn propagation(word: &str) -> Option<Propagation> {
    Some(match word {
        "private" => Propagation::Private,
        "rprivate" => Propagation::RecursivePrivate,
        "shared" => Propagation::Shared,
        "rshared" => Propagation::RecursiveShared,
        "slave" => Propagation::Slave,
        "rslave" => Propagation::RecursiveSlave,
        _ => return None,
    })
}

/// Docker's word for a propagation.
#[must_use]
pub fn propagation_name(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Private => "private",
        Propagation::RecursivePrivate => "rprivate",
        Propagation::Shared => "shared",
        Propagation::RecursiveShared => "rshared",
        Propagation::Slave => "slave",
        Propagation::RecursiveSlave => "rslave",
    }
}

fn from_mount(mount: &Mount) -> RuntimeResult<WishedMount> {
    let kind = match mount.typ {
        Some(WishedType::BIND) => MountType::Bind,
        Some(WishedType::VOLUME) => MountType::Volume,
        Some(WishedType::TMPFS) => MountType::Tmpfs,
        Some(WishedType::IMAGE) => MountType::Image,
        Some(WishedType::CLUSTER | WishedType::NPIPE) | None => {
            return Err(bad_mount("", "mount type unknown"));
        }
    };
    let bad = |why: &str| bad_mount(kind.name(), why);
    let target = mount.target.as_deref().unwrap_or_default();
    let source = mount.source.as_deref().unwrap_or_default();
    if target.is_empty() {
        return Err(bad("field Target must not be empty"));
    }
    check_destination(target).map_err(|error| bad(&error.chain()))?;
    check_foreign_options(mount, kind)?;
    let mut wished = WishedMount::from(MountRecord::new(kind, &clean(target)));
    if mount.read_only == Some(true) {
        wished.record.access = Access::ReadOnly;
    }
    match kind {
        MountType::Bind => fill_bind(&mut wished.record, mount, source)?,
        MountType::Volume => fill_volume(&mut wished, mount, source),
        MountType::Tmpfs if !source.is_empty() => {
            return Err(bad("field Source must not be specified"));
        }
        MountType::Tmpfs => {
            let options = mount.tmpfs_options.as_ref();
            wished.record.options = options.map(tmpfs_options).unwrap_or_default();
        }
        MountType::Image if source.is_empty() => {
            return Err(bad("field Source must not be empty"));
        }
        MountType::Image => {
            source.clone_into(&mut wished.record.name);
            let options = mount.image_options.as_ref();
            let subpath = options.and_then(|options| options.subpath.clone());
            wished.record.subpath = subpath.unwrap_or_default();
        }
    }
    Ok(wished)
}

fn bad_mount(kind: &str, why: &str) -> RuntimeError {
    RuntimeError::invalid(format!("invalid mount config for type \"{kind}\": {why}"))
}

fn check_foreign_options(mount: &Mount, kind: MountType) -> RuntimeResult<()> {
    let foreign = [
        ("BindOptions", mount.bind_options.is_some(), MountType::Bind),
        (
            "VolumeOptions",
            mount.volume_options.is_some(),
            MountType::Volume,
        ),
        (
            "TmpfsOptions",
            mount.tmpfs_options.is_some(),
            MountType::Tmpfs,
        ),
        (
            "ImageOptions",
            mount.image_options.is_some(),
            MountType::Image,
        ),
    ];
    match foreign.iter().find(|(_, given, of)| *given && *of != kind) {
        Some((name, ..)) => Err(bad_mount(
            kind.name(),
            &format!("field {name} must not be specified"),
        )),
        None => Ok(()),
    }
}

fn fill_bind(record: &mut MountRecord, mount: &Mount, source: &str) -> RuntimeResult<()> {
    if source.is_empty() {
        return Err(bad_mount("bind", "field Source must not be empty"));
    }
    if !source.starts_with('/') {
        return Err(bad_mount(
            "bind",
            &format!("invalid mount path: '{source}' mount path must be absolute"),
        ));
    }
    record.source = PathBuf::from(clean(source));
    let Some(options) = &mount.bind_options else {
        return Ok(());
    };
    record.propagation = match options.propagation {
        None
        | Some(
            MountBindOptionsPropagationEnum::EMPTY | MountBindOptionsPropagationEnum::RPRIVATE,
        ) => Propagation::RecursivePrivate,
        Some(MountBindOptionsPropagationEnum::PRIVATE) => Propagation::Private,
        Some(MountBindOptionsPropagationEnum::SHARED) => Propagation::Shared,
        Some(MountBindOptionsPropagationEnum::RSHARED) => Propagation::RecursiveShared,
        Some(MountBindOptionsPropagationEnum::SLAVE) => Propagation::Slave,
        Some(MountBindOptionsPropagationEnum::RSLAVE) => Propagation::RecursiveSlave,
    };
    if options.non_recursive == Some(true) {
        record.recursion = Recursion::Single;
    } else if options.read_only_non_recursive == Some(true) {
        record.recursion = Recursion::RecursiveTopReadOnly;
    }
    if options.create_mountpoint == Some(true) {
        record.missing = Missing::Create;
    }
    Ok(())
}

fn fill_volume(wished: &mut WishedMount, mount: &Mount, source: &str) {
    source.clone_into(&mut wished.record.name);
    "z".clone_into(&mut wished.record.mode);
    if source.is_empty() {
        wished.record.owner = VolumeOwner::Anonymous;
    }
    let Some(options) = &mount.volume_options else {
        return;
    };
    if options.no_copy == Some(true) {
        wished.record.content = Content::Skip;
    }
    wished.record.subpath = options.subpath.clone().unwrap_or_default();
    wished.labels = options.labels.clone().unwrap_or_default();
    if let Some(driver) = &options.driver_config {
        wished.driver.clone_from(&driver.name);
        wished.driver_options = driver.options.clone().unwrap_or_default();
    }
}

fn tmpfs_options(options: &MountTmpfsOptions) -> String {
    let mut text = String::new();
    let mut add = |word: String| {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing into a string cannot fail.
        let _written = write!(text, "{comma}{word}");
    };
    if let Some(size) = options.size_bytes.filter(|size| *size > 0) {
        add(format!("size={size}"));
    }
    if let Some(mode) = options.mode.filter(|mode| *mode > 0) {
        add(format!("mode={mode:o}"));
    }
    for pair in options.options.iter().flatten() {
        add(pair.join("="));
    }
    text
}

fn check_destination(destination: &str) -> RuntimeResult<()> {
    if !destination.starts_with('/') {
        return Err(RuntimeError::invalid(format!(
            "invalid mount path: '{destination}' mount path must be absolute"
        )));
    }
    if clean(destination) == "/" {
        return Err(RuntimeError::invalid(
            "invalid specification: destination can't be '/'",
        ));
    }
    Ok(())
}

/// A path without `.`, `..`, and slashes that say nothing.
#[must_use]
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_are_read() -> RuntimeResult<()> {
        let bind = parse_bind("/tmp:/a/../b:ro,z")?;
        assert_eq!(
            (bind.kind, bind.destination.as_str()),
            (MountType::Bind, "/b")
        );
        assert_eq!(bind.access, Access::ReadOnly);
        let volume = parse_bind("name:/a:nocopy")?;
        assert_eq!(
            (volume.name.as_str(), volume.content),
            ("name", Content::Skip)
        );
        assert_eq!(parse_bind("/a")?.owner, VolumeOwner::Anonymous);
        Ok(())
    }

    #[test]
    fn bad_binds_are_refused() {
        for bad in [
            "",
            "/tmp:/a:bogus",
            "/tmp:/a:ro:x",
            "/tmp:a",
            "/tmp:/",
            ":/a",
        ] {
            assert!(parse_bind(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_used_twice_is_refused() {
        let host = HostConfig {
            binds: Some(vec!["/tmp:/a".to_owned(), "/tmp:/a/".to_owned()]),
            ..HostConfig::default()
        };
        let found = wished_mounts(&ContainerConfig::default(), &host, Vec::new());
        assert!(found.is_err_and(|error| error.chain().contains("Duplicate mount point")));
    }

    #[test]
    fn own_mounts_win_over_inherited_ones() -> RuntimeResult<()> {
        let host = HostConfig {
            binds: Some(vec!["mine:/a".to_owned()]),
            ..HostConfig::default()
        };
        let inherited = vec![MountRecord::new(MountType::Volume, "/a")];
        let found = wished_mounts(&ContainerConfig::default(), &host, inherited)?;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].record.name, "mine");
        Ok(())
    }
}
