//! `save`: a docker-archive that is an OCI layout too.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde_json::json;

use super::catalog::{Names, Stored, names_of};
use super::manifest::media::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use super::manifest::{Descriptor, Manifest};
use super::store::ImageStore;
use super::{Digest, ImageError, Reference};
use crate::runtime::archive::{ArchiveError, Entry, NoRecorder, TarWriter};

/// An image to save and the names that go with it.
struct Saved {
    image: Stored,
    names: BTreeSet<Reference>,
}

impl ImageStore {
    /// Writes images as a docker-archive that is an OCI layout too. A repository without a tag means all its tags.
    ///
    /// # Errors
    /// When an image is unknown (before anything is written) or the stream breaks.
    pub fn save(&self, references: &[String], archive: impl Write) -> Result<(), ImageError> {
        let saved = self.to_save(references)?;
        let mut nothing = NoRecorder;
        let mut writer = TarWriter::new(archive, &mut nothing);
        self.write_archive(&saved, &mut writer)?;
        writer.finish().map(drop).map_err(failed)
    }

    /// Finds out whether all are known, without writing.
    ///
    /// # Errors
    /// When one is not.
    pub fn check_save(&self, references: &[String]) -> Result<(), ImageError> {
        self.to_save(references).map(drop)
    }

    fn to_save(&self, references: &[String]) -> Result<Vec<Saved>, ImageError> {
        let names = self.names()?;
        let mut saved: Vec<Saved> = Vec::new();
        for reference in references {
            let (id, wanted) = self.one_to_save(reference, &names)?;
            match saved.iter_mut().find(|saved| saved.image.id == id) {
                Some(known) => known.names.extend(wanted),
                None => saved.push(Saved {
                    image: self.stored(&id)?,
                    names: wanted.into_iter().collect(),
                }),
            }
        }
        Ok(saved)
    }

    fn one_to_save(
        &self,
        reference: &str,
        names: &Names,
    ) -> Result<(Digest, Vec<Reference>), ImageError> {
        if reference.starts_with("rootfs:") {
            return Err(ImageError::NotStored {
                reference: reference.to_owned(),
            });
        }
        let id = self.find_id(reference, names)?;
        let parsed = Reference::parse(reference)
            .ok()
            .filter(|parsed| parsed.tag().is_some() && names.contains_key(&parsed.to_string()));
        Ok((id, parsed.into_iter().collect()))
    }

    fn write_archive<W: Write>(
        &self,
        saved: &[Saved],
        writer: &mut TarWriter<'_, W>,
    ) -> Result<(), ImageError> {
        for directory in ["blobs", "blobs/sha256"] {
            writer
                .header(&Entry::directory(directory))
                .map_err(failed)?;
        }
        let mut written = BTreeSet::new();
        let mut index = Vec::new();
        let mut archived = Vec::new();
        for one in saved {
            let config = self.config_bytes(&one.image.id)?;
            put_blob(writer, &mut written, &config)?;
            let layers = self.write_layers(&one.image, writer, &mut written)?;
            let manifest = Manifest {
                schema_version: 2,
                media_type: OCI_MANIFEST.to_owned(),
                config: descriptor(OCI_CONFIG, one.image.id.clone(), config.len() as u64),
                layers,
            };
            let bytes = serde_json::to_vec(&manifest).expect("plain values");
            put_blob(writer, &mut written, &bytes)?;
            archived.push(archived_image(one, &manifest));
            index.extend(index_entries(one, &bytes));
        }
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": index});
        writer
            .bytes("index.json", index.to_string().as_bytes())
            .map_err(failed)?;
        writer
            .bytes(
                "manifest.json",
                serde_json::Value::Array(archived).to_string().as_bytes(),
            )
            .map_err(failed)?;
        writer
            .bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
            .map_err(failed)?;
        self.write_repositories(saved, writer)
    }

