//! The tight loops in C that single steps are measured beside.

fn main() {
    println!("cargo::rerun-if-changed=src/tight.c");
    cc::Build::new().file("src/tight.c").opt_level(3).warnings_into_errors(true).compile("tight");
}
