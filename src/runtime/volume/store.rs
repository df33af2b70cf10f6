//! The volumes on disk.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bollard_stubs::models::{Volume, VolumeCreateRequest, VolumeListResponse, VolumePruneResponse};
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};

use super::VolumeError;
use super::content::{lock_file, size_of};
use super::options::{MountOptions, unmount, validate};
use super::query::Query;
use super::record::{ANONYMOUS, DRIVER, VolumeRecord, now};

const LIST_FILTERS: [&str; 5] = ["name", "label", "label!", "driver", "dangling"];
const PRUNE_FILTERS: [&str; 4] = ["label", "label!", "all", "dangling"];

/// A container that has a volume.
#[derive(Debug, Clone)]
pub struct VolumeUse {
    /// Id of the container.
    pub container: String,
    /// Name of the volume.
    pub volume: String,
}

/// The volumes below one state root. Cheap to clone; safe with other threads and processes.
#[derive(Debug, Clone)]
pub struct VolumeStore {
    volumes: PathBuf,
}

impl VolumeStore {
    /// Opens the store below a state root.
    ///
    /// # Errors
    /// When its directory cannot be made.
    pub fn open(root: &Path) -> Result<Self, VolumeError> {
        let volumes = root.join("volumes");
        fs::create_dir_all(&volumes).map_err(file_error("make directory", &volumes))?;
        fs::set_permissions(
            &volumes,
            std::os::unix::fs::PermissionsExt::from_mode(0o701),
        )
        .map_err(file_error("set the mode of", &volumes))?;
        Ok(Self { volumes })
    }

    /// Makes a volume; the same name again gives the existing one. Without a name it is anonymous: 64 hex digits and
    /// the label `com.docker.volume.anonymous`.
    ///
    /// # Errors
    /// A refused name, driver or option.
    pub fn create(&self, request: &VolumeCreateRequest) -> Result<Volume, VolumeError> {
        let record = new_record(request)?;
        if let Some(driver) = request
            .driver
            .as_deref()
            .filter(|driver| !driver.is_empty() && *driver != DRIVER)
        {
            return Err(VolumeError::UnknownDriver {
                name: record.name,
                driver: driver.to_owned(),
            });
        }
        validate_name(&record.name)?;
        if let Ok(known) = self.record(&record.name) {
            return Ok(known.to_volume(&self.data_dir(&known.name)));
        }
        validate(&record.name, &record.options)?;
        self.store(&record)
    }

    /// Makes the directory beside the others and renames it into place, so that there is no half-made volume.
    fn store(&self, record: &VolumeRecord) -> Result<Volume, VolumeError> {
        let temporary = self
            .volumes
            .join(format!(".{}.{}", record.name, random_name()?));
        let data = temporary.join("_data");
        fs::create_dir_all(&data).map_err(file_error("make directory", &data))?;
        fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(file_error("set the mode of", &data))?;
        let json = temporary.join("volume.json");
        fs::write(&json, serde_json::to_vec(record).expect("plain values"))
            .map_err(file_error("write", &json))?;
        let place = self.volumes.join(&record.name);
        if let Err(source) = fs::rename(&temporary, &place) {
            fs::remove_dir_all(&temporary).map_err(file_error("remove", &temporary))?;
            // Another process made it first.
            return self.inspect(&record.name).map_err(|_| VolumeError::File {
                action: "rename into",
                path: place,
                source,
            });
        }
        Ok(record.to_volume(&self.data_dir(&record.name)))
    }

