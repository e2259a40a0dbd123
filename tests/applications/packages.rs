//! What the applications need that is in no package of the system, fetched once for a target directory.

// Each test crate uses some of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Held by whoever makes a directory of packages in this process.
static MAKING: Mutex<()> = Mutex::new(());

/// A file of this directory.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/applications").join(name)
}

/// Runs a command to its end, which is to be a good one.
pub fn run(command: &mut Command, package: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error} (Debian: {package})"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a directory that stays for the next run, and that other processes may make at the same time: in a
/// place of this one's own, then where it belongs.
fn set_up(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let _held = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !place.exists() {
        let new = place.with_extension(std::process::id().to_string());
        std::fs::create_dir_all(&new).unwrap();
        make(&new);
        let _ = std::fs::rename(&new, &place);
        let _ = std::fs::remove_dir_all(&new);
    }
    place
}

/// PYTHONPATH of flup.
pub fn flup() -> PathBuf {
    set_up("flup-1.0.3", |place| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target"]);
        run(pip.arg(place).arg("--requirement").arg(source("requirements.txt")), "python3-pip");
    })
}

/// NODE_PATH of node-fastcgi.
pub fn node() -> PathBuf {
    let place = set_up("node-fastcgi-2.0.0", |place| {
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(source(name), place.join(name)).unwrap();
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]);
        run(npm.current_dir(place), "npm");
    });
    place.join("node_modules")
}

/// The environment in which Go compiles a file without a module, and keeps what it has compiled.
pub fn go() -> [(&'static str, PathBuf); 4] {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    [
        ("GO111MODULE", "off".into()),
        ("CGO_ENABLED", "0".into()),
        ("GOCACHE", cache.join("cache")),
        ("GOPATH", cache.join("path")),
    ]
}
