//! Servers whose modules of ours were built with the address and undefined-behaviour sanitizers, and what those
//! have to say.
//!
//! `FCGATE_SANITIZED` names the directory with such modules (`make sanitize`); every launcher takes them from there
//! then, but where it runs its server by another program, valgrind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::directory::Directory;

/// The library that has to be loaded before all others: the servers themselves were built without it.
const RUNTIME: &str = "libasan.so";
/// Where the sanitizers write, below the server's own directory: a file for each process.
const REPORTS: &str = "sanitizers";
/// What a line about undefined behaviour has.
const UNDEFINED: &str = ": runtime error: ";

/// The directory with the modules that a server is to load.
pub(crate) fn modules(wrapper: &[String]) -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../build");
    sanitized().filter(|_| wrapper.is_empty()).unwrap_or(built)
}

fn sanitized() -> Option<PathBuf> {
    std::env::var_os("FCGATE_SANITIZED").map(PathBuf::from)
}

/// The words before a server's own that has such modules; none where it has not.
pub(crate) fn words(wrapper: &[String], directory: &Directory) -> Vec<String> {
    if sanitized().is_none() || !wrapper.is_empty() {
        return wrapper.to_vec();
    }
    let output = Command::new("cc").arg(format!("-print-file-name={RUNTIME}")).output().expect("cc runs");
    let runtime = String::from_utf8(output.stdout).expect("a path").trim().to_owned();
    assert!(Path::new(&runtime).is_absolute(), "cc has no {RUNTIME}");
    let reports = directory.join(REPORTS);
    fs::create_dir_all(&reports).expect("a private directory can be written to");
    // Workers write there, too, which run as somebody else.
    fs::set_permissions(&reports, fs::Permissions::from_mode(0o777)).expect("chmod");
    let log = reports.join("report").display().to_string();
    // Servers end without giving back what is theirs; what is lost of ours valgrind tells apart.
    vec![
        "env".into(),
        format!("LD_PRELOAD={runtime}"),
        format!("ASAN_OPTIONS=log_path={log}:detect_leaks=0"),
        format!("UBSAN_OPTIONS=log_path={log}:print_stacktrace=1"),
    ]
}

/// These words, and the program behind them.
pub(crate) fn command(words: Vec<String>, program: PathBuf) -> Command {
    let mut all = words.into_iter().map(PathBuf::from).chain([program]);
    let mut command = Command::new(all.next().expect("there is a program"));
    command.args(all);
    command
}

/// Panics with what the sanitizers have found in a server that has this directory, and that has written this to
/// its logs: servers take their environment away before the second of them has looked into it.
pub(crate) fn assert_clean(directory: &Directory, written: &[String]) {
    let reports = fs::read_dir(directory.join(REPORTS)).into_iter().flatten().flatten();
    let reports = reports.filter_map(|report| fs::read_to_string(report.path()).ok());
    let lines = written.iter().flat_map(|text| text.lines()).filter(|line| line.contains(UNDEFINED));
    let texts: Vec<String> = reports.chain(lines.map(str::to_owned)).collect();
    if !std::thread::panicking() {
        assert!(texts.is_empty(), "the sanitizers say:\n{}", texts.join("\n"));
    } else if !texts.is_empty() {
        eprintln!("the sanitizers say:\n{}", texts.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "the sanitizers say:\nan error")]
    fn a_report_is_a_failure() {
        let directory = Directory::new();
        assert_clean(&directory, &["a line".into()]);
        directory.write("sanitizers/report.1", "an error");
        assert_clean(&directory, &[]);
    }

    #[test]
    #[should_panic(expected = "the sanitizers say:\nx.c:1:2: runtime error: null")]
    fn a_line_in_a_log_is_a_failure() {
        assert_clean(&Directory::new(), &["a line\nx.c:1:2: runtime error: null\n".into()]);
    }
}
