//! Debian's `docker-registry` on loopback, for a test.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sha2::{Digest, Sha256};

/// `user` with the password `secret`.
const PASSWORDS: &str = "user:$2b$04$PvMTFyVuHdjor76BrqO.KOCjEtW7mNJO75zs4wWcs7knHSKLZ/4hi\n";

/// A registry that ends with the test.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
    pub(crate) folder: tempfile::TempDir,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Open,
    Password,
    Tls,
}

impl Server {
    /// `None` where the program is not installed.
    pub(crate) fn start(access: Access) -> Result<Option<Self>, Box<dyn std::error::Error>> {
        let version = Command::new("docker-registry").arg("--version").output();
        if version.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp:\n  addr: {address}\n",
            path("data")
        );
        if access == Access::Tls {
            certificate(folder.path())?;
            config += &format!(
                "  tls: {{certificate: {}, key: {}}}\n",
                path("server.crt"),
                path("server.key")
            );
        }
        if access == Access::Password {
            std::fs::write(path("passwords"), PASSWORDS)?;
            config += &format!(
                "auth:\n  htpasswd: {{realm: test, path: {}}}\n",
                path("passwords")
            );
        }
        std::fs::write(path("config.yml"), config)?;
        let mut process = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = process.stderr.take().ok_or("no log")?;
        let mut lines = BufReader::new(log).lines();
        lines
            .find(|line| {
                line.as_ref()
                    .map_or(true, |line| line.contains("listening on"))
            })
            .ok_or("the registry ended")??;
        // Nobody reads the log any more, and a full pipe would stop the registry.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Some(Self {
            process,
            address,
            folder,
        }))
    }
}

impl Server {
    /// Puts an image without layers there, without a client of ours; answers its digest.
    pub(crate) fn put_image(&self, name: &str, tag: &str) -> Result<String, Box<dyn Error>> {
        let config =
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let upload = format!("/v2/{name}/blobs/uploads/");
        let started = self.ask("POST", &upload, "", "")?;
        let place = started
            .lines()
            .find_map(|line| line.strip_prefix("Location: "))
            .ok_or("no place for a blob")?;
        let path = place.split_once(&self.address).ok_or("elsewhere")?.1;
        let blob = digest(config);
        let path = format!("{path}&digest={blob}");
        self.ask("PUT", &path, "application/octet-stream", config)?;
        let (kind, length) = ("application/vnd.oci.image", config.len());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}.manifest.v1+json","config":{{"mediaType":"{kind}.config.v1+json","digest":"{blob}","size":{length}}},"layers":[]}}"#
        );
        let path = format!("/v2/{name}/manifests/{tag}");
        self.ask("PUT", &path, &format!("{kind}.manifest.v1+json"), &manifest)?;
        Ok(digest(&manifest))
    }

    /// Sends one request that has to succeed; answers the whole answer.
    fn ask(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &str,
    ) -> Result<String, Box<dyn Error>> {
        let mut stream = TcpStream::connect(&self.address)?;
        let (address, length) = (&self.address, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.get(9..11) == Some("20") {
            Ok(answer)
        } else {
            Err(format!("{method} {path}: {answer}").into())
        }
    }
}

fn digest(text: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(text)))
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// A certificate authority `ca/<any>/ca.crt` and a certificate for 127.0.0.1 signed by it.
fn certificate(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let script = "set -e; mkdir -p ca/lan; openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca/lan/ca.crt -days 2 -subj /CN=test-ca; \
        openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=server; \
        printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\\n' > ext; \
        openssl x509 -req -in server.csr -CA ca/lan/ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile ext";
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if made.success() {
        Ok(())
    } else {
        Err("no certificate".into())
    }
}
