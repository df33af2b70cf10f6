//! Engines that are far away: behind TLS with certificates on both sides, behind ssh, and as docker's plugin.

use std::error::Error;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;

use crate::common::env::{CommandOutput, TestEnvironment, output};
use crate::common::{has_root, skip};

type Outcome = Result<(), Box<dyn Error>>;

/// An environment with the built-in engine running; answers its socket.
fn engine() -> Result<(TestEnvironment, PathBuf), Box<dyn Error>> {
    let env = TestEnvironment::new()?;
    std::fs::write(
        env.path("compose.yaml"),
        "name: far\nservices: { web: { image: 'rootfs:/', command: sleep 1000, network_mode: none, stop_grace_period: 0s } }\n",
    )?;
    let _up = env.run(["up", "-d"])?.success();
    let socket = env.path("run/engine.sock");
    Ok((env, socket))
}

/// A life of a project on an engine that is reached some other way.
fn use_it(env: &TestEnvironment, variables: &[(&str, &str)], flags: &[&str]) -> Outcome {
    let run = |args: &[&str]| -> std::io::Result<CommandOutput> {
        let mut command = env.command(flags);
        output(command.args(args).envs(variables.iter().copied()))
    };
    let listed = run(&["ps", "--format", "{{.Name}}"])?.success();
    assert_eq!(listed.stdout, "far-web-1\n");
    let said = run(&["exec", "-T", "web", "sh", "-c", "echo out; exit 7"])?;
    assert_eq!((said.stdout.as_str(), said.status), ("out\n", 7), "{said}");
    let again = run(&["--progress", "plain", "up", "-d"])?.success();
    assert!(again.stderr.contains("Running"), "{again}");
    Ok(())
}

/// Two authorities: the engine's, which signed both certificates, and another.
fn certificates(folder: &Path) -> Outcome {
    let script = "set -e
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca
for name in server client; do
  openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
  printf 'subjectAltName=IP:127.0.0.1\\n' > ext
  openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $name.pem -days 2 -extfile ext
done
cp client.pem cert.pem; cp client.key key.pem
mkdir other; openssl req -x509 -newkey rsa:2048 -nodes -keyout other/key.pem -out other/ca.pem -days 2 -subj /CN=other";
    let made = std::process::Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .output()?;
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    Ok(())
}

/// Speaks TLS in front of a socket, and wants certificates of its authority.
fn tls_server(folder: &Path, socket: PathBuf) -> Result<SocketAddr, Box<dyn Error>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem"))?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&provider),
    );
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier.build()?)
        .with_single_cert(
            vec![CertificateDer::from_pem_file(folder.join("server.pem"))?],
            PrivateKeyDer::from_pem_file(folder.join("server.key"))?,
        )?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let _told = sender.send(listener.local_addr()?);
            loop {
                let (stream, _) = listener.accept().await?;
                let (acceptor, socket) = (acceptor.clone(), socket.clone());
                tokio::spawn(async move {
                    // A client without a certificate is turned away, which is what the test is about.
                    let mut near = acceptor.accept(stream).await?;
                    let mut far = UnixStream::connect(socket).await?;
                    copy_bidirectional(&mut near, &mut far).await
                });
            }
        })
    });
    Ok(receiver.recv()?)
}

#[test]
fn an_engine_behind_tls_is_verified_and_sees_our_certificate() -> Outcome {
    if !has_root("engine behind TLS") {
        return Ok(());
    }
    let openssl = std::process::Command::new("openssl")
        .arg("version")
        .output();
    if openssl.is_err() {
        skip("engine behind TLS", "openssl");
        return Ok(());
    }
    let (env, socket) = engine()?;
    let folder = tempfile::tempdir()?;
    certificates(folder.path())?;
    let address = format!("tcp://{}", tls_server(folder.path(), socket)?);
    let path = folder.path().to_str().ok_or("no text")?;
    let variables = [
        ("DOCKER_HOST", address.as_str()),
        ("DOCKER_TLS_VERIFY", "1"),
        ("DOCKER_CERT_PATH", path),
    ];
    use_it(&env, &variables, &[])?;
    let flags = ["-H", &address, "--tlsverify"];
    use_it(&env, &[("DOCKER_CERT_PATH", path)], &flags)?;
    let mut command = env.command(["ps"]);
    command.envs(variables);
    command.env("DOCKER_CERT_PATH", folder.path().join("other"));
    let refused = output(&mut command)?;
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("UnknownIssuer"), "{refused}");
    Ok(())
}

