//! Which names stand in an environment already.

/// Places of the smallest table.
const SMALLEST: usize = 256;
/// Says of a name's place that it is among the names that were never encoded.
const ASIDE: u32 = 1 << 31;

/// A set of names; keeps its memory. Open addressing over hashes, names compared on a match. Names that
/// were encoded are compared where they stand in the encoded bytes, so that none is copied.
#[derive(Debug, Default)]
pub struct NameIndex {
    /// Empty before the first name. 0, or the number of an entry plus one.
    table: Vec<u32>,
    /// Hash, place and length.
    entries: Vec<(u32, u32, u32)>,
    aside: Vec<u8>,
}

impl NameIndex {
    /// Forgets all names.
    pub fn clear(&mut self) {
        self.table.truncate(SMALLEST);
        self.table.fill(0);
        self.entries.clear();
        self.aside.clear();
    }

    /// Notes a name that is not encoded; `false` if it stands there already.
    pub fn insert_aside(&mut self, encoded: &[u8], name: &[u8]) -> bool {
        let Some((hash, at)) = self.find(encoded, name) else { return false };
        let place = self.aside.len() as u32 | ASIDE;
        self.aside.extend_from_slice(name);
        self.put(at, hash, place, name);
        true
    }

    /// Where a name that does not stand there yet belongs: its hash, and its place in the table.
    pub fn find(&mut self, encoded: &[u8], name: &[u8]) -> Option<(u32, usize)> {
        if self.entries.len() * 2 >= self.table.len() {
            self.grow();
        }
        let hash = hash(name);
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(entry) = self.table[at].checked_sub(1) {
            let (other, place, length) = self.entries[entry as usize];
            if other == hash && length as usize == name.len() {
                let (bytes, start) =
                    if place & ASIDE == 0 { (encoded, place) } else { (&self.aside[..], place & !ASIDE) };
                if bytes.get(start as usize..start as usize + name.len()) == Some(name) {
                    return None;
                }
            }
            at = (at + 1) & mask;
        }
        Some((hash, at))
    }

    /// Notes a name that [`find`](Self::find) did not find and that now stands at this place of the
    /// encoded bytes.
    pub fn put(&mut self, at: usize, hash: u32, place: u32, name: &[u8]) {
        self.entries.push((hash, place, name.len() as u32));
        self.table[at] = self.entries.len() as u32;
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(SMALLEST);
        self.table.clear();
        self.table.resize(size, 0);
        for (number, (hash, _, _)) in (1..).zip(&self.entries) {
            let mut at = *hash as usize & (size - 1);
            while self.table[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            self.table[at] = number;
        }
    }
}

/// Of all bytes of a name, eight at a time; the last eight overlap the ones before.
#[inline]
fn hash(name: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut hash = name.len() as u64;
    if let Some(last) = name.last_chunk::<8>() {
        for word in name.as_chunks::<8>().0 {
            hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR).rotate_left(23);
        }
        hash ^= u64::from_le_bytes(*last);
    } else {
        for byte in name {
            hash = hash << 8 ^ u64::from(*byte);
        }
    }
    (hash.wrapping_mul(FACTOR) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// X1: each name once, encoded or aside, also beyond the smallest table and after it is emptied.
    #[test]
    fn each_name_is_taken_once() {
        let mut index = NameIndex::default();
        for _ in 0..2 {
            let mut encoded = Vec::new();
            for number in 0..1000 {
                let name = format!("NAME_{number}");
                if number % 3 == 0 {
                    assert!(index.insert_aside(&encoded, name.as_bytes()));
                } else {
                    let (hash, at) = index.find(&encoded, name.as_bytes()).unwrap();
                    index.put(at, hash, encoded.len() as u32, name.as_bytes());
                    encoded.extend_from_slice(name.as_bytes());
                }
            }
            for number in 0..1000 {
                assert!(index.find(&encoded, format!("NAME_{number}").as_bytes()).is_none());
            }
            assert!(index.find(&encoded, b"NAME_1000").is_some());
            index.clear();
        }
    }

    /// Every byte of a name counts for its hash.
    #[test]
    fn every_byte_counts() {
        for length in 1..40 {
            let name = vec![b'A'; length];
            for at in 0..length {
                let mut other = name.clone();
                other[at] = b'B';
                assert_ne!(hash(&name), hash(&other), "{length} {at}");
            }
        }
    }
}
