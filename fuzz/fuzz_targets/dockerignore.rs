#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| hoist::runtime::build::probe::ignore(text));
