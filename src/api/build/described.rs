//! `POST /hoist/build`: a build as one JSON description, for what `/build` cannot say: secrets, SSH agents, further
//! contexts, entitlements, caches, and contexts that are directories of this machine and need no archive.
//!
//! A directory comes with its device and inode, so that a client with another view of the file system (in a container,
//! or behind a forwarded socket) is told so instead of getting other files. The answer is a stream of `narrator` lines.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::narrator::Narrator;
use super::{QUEUE, credentials, extra_hosts, network};
use crate::api::bridge::received;
use crate::api::call::Call;
use crate::api::reply::{RouteResult, stream};
use crate::runtime::build::{
    BuildError, BuildRequest, CacheMode, CachePlace, CacheTarget, CacheUse, DockerfileSource,
    Entitlement, Entitlements, NamedContext, PullPolicy,
};
use crate::runtime::error::{RuntimeError, RuntimeResult};
use crate::runtime::image::{Platform, Reference};
use crate::runtime::supervise::Supervisor;

/// The body.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Description {
    context: Place,
    contexts: BTreeMap<String, Place>,
    dockerfile: Dockerfile,
    ignore: Option<String>,
    tags: Vec<String>,
    args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    target: Option<String>,
    platforms: Vec<String>,
    network: Option<String>,
    extra_hosts: Vec<String>,
    shm_size: Option<u64>,
    ulimits: Vec<String>,
    no_cache: bool,
    no_cache_stages: Vec<String>,
    pull: bool,
    /// Contents in base64, by id.
    secrets: BTreeMap<String, String>,
    /// Sockets of agents, by id.
    ssh: BTreeMap<String, PathBuf>,
    entitlements: Vec<String>,
    cache_from: Vec<String>,
    cache_to: Vec<String>,
}

