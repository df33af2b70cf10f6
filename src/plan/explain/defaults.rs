//! What an engine gives a container of which the file says nothing.
//!
//! Where that is known, a value that is gone from the file can be told from one that the engine added. Docker and
//! hoist's own engine keep to it; Podman fills in too much of its own.

use bollard_stubs::models::SystemInfo;
use serde_json::Value;

use super::reading::bytes;

/// The values of one engine; by default nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults {
    known: Option<Known>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    logging_driver: String,
    runtime: String,
    cgroup: &'static str,
}

impl Defaults {
    /// Reads what an engine tells about itself.
    #[must_use]
    pub fn new(product: &str, info: &SystemInfo) -> Self {
        if product == "Podman" {
            return Self::default();
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let version = info.cgroup_version.map(|version| version.to_string());
        let cgroup = match version.as_deref() {
            Some("2") => "private",
            _ => "host",
        };
        Self {
            known: Some(Known {
                logging_driver: text(&info.logging_driver),
                runtime: text(&info.default_runtime),
                cgroup,
            }),
        }
    }

    /// Whether anything is known.
    pub(super) fn are_known(&self) -> bool {
        self.known.is_some()
    }

    /// The values that a container has of an attribute which its file does not set; `None` where that is not known.
    pub(super) fn of(&self, attribute: &str, container: &Value) -> Option<Vec<String>> {
        let known = self.known.as_ref()?;
        let one = |text: &str| Some(vec![text.to_owned()]);
        match attribute {
            "annotations" | "cgroup_parent" | "cpu_period" | "cpu_quota" | "userns_mode" => {
                Some(Vec::new())
            }
            "cgroup" => one(known.cgroup),
            "isolation" => one("default"),
            "logging.driver" => one(&known.logging_driver),
            // Of the driver that the engine has by itself, the options may be its own as well.
            "logging.options" => {
                let driver = container.pointer("/HostConfig/LogConfig/Type");
                let driver = driver.and_then(Value::as_str).unwrap_or_default();
                (driver != known.logging_driver).then(Vec::new)
            }
            "mem_swappiness" => one("-1"),
            "memswap_limit" => {
                let memory = container.pointer("/HostConfig/Memory");
                let twice = memory.and_then(Value::as_i64).unwrap_or_default() * 2;
                Some(vec!["-1".to_owned(), bytes(&Value::from(twice))])
            }
            "runtime" => one(&known.runtime),
            "shm_size" => one("64m"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bollard_stubs::models::SystemInfo;
    use serde_json::json;

    use super::Defaults;

    #[test]
    fn options_of_another_driver_than_the_engines_own_came_from_the_file() {
        let info = SystemInfo {
            logging_driver: Some("json-file".to_owned()),
            ..SystemInfo::default()
        };
        let docker = Defaults::new("Docker", &info);
        let with = |driver: &str| json!({"HostConfig": {"LogConfig": {"Type": driver}}});
        assert_eq!(docker.of("logging.options", &with("json-file")), None);
        let all = Some(Vec::new());
        assert_eq!(docker.of("logging.options", &with("syslog")), all);
        let podman = Defaults::new("Podman", &info);
        assert_eq!(podman.of("logging.options", &with("syslog")), None);
    }

    #[test]
    fn swap_of_twice_the_memory_is_the_engines_own() {
        let docker = Defaults::new("Docker", &SystemInfo::default());
        let container = json!({"HostConfig": {"Memory": 67_108_864}});
        let values = docker.of("memswap_limit", &container).unwrap_or_default();
        assert!(values.contains(&"128m".to_owned()), "{values:?}");
    }
}
