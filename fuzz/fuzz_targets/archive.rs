//! Archives, compressed or not, read to their end within limits.
#![no_main]

use std::io::Read;
use std::path::Component;

use hoist::runtime::archive::{Limits, NoRecorder, TarReader, clean_name, decompress};

const LIMITS: Limits = Limits {
    bytes: 1 << 24,
    entries: 1000,
    name: 4096,
    extension: 1 << 16,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(plain) = decompress(bytes) else { return };
    // A small text can be a very long one compressed: what is read is bounded by the limits.
    let mut recorder = NoRecorder;
    let mut reader = TarReader::new(plain.take(1 << 25), LIMITS, &mut recorder);
    while let Ok(Some(entry)) = reader.next_entry() {
        if let Ok(name) = clean_name(&entry.name, LIMITS.name) {
            let inside = |part| matches!(part, Component::Normal(_));
            assert!(name.components().all(inside), "{name:?}");
        }
        let mut content = Vec::new();
        let _ = reader.by_ref().take(1 << 20).read_to_end(&mut content);
    }
});
