//! A few random bits: the seed of backoff jitter, the names of spool files.
//!
//! Nothing secret is made of them, so a kernel without enough entropy (early boot) is no error.
#![allow(unsafe_code)]

use super::clock;

/// Sixty-four random bits from the kernel, or bits mixed from the clock where it has none to give.
pub fn bits() -> u64 {
    let mut bytes = [0u8; 8];
    if fill(&mut bytes) {
        return u64::from_ne_bytes(bytes);
    }
    let time = clock::now();
    mix(time.as_secs().rotate_left(32) ^ u64::from(time.subsec_nanos()) ^ u64::from(std::process::id()))
}

/// Spreads the bits of a number over all sixty-four (the finalizer of splitmix64): a cheap sequence
/// of well-spread numbers from a seed and a counter.
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(target_os = "linux")]
fn fill(bytes: &mut [u8; 8]) -> bool {
    // SAFETY: the pointer and length describe `bytes`, which outlives the call.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_NONBLOCK) };
    got == bytes.len() as isize
}

#[cfg(not(target_os = "linux"))]
fn fill(bytes: &mut [u8; 8]) -> bool {
    // SAFETY: the pointer and length describe `bytes`, which outlives the call.
    unsafe { libc::getentropy(bytes.as_mut_ptr().cast(), bytes.len()) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F1: two gateways that start at once do not get one jitter.
    #[test]
    fn bits_differ_from_call_to_call() {
        assert_ne!(bits(), bits());
    }

    /// F1: neighbouring counters give jitters that have nothing in common.
    #[test]
    fn mix_spreads_neighbours() {
        for number in 0..1000 {
            let differing = (mix(number) ^ mix(number + 1)).count_ones();
            assert!((8..=56).contains(&differing), "{number}: {differing}");
        }
    }
}
