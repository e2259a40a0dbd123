#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fcgate_kit::fuzz::name_value(data));
