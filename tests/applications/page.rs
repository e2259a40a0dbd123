//! docs/applications.md: what users read there is what the tests run and load.

const PAGE: &str = include_str!("../../docs/applications.md");

/// What the page says of one runtime.
pub struct Section {
    text: String,
}

impl Section {
    pub fn of(runtime: &str) -> Self {
        let heading = format!("\n## {runtime}\n");
        let (_, rest) = PAGE.split_once(&heading).unwrap_or_else(|| panic!("no {heading:?} on the page"));
        Self { text: rest.split("\n## ").next().unwrap_or_default().to_owned() }
    }

    /// The same with other words, each of which is to be there.
    pub fn with(self, words: &[(&str, &str)]) -> Self {
        let change = |text: String, (from, to): &(&str, &str)| {
            assert!(text.contains(from), "no {from} in\n{text}");
            text.replace(from, to)
        };
        Self { text: words.iter().fold(self.text, change) }
    }

    /// The runtimes, as they are on the page.
    pub fn runtimes() -> Vec<&'static str> {
        PAGE.lines().filter_map(|line| line.strip_prefix("## ")).collect()
    }

    /// The one piece in a language, with another socket in place of the one that it names.
    fn piece(&self, language: &str, socket: &str) -> String {
        let fence = format!("\n```{language}\n");
        let mut pieces =
            self.text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
        let piece = pieces.next().unwrap_or_else(|| panic!("nothing in {language}:\n{}", self.text));
        assert!(pieces.next().is_none(), "one piece in {language}:\n{}", self.text);
        let is_in_path = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
        match piece.split_once("/run/") {
            Some((before, rest)) => {
                let end = rest.find(|letter| !is_in_path(letter)).unwrap_or(rest.len());
                format!("{before}{socket}{}", &rest[end..])
            }
            None => piece.to_owned(),
        }
    }

    /// The lines that start it.
    pub fn start(&self, socket: &str) -> String {
        self.piece("sh", socket)
    }

    /// The configuration of a server.
    pub fn configuration(&self, server: &str, socket: &str) -> String {
        self.piece(server, socket)
    }
}
