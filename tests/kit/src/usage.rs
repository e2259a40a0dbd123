//! What processes take of the system, as /proc tells it.

use std::fs;
use std::path::PathBuf;

/// Bytes of memory that these processes take together, files aside, of which others may have a share or not; what
/// they share counts once.
pub fn memory(processes: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss_Anon:"));
        line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    processes.iter().map(of).sum()
}

/// What the descriptors of these processes lead to.
pub fn descriptors(processes: &[u32]) -> Vec<PathBuf> {
    let listed = |pid: &u32| fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    processes.iter().flat_map(listed).filter_map(|entry| fs::read_link(entry.path()).ok()).collect()
}

/// How often these processes have written, and how many bytes; what they sent by `send` is not counted.
pub fn writes(processes: &[u32]) -> (u64, u64) {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        (number("syscw:"), number("wchar:"))
    };
    processes.iter().map(of).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// The processes that these have started, and they themselves, first.
pub fn with_children(process: u32) -> Vec<u32> {
    let mut all = vec![process];
    let mut next = 0;
    while let Some(pid) = all.get(next) {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let children: Vec<u32> = threads
            .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
            .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        all.extend(children);
        next += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_takes_something() {
        let own = [std::process::id()];
        assert!(memory(&own) > 100_000);
        let before = writes(&own);
        let directory = crate::Directory::new();
        let path = directory.write("file", [0; 5000]);
        let _open = fs::File::open(&path).unwrap();
        assert!(descriptors(&own).contains(&path));
        let after = writes(&own);
        assert!(after.0 > before.0 && after.1 >= before.1 + 5000);
        assert_eq!(with_children(own[0])[0], own[0]);
    }
}
