//! `tag`, `remove`, `prune`: names and images come and go, by Docker's rules.

use bollard_stubs::models::{ImageDeleteResponseItem, ImagePruneResponse};

use super::catalog::Names;
use super::filter::{Dangling, Filter};
use super::record::{Filters, ImageUse, Parents, Removal, UseState, Uses};
use super::store::ImageStore;
use super::{Digest, ImageError, Reference};

/// Filters of a prune.
const FILTERS: [&str; 4] = ["label", "label!", "dangling", "until"];

/// A reason why an image cannot be removed.
struct Obstacle {
    /// Whether not even force helps.
    strength: Strength,
    /// Whether it is a container.
    by: Holder,
    reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strength {
    Hard,
    Soft,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Container,
    Other,
}

type Deleted = Vec<ImageDeleteResponseItem>;

impl ImageStore {
    /// Gives an image another name. Returns the id and the whole new name as people write it.
    ///
    /// # Errors
    /// When it is unknown or the name is refused.
    pub fn tag(
        &self,
        reference: &str,
        repository: &str,
        tag: &str,
    ) -> Result<(Digest, String), ImageError> {
        let name = super::import::wanted_name(Some(repository), Some(tag))?;
        let name = name.ok_or_else(|| ImageError::InvalidReference {
            detail: String::new(),
        })?;
        let _lock = self.lock()?;
        let id = self.find_id(reference, &self.names()?)?;
        self.set_name(&name, &id)?;
        Ok((id, name.familiar()))
    }

    /// Removes a name, and the image when it was the last one; rules and answers as Docker's.
    ///
    /// # Errors
    /// Conflicts and unknown images.
    pub fn remove(
        &self,
        reference: &str,
        removal: Removal,
        parents: Parents,
        uses: &Uses<'_>,
    ) -> Result<Deleted, ImageError> {
        if reference.starts_with("rootfs:") {
            return Err(ImageError::NotStored {
                reference: reference.to_owned(),
            });
        }
        let _lock = self.lock()?;
        // Only now: who creates a container pins its image, and lets go of it when the container is recorded.
        let uses = &[uses(), self.uses_by_pins()].concat();
        self.forget_abandoned(uses)?;
        let names = self.names()?;
        let id = self.find_id(reference, &names)?;
        if self.record(&id).removed {
            return Err(ImageError::not_found(reference));
        }
        let mut deleted = Deleted::new();
        let mut work = Work {
            store: self,
            names,
            uses,
            parents,
            deleted: &mut deleted,
        };
        if is_id(reference, &id) {
            work.remove_by_id(&id, removal)?;
        } else {
            work.remove_by_name(reference, &id, removal)?;
        }
        Ok(deleted)
    }

    /// Removes what no container uses: untagged images, or all with `dangling=false`.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn prune(
        &self,
        filters: &Filters,
        uses: &Uses<'_>,
    ) -> Result<ImagePruneResponse, ImageError> {
        let _lock = self.lock()?;
        // Only now: who creates a container pins its image, and lets go of it when the container is recorded.
        let uses = &[uses(), self.uses_by_pins()].concat();
        self.forget_abandoned(uses)?;
        let names = self.names()?;
        let mut filter = Filter::parse(self, filters, &FILTERS, &names)?;
        let scope = filter.dangling.take().unwrap_or(Dangling::Only);
        let all = self.all()?;
        let sizes = self.layer_sizes(&all);
        let mut deleted = Deleted::new();
        for image in all.iter().filter(|image| filter.accepts(image, &names)) {
            let mut work = Work {
                store: self,
                names: self.names()?,
                uses,
                parents: Parents::Prune,
                deleted: &mut deleted,
            };
            work.prune_one(&image.id, scope)?;
        }
        let gone = deleted
            .iter()
            .filter_map(|item| item.deleted.as_deref())
            .filter_map(|chain| Digest::parse(chain).ok());
        let reclaimed: u64 = gone.filter_map(|chain| sizes.get(&chain)).sum();
        Ok(ImagePruneResponse {
            images_deleted: Some(deleted),
            space_reclaimed: Some(reclaimed.cast_signed()),
        })
    }

    /// Images that were removed by force while a container used them go when that container has gone.
    fn forget_abandoned(&self, uses: &[ImageUse]) -> Result<(), ImageError> {
        for id in self.all_ids()? {
            if self.record(&id).removed && !uses.iter().any(|by| by.image == id.to_string()) {
                self.delete_image(&id)?;
            }
        }
        Ok(())
    }
}

/// A reference that is the id or a prefix of it.
fn is_id(reference: &str, id: &Digest) -> bool {
    let digits = reference.strip_prefix("sha256:").unwrap_or(reference);
    !digits.is_empty() && id.hex().starts_with(digits)
}

struct Work<'a> {
    store: &'a ImageStore,
    names: Names,
    uses: &'a [ImageUse],
    parents: Parents,
    deleted: &'a mut Deleted,
}

