//! A fuzzer of one kind of input, which its name says: what a reader says of the bytes counts as no finding, a panic does.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = tair_backup_mcp_fuzz::targets::read(env!("CARGO_BIN_NAME"), bytes);
});
