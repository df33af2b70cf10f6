//! Attacks of known kinds, each made by a container (or its image); each ends with the host untouched.
//!
//! | file | attacks |
//! |---|---|
//! | `program` | the engine's own program overwritten (CVE-2019-5736), looked into, taken over while it enters |
//! | `folder` | working folders and descriptors that lead out (CVE-2024-21626) |
//! | `mounts` | links of the image in place of /proc, /sys, /dev and of mount targets (CVE-2019-19921, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881) |
//! | `kernel` | switches of the kernel (CVE-2022-0492), capabilities (CVE-2022-24769), keyrings, device nodes, pids used again |
//! | `copy` | `cp` led astray (CVE-2018-15664, CVE-2019-14271), volumes, images |

mod actor;
mod copy;
mod folder;
mod kernel;
mod mounts;
mod program;

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::fixture::{Cage, TestResult};
use hoist::runtime::container::ContainerRequest;
use hoist::runtime::container::request::{Access, Mount, MountKind, Propagation, Recursion};

/// A bind of a path of the host.
fn bind(source: &Path, target: &str) -> Mount {
    Mount {
        target: target.to_owned(),
        kind: MountKind::Bind {
            source: source.to_owned(),
            recursion: Recursion::Recursive,
            propagation: Propagation::RecursivePrivate,
        },
        access: Access::ReadWrite,
    }
}

/// A program of the image.
fn executable(path: &Path, text: &str) -> TestResult {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// A container that stays.
async fn sleeper(cage: &Cage) -> Result<ContainerRequest, Box<dyn Error>> {
    let request = cage.request(&["sleep", "1000"])?;
    cage.start(&request).await?;
    Ok(request)
}
