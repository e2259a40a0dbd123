//! `include/fcgate.h`: made from `src/capi`, in step with it, right in four dialects, and telling
//! the same symbols and layouts as the library.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header_path() -> PathBuf {
    root().join("include/fcgate.h")
}

/// cbindgen renders rustdoc as it is; in C, neither the Safety sections (they are for Rust's checks)
/// nor Rust's link brackets say anything.
fn polish(text: &str) -> String {
    let mut out = String::new();
    let mut skipping = false;
    for line in text.lines() {
        let bare = line.trim_start();
        if bare.starts_with("* # Safety") {
            skipping = true;
            while out.ends_with(" *\n") {
                out.truncate(out.len() - 3);
            }
        }
        if skipping && bare.starts_with("*/") {
            skipping = false;
        }
        if !skipping {
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    out.replace("[`fcgate_error::pool`]", "fcgate_error.pool")
        .replace("[`fcgate_error::text`]", "fcgate_error.text")
}

fn generate() -> String {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    let mut builder = cbindgen::Builder::new().with_config(config);
    // In the order in which a reader needs them.
    for noun in [
        "version",
        "error",
        "log",
        "settings",
        "config",
        "gateway",
        "route",
        "status",
        "request",
        "head",
        "info",
        "forward",
        "exchange",
        "event_loop",
    ] {
        builder = builder.with_src(root().join(format!("src/capi/{noun}.rs")));
    }
    let mut text = Vec::new();
    builder.generate().expect("cbindgen").write(&mut text);
    polish(&String::from_utf8(text).expect("UTF-8"))
}

/// The committed header is the generated one; `make header` writes it anew.
#[test]
fn the_header_is_in_step_with_the_sources() {
    let generated = generate();
    if std::env::var_os("FCGATE_WRITE").is_some() {
        std::fs::write(header_path(), &generated).unwrap();
    }
    let committed = std::fs::read_to_string(header_path()).unwrap_or_default();
    assert!(
        committed == generated,
        "include/fcgate.h is not what src/capi says: run `make header` and commit it"
    );
}

/// The header compiles without a warning as C99, C11, C17 and C++11.
#[test]
fn the_header_compiles_in_four_dialects() {
    let directory = fcgate_kit::Directory::new();
    for (compiler, standard, name) in
        [("cc", "c99", "a.c"), ("cc", "c11", "b.c"), ("cc", "c17", "c.c"), ("c++", "c++11", "d.cc")]
    {
        let source = directory.write(name, "#include <fcgate.h>\nint main(void) { return FCGATE_OK; }\n");
        let output = Command::new(compiler)
            .args([
                &format!("-std={standard}"),
                "-pedantic",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-fsyntax-only",
                "-I",
            ])
            .arg(root().join("include"))
            .arg(&source)
            .output()
            .unwrap();
        assert!(output.status.success(), "{standard}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The functions that the header declares are the symbols that the library exports, no more, no
/// fewer.
#[test]
fn the_library_exports_what_the_header_declares() {
    let library = root().join("build/libfcgate.so.0");
    assert!(library.exists(), "{} is not there: run `make` first", library.display());
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(&library).output().unwrap();
    let exported: BTreeSet<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2).map(str::to_owned))
        .collect();
    let declared: BTreeSet<String> = function_names(&std::fs::read_to_string(header_path()).unwrap());
    assert!(declared.len() > 40);
    assert_eq!(exported, declared);
}

/// Names of the functions of the header, which bindgen tells.
fn function_names(_: &str) -> BTreeSet<String> {
    bindings()
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub fn "))
        .map(|rest| rest.split(['(', ' ']).next().unwrap_or_default().to_owned())
        .collect()
}

fn bindings() -> String {
    bindgen::Builder::default()
        .header(header_path().to_str().unwrap())
        .allowlist_item("(fcgate|FCGATE)_.*")
        .generate()
        .expect("bindgen reads the header")
        .to_string()
}

/// The numbers in bindgen's own layout checks: `Size of X`, `Offset of field: X::y`.
fn layouts() -> BTreeMap<String, usize> {
    let text = bindings().replace('\n', " ");
    let mut layouts = BTreeMap::new();
    for check in text.split("[\"").skip(1) {
        let Some((what, rest)) = check.split_once("\"]") else { continue };
        let number =
            rest.split("usize").next().unwrap_or_default().rsplit(['-', ' ']).find(|word| !word.is_empty());
        if let Some(number) = number.and_then(|word| word.parse().ok()) {
            layouts.insert(what.to_owned(), number);
        }
    }
    layouts
}

macro_rules! expect {
    ($expected:ident, $($module:ident :: $name:ident { $($field:ident),* $(,)? })*) => {$(
        $expected.insert(format!("Size of {}", stringify!($name)), size_of::<fcgate::capi::$module::$name>());
        $($expected.insert(
            format!("Offset of field: {}::{}", stringify!($name), stringify!($field)),
            std::mem::offset_of!(fcgate::capi::$module::$name, $field),
        );)*
    )*};
}

/// Every structure of the header has the size and offsets that it has in the library.
#[test]
fn the_layouts_of_header_and_library_agree() {
    let mut expected = BTreeMap::new();
    expect!(expected,
        error::fcgate_error {
            status, sys_errno, phase, http_status, retry_safe, reserved0, elapsed_us, bytes_sent, bytes_received, pool,
            text, reserved,
        }
        settings::fcgate_setting { struct_size, scope, name, default_value, range, help }
        info::fcgate_info {
            struct_size, phase, retries, reused, has_end, app_status, protocol_status, http_status, queue_us, connect_us,
            sent_us, head_us, total_us, bytes_sent, bytes_received, pool,
        }
        forward::fcgate_handler { struct_size, client_fd, body, head, data, flush, complete, error_line, client_gone, last }
        status::fcgate_pool_status {
            struct_size, state, backup, weight, max_connections, reserved, active, idle, waiting, requests, connects,
            reuses, retries, failures, balancer, pool,
        }
        route::fcgate_route_info { struct_size, request_body, flush, reserved, max_body_bytes }
        event_loop::fcgate_loop_hooks { struct_size, reserved, watch, timer, flags, reserved2 }
        event_loop::fcgate_events { struct_size, reserved, head, data, error_line, writable, complete, end, log, room }
    );
    let mut told = layouts();
    told.retain(|what, _| !what.starts_with("Alignment") && !what.contains("_unused") && !is_opaque(what));
    assert_eq!(told, expected);
    assert_eq!(expected["Size of fcgate_error"], 1024);
}

fn is_opaque(what: &str) -> bool {
    ["config", "route", "gateway", "request", "exchange", "head", "loop"]
        .iter()
        .any(|noun| what.ends_with(&format!(" fcgate_{noun}")) || what.contains(&format!(" fcgate_{noun}::")))
}