/// Where a context is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    /// Nowhere: the Dockerfile is a text and copies nothing.
    #[default]
    None,
    /// A directory of this machine.
    Directory {
        path: PathBuf,
        device: u64,
        inode: u64,
    },
    /// An image.
    Image(String),
    /// A repository or a file in the network.
    Remote(String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Dockerfile {
    /// In the context.
    Path(String),
    /// Here.
    Text(String),
}

impl Default for Dockerfile {
    fn default() -> Self {
        Self::Path("Dockerfile".to_owned())
    }
}

/// Builds what a description says.
pub(crate) async fn described(engine: &Arc<Supervisor>, mut call: Call) -> RouteResult {
    let credentials = credentials(&call)?;
    let description: Description = call.json().await?;
    let mut warnings = Vec::new();
    let mut request = request(description, &mut warnings)?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let cancelled = call.gone.child_token();
    let guard = cancelled.clone().drop_guard();
    let engine = Arc::clone(engine);
    let presence = engine.client_present();
    spawn_blocking(move || {
        let narrator = Mutex::new(Narrator::new(sender));
        let tell = |event| {
            let mut narrator = narrator.lock().unwrap_or_else(PoisonError::into_inner);
            narrator.take(event);
        };
        for warning in warnings {
            tell(crate::runtime::build::BuildEvent::Warning(warning));
        }
        let built = with_context(&engine, &mut request)
            .and_then(|_empty| engine.build_image(&request, cancelled, credentials, &tell));
        let narrator = narrator
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        narrator.end(built.err().as_ref());
        drop(presence);
    });
    let lines = received(receiver).map(move |line: io::Result<bytes::Bytes>| {
        let _held = &guard;
        line
    });
    Ok(stream("application/json", lines))
}

/// A build without a context has an empty one.
fn with_context(
    engine: &Supervisor,
    request: &mut BuildRequest,
) -> Result<Option<crate::runtime::image::Scratch>, BuildError> {
    if request.remote.is_some() || !request.context.as_os_str().is_empty() {
        return Ok(None);
    }
    let scratch = engine.images().scratch()?;
    scratch.path().clone_into(&mut request.context);
    Ok(Some(scratch))
}

fn request(description: Description, warnings: &mut Vec<String>) -> RuntimeResult<BuildRequest> {
    for tag in &description.tags {
        Reference::parse(tag)?;
    }
    let (context, remote) = match description.context {
        Place::None => (PathBuf::new(), None),
        Place::Remote(address) => (PathBuf::new(), Some(address)),
        Place::Image(image) => {
            return Err(RuntimeError::invalid(format!(
                "the image `{image}` cannot be the main context of a build"
            )));
        }
        directory @ Place::Directory { .. } => (same_directory(directory)?, None),
    };
    let contexts = description.contexts.into_iter();
    let contexts = contexts.map(|(name, place)| Ok((name, named(place)?)));
    Ok(BuildRequest {
        context,
        remote,
        contexts: contexts.collect::<RuntimeResult<_>>()?,
        dockerfile: match description.dockerfile {
            Dockerfile::Path(path) => DockerfileSource::Context(path),
            Dockerfile::Text(text) => DockerfileSource::Text(text),
        },
        ignore: description.ignore,
        tags: description.tags,
        args: description.args,
        labels: description.labels,
        target: description.target.filter(|target| !target.is_empty()),
        platform: platform(&description.platforms, warnings)?,
        network: network(
            description
                .network
                .as_deref()
                .filter(|name| !name.is_empty()),
        ),
        extra_hosts: extra_hosts(&description.extra_hosts),
        shm_size: description.shm_size.filter(|size| *size > 0),
        ulimits: description.ulimits,
        cache: if description.no_cache {
            CacheUse::Skip
        } else {
            CacheUse::Use
        },
        no_cache_stages: description.no_cache_stages,
        pull: if description.pull {
            PullPolicy::Always
        } else {
            PullPolicy::Missing
        },
        secrets: secrets(description.secrets)?,
        ssh: agents(description.ssh)?,
        entitlements: entitlements(&description.entitlements)?,
        cache_from: cache_sources(&description.cache_from, warnings)?,
        cache_to: cache_targets(&description.cache_to, warnings)?,
    })
}

fn named(place: Place) -> RuntimeResult<NamedContext> {
    Ok(match place {
        Place::Image(reference) => {
            Reference::parse(&reference)?;
            NamedContext::Image(reference)
        }
        Place::Remote(address) => NamedContext::Remote(address),
        Place::None => return Err(RuntimeError::invalid("a context without a place")),
        directory @ Place::Directory { .. } => NamedContext::Directory(same_directory(directory)?),
    })
}

/// The directory, if the engine sees the same one under its path.
fn same_directory(place: Place) -> RuntimeResult<PathBuf> {
    let Place::Directory {
        path,
        device,
        inode,
    } = place
    else {
        return Err(RuntimeError::invalid("the context is no directory"));
    };
    let seen = std::fs::metadata(&path);
    let is_same =
        seen.is_ok_and(|seen| seen.is_dir() && seen.dev() == device && seen.ino() == inode);
    if is_same && path.is_absolute() {
        return Ok(path);
    }
    Err(RuntimeError::invalid(format!(
        "the engine does not see the build context `{}`: it has another view of the file system; run the build where the engine runs",
        path.display()
    )))
}

/// The platform to build for: this machine's, as nothing here could run another's programs.
fn platform(wanted: &[String], warnings: &mut Vec<String>) -> RuntimeResult<Option<String>> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let own = Platform::this_machine();
    let is_own = |text: &str| {
        let parsed = Platform::parse(text)?;
        Ok::<_, RuntimeError>(parsed.os == own.os && parsed.architecture == own.architecture)
    };
    let own_name = format!("{}/{}", own.os, own.architecture);
    let mut others = Vec::new();
    let mut found = None;
    for text in wanted {
        if is_own(text)? {
            found.get_or_insert_with(|| text.clone());
        } else {
            others.push(text.as_str());
        }
    }
    if found.is_none() {
        return Err(RuntimeError::invalid(format!(
            "cannot build for {}: this engine builds for {own_name} only, as it does not emulate other machines; build there, or with another engine",
            others.join(", ")
        )));
    }
    if !others.is_empty() {
        warnings.push(format!(
            "[Warning] the image is built for {own_name} only, not for {}: this engine does not emulate other machines",
            others.join(", ")
        ));
    }
    Ok(found)
}

fn secrets(encoded: BTreeMap<String, String>) -> RuntimeResult<BTreeMap<String, Vec<u8>>> {
    let decode = |(id, text): (String, String)| {
        let bytes = STANDARD.decode(text).map_err(|source| {
            RuntimeError::invalid(format!("the secret `{id}` is not in base64")).caused_by(source)
        })?;
        Ok((id, bytes))
    };
    encoded.into_iter().map(decode).collect()
}

fn agents(sockets: BTreeMap<String, PathBuf>) -> RuntimeResult<BTreeMap<String, PathBuf>> {
    for (id, path) in &sockets {
        let is_socket = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
        if !is_socket {
            return Err(RuntimeError::invalid(format!(
                "the SSH agent `{id}` has no socket at `{}` that the engine can see",
                path.display()
            )));
        }
    }
    Ok(sockets)
}

fn entitlements(names: &[String]) -> RuntimeResult<Entitlements> {
    let known = |name: &String| {
        Entitlement::parse(name).ok_or_else(|| {
            RuntimeError::invalid(format!(
                "entitlement `{name}` is not known: there are security.insecure and network.host"
            ))
        })
    };
    names.iter().map(known).collect()
}

