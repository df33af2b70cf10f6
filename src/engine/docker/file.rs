//! Files that travel into a container before its start, as the archive of one upload (behaviours.md B171).

use crate::engine::spec::FileSpec;

/// A tar with files at their absolute paths.
pub(super) fn files_tar(files: &[FileSpec]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(file.content.len()).unwrap_or(0));
        header.set_mode(file.mode);
        header.set_uid(u64::from(file.uid));
        header.set_gid(u64::from(file.gid));
        header.set_entry_type(tar::EntryType::Regular);
        let path = file.path.trim_start_matches('/');
        // Writing to memory fails for no reason but a path that no archive can hold.
        if archive
            .append_data(&mut header, path, file.content.as_slice())
            .is_err()
        {
            tracing::warn!(path, "file name does not fit into an archive");
        }
    }
    archive.into_inner().unwrap_or_default()
}