impl Work<'_> {
    fn references(&self, id: &Digest) -> Vec<Reference> {
        self.names
            .iter()
            .filter(|(_, of)| *of == id)
            .filter_map(|(name, _)| Reference::parse(name).ok())
            .collect()
    }

    fn remove_by_name(
        &mut self,
        reference: &str,
        id: &Digest,
        removal: Removal,
    ) -> Result<(), ImageError> {
        let user = self.uses.iter().find(|by| by.image == id.to_string());
        if removal == Removal::Plain
            && is_single(&self.references(id))
            && let Some(user) = user
        {
            let container = user.container.chars().take(12).collect();
            return Err(ImageError::NameInUse {
                reference: reference.to_owned(),
                container,
                image: id.short().to_owned(),
            });
        }
        let mut parsed = Reference::parse(reference)?;
        if let Some(digest) = parsed.digest().cloned() {
            parsed = parsed.with_digest(digest);
        }
        self.untag(&parsed)?;
        let left = self.references(id);
        let other_tag = left
            .iter()
            .any(|other| other.digest().is_none() && other.repository() == parsed.repository());
        if parsed.digest().is_none() && !other_tag {
            for digest in left
                .iter()
                .filter(|other| other.repository() == parsed.repository())
            {
                self.untag(digest)?;
            }
        }
        if self.references(id).is_empty() {
            self.delete(id, removal, Quiet::Yes)
        } else {
            Ok(())
        }
    }

    fn remove_by_id(&mut self, id: &Digest, removal: Removal) -> Result<(), ImageError> {
        let references = self.references(id);
        if is_single(&references) {
            if let Some(obstacle) = self.obstacle(id, removal, References::Ignore)? {
                return Err(obstacle.into_error(id));
            }
            for reference in &references {
                self.untag(reference)?;
            }
        }
        self.delete(id, removal, Quiet::No)
    }

    fn prune_one(&mut self, id: &Digest, scope: Dangling) -> Result<(), ImageError> {
        let references = self.references(id);
        let tagged = references
            .iter()
            .any(|reference| reference.digest().is_none());
        if self.uses.iter().any(|by| by.image == id.to_string())
            || (tagged && scope == Dangling::Only)
            || self.has_children(id)?
        {
            return Ok(());
        }
        // A parent may have gone with an image that was pruned before it.
        if !self.store.config_path(id).exists() {
            return Ok(());
        }
        for reference in &references {
            self.untag(reference)?;
        }
        self.delete(id, Removal::Plain, Quiet::Yes)
    }

    fn untag(&mut self, reference: &Reference) -> Result<(), ImageError> {
        if self.names.remove(&reference.to_string()).is_none() {
            return Ok(());
        }
        self.store.set_names(&self.names)?;
        self.deleted.push(ImageDeleteResponseItem {
            untagged: Some(reference.familiar()),
            deleted: None,
        });
        Ok(())
    }

    fn delete(&mut self, id: &Digest, removal: Removal, quiet: Quiet) -> Result<(), ImageError> {
        if let Some(obstacle) = self.obstacle(id, removal, References::Count)? {
            let unnamed_leaf = self.references(id).is_empty() && !self.has_children(id)?;
            let told = quiet == Quiet::No || (unnamed_leaf && obstacle.by == Holder::Other);
            return if told {
                Err(obstacle.into_error(id))
            } else {
                Ok(())
            };
        }
        for reference in self.references(id) {
            self.untag(&reference)?;
        }
        let mut record = self.store.record(id);
        self.deleted.push(ImageDeleteResponseItem {
            untagged: None,
            deleted: Some(id.to_string()),
        });
        let parent = record.parent.take();
        if self.uses.iter().any(|by| by.image == id.to_string()) {
            record.removed = true;
            self.store.set_record(id, &record)?;
        } else {
            let gone = self.store.delete_image(id)?;
            self.deleted
                .extend(gone.iter().map(|chain| ImageDeleteResponseItem {
                    untagged: None,
                    deleted: Some(chain.to_string()),
                }));
        }
        match parent {
            Some(parent)
                if self.parents == Parents::Prune
                    && self.store.config_path(&parent).exists()
                    && self.references(&parent).is_empty() =>
            {
                self.delete(&parent, Removal::Plain, Quiet::Yes)
            }
            _ => Ok(()),
        }
    }

    fn has_children(&self, id: &Digest) -> Result<bool, ImageError> {
        Ok(self
            .store
            .all()?
            .iter()
            .any(|other| other.record.parent.as_ref() == Some(id)))
    }

    fn obstacle(
        &self,
        id: &Digest,
        removal: Removal,
        references: References,
    ) -> Result<Option<Obstacle>, ImageError> {
        let user = |state| {
            self.uses
                .iter()
                .find(|by| by.image == id.to_string() && by.state == state)
        };
        let short = |by: &ImageUse| by.container.chars().take(12).collect::<String>();
        if self.has_children(id)? {
            return Ok(Some(Obstacle {
                strength: Strength::Hard,
                by: Holder::Other,
                reason: "image has dependent child images".to_owned(),
            }));
        }
        if let Some(by) = user(UseState::Running) {
            let reason = format!("image is being used by running container {}", short(by));
            return Ok(Some(Obstacle {
                strength: Strength::Hard,
                by: Holder::Container,
                reason,
            }));
        }
        if removal == Removal::Forced {
            return Ok(None);
        }
        if references == References::Count && !self.references(id).is_empty() {
            let reason = "image is referenced in multiple repositories".to_owned();
            return Ok(Some(Obstacle {
                strength: Strength::Soft,
                by: Holder::Other,
                reason,
            }));
        }
        Ok(user(UseState::Stopped).map(|by| Obstacle {
            strength: Strength::Soft,
            by: Holder::Container,
            reason: format!("image is being used by stopped container {}", short(by)),
        }))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quiet {
    Yes,
    No,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum References {
    Count,
    Ignore,
}

impl Obstacle {
    fn into_error(self, id: &Digest) -> ImageError {
        let forcing = if self.strength == Strength::Hard {
            "cannot be forced"
        } else {
            "must be forced"
        };
        ImageError::InUse {
            image: id.short().to_owned(),
            forcing,
            reason: self.reason,
        }
    }
}

/// At most one tag, and all names in one repository.
fn is_single(references: &[Reference]) -> bool {
    let tags = references
        .iter()
        .filter(|reference| reference.digest().is_none())
        .count();
    tags <= 1
        && references
            .windows(2)
            .all(|pair| pair[0].repository() == pair[1].repository())
}
