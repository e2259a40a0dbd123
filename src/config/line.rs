//! A pool's line, `ADDRESS name=value … [backup]`: the same in every server.
//!
//! Hosts pass the line as it stands, so that a setting which a newer library knows needs no newer
//! module. Double quotes keep blanks together (`document_root="/srv/my site"`); inside them a
//! backslash takes the next character as it is.

use super::error::ConfigError;

/// One word of a line after the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The setting.
    pub name: String,
    /// Its value; `None` for a bare word, which switches a flag on.
    pub value: Option<String>,
}

/// A line, split but not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The address as written.
    pub address: String,
    /// The settings in their order.
    pub words: Vec<Word>,
}

impl Line {
    /// Splits a line. Its first word is the address, whatever it looks like.
    pub fn split(text: &str) -> Result<Self, ConfigError> {
        let mut words = split_words(text)?.into_iter();
        let Some(address) = words.next() else {
            return Err(ConfigError::new(
                "a pool begins with its address, for example unix:/run/php/fpm.sock or 127.0.0.1:9000",
            ));
        };
        Ok(Self { address, words: words.map(Word::new).collect() })
    }
}

/// `name=value` words alone, without an address before them: `length=500 timeout=5s`.
pub fn split_settings(text: &str) -> Result<Vec<Word>, ConfigError> {
    Ok(split_words(text)?.into_iter().map(Word::new).collect())
}

impl Word {
    fn new(word: String) -> Self {
        match word.split_once('=') {
            Some((name, value)) => Self { name: name.into(), value: Some(value.into()) },
            None => Self { name: word, value: None },
        }
    }
}

fn split_words(text: &str) -> Result<Vec<String>, ConfigError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => match letters.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => break,
            },
            _ if letter.is_ascii_whitespace() && !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    if quoted {
        return Err(ConfigError::new(format!("{}: a double quote is not closed", text.escape_debug())));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word(name: &str, value: Option<&str>) -> Word {
        Word { name: name.into(), value: value.map(Into::into) }
    }

    /// The address comes first; settings and bare words follow.
    #[test]
    fn line_is_split() {
        let line = Line::split("  unix:/run/a=b.sock\tweight=2  max_connections=16 backup ").unwrap();
        assert_eq!(line.address, "unix:/run/a=b.sock");
        let expected = [word("weight", Some("2")), word("max_connections", Some("16")), word("backup", None)];
        assert_eq!(line.words, expected);
    }

    /// Double quotes keep blanks; a backslash inside them keeps the next character; `=` splits once.
    #[test]
    fn quotes_keep_blanks() {
        let line =
            Line::split(r#"a:1 document_root="/srv/my site" "script=/a=\"b\\" index="" c:\d"#).unwrap();
        let expected = [
            word("document_root", Some("/srv/my site")),
            word("script", Some(r#"/a="b\"#)),
            word("index", Some("")),
            word(r"c:\d", None),
        ];
        assert_eq!(line.words, expected);
    }

    /// S10: a line without an address and an open quote are errors that say so.
    #[test]
    fn empty_line_and_open_quote_are_refused() {
        for text in ["", "  \t "] {
            assert!(Line::split(text).unwrap_err().text.contains("begins with its address"));
        }
        for text in ["a:1 index=\"b", "a:1 \"\\", "\""] {
            assert!(Line::split(text).unwrap_err().text.contains("is not closed"), "{text}");
        }
    }

    proptest! {
        /// Any words, quoted, come back as they were.
        #[test]
        fn quoted_words_come_back(words in proptest::collection::vec(".*", 0..5)) {
            let quote = |word: &String| format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\""));
            let text: Vec<String> = words.iter().map(quote).collect();
            prop_assert_eq!(split_words(&text.join(" ")).unwrap(), words);
        }
    }
}
