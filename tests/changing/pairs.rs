//! The configurations before and after that a page shows side by side.

use fcgate_kit::{Application, Client, Request};
use std::collections::BTreeMap;

/// One heading of a page, and the two pieces below it.
pub struct Pair {
    pub heading: String,
    pub before: String,
    pub after: String,
}

/// All pairs of a page, in the language of its server.
pub fn pairs(page: &str, language: &str) -> Vec<Pair> {
    let fence = format!("```{language}\n");
    let sections = page.split("\n### ").skip(1).map(|section| {
        let heading = section.lines().next().unwrap_or_default().to_owned();
        let pieces: Vec<&str> =
            section.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
        let [before, after] = pieces[..] else { panic!("{heading}: {} pieces", pieces.len()) };
        Pair { heading, before: before.to_owned(), after: after.to_owned() }
    });
    sections.collect()
}

/// The applications behind the sockets that a piece names.
pub struct Applications(Vec<Application>);

impl Applications {
    /// Starts one for each socket of /run; gives the piece with their sockets in place of those, and another document
    /// root in place of /srv/www.
    pub fn start(piece: &str, root: &str) -> (Self, String) {
        let is_in_path = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
        let mut text = piece.replace("/srv/www", root);
        let mut all = Vec::new();
        while let Some(at) = text.find("/run/") {
            let rest = &text[at..];
            let name = rest[..rest.find(|letter| !is_in_path(letter)).unwrap_or(rest.len())].to_owned();
            let application = Application::unix().start();
            let address = application.address();
            text = text.replace(&name, address.strip_prefix("unix:").expect("it is on a unix socket"));
            all.push(application);
        }
        assert!(!all.is_empty(), "it names no socket:\n{piece}");
        (Self(all), text)
    }

    fn requests(&self) -> usize {
        self.0.iter().map(|application| application.requests().len()).sum()
    }
}

/// What has to be the same before and after.
const NAMES: [&str; 8] = [
    "REQUEST_METHOD",
    "REQUEST_URI",
    "QUERY_STRING",
    "SCRIPT_NAME",
    "SCRIPT_FILENAME",
    "PATH_INFO",
    "DOCUMENT_ROOT",
    "APP_ENV",
];

/// The answers to one table of requests: status, and what an application was told of it, if it was asked.
/// `root` is where the server has its files.
pub fn answers(client: &mut Client, applications: &Applications, root: &str) -> Vec<String> {
    let requests = [
        Request::get("/x.php?a=b%20c"),
        Request::get("/x.php/some%20info?q"),
        Request::post("/x.php", "a body"),
        Request::get("/missing.php"),
        Request::get("/app"),
        Request::get("/app/deep?q"),
        Request::get("/robots.txt"),
    ];
    let mut asked = 0;
    let told = requests.iter().map(|request| {
        let before: Vec<usize> =
            applications.0.iter().map(|application| application.requests().len()).collect();
        let status = client.send(request).status;
        let new = applications
            .0
            .iter()
            .zip(before)
            .find_map(|(application, before)| application.requests().get(before).cloned());
        asked += usize::from(new.is_some());
        let params = new.map(|request| {
            let value = |name: &&str| request.param(name).unwrap_or_default().replace(root, "{root}");
            let values = NAMES.iter().map(|name| (*name, value(name)));
            // Of a program that is no script it means nothing.
            let values = values.filter(|(name, value)| *name != "SCRIPT_FILENAME" || value.ends_with(".php"));
            (values.collect::<BTreeMap<&str, String>>(), request.stdin.len())
        });
        format!("{status} {params:?}")
    });
    let told = told.collect();
    assert!(asked >= 2 && asked == applications.requests(), "{told:#?}");
    told
}
