//! A server under valgrind, and what valgrind says of fcgate's own parts of it.

use std::fs;

use crate::directory::Directory;

/// What valgrind found in one process.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    /// Errors and blocks definitely lost with a frame of ours, as it tells them.
    ours: Vec<String>,
    /// Whether the process ended by itself.
    is_finished: bool,
}

/// The texts between tags of this name.
fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let texts: Vec<&str> =
        xml.split(&open[..]).skip(1).filter_map(|rest| rest.split(&close[..]).next()).collect();
    texts.into_iter()
}

fn findings(xml: &str) -> Findings {
    let is_ours = |error: &&str| elements(error, "obj").any(|object| object.contains("fcgate"));
    let ours = elements(xml, "error").filter(is_ours).map(str::to_owned).collect();
    Findings { ours, is_finished: elements(xml, "state").any(|state| state == "FINISHED") }
}

/// valgrind's reports, one file for each process.
#[derive(Debug, Default)]
pub struct Valgrind {
    logs: Directory,
}

impl Valgrind {
    /// The words to run a server with. valgrind tells objects in XML only, and of modules that were
    /// unloaded only where it is to keep them.
    pub fn words(&self) -> Vec<String> {
        let words = [
            "valgrind",
            "--leak-check=full",
            "--show-leak-kinds=definite",
            "--errors-for-leak-kinds=none",
            "--trace-children=yes",
            "--child-silent-after-fork=no",
            "--keep-debuginfo=yes",
            "--num-callers=40",
            "--xml=yes",
        ];
        let log = format!("--xml-file={}", self.logs.join("valgrind.%p").display());
        words.into_iter().map(str::to_owned).chain([log]).collect()
    }

    /// How many processes have ended by themselves.
    ///
    /// Panics if anything of ours was wrong in any of them.
    pub fn assert_clean(&self) -> usize {
        let mut finished = 0;
        for log in fs::read_dir(self.logs.path()).expect("a private directory can be read") {
            let path = log.expect("a private directory can be read").path();
            let found = findings(&fs::read_to_string(&path).expect("valgrind writes text"));
            assert!(found.ours.is_empty(), "{}: {}", path.display(), found.ours.join("\n"));
            finished += usize::from(found.is_finished);
        }
        finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors of fcgate's own are told from those of others.
    #[test]
    fn valgrinds_findings_are_read() {
        let error = |object| {
            format!(
                "<error><kind>InvalidRead</kind><stack><frame><obj>{object}</obj></frame></stack></error>"
            )
        };
        let xml = error("/x/libfcgate.so.0")
            + &error("/usr/lib/libapr-1.so.0")
            + "<status><state>FINISHED</state></status>";
        let findings = findings(&xml);
        assert!(findings.is_finished);
        assert_eq!(findings.ours.len(), 1);
    }
}
