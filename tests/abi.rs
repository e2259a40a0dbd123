//! The binary interface: what a program was compiled against once goes on to work with this library.
//!
//! The header of the last release is kept in packaging/abi. Of it and of today's header stand-in libraries
//! are made, all functions of which do nothing; libabigail compares them. That the library itself is
//! as its header says is tested elsewhere.

use fcgate_kit::{Application, Directory, Reply};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BASELINE: &str = "packaging/abi/fcgate-0.1.0.h";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// A header whose functions have bodies.
fn with_bodies(header: &str) -> String {
    let mut out = String::new();
    let mut in_function = false;
    for line in header.lines() {
        let begins = line.contains("fcgate_")
            && line.contains('(')
            && !line.starts_with([' ', '/', '*', '#', 't', '}']);
        in_function |= begins;
        match line.strip_suffix(");") {
            Some(rest) if in_function => {
                out += &format!("{rest}) {{ __builtin_trap(); }}\n");
                in_function = false;
            }
            _ => out += &format!("{line}\n"),
        }
    }
    out
}

/// A library of nothing but a header's interface.
fn stand_in(directory: &Directory, name: &str, header: &str) -> PathBuf {
    let source = directory.write(format!("{name}.c"), with_bodies(header));
    let library = directory.join(format!("{name}.so"));
    let output = Command::new("cc")
        .args(["-g", "-shared", "-fPIC", "-Wl,-soname,libfcgate.so.0", "-o"])
        .arg(&library)
        .arg(source)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

/// Structures that begin with struct_size: they may grow at their end. libabigail is told to pass over
/// what becomes of them.
const GROWING: [&str; 6] = [
    "fcgate_handler",
    "fcgate_setting",
    "fcgate_info",
    "fcgate_loop_hooks",
    "fcgate_events",
    "fcgate_pool_status",
];

/// The fields of a structure, in order; none where there is no such structure.
fn fields<'a>(header: &'a str, name: &str) -> Vec<&'a str> {
    let Some(end) = header.find(&format!("}} {name};")) else { return Vec::new() };
    let start = header[..end].rfind("typedef struct {").expect("a structure begins");
    let lines = header[start..end].lines().skip(1).map(str::trim);
    let mut in_comment = false;
    lines
        .filter(|line| {
            let was = in_comment;
            in_comment = (in_comment || line.starts_with("/*")) && !line.ends_with("*/");
            !was && !line.starts_with("/*") && !line.is_empty()
        })
        .collect()
}

/// What libabigail says of the way from one interface to another; nothing, if all is well.
fn breaks(old: &str, new: &str) -> Option<String> {
    for name in GROWING {
        if !fields(new, name).starts_with(&fields(old, name)) {
            return Some(format!("{name} has changed, and not only grown"));
        }
    }
    let directory = Directory::new();
    let (old, new) = (stand_in(&directory, "old", old), stand_in(&directory, "new", new));
    let Output { status, stdout, .. } = Command::new("abidiff")
        .args(["--no-added-syms", "--suppressions"])
        .arg(root().join("packaging/abi/growing.abignore"))
        .args([old, new])
        .output()
        .expect("abidiff is there (Debian: abigail-tools)");
    (!status.success()).then(|| String::from_utf8_lossy(&stdout).into_owned())
}

/// The numbers that a header defines, by name.
fn constants(header: &str) -> BTreeMap<&str, &str> {
    let defines = header.lines().filter_map(|line| line.strip_prefix("#define "));
    defines.filter_map(|define| define.split_once(' ')).collect()
}

/// Nothing that a program of the last release uses has gone or changed: no function, no layout, no number.
#[test]
fn the_interface_of_the_last_release_still_holds() {
    let (old, new) = (header(BASELINE), header("include/fcgate.h"));
    assert_eq!(breaks(&old, &new), None);
    let now = constants(&new);
    for (name, number) in constants(&old) {
        assert_eq!(now.get(name), Some(&number), "{name}");
    }
}

/// The check sees what it is there for.
#[test]
fn breaks_are_seen() {
    let old = header(BASELINE);
    let changed = |from: &str, to: &str| {
        assert!(old.contains(from), "{from}");
        breaks(&old, &old.replacen(from, to, 1))
    };
    for (from, to) in [
        ("void fcgate_gateway_free(fcgate_gateway *gateway);", ""),
        (
            "void fcgate_config_free(fcgate_config *config);",
            "void fcgate_config_free(fcgate_config *config, int now);",
        ),
        ("    uint64_t elapsed_us;", "    uint32_t elapsed_us;"),
        ("    uint32_t retries;", "    uint32_t more;\n    uint32_t retries;"),
    ] {
        assert!(changed(from, to).is_some(), "{from} -> {to} was not seen");
    }
    assert_eq!(
        changed("void fcgate_request_free(", "int fcgate_new_one(void);\nvoid fcgate_request_free("),
        None
    );
    let grown = changed(
        "    char pool[FCGATE_ERROR_POOL];\n} fcgate_info;",
        "    char pool[FCGATE_ERROR_POOL];\n    uint64_t more;\n} fcgate_info;",
    );
    assert_eq!(grown, None);
}

/// A program that was compiled with the header of the last release runs with this library.
#[test]
fn a_program_of_the_last_release_runs() {
    let directory = Directory::new();
    directory.write("include/fcgate.h", header(BASELINE));
    let program = directory.join("forward");
    let build = root().join("build");
    let output = Command::new("cc")
        .args(["-std=c11", "-o"])
        .arg(&program)
        .arg(root().join("c_examples/forward.c"))
        .arg("-I")
        .arg(directory.join("include"))
        .arg("-L")
        .arg(&build)
        .arg(format!("-Wl,-rpath,{}", build.display()))
        .arg("-lfcgate")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let application = Application::unix().reply(Reply::page(200, "served")).start();
    let output = Command::new(&program).args([&application.address(), "/x.php"]).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && text.contains("served"), "{text}");
}
