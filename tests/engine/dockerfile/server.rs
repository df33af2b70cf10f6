//! A server of files on loopback, with a git repository for the simplest of git's protocols.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

const FILE: &[u8] = b"served\n";

/// The server; its threads end with the test process.
pub(super) struct Server {
    address: String,
    _folder: tempfile::TempDir,
    /// The commit of the repository, where there is git.
    pub(super) repository: Option<String>,
}

impl Server {
    pub(super) fn start() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("file.txt"), FILE)?;
        std::fs::write(
            folder.path().join("archive.tar"),
            super::cases::archive("in/f", "packed")?,
        )?;
        let repository = repository(folder.path()).ok();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let root = folder.path().to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let root = root.clone();
                std::thread::spawn(move || {
                    // A client that leaves early is its own affair.
                    drop(answer(stream, &root));
                });
            }
        });
        Ok(Self {
            address,
            _folder: folder,
            repository,
        })
    }

    /// A Dockerfile with this server's facts in it.
    pub(super) fn fill(&self, text: &str) -> String {
        let sum = format!("sha256:{}", hex::encode(Sha256::digest(FILE)));
        text.replace("{http}", &format!("http://{}", self.address))
            .replace("{sum}", &sum)
            .replace("{commit}", self.repository.as_deref().unwrap_or_default())
    }
}

fn answer(stream: TcpStream, root: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or("/");
    let path = path
        .split('?')
        .next()
        .unwrap_or(path)
        .trim_start_matches('/');
    let mut stream = stream;
    match std::fs::read(root.join(path)) {
        Ok(bytes) if !path.contains("..") => {
            let length = bytes.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nConnection: close\r\n\r\n"
            )?;
            if !first.starts_with("HEAD") {
                stream.write_all(&bytes)?;
            }
            Ok(())
        }
        _ => write!(
            stream,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
    }
}

/// A bare repository `repo.git` with one commit.
fn repository(folder: &Path) -> Result<String, Box<dyn Error>> {
    let work: PathBuf = folder.join("work");
    std::fs::create_dir_all(work.join("sub"))?;
    std::fs::write(work.join("in-git"), "versioned\n")?;
    std::fs::write(work.join("sub/deep"), "deeper\n")?;
    let git = |directory: &Path, arguments: &[&str]| -> Result<String, Box<dyn Error>> {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.invalid"])
            .args(arguments)
            .current_dir(directory)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    git(&work, &["init", "-q", "-b", "main"])?;
    git(&work, &["add", "."])?;
    git(&work, &["commit", "-q", "-m", "first"])?;
    let commit = git(&work, &["rev-parse", "HEAD"])?;
    git(folder, &["clone", "-q", "--bare", "work", "repo.git"])?;
    git(&folder.join("repo.git"), &["update-server-info"])?;
    Ok(commit)
}