    /// One volume.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn inspect(&self, name: &str) -> Result<Volume, VolumeError> {
        Ok(self.record(name)?.to_volume(&self.data_dir(name)))
    }

    /// The volumes that the filters let through, by name: `name`, `label`, `label!`, `driver`, `dangling`.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn list(
        &self,
        filters: &HashMap<String, Vec<String>>,
        uses: &[VolumeUse],
    ) -> Result<VolumeListResponse, VolumeError> {
        let query = Query::parse(filters, &LIST_FILTERS)?;
        let records = self
            .all()?
            .into_iter()
            .filter(|record| query.accepts(record, is_used(&record.name, uses)));
        let volumes = records
            .map(|record| record.to_volume(&self.data_dir(&record.name)))
            .collect();
        Ok(VolumeListResponse {
            volumes: Some(volumes),
            warnings: Some(Vec::new()),
        })
    }

    /// Removes a volume that nobody uses.
    ///
    /// # Errors
    /// When it is in use or unknown.
    pub fn remove(&self, name: &str, uses: &[VolumeUse]) -> Result<(), VolumeError> {
        self.record(name)?;
        let containers: Vec<String> = uses
            .iter()
            .filter(|by| by.volume == name)
            .map(|by| by.container.clone())
            .collect();
        if !containers.is_empty() {
            return Err(VolumeError::InUse {
                name: name.to_owned(),
                containers,
            });
        }
        self.unmount(name)?;
        let _lock = self.lock(name)?;
        let place = self.volumes.join(name);
        let out_of_sight = self.volumes.join(format!(".{name}.{}", random_name()?));
        fs::rename(&place, &out_of_sight).map_err(file_error("remove", &place))?;
        fs::remove_dir_all(&out_of_sight).map_err(file_error("remove", &out_of_sight))
    }

    /// Removes unused anonymous volumes, with the filter `all` named ones too.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn prune(
        &self,
        filters: &HashMap<String, Vec<String>>,
        uses: &[VolumeUse],
    ) -> Result<VolumePruneResponse, VolumeError> {
        let query = Query::parse(filters, &PRUNE_FILTERS)?;
        let mut deleted = Vec::new();
        let mut reclaimed = 0;
        for record in self.all()? {
            let in_use = is_used(&record.name, uses);
            if in_use || !(query.all || record.is_anonymous()) || !query.accepts(&record, in_use) {
                continue;
            }
            // What an option mounts is not the volume's own and is not reclaimed.
            let size = if record.options.is_empty() {
                size_of(&self.data_dir(&record.name))
            } else {
                0
            };
            self.remove(&record.name, uses)?;
            reclaimed += size;
            deleted.push(record.name);
        }
        Ok(VolumePruneResponse {
            volumes_deleted: Some(deleted),
            space_reclaimed: Some(reclaimed.cast_signed()),
        })
    }

    /// The directory with the volume's content; for a volume with driver options, the point where [`Self::mount`] puts it.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn path(&self, name: &str) -> Result<PathBuf, VolumeError> {
        self.record(name)?;
        Ok(self.data_dir(name))
    }

    /// Bytes of the volume's files.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn size(&self, name: &str) -> Result<u64, VolumeError> {
        self.path(name).map(|path| size_of(&path))
    }

    /// Before a container with the volume starts: mounts what the driver options say, once for all users. Plain
    /// volumes need nothing. Returns the directory to bind.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn mount(&self, name: &str) -> Result<PathBuf, VolumeError> {
        let target = self.path(name)?;
        if let Some(options) = MountOptions::parse(&self.record(name)?.options) {
            let _lock = self.lock(name)?;
            if !is_mounted(&target) {
                options.mount(&target)?;
            }
        }
        Ok(target)
    }

    /// After the last container with the volume has ended: takes the mount away, if there is one.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn unmount(&self, name: &str) -> Result<(), VolumeError> {
        let target = self.path(name)?;
        let _lock = self.lock(name)?;
        if is_mounted(&target) {
            unmount(&target).map_err(|errno| VolumeError::File {
                action: "unmount",
                path: target,
                source: errno.into(),
            })?;
        }
        Ok(())
    }

    pub(super) fn lock(&self, name: &str) -> Result<File, VolumeError> {
        lock_file(&self.volumes.join(name))
    }

    fn data_dir(&self, name: &str) -> PathBuf {
        self.volumes.join(name).join("_data")
    }

    fn record(&self, name: &str) -> Result<VolumeRecord, VolumeError> {
        let missing = || VolumeError::NotFound {
            name: name.to_owned(),
        };
        // Names are checked when volumes are made, but looked up as they come.
        validate_name(name).map_err(|_| missing())?;
        let bytes = fs::read(self.volumes.join(name).join("volume.json")).map_err(|_| missing())?;
        serde_json::from_slice(&bytes).map_err(|_| missing())
    }

    fn all(&self) -> Result<Vec<VolumeRecord>, VolumeError> {
        let entries = fs::read_dir(&self.volumes).map_err(file_error("list", &self.volumes))?;
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut records: Vec<_> = names.filter_map(|name| self.record(&name).ok()).collect();
        records.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(records)
    }
}

