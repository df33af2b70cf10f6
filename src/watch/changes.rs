//! The operating system's news about files, gathered until it is quiet.
//!
//! A watched folder is watched with everything below it, and the folder above it too: a file that an editor replaces,
//! or a folder that is made later or made anew, would be lost otherwise.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexSet;
use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long it has to be quiet before a batch is complete, as in docker compose: editors write many files at once.
const QUIET: Duration = Duration::from_millis(500);

/// Files cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("watch `{}`", path.display())]
pub struct ChangesError {
    path: PathBuf,
    source: notify::Error,
}

impl ChangesError {
    /// What can be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        matches!(self.source.kind, notify::ErrorKind::MaxFilesWatch).then_some(
            "the kernel's limit is reached: raise it with `sysctl fs.inotify.max_user_watches=524288`",
        )
    }
}

/// The changes below some files and folders.
#[derive(Debug)]
pub struct Changes {
    watcher: RecommendedWatcher,
    news: mpsc::UnboundedReceiver<notify::Result<Event>>,
    roots: Vec<PathBuf>,
    armed: BTreeSet<PathBuf>,
}

impl Changes {
    /// Watches these files and folders; they need not exist yet.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn below(roots: impl IntoIterator<Item = PathBuf>) -> Result<Self, ChangesError> {
        let (sender, news) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event| drop(sender.send(event)));
        let watcher = watcher.map_err(|source| ChangesError {
            path: PathBuf::from("/"),
            source,
        })?;
        let roots: BTreeSet<PathBuf> = roots.into_iter().collect();
        let mut changes = Self {
            watcher,
            news,
            roots: roots.into_iter().collect(),
            armed: BTreeSet::new(),
        };
        changes.arm()?;
        Ok(changes)
    }

    /// Watches what exists now, and lets go of what was watched before.
    fn arm(&mut self) -> Result<(), ChangesError> {
        for path in std::mem::take(&mut self.armed) {
            // A folder that is gone is not watched any more.
            let _gone = self.watcher.unwatch(&path);
        }
        let trees: Vec<PathBuf> = outermost(self.roots.iter().filter(|root| root.is_dir()));
        let above = self
            .roots
            .iter()
            .filter_map(|root| root.ancestors().skip(1).find(|above| above.is_dir()))
            .filter(|above| !trees.iter().any(|tree| above.starts_with(tree)))
            .map(Path::to_owned);
        let above: BTreeSet<PathBuf> = above.collect();
        let wishes = above
            .into_iter()
            .map(|path| (path, RecursiveMode::NonRecursive))
            .chain(
                trees
                    .iter()
                    .map(|path| (path.clone(), RecursiveMode::Recursive)),
            );
        for (path, mode) in wishes {
            match self.watcher.watch(&path, mode) {
                // What went away since it was looked at comes back with news of its folder.
                Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
                Err(source) => return Err(ChangesError { path, source }),
                Ok(()) => drop(self.armed.insert(path)),
            }
        }
        Ok(())
    }

    /// Waits for changes of wanted paths, and then until it is quiet.
    ///
    /// # Errors
    /// Where files cannot be watched any more.
    pub async fn next(
        &mut self,
        wanted: impl Fn(&Path) -> bool,
    ) -> Result<IndexSet<PathBuf>, ChangesError> {
        let mut paths = IndexSet::new();
        // What nobody wants does not delay what somebody does.
        let mut quiet = Instant::now();
        loop {
            let event = if paths.is_empty() {
                self.news.recv().await
            } else if Instant::now() >= quiet {
                // News that wait already would be taken before the clock is looked at.
                return Ok(paths);
            } else {
                match tokio::time::timeout_at(quiet, self.news.recv()).await {
                    Ok(event) => event,
                    Err(_) => return Ok(paths),
                }
            };
            // The watcher lives as long as we do, and it holds the sender.
            let Some(event) = event else {
                return std::future::pending().await;
            };
            let event = event.map_err(|source| ChangesError {
                path: source.paths.first().cloned().unwrap_or_default(),
                source,
            })?;
            for path in self.paths_of(&event)? {
                if wanted(&path) {
                    paths.insert(path);
                    quiet = Instant::now() + QUIET;
                }
            }
        }
    }

    /// The watcher tells of a new folder before it watches it. It does one thing after the other: an answer from it, to
    /// whatever question, says that the folder is watched now, so that what a look does not find will be told.
    fn catch_up(&mut self, folder: &Path) -> Result<(), ChangesError> {
        let answer = self.watcher.configure(notify::Config::default());
        answer.map(drop).map_err(|source| ChangesError {
            path: folder.to_owned(),
            source,
        })
    }

    /// The paths that an event is about.
    fn paths_of(&mut self, event: &Event) -> Result<Vec<PathBuf>, ChangesError> {
        if event.need_rescan() {
            // News were lost: everything may have changed.
            self.arm()?;
            return Ok(self.roots.iter().flat_map(|root| below(root)).collect());
        }
        let came = match event.kind {
            EventKind::Access(_) => return Ok(Vec::new()),
            EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
            EventKind::Remove(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => {
                false
            }
        };
        let went = matches!(event.kind, EventKind::Remove(_));
        let mut paths = Vec::new();
        for path in &event.paths {
            if (came || went) && self.roots.iter().any(|root| root.starts_with(path)) {
                self.arm()?;
                paths.extend(
                    self.roots
                        .iter()
                        .filter(|root| root.starts_with(path))
                        .flat_map(|root| below(root)),
                );
            }
            // The folder above is watched for the roots themselves only.
            if !self.roots.iter().any(|root| path.starts_with(root)) {
                continue;
            }
            match (path.is_dir(), came) {
                // Files may have been made before the new folder was watched.
                (true, true) => {
                    self.catch_up(path)?;
                    paths.extend(below(path));
                }
                // That a folder's list or mode changed is told by its files.
                (true, false) => {}
                (false, _) => paths.push(path.clone()),
            }
        }
        Ok(paths)
    }
}

