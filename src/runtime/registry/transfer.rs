//! Manifests and blobs over the wire: fetched with resumption and verified, uploaded in pieces.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::header::RANGE;
use hyper::{Method, StatusCode};
use sha2::{Digest as _, Sha256};

use super::RegistryError;
use super::client::{Call, Content, Repository, accept, document, location_of, refusal, resolve};
use crate::runtime::image::{Descriptor, Digest};

/// Tries of one transfer.
const ATTEMPTS: u32 = 5;
/// How long nothing may arrive.
const STALL: Duration = Duration::from_mins(1);
/// Bytes of one piece of an upload.
const PIECE: u64 = 32 << 20;

/// A manifest as it came.
#[derive(Debug, Clone)]
pub(super) struct FetchedManifest {
    pub(super) bytes: Bytes,
    pub(super) media_type: String,
    pub(super) digest: Digest,
}

/// What became of a wish to mount a blob.
#[derive(Debug)]
pub(super) enum Upload {
    /// The repository has it now.
    Mounted,
    /// It has to be sent to this address.
    Wanted(String),
}

/// Refuses a blob whose stated length is a lie, before any of it is stored: trying again would not make it true.
fn check_length(stated: Option<u64>, descriptor: &Descriptor) -> Result<(), RegistryError> {
    match stated {
        Some(found) if found != descriptor.size => Err(RegistryError::SizeMismatch {
            what: descriptor.digest.clone(),
            promised: descriptor.size,
            found,
        }),
        _ => Ok(()),
    }
}

/// Waits before the next try: 0.2, 0.4, 0.8 … seconds.
pub(super) async fn back_off(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(200) * 2u32.pow(attempt)).await;
}

impl Repository {
    /// Fetches a manifest by tag or digest; a digest is verified.
    pub(super) async fn manifest(
        &self,
        tag_or_digest: &str,
        shown: &str,
    ) -> Result<FetchedManifest, RegistryError> {
        let (name, value) = accept();
        let call = Call::new(Method::GET, self.url(&format!("manifests/{tag_or_digest}")))
            .header(name, value);
        let mut attempt = 0;
        let answer = loop {
            match self.send_ok(&call).await {
                Err(error) if error.is_passing() && attempt + 1 < ATTEMPTS => {
                    back_off(attempt).await;
                    attempt += 1;
                }
                result => break result.map_err(|error| in_pull_words(error, shown))?,
            }
        };
        let media_type = answer
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let bytes = document(answer).await?;
        let digest = Digest::of(&bytes);
        match Digest::parse(tag_or_digest) {
            Ok(expected) if expected != digest => Err(RegistryError::DigestMismatch {
                what: "the manifest".to_owned(),
                expected,
                found: digest,
            }),
            _ => Ok(FetchedManifest {
                bytes,
                media_type,
                digest,
            }),
        }
    }

    /// Fetches a small blob whole.
    pub(super) async fn document_blob(
        &self,
        descriptor: &Descriptor,
    ) -> Result<Bytes, RegistryError> {
        let call = Call::new(
            Method::GET,
            self.url(&format!("blobs/{}", descriptor.digest)),
        );
        let bytes = document(self.send_ok(&call).await?).await?;
        let found = Digest::of(&bytes);
        if found == descriptor.digest {
            return Ok(bytes);
        }
        Err(RegistryError::DigestMismatch {
            what: "a blob".to_owned(),
            expected: descriptor.digest.clone(),
            found,
        })
    }

    /// Fetches a blob into a file. After a break it goes on where it was.
    pub(super) async fn download(
        &self,
        descriptor: &Descriptor,
        file: Arc<File>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let mut state = Download {
            file,
            hash: Sha256::new(),
            at: 0,
        };
        let mut attempt = 0;
        loop {
            let before = state.at;
            match self.download_on(descriptor, &mut state, progress).await {
                Ok(()) => break,
                Err(error) if error.is_passing() && attempt + 1 < ATTEMPTS => {
                    // As long as something arrives, a bad line may break as often as it likes.
                    attempt = if state.at > before { 0 } else { attempt + 1 };
                    back_off(attempt).await;
                }
                Err(error) => return Err(error),
            }
        }
        let found = Digest::parse(&format!("sha256:{}", hex::encode(state.hash.finalize())))?;
        if found == descriptor.digest {
            return Ok(());
        }
        Err(RegistryError::DigestMismatch {
            what: "a layer".to_owned(),
            expected: descriptor.digest.clone(),
            found,
        })
    }

