//! The fuzz targets on stable: their corpora replayed, and a short run of made-up input each.

use fcgate_kit::fuzz::TARGETS;
use std::path::Path;

/// Inputs that are made up for each target.
const MADE_UP: u64 = 3_000;

/// F16, A10, X2, H1: every input that was worth keeping still passes.
#[test]
fn the_corpora_pass() {
    for (name, target) in TARGETS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut count = 0;
        for entry in
            std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        {
            target(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} is empty", directory.display());
    }
}

/// F16, A10, X2, H1: a short form of the fuzzing, the same in every run: seeds cut, joined and
/// changed.
#[test]
fn made_up_input_passes() {
    for (name, target) in TARGETS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut paths: Vec<_> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut next = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % limit.max(1) as u64) as usize
        };
        for _ in 0..MADE_UP {
            let mut input = seeds[next(seeds.len())].clone();
            for _ in 0..next(8) {
                let at = next(input.len() + 1);
                match next(4) {
                    0 => input.truncate(at),
                    1 => input.insert(at, next(256) as u8),
                    2 if at < input.len() => input[at] = next(256) as u8,
                    _ => {
                        let other = &seeds[next(seeds.len())];
                        let from = next(other.len() + 1);
                        input.extend_from_slice(&other[from..]);
                    }
                }
            }
            target(&input);
        }
    }
}
