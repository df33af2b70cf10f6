//! Which registries are how reached: a file of the administrator's.
//!
//! ```json
//! {"insecure": ["registry.lan:5000"], "mirrors": {"docker.io": ["http://mirror.lan:5000"]}}
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Where Docker Hub answers.
const HUB: &str = "registry-1.docker.io";
const DOCKER_IO: &str = "docker.io";
const FILE: &str = "/etc/hoist/registries.json";
const CERTIFICATES: [&str; 2] = ["/etc/hoist/certs.d", "/etc/docker/certs.d"];

/// Mirrors, insecure registries, certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySettings {
    /// Hosts (with port) whose certificate is not checked, and that may be spoken to without TLS.
    pub insecure: Vec<String>,
    /// Mirrors by registry, tried in order before it.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Directories with `<host>/*.crt` files of further certificate authorities.
    pub certificates: Vec<PathBuf>,
}

/// Where a registry answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `https://host:port`, without a slash at its end.
    pub(super) base: String,
    /// Whether the certificate is checked.
    pub(super) trust: Trust,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    Verify,
    Anything,
}

impl RegistrySettings {
    /// Reads the file of the administrator, if there is one.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read() -> Result<Self, super::RegistryError> {
        Self::read_from(Path::new(FILE))
    }

    /// Reads settings from a file; no file is no settings.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read_from(path: &Path) -> Result<Self, super::RegistryError> {
        let mut settings: Self = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(source) => {
                return Err(super::RegistryError::File {
                    action: "read",
                    source,
                });
            }
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| super::RegistryError::Json {
                    what: "the settings of registries",
                    source,
                })?
            }
        };
        settings
            .certificates
            .extend(CERTIFICATES.map(PathBuf::from));
        Ok(settings)
    }

    /// The places to try for a pull, in order: mirrors first.
    pub(super) fn endpoints_to_pull(&self, domain: &str) -> Vec<Endpoint> {
        let mirrors = self.mirrors.get(domain).into_iter().flatten();
        let mirrors = mirrors.map(|mirror| {
            let base = mirror.trim_end_matches('/');
            let base = if base.contains("://") {
                base.to_owned()
            } else {
                format!("https://{base}")
            };
            let host = base.split("://").nth(1).unwrap_or_default().to_owned();
            Endpoint {
                trust: self.trust(&host),
                base,
            }
        });
        mirrors.chain(self.endpoints(domain)).collect()
    }

    /// The registry itself: with TLS, and where it is insecure, without.
    pub(super) fn endpoints(&self, domain: &str) -> Vec<Endpoint> {
        let host = if domain == DOCKER_IO { HUB } else { domain };
        let trust = self.trust(host);
        let secure = Endpoint {
            base: format!("https://{host}"),
            trust,
        };
        match trust {
            Trust::Verify => vec![secure],
            Trust::Anything => vec![
                secure,
                Endpoint {
                    base: format!("http://{host}"),
                    trust,
                },
            ],
        }
    }

    fn trust(&self, host: &str) -> Trust {
        if self.insecure.iter().any(|insecure| insecure == host) || is_loopback(host) {
            Trust::Anything
        } else {
            Trust::Verify
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{RegistrySettings, Trust};

    #[test]
    fn only_loopback_and_listed_registries_may_be_insecure() {
        let settings = RegistrySettings {
            insecure: vec!["lan:5000".into()],
            ..RegistrySettings::default()
        };
        let trust = |domain: &str| settings.endpoints(domain)[0].trust;
        assert_eq!(trust("docker.io"), Trust::Verify);
        assert_eq!(trust("lan:5001"), Trust::Verify);
        for domain in ["lan:5000", "localhost", "127.0.0.1:5000", "[::1]:5000"] {
            assert_eq!(trust(domain), Trust::Anything, "{domain}");
        }
    }

    #[test]
    fn mirrors_come_first() {
        let mirrors = [(
            "docker.io".to_owned(),
            vec!["http://mirror:5000/".to_owned()],
        )]
        .into();
        let settings = RegistrySettings {
            mirrors,
            ..RegistrySettings::default()
        };
        let bases: Vec<String> = settings
            .endpoints_to_pull("docker.io")
            .into_iter()
            .map(|endpoint| endpoint.base)
            .collect();
        assert_eq!(
            bases,
            ["http://mirror:5000", "https://registry-1.docker.io"]
        );
    }
}
