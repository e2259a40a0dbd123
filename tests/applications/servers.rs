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
        let server = match name {
            "apache" => Self::Apache(
                files(Apache::with(Mpm::Event).config(lines), script, |builder, file, text| {
                    builder.file(file, text)
                })
                .start(),
            ),
            "lighttpd" => Self::Lighttpd(
                files(Lighttpd::builder().workers(2).config(lines), script, |builder, file, text| {
                    builder.file(file, text)
                })
                .start(),
            ),
            _ => Self::Nginx(
                files(Nginx::builder().workers(2).server(lines), script, |builder, file, text| {
                    builder.file(file, text)
                })
                .start(),
            ),
        };
        if let Some((file, _)) = script {
            std::fs::set_permissions(
                server.directory().join("root").join(file),
                Permissions::from_mode(0o755),
            )
            .unwrap();
        }
        server
    }

    fn directory(&self) -> &Directory {
        match self {
            Self::Apache(apache) => apache.directory(),
            Self::Lighttpd(lighttpd) => lighttpd.directory(),
            Self::Nginx(nginx) => nginx.directory(),
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

fn files<T>(builder: T, script: Option<Script>, add: fn(T, &str, &str) -> T) -> T {
    match script {
        Some((file, text)) => add(builder, file, text),
        None => builder,
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
