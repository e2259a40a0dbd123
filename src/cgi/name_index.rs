//! Which names stand in an environment already.

/// Places of the smallest table.
const SMALLEST: usize = 256;

/// A set of names; keeps its memory. Open addressing over hashes, names compared on a match.
#[derive(Debug)]
pub struct NameIndex {
    /// 0, or the number of an entry plus one.
    table: Vec<u32>,
    entries: Vec<(u32, u32, u32)>,
    names: Vec<u8>,
}

impl Default for NameIndex {
    fn default() -> Self {
        Self { table: vec![0; SMALLEST], entries: Vec::new(), names: Vec::new() }
    }
}

impl NameIndex {
    /// Forgets all names.
    pub fn clear(&mut self) {
        self.table.truncate(SMALLEST);
        self.table.fill(0);
        self.entries.clear();
        self.names.clear();
    }

    /// Notes a name; `false` if it stands there already.
    pub fn insert(&mut self, name: &[u8]) -> bool {
        if self.entries.len() * 2 >= self.table.len() {
            self.grow();
        }
        let hash = hash(name);
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(entry) = self.table[at].checked_sub(1) {
            let (other, start, end) = self.entries[entry as usize];
            if other == hash && self.names[start as usize..end as usize] == *name {
                return false;
            }
            at = (at + 1) & mask;
        }
        let start = self.names.len() as u32;
        self.names.extend_from_slice(name);
        self.entries.push((hash, start, self.names.len() as u32));
        self.table[at] = self.entries.len() as u32;
        true
    }

    fn grow(&mut self) {
        let size = self.table.len() * 2;
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

/// FNV-1a.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// X1: each name once, also beyond the smallest table and after it is emptied.
    #[test]
    fn each_name_is_taken_once() {
        let mut index = NameIndex::default();
        for _ in 0..2 {
            for number in 0..1000 {
                assert!(index.insert(format!("NAME_{number}").as_bytes()));
            }
            for number in 0..1000 {
                assert!(!index.insert(format!("NAME_{number}").as_bytes()));
            }
            index.clear();
        }
    }
}