    fn write_layers<W: Write>(
        &self,
        image: &Stored,
        writer: &mut TarWriter<'_, W>,
        written: &mut BTreeSet<Digest>,
    ) -> Result<Vec<Descriptor>, ImageError> {
        let mut layers = Vec::new();
        for (diff_id, chain) in image
            .file
            .rootfs
            .diff_ids
            .iter()
            .zip(image.file.chain_ids())
        {
            let size = self.layer_facts(&chain)?.archive_size;
            layers.push(descriptor(OCI_LAYER, diff_id.clone(), size));
            if written.insert(diff_id.clone()) {
                self.copy_layer(&chain, diff_id, size, writer)?;
            }
        }
        Ok(layers)
    }

    fn copy_layer<W: Write>(
        &self,
        chain: &Digest,
        diff_id: &Digest,
        size: u64,
        writer: &mut TarWriter<'_, W>,
    ) -> Result<(), ImageError> {
        let (reader, mut pipe) = io::pipe().map_err(|source| ImageError::Stream {
            action: "make a pipe",
            source,
        })?;
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || self.write_layer(chain, &mut pipe).map(drop));
            let name = format!("blobs/sha256/{}", diff_id.hex());
            let copied = writer
                .file(
                    &Entry::plain(&name, size),
                    std::path::Path::new(&name),
                    reader,
                )
                .map_err(failed);
            let written = writing
                .join()
                .unwrap_or_else(|_| Err(ImageError::invalid("the writing thread panicked")));
            copied.and(written)
        })
    }

    /// The file of oldest archives: repository to tag to topmost layer.
    fn write_repositories<W: Write>(
        &self,
        saved: &[Saved],
        writer: &mut TarWriter<'_, W>,
    ) -> Result<(), ImageError> {
        let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for one in saved {
            let Some(top) = one.image.file.rootfs.diff_ids.last() else {
                continue;
            };
            for name in &one.names {
                let tags = repositories.entry(name.familiar_repository()).or_default();
                tags.insert(
                    name.tag().unwrap_or_default().to_owned(),
                    top.hex().to_owned(),
                );
            }
        }
        if repositories.is_empty() {
            return Ok(());
        }
        writer
            .bytes(
                "repositories",
                &serde_json::to_vec(&repositories).expect("plain values"),
            )
            .map_err(failed)
    }

    /// Names of an image, for callers that have its id.
    ///
    /// # Errors
    /// When the names cannot be read.
    pub fn names_of(&self, id: &Digest) -> Result<Vec<String>, ImageError> {
        Ok(names_of(&self.names()?, id).0)
    }
}

fn put_blob<W: Write>(
    writer: &mut TarWriter<'_, W>,
    written: &mut BTreeSet<Digest>,
    bytes: &[u8],
) -> Result<(), ImageError> {
    let digest = Digest::of(bytes);
    if !written.insert(digest.clone()) {
        return Ok(());
    }
    writer
        .bytes(&format!("blobs/sha256/{}", digest.hex()), bytes)
        .map_err(failed)
}

fn archived_image(one: &Saved, manifest: &Manifest) -> serde_json::Value {
    let names: Vec<String> = one.names.iter().map(Reference::familiar).collect();
    let layers: Vec<String> = manifest
        .layers
        .iter()
        .map(|layer| format!("blobs/sha256/{}", layer.digest.hex()))
        .collect();
    json!({
        "Config": format!("blobs/sha256/{}", one.image.id.hex()),
        "RepoTags": if names.is_empty() { serde_json::Value::Null } else { json!(names) },
        "Layers": layers,
    })
}

fn index_entries(one: &Saved, manifest: &[u8]) -> Vec<Descriptor> {
    let plain = descriptor(OCI_MANIFEST, Digest::of(manifest), manifest.len() as u64);
    if one.names.is_empty() {
        return vec![plain];
    }
    let named = |name: &Reference| {
        let mut entry = plain.clone();
        entry
            .annotations
            .insert("io.containerd.image.name".to_owned(), name.to_string());
        entry.annotations.insert(
            "org.opencontainers.image.ref.name".to_owned(),
            name.tag().unwrap_or_default().to_owned(),
        );
        entry
    };
    one.names.iter().map(named).collect()
}

pub(super) fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
    }
}

fn failed(source: ArchiveError) -> ImageError {
    ImageError::Archive {
        what: "the archive of images".to_owned(),
        source,
    }
}
