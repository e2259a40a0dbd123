//! docs/applications.md: the pieces of configuration that users read are those that the tests load.

/// What the page says of one runtime.
pub struct Section {
    text: String,
}

impl Section {
    pub fn of(runtime: &str) -> Self {
        let page = include_str!("../../docs/applications.md");
        let heading = format!("\n## {runtime}\n");
        let (_, rest) = page.split_once(&heading).unwrap_or_else(|| panic!("no {heading:?} on the page"));
        Self { text: rest.split("\n## ").next().unwrap_or_default().to_owned() }
    }

    /// The runtimes, as they are on the page.
    pub fn runtimes() -> Vec<&'static str> {
        let page = include_str!("../../docs/applications.md");
        page.lines().filter_map(|line| line.strip_prefix("## ")).collect()
    }

    /// The piece for a server, with another socket in place of the one it names.
    pub fn configuration(&self, server: &str, socket: &str) -> String {
        let fence = format!("\n```{server}\n");
        let mut pieces =
            self.text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
        let piece = pieces.next().unwrap_or_else(|| panic!("no piece for {server}:\n{}", self.text));
        assert!(pieces.next().is_none(), "one piece for {server}:\n{}", self.text);
        let (before, rest) = piece.split_once("unix:").expect("a piece names a socket");
        let end = rest.find([' ', '"', ';', '\n']).unwrap_or(rest.len());
        format!("{before}unix:{socket}{}", &rest[end..])
    }
}
