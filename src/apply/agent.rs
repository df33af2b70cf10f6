//! An SSH agent with one key, for a build whose `ssh:` names a key file: the key itself never leaves this process's
//! machine side, a step only sees the agent's socket.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use indexmap::IndexMap;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A running agent; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Agent {
    socket: PathBuf,
    _process: Child,
    _folder: Folder,
}

/// A directory that goes when this is dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(%error, path = %self.0.display(), "cannot remove an agent's folder");
        }
    }
}

impl Agent {
    /// Starts `ssh-agent` and gives it the key.
    pub(super) async fn start(
        id: &str,
        key: &Path,
        environment: &IndexMap<String, String>,
    ) -> Result<Self, String> {
        let failed = |what: &str, why: &dyn std::fmt::Display| {
            format!("ssh `{id}`: {what} `{}`: {why}", key.display())
        };
        if let Err(error) = std::fs::File::open(key) {
            return Err(failed("read key", &error));
        }
        let folder = private_folder().map_err(|error| failed("make a folder for", &error))?;
        let socket = folder.0.join("agent.sock");
        let mut process = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed("start ssh-agent for", &error))?;
        // It says where its socket is once it listens.
        let output = process.stdout.take();
        let mut said = String::new();
        if let Some(output) = output {
            let read = BufReader::new(output).read_line(&mut said).await;
            read.map_err(|error| failed("start ssh-agent for", &error))?;
        }
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env_clear()
            .envs(environment)
            .env("SSH_AUTH_SOCK", &socket)
            .env("SSH_ASKPASS_REQUIRE", "never")
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|error| failed("run ssh-add for", &error))?;
        if !added.status.success() {
            let said = String::from_utf8_lossy(&added.stderr).trim().to_owned();
            return Err(failed("add key", &said));
        }
        Ok(Self {
            socket,
            _process: process,
            _folder: folder,
        })
    }

    /// Its socket.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

fn private_folder() -> std::io::Result<Folder> {
    use std::os::unix::fs::DirBuilderExt;
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    let path = std::env::temp_dir().join(format!("hoist-agent-{}", hex::encode(bytes)));
    std::fs::DirBuilder::new().mode(0o700).create(&path)?;
    Ok(Folder(path))
}

/// Whether a path is a socket.
pub(super) fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}