    async fn download_on(
        &self,
        descriptor: &Descriptor,
        state: &mut Download,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let mut call = Call::new(
            Method::GET,
            self.url(&format!("blobs/{}", descriptor.digest)),
        );
        if state.at > 0 {
            call = call.header("range", format!("bytes={}-", state.at));
        }
        debug_assert_eq!(RANGE.as_str(), "range");
        let answer = self.send_ok(&call).await?;
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            state.restart();
            check_length(answer.body().size_hint().exact(), descriptor)?;
        }
        let mut body = answer.into_body();
        let broken = |reason: String| RegistryError::Connect {
            url: call.url.clone(),
            reason,
        };
        loop {
            let frame = tokio::time::timeout(STALL, body.frame())
                .await
                .map_err(|_| broken("nothing arrives any more".to_owned()))?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| broken(super::connect::with_causes(&error)))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            state.take(data, descriptor.size).await?;
            progress(state.at);
        }
        if state.at < descriptor.size {
            return Err(broken("it ended too early".to_owned()));
        }
        Ok(())
    }

    /// Whether the repository has a blob.
    pub(super) async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let call = Call::new(Method::HEAD, self.url(&format!("blobs/{digest}")));
        let answer = self.send(&call).await?;
        match answer.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(refusal(&call.url, answer).await),
        }
    }

    /// Starts an upload; with a source, the registry may take the blob from there.
    pub(super) async fn start_upload(
        &self,
        mount: Option<(&Digest, &str)>,
    ) -> Result<Upload, RegistryError> {
        let rest = match mount {
            Some((digest, from)) => format!("blobs/uploads/?mount={digest}&from={from}"),
            None => "blobs/uploads/".to_owned(),
        };
        let call = Call::new(Method::POST, self.url(&rest)).content(Content::Bytes(Bytes::new()));
        let answer = self.send_ok(&call).await?;
        if answer.status() == StatusCode::CREATED {
            return Ok(Upload::Mounted);
        }
        let location = location_of(&answer).ok_or_else(|| no_location(&call.url))?;
        Ok(Upload::Wanted(resolve(&call.url, &location)?))
    }

    /// Uploads a file in pieces; after a break it asks how far the registry got.
    pub(super) async fn upload(
        &self,
        file: Arc<File>,
        size: u64,
        digest: &Digest,
        location: String,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let mut at = 0;
        let mut location = location;
        let mut attempt = 0;
        while at < size {
            let length = PIECE.min(size - at);
            let call = Call::new(Method::PATCH, location.clone())
                .header("content-type", "application/octet-stream")
                .header("content-range", format!("{at}-{}", at + length - 1))
                .content(Content::File {
                    file: Arc::clone(&file),
                    from: at,
                    length,
                });
            match self.send_ok(&call).await {
                Ok(answer) => {
                    at += length;
                    attempt = 0;
                    location = resolve(
                        &call.url,
                        &location_of(&answer).ok_or_else(|| no_location(&call.url))?,
                    )?;
                }
                Err(error) if error.is_passing() && attempt + 1 < ATTEMPTS => {
                    attempt += 1;
                    back_off(attempt).await;
                    (at, location) = self.uploaded(&location).await?;
                }
                Err(error) => return Err(error),
            }
            progress(at);
        }
        self.finish_upload(&location, digest).await
    }

    async fn finish_upload(&self, location: &str, digest: &Digest) -> Result<(), RegistryError> {
        let separator = if location.contains('?') { '&' } else { '?' };
        let call = Call::new(Method::PUT, format!("{location}{separator}digest={digest}"))
            .header("content-type", "application/octet-stream")
            .content(Content::Bytes(Bytes::new()));
        self.send_ok(&call).await.map(drop)
    }

    /// How far an upload got, and where it goes on.
    async fn uploaded(&self, location: &str) -> Result<(u64, String), RegistryError> {
        let call = Call::new(Method::GET, location.to_owned());
        let answer = self.send_ok(&call).await?;
        let range = answer
            .headers()
            .get("range")
            .and_then(|value| value.to_str().ok());
        let last: Option<u64> = range.and_then(|range| range.rsplit('-').next()?.parse().ok());
        let next = location_of(&answer)
            .map_or_else(|| Ok(location.to_owned()), |next| resolve(location, &next))?;
        Ok((
            last.filter(|last| *last > 0).map_or(0, |last| last + 1),
            next,
        ))
    }

    /// Uploads a small blob at once.
    pub(super) async fn upload_bytes(
        &self,
        bytes: Bytes,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        if self.has_blob(digest).await? {
            return Ok(());
        }
        let Upload::Wanted(location) = self.start_upload(None).await? else {
            return Ok(());
        };
        let separator = if location.contains('?') { '&' } else { '?' };
        let call = Call::new(Method::PUT, format!("{location}{separator}digest={digest}"))
            .header("content-type", "application/octet-stream")
            .content(Content::Bytes(bytes));
        self.send_ok(&call).await.map(drop)
    }

    /// Uploads a manifest under a tag or digest.
    pub(super) async fn put_manifest(
        &self,
        tag: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<(), RegistryError> {
        let call = Call::new(Method::PUT, self.url(&format!("manifests/{tag}")))
            .header("content-type", media_type)
            .content(Content::Bytes(bytes));
        self.send_ok(&call).await.map(drop)
    }
}

struct Download {
    file: Arc<File>,
    hash: Sha256,
    at: u64,
}

impl Download {
    /// The registry sends everything again.
    fn restart(&mut self) {
        self.at = 0;
        self.hash = Sha256::new();
    }

    async fn take(&mut self, data: Bytes, limit: u64) -> Result<(), RegistryError> {
        if self.at + data.len() as u64 > limit {
            return Err(RegistryError::TooLarge {
                what: "a layer".to_owned(),
                limit,
            });
        }
        self.hash.update(&data);
        let (file, at, length) = (Arc::clone(&self.file), self.at, data.len() as u64);
        let written = tokio::task::spawn_blocking(move || file.write_all_at(&data, at)).await?;
        written.map_err(|source| RegistryError::File {
            action: "write",
            source,
        })?;
        self.at += length;
        Ok(())
    }
}

fn no_location(url: &str) -> RegistryError {
    RegistryError::Answer {
        url: url.to_owned(),
        status: 202,
        message: "no location for the upload".to_owned(),
    }
}

fn in_pull_words(error: RegistryError, shown: &str) -> RegistryError {
    match error {
        RegistryError::Answer {
            status: 404,
            message,
            ..
        } => RegistryError::ManifestUnknown {
            reference: shown.to_owned(),
            message,
        },
        RegistryError::Answer {
            status: 403,
            message,
            ..
        }
        | RegistryError::Unauthorized { message } => RegistryError::Denied {
            repository: shown.to_owned(),
            message,
        },
        other => other,
    }
}
