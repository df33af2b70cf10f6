//! Pull and push against Debian's `docker-registry` on loopback.

use std::path::Path;

use hoist::runtime::archive::{NoRecorder, TarWriter};
use hoist::runtime::image::{
    Digest, ErrorKind, ImageStore, ImportRequest, Parents, Platform, Reference, Removal,
};
use hoist::runtime::registry::{
    Credential, News, PullRequest, PushRequest, Registries, RegistrySettings,
};

use crate::common::registry::{Access, Server};
use crate::common::{has_root, skip};

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn start(test: &str, access: Access) -> Result<Option<Server>, Box<dyn std::error::Error>> {
    if !has_root(test) {
        return Ok(None);
    }
    let server = Server::start(access)?;
    if server.is_none() {
        skip(test, "docker-registry");
    }
    Ok(server)
}

/// A store with an image of a compressible and a random layer file.
fn store_with(root: &Path, name: &str) -> Result<(ImageStore, Digest), Box<dyn std::error::Error>> {
    let store = ImageStore::open(root)?;
    let mut nothing = NoRecorder;
    let mut writer = TarWriter::new(Vec::new(), &mut nothing);
    writer.bytes("f", &b"content ".repeat(100_000))?;
    let archive = writer.finish()?;
    let id = store.import(
        &archive[..],
        &ImportRequest {
            repository: Some(name.to_owned()),
            ..ImportRequest::default()
        },
    )?;
    Ok((store, id))
}

fn pull_request(
    reference: &str,
    credential: Option<Credential>,
) -> Result<PullRequest, Box<dyn std::error::Error>> {
    Ok(PullRequest {
        reference: Reference::parse(reference)?,
        platform: Platform::this_machine(),
        credential,
    })
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn what_is_pushed_can_be_pulled_by_tag_and_digest() -> TestResult {
    let Some(server) = start(
        "what_is_pushed_can_be_pulled_by_tag_and_digest",
        Access::Open,
    )?
    else {
        return Ok(());
    };
    let root = tempfile::tempdir()?;
    let name = format!("{}/a/app:1", server.address);
    let (store, id) = store_with(root.path(), &name)?;
    let registries = Registries::new(RegistrySettings::default())?;
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = std::sync::Arc::clone(&lines);
    let push = PushRequest {
        reference: Reference::parse(&name)?,
        credential: None,
    };
    let digest = registries
        .push(&store, &push, move |event| {
            log.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push(event.to_json().to_string());
        })
        .await?;
    let text = lines
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .join("\n");
    assert!(
        text.contains("Pushed") && text.contains(&format!("\"Digest\":\"{digest}\"")),
        "{text}"
    );
    let digests = store.inspect(&name)?.repo_digests;
    assert_eq!(
        digests,
        Some(vec![format!("{}/a/app@{digest}", server.address)])
    );

    // Another repository takes the layer from the first.
    let second = format!("{}/b/app:1", server.address);
    store.tag(&name, &format!("{}/b/app", server.address), "1")?;
    let log = std::sync::Arc::clone(&lines);
    let push = PushRequest {
        reference: Reference::parse(&second)?,
        credential: None,
    };
    registries
        .push(&store, &push, move |event| {
            log.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push(event.status);
        })
        .await?;
    assert!(
        lines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .iter()
            .any(|line| line.starts_with("Mounted from a/app"))
    );

    let other = tempfile::tempdir()?;
    let store = ImageStore::open(other.path())?;
    let pulled = registries
        .pull(&store, &pull_request(&name, None)?, |_| ())
        .await?;
    assert_eq!(
        (pulled.id, pulled.digest.clone(), pulled.news),
        (id.clone(), digest.clone(), News::Newer)
    );
    assert_eq!(
        registries
            .pull(&store, &pull_request(&name, None)?, |_| ())
            .await?
            .news,
        News::UpToDate
    );
    let lower = store.lower_dirs(&store.resolve(&name)?);
    assert_eq!(std::fs::read(lower[0].join("f"))?.len(), 800_000);
    store.remove(&name, Removal::Plain, Parents::Prune, &Vec::new)?;
    let by_digest = format!("{}/a/app@{digest}", server.address);
    registries
        .pull(&store, &pull_request(&by_digest, None)?, |_| ())
        .await?;
    let record = store.resolve(&by_digest)?;
    assert_eq!((record.id, record.repo_tags.len()), (id.to_string(), 0));

    let distribution = registries
        .distribution(&Reference::parse(&name)?, None)
        .await?;
    assert_eq!(
        (
            distribution.descriptor.digest,
            distribution.platforms[0].os.as_deref()
        ),
        (Some(digest.to_string()), Some("linux"))
    );
    for unknown in [
        format!("{}/a/app:nope", server.address),
        format!("{}/none:1", server.address),
    ] {
        let error = registries
            .pull(&store, &pull_request(&unknown, None)?, |_| ())
            .await
            .err()
            .ok_or("pulled")?;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    assert_eq!(std::fs::read_dir(other.path().join("staging"))?.count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_registry_with_passwords_wants_the_right_one() -> TestResult {
    let Some(server) = start(
        "a_registry_with_passwords_wants_the_right_one",
        Access::Password,
    )?
    else {
        return Ok(());
    };
    let root = tempfile::tempdir()?;
    let name = format!("{}/app:1", server.address);
    let (store, _) = store_with(root.path(), &name)?;
    let registries = Registries::new(RegistrySettings::default())?;
    let push = |password: &str| {
        let credential = Credential {
            username: "user".into(),
            password: password.into(),
            ..Credential::default()
        };
        Reference::parse(&name).map(|reference| PushRequest {
            reference,
            credential: Some(credential),
        })
    };
    let refused = registries
        .push(&store, &push("wrong")?, |_| ())
        .await
        .err()
        .ok_or("pushed")?;
    assert_eq!(refused.kind(), ErrorKind::Denied, "{refused}");
    registries.push(&store, &push("secret")?, |_| ()).await?;
    let refused = registries
        .pull(&store, &pull_request(&name, None)?, |_| ())
        .await
        .err()
        .ok_or("pulled")?;
    assert_eq!(refused.kind(), ErrorKind::NotFound, "{refused}");
    let credential = push("secret")?.credential;
    registries
        .pull(&store, &pull_request(&name, credential)?, |_| ())
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_registry_with_tls_serves_as_a_mirror() -> TestResult {
    let Some(server) = start("a_registry_with_tls_serves_as_a_mirror", Access::Tls)? else {
        return Ok(());
    };
    let root = tempfile::tempdir()?;
    let mirrors = [(
        "lan.test".to_owned(),
        vec![format!("https://{}", server.address)],
    )]
    .into();
    let name = format!("{}/app:1", server.address);
    let (store, id) = store_with(root.path(), &name)?;
    let trusting = RegistrySettings {
        certificates: vec![server.folder.path().join("ca")],
        mirrors,
        ..RegistrySettings::default()
    };
    let registries = Registries::new(trusting)?;
    registries
        .push(
            &store,
            &PushRequest {
                reference: Reference::parse(&name)?,
                credential: None,
            },
            |_| (),
        )
        .await?;
    let other = tempfile::tempdir()?;
    let store = ImageStore::open(other.path())?;
    let pulled = registries
        .pull(&store, &pull_request("lan.test/app:1", None)?, |_| ())
        .await?;
    assert_eq!(pulled.id, id);
    assert_eq!(store.resolve("lan.test/app:1")?.id, id.to_string());
    Ok(())
}
