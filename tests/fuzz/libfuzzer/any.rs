//! The target that `ORTHRUS_FUZZ_TARGET` names, for libFuzzer.
#![no_main]

use std::sync::OnceLock;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    static RUN: OnceLock<fn(&[u8])> = OnceLock::new();
    let run = RUN.get_or_init(|| {
        let name = std::env::var("ORTHRUS_FUZZ_TARGET").unwrap_or_default();
        let target = fuzz::TARGETS.iter().find(|target| target.name == name);
        target.unwrap_or_else(|| panic!("ORTHRUS_FUZZ_TARGET={name} names no target")).run
    });
    run(octets);
});
