//! Gives the shared library its soname and keeps it mapped once loaded.
//!
//! Without a soname a server that loads the library by path can't find it again for its module;
//! `nodelete` is there because httpd and lighttpd unload their modules on a graceful restart
//! while a thread of ours may still be on its way out.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libfcgate.so.0");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