/// `type=registry,ref=…`, `type=local,src=…`, or a reference alone.
fn cache_sources(texts: &[String], warnings: &mut Vec<String>) -> RuntimeResult<Vec<CachePlace>> {
    let mut places = Vec::new();
    for text in texts {
        match CacheSetting::parse(text)?.place("src") {
            Ok(place) => places.push(place),
            Err(warning) => warnings.push(warning),
        }
    }
    Ok(places)
}

/// `type=registry,ref=…,mode=max`, `type=local,dest=…`, or a reference alone.
fn cache_targets(texts: &[String], warnings: &mut Vec<String>) -> RuntimeResult<Vec<CacheTarget>> {
    let mut targets = Vec::new();
    for text in texts {
        let setting = CacheSetting::parse(text)?;
        let mode = match setting.find("mode") {
            Some("max") => CacheMode::Max,
            None | Some("min") => CacheMode::Min,
            Some(other) => {
                return Err(RuntimeError::invalid(format!(
                    "cache mode `{other}` of `{text}` is neither min nor max"
                )));
            }
        };
        match setting.place("dest") {
            Ok(place) => targets.push(CacheTarget { place, mode }),
            Err(warning) => warnings.push(warning),
        }
    }
    Ok(targets)
}

/// A setting such as `type=registry,ref=host/name`.
struct CacheSetting<'a> {
    text: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> CacheSetting<'a> {
    fn parse(text: &'a str) -> RuntimeResult<Self> {
        if !text.contains('=') {
            Reference::parse(text)?;
            let pairs = vec![("type", "registry"), ("ref", text)];
            return Ok(Self { text, pairs });
        }
        let pair = |part: &'a str| {
            part.split_once('=').ok_or_else(|| {
                RuntimeError::invalid(format!("`{part}` of the cache `{text}` is no NAME=VALUE"))
            })
        };
        let pairs = text.split(',').map(pair).collect::<RuntimeResult<_>>()?;
        Ok(Self { text, pairs })
    }

    fn find(&self, name: &str) -> Option<&'a str> {
        let found = self.pairs.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| *value)
    }

    /// The place, or why it cannot be used.
    fn place(&self, path: &str) -> Result<CachePlace, String> {
        let missing = |name: &str| format!("[Warning] the cache `{}` has no `{name}`", self.text);
        match self.find("type").unwrap_or("registry") {
            "registry" => {
                let reference = self.find("ref").ok_or_else(|| missing("ref"))?;
                Ok(CachePlace::Registry(reference.to_owned()))
            }
            "local" => {
                let directory = self.find(path).ok_or_else(|| missing(path))?;
                Ok(CachePlace::Local(PathBuf::from(directory)))
            }
            other => Err(format!(
                "[Warning] a cache of type `{other}` is not supported by this engine, which has `registry` and `local`"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_are_refused_and_further_ones_left_out() -> RuntimeResult<()> {
        let own = Platform::this_machine();
        let own = format!("{}/{}", own.os, own.architecture);
        let mut warnings = Vec::new();
        assert_eq!(platform(&[], &mut warnings)?, None);
        assert_eq!(
            platform(std::slice::from_ref(&own), &mut warnings)?,
            Some(own.clone())
        );
        assert!(warnings.is_empty());
        let both = ["linux/s390x".to_owned(), own.clone()];
        assert_eq!(platform(&both, &mut warnings)?, Some(own));
        assert!(
            warnings
                .first()
                .is_some_and(|text| text.contains("linux/s390x"))
        );
        assert!(platform(&both[..1], &mut warnings).is_err());
        Ok(())
    }

    #[test]
    fn another_view_of_the_file_system_is_noticed() {
        let place = Place::Directory {
            path: PathBuf::from("/"),
            device: 0,
            inode: 0,
        };
        let refused = same_directory(place).map_err(|error| error.chain());
        assert!(refused.is_err_and(|text| text.contains("another view")));
    }

    #[test]
    fn caches_are_read_in_each_form() -> RuntimeResult<()> {
        let mut warnings = Vec::new();
        let texts = ["host/a:b", "type=local,src=/c", "type=gha"].map(str::to_owned);
        assert_eq!(
            cache_sources(&texts, &mut warnings)?,
            [
                CachePlace::Registry("host/a:b".to_owned()),
                CachePlace::Local(PathBuf::from("/c"))
            ]
        );
        assert_eq!(warnings.len(), 1);
        let targets = cache_targets(&["type=local,dest=/d,mode=max".to_owned()], &mut warnings)?;
        assert_eq!(
            targets.first().map(|target| target.mode),
            Some(CacheMode::Max)
        );
        assert!(cache_targets(&["type=local,dest=/d,mode=x".to_owned()], &mut warnings).is_err());
        Ok(())
    }

    #[test]
    fn unknown_entitlements_are_refused() {
        assert!(entitlements(&["device".to_owned()]).is_err());
        let given = entitlements(&["network.host".to_owned()]);
        assert!(given.is_ok_and(|given| given.allow(Entitlement::HostNetwork)));
    }
}