fn new_record(request: &VolumeCreateRequest) -> Result<VolumeRecord, VolumeError> {
    let sorted = |map: &Option<HashMap<String, String>>| {
        map.clone()
            .unwrap_or_default()
            .into_iter()
            .collect::<BTreeMap<_, _>>()
    };
    let mut labels = sorted(&request.labels);
    let name = if let Some(name) = request.name.as_deref().filter(|name| !name.is_empty()) {
        name.to_owned()
    } else {
        labels.insert(ANONYMOUS.to_owned(), String::new());
        random_name()?
    };
    Ok(VolumeRecord {
        name,
        created_at: now(),
        labels,
        options: sorted(&request.driver_opts),
    })
}

fn validate_name(name: &str) -> Result<(), VolumeError> {
    let mut bytes = name.bytes();
    if name.len() == 1 {
        return Err(VolumeError::ShortName {
            name: name.to_owned(),
        });
    }
    let valid = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && name.len() <= 255;
    if valid {
        Ok(())
    } else {
        Err(VolumeError::InvalidName {
            name: name.to_owned(),
        })
    }
}

fn is_used(name: &str, uses: &[VolumeUse]) -> bool {
    uses.iter().any(|by| by.volume == name)
}

fn is_mounted(path: &Path) -> bool {
    let status = rustix::fs::statx(
        rustix::fs::CWD,
        path,
        AtFlags::SYMLINK_NOFOLLOW,
        StatxFlags::BASIC_STATS,
    );
    status.is_ok_and(|status| status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// 64 random hexadecimal digits.
fn random_name() -> Result<String, VolumeError> {
    let mut bytes = [0; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(
        |errno| VolumeError::File {
            action: "read",
            path: "/dev/urandom".into(),
            source: errno.into(),
        },
    )?;
    Ok(hex::encode(bytes))
}

pub(super) fn file_error<'p>(
    action: &'static str,
    path: &'p Path,
) -> impl FnOnce(std::io::Error) -> VolumeError + use<'p> {
    move |source| VolumeError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard_stubs::models::VolumeCreateRequest;

    use super::{VolumeStore, VolumeUse};
    use crate::runtime::volume::ErrorKind;

    fn named(name: &str) -> VolumeCreateRequest {
        VolumeCreateRequest {
            name: Some(name.to_owned()),
            ..VolumeCreateRequest::default()
        }
    }

    #[test]
    fn a_name_is_made_once_and_removed_when_unused() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let store = VolumeStore::open(root.path())?;
        let first = store.create(&named("data"))?;
        assert_eq!(store.create(&named("data"))?, first);
        assert!(store.path("data")?.is_dir());
        let uses = [VolumeUse {
            container: "c1".into(),
            volume: "data".into(),
        }];
        let error = store
            .remove("data", &uses)
            .err()
            .ok_or("removed although in use")?;
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Conflict, "remove data: volume is in use - [c1]")
        );
        store.remove("data", &[])?;
        assert_eq!(
            store
                .inspect("data")
                .err()
                .map(|e| e.to_string())
                .as_deref(),
            Some("get data: no such volume")
        );
        Ok(())
    }

    #[test]
    fn a_name_that_is_a_path_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let store = VolumeStore::open(root.path())?;
        for name in ["a", "a b", "-x", "a/b", "../x", ".."] {
            assert_eq!(
                store.create(&named(name)).err().map(|e| e.kind()),
                Some(ErrorKind::Invalid),
                "{name}"
            );
            assert_eq!(
                store.inspect(name).err().map(|e| e.kind()),
                Some(ErrorKind::NotFound),
                "{name}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_prune_takes_anonymous_volumes_only_unless_all_are_meant()
    -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let store = VolumeStore::open(root.path())?;
        store.create(&named("named"))?;
        let anonymous = store.create(&VolumeCreateRequest::default())?.name;
        assert_eq!(
            store.prune(&HashMap::new(), &[])?.volumes_deleted,
            Some(vec![anonymous])
        );
        let all = HashMap::from([("all".to_owned(), vec!["true".to_owned()])]);
        assert_eq!(
            store.prune(&all, &[])?.volumes_deleted,
            Some(vec!["named".to_owned()])
        );
        Ok(())
    }
}