/// The folders that are in no other of them.
fn outermost<'a>(folders: impl Iterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    // Sorted, a folder comes before what is in it.
    for folder in folders {
        if !found.iter().any(|outer| folder.starts_with(outer)) {
            found.push(folder.clone());
        }
    }
    found
}

/// A path and everything below it; links are not followed.
pub(super) fn below(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        // What cannot be read, or is gone by now, is not copied either.
        let Ok(metadata) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            open.extend(entries.map(|entry| entry.path()));
        }
        found.push(path);
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;
    use std::fs;

    type Outcome = Result<(), Box<dyn Error>>;

    async fn next(changes: &mut Changes) -> Result<Vec<PathBuf>, Box<dyn Error>> {
        let next = changes.next(|_| true);
        let paths = tokio::time::timeout(Duration::from_secs(30), next).await??;
        Ok(paths.into_iter().collect())
    }

    #[tokio::test]
    async fn what_changes_below_a_folder_comes_as_one_batch() -> Outcome {
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("root");
        fs::create_dir(&root)?;
        let mut changes = Changes::below([root.clone()])?;
        fs::write(root.join("a"), "1")?;
        fs::create_dir_all(root.join("deep/er"))?;
        fs::write(root.join("deep/er/b"), "2")?;
        fs::write(folder.path().join("beside"), "3")?;
        let found = next(&mut changes).await?;
        assert!(found.contains(&root.join("a")), "{found:?}");
        assert!(found.contains(&root.join("deep/er/b")), "{found:?}");
        fs::remove_file(root.join("a"))?;
        assert_eq!(next(&mut changes).await?, [root.join("a")]);
        Ok(())
    }

    #[tokio::test]
    async fn what_is_written_beside_all_the_time_delays_nothing() -> Outcome {
        let folder = tempfile::tempdir()?;
        let (root, beside) = (folder.path().join("root"), folder.path().join("log"));
        fs::create_dir(&root)?;
        let mut changes = Changes::below([root.clone()])?;
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let ended = std::sync::Arc::clone(&stop);
        let noise = std::thread::spawn(move || -> std::io::Result<()> {
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                fs::write(&beside, "x")?;
            }
            Ok(())
        });
        fs::write(root.join("a"), "1")?;
        let found = next(&mut changes).await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        noise.join().map_err(|_| "a panic")??;
        assert_eq!(found?, [root.join("a")]);
        Ok(())
    }

    #[tokio::test]
    async fn a_file_in_a_folder_that_has_just_come_is_not_lost() -> Outcome {
        let folder = tempfile::tempdir()?;
        let mut changes = Changes::below([folder.path().to_owned()])?;
        let mut missing: BTreeSet<PathBuf> = (0..200)
            .map(|number| folder.path().join(format!("{number}/file")))
            .collect();
        let made = missing.clone();
        let making = std::thread::spawn(move || -> std::io::Result<()> {
            for file in &made {
                fs::create_dir_all(file.parent().unwrap_or(file))?;
                fs::write(file, "1")?;
            }
            Ok(())
        });
        while !missing.is_empty() {
            for found in next(&mut changes).await? {
                missing.remove(&found);
            }
        }
        making.join().map_err(|_| "a panic")??;
        Ok(())
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_and_a_folder_that_comes_later_are_seen() -> Outcome {
        let folder = tempfile::tempdir()?;
        let (file, late) = (folder.path().join("file"), folder.path().join("x/late"));
        fs::write(&file, "1")?;
        let mut changes = Changes::below([file.clone(), late.clone()])?;
        for turn in 0..2 {
            fs::write(folder.path().join("new"), format!("{turn}"))?;
            fs::rename(folder.path().join("new"), &file)?;
            let found = next(&mut changes).await?;
            assert!(found.contains(&file), "{found:?}");
        }
        fs::create_dir_all(&late)?;
        fs::write(late.join("inside"), "1")?;
        let mut found = next(&mut changes).await?;
        while !found.contains(&late.join("inside")) {
            found = next(&mut changes).await?;
        }
        fs::write(late.join("again"), "1")?;
        let found = next(&mut changes).await?;
        assert!(found.contains(&late.join("again")), "{found:?}");
        Ok(())
    }
}
