//! Manifests, indexes, configs and names of images.
#![no_main]

use hoist::runtime::image::{ConfigFile, Document, Platform, Reference};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(Document::Index(index)) = Document::parse(bytes) {
        let chosen = index.select(&Platform::this_machine());
        assert!(chosen.is_none() || !index.manifests.is_empty());
    }
    let _ = ConfigFile::parse(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = Platform::parse(text);
    if let Ok(reference) = Reference::parse(text) {
        let again = Reference::parse(&reference.to_string());
        assert_eq!(again.ok(), Some(reference));
    }
});