#[test]
fn an_engine_behind_ssh_is_reached_as_the_docker_command_line_does() -> Outcome {
    if !has_root("engine behind ssh") {
        return Ok(());
    }
    if std::process::Command::new("perl")
        .arg("-v")
        .output()
        .is_err()
    {
        skip("engine behind ssh", "perl");
        return Ok(());
    }
    let (env, socket) = engine()?;
    // Stands for ssh and for `docker system dial-stdio` on the other side.
    let program = format!(
        "#!/usr/bin/perl
use IO::Socket::UNIX; use IO::Select;
if (\"@ARGV\" !~ /-l me -- there docker system dial-stdio$/) {{ print STDERR \"Permission denied (@ARGV)\\n\"; exit 255; }}
my $engine = IO::Socket::UNIX->new(Peer => '{}') or die;
my $both = IO::Select->new(\\*STDIN, $engine);
while ($both->count) {{
  for my $ready ($both->can_read) {{
    my $length = sysread($ready, my $bytes, 65536);
    if (!$length) {{ exit 0 if $ready == $engine; $both->remove($ready); $engine->shutdown(1); next; }}
    syswrite($ready == $engine ? \\*STDOUT : $engine, $bytes);
  }}
}}
",
        socket.display()
    );
    std::fs::create_dir(env.path("bin"))?;
    std::fs::write(env.path("bin/ssh"), program)?;
    std::fs::set_permissions(env.path("bin/ssh"), std::fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", env.path("bin").display(), std::env::var("PATH")?);
    use_it(&env, &[("PATH", &path)], &["--host", "ssh://me@there"])?;
    let mut command = env.command(["-H", "ssh://you@there", "ps"]);
    let refused = output(command.env("PATH", &path))?;
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("Permission denied"), "{refused}");
    Ok(())
}

#[test]
fn a_plugin_of_the_docker_command_line_follows_its_context() -> Outcome {
    if !has_root("docker plugin") {
        return Ok(());
    }
    let (env, socket) = engine()?;
    let plugins = env.path(".docker/cli-plugins");
    std::fs::create_dir_all(&plugins)?;
    let program = plugins.join("docker-compose");
    symlink(env!("CARGO_BIN_EXE_hoist"), &program)?;
    // The name of a context is hashed, so that it can be a folder.
    let meta = env.path(".docker/contexts/meta").join(sha256("near"));
    std::fs::create_dir_all(&meta)?;
    let host = format!("unix://{}", socket.display());
    let text =
        format!("{{\"Name\":\"near\",\"Endpoints\":{{\"docker\":{{\"Host\":\"{host}\"}}}}}}");
    std::fs::write(meta.join("meta.json"), text)?;
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.args(args).env_clear().env("HOME", env.path(""));
        output(command.current_dir(env.path("")))
    };
    let asked = run(&["docker-cli-plugin-metadata"])?.success();
    assert!(
        asked.stdout.contains("\"SchemaVersion\":\"0.1.0\""),
        "{asked}"
    );
    let listed = run(&[
        "--context",
        "near",
        "compose",
        "ps",
        "--format",
        "{{.Name}}",
    ])?;
    assert_eq!(listed.success().stdout, "far-web-1\n");
    std::fs::write(
        env.path(".docker/config.json"),
        "{\"currentContext\":\"near\"}",
    )?;
    let listed = run(&["compose", "ps", "--format", "{{.Name}}"])?;
    assert_eq!(listed.success().stdout, "far-web-1\n");
    let unknown = run(&["--context", "nowhere", "compose", "ps"])?;
    assert_eq!(unknown.status, 1, "{unknown}");
    assert!(unknown.stderr.contains("nowhere"), "{unknown}");
    Ok(())
}

fn sha256(text: &str) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(text.as_bytes()))
}
