//! The three servers, each with what the page says.

use super::page::Section;
use fcgate_kit::{Apache, Client, Directory, Lighttpd, Mpm, Nginx};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A script of the document root.
pub type Script = (&'static str, &'static str);

pub enum Server {
    Apache(Apache),
    Lighttpd(Lighttpd),
    Nginx(Nginx),
}

impl Server {
    pub const NAMES: [&str; 3] = ["apache", "lighttpd", "nginx"];

    /// Each has two processes that serve: the page's limits are for that.
    pub fn start(name: &str, section: &Section, socket: &Path, script: Option<Script>) -> Self {
        let lines = section.configuration(name, socket.to_str().expect("a path of ours is UTF-8"));
        match name {
            "apache" => {
                // It starts no more than these two, however late their threads are.
                let builder =
                    Apache::with(Mpm::Event).config("ServerLimit 2\nMaxRequestWorkers 64").config(lines);
                put(script, builder.directory());
                Self::Apache(builder.start())
            }
            "lighttpd" => {
                let builder = Lighttpd::builder().workers(2).config(lines);
                put(script, builder.directory());
                Self::Lighttpd(builder.start())
            }
            _ => {
                let builder = Nginx::builder().workers(2).server(lines);
                put(script, builder.directory());
                Self::Nginx(builder.start())
            }
        }
    }

    /// A client that takes an answer from no other server.
    pub fn client(&self) -> Client {
        match self {
            Self::Apache(apache) => apache.client(),
            Self::Lighttpd(lighttpd) => lighttpd.client(),
            Self::Nginx(nginx) => nginx.client(),
        }
    }

    pub fn log(&self) -> String {
        match self {
            Self::Apache(apache) => apache.log(),
            Self::Lighttpd(lighttpd) => lighttpd.log(),
            Self::Nginx(nginx) => nginx.log(),
        }
    }

    pub fn wait_for_log(&self, words: &[&str]) -> String {
        match self {
            Self::Apache(apache) => apache.wait_for_log(words),
            Self::Lighttpd(lighttpd) => lighttpd.wait_for_log(words),
            Self::Nginx(nginx) => nginx.wait_for_log(words),
        }
    }
}

/// Writes it into the document root, as a program.
fn put(script: Option<Script>, directory: &Directory) {
    if let Some((name, text)) = script {
        let file = directory.write(format!("root/{name}"), text);
        std::fs::set_permissions(file, Permissions::from_mode(0o755)).unwrap();
    }
}

impl Drop for Server {
    /// What a failure is about stands in the log.
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log());
        }
    }
}
