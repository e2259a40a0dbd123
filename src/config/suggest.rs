//! The name that was meant: what an unknown name is most like.
//!
//! A misspelt setting that is passed over in silence is found at the worst time, so unknown names are
//! errors, and an error that names the right one saves a look into the docs.

/// What other servers call a setting of ours.
const FOREIGN: &[(&str, &str)] = &[
    ("client_max_body_size", "max_body_bytes"),
    ("check_local", "script_exists"),
    ("docroot", "document_root"),
    ("keepalive", "max_idle"),
    ("keepalive_requests", "max_requests"),
    ("keepalive_time", "max_age"),
    ("keepalive_timeout", "idle_timeout"),
    ("loadfactor", "weight"),
    ("max_conns", "max_connections"),
    ("maxconn", "max_connections"),
    ("request_buffering", "request_body"),
    ("timeout", "head_timeout"),
    ("ttl", "idle_timeout"),
];

/// The candidate that an unknown word most likely means, if one is like it at all.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word = normalized(word);
    let foreign = FOREIGN.iter().find(|(foreign, _)| normalized(foreign) == word);
    if let Some((_, ours)) = foreign
        && let Some(candidate) = candidates.iter().find(|candidate| *candidate == ours)
    {
        return Some(candidate);
    }
    // One slip in three letters: more is another word.
    let bound = (word.len() / 3).max(1);
    candidates
        .iter()
        .map(|candidate| (distance(&word, &normalized(candidate)), *candidate))
        .filter(|(distance, candidate)| *distance <= bound && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The letters and digits alone, in lower case: `MaxConnections`, `max-connections` and
/// `max_connections` are one word.
fn normalized(word: &str) -> Vec<u8> {
    // Longer than any name of ours: how much longer no longer matters.
    const LONGEST: usize = 64;
    let kept = word.bytes().filter(|byte| !b"_- ".contains(byte));
    kept.take(LONGEST).map(|byte| byte.to_ascii_lowercase()).collect()
}

/// Letters added, left out, changed, or two neighbours swapped, to get from one word to the other.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut before = vec![0; to.len() + 1];
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let changed = above[column] + usize::from(letter != other);
            let mut least = changed.min(above[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && from[row - 1] == *other && to[column - 1] == *letter;
            if swapped {
                least = least.min(before[column - 1] + 1);
            }
            current.push(least);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["weight", "max_connections", "max_idle", "max_age", "idle_timeout", "script"];

    /// S10: slips, other punctuation and other servers' words lead to the setting that was meant.
    #[test]
    fn nearest_name_is_found() {
        for (word, meant) in [
            ("max_conections", "max_connections"),
            ("MaxConnections", "max_connections"),
            ("max-connections", "max_connections"),
            ("wieght", "weight"),
            ("weigth", "weight"),
            ("sript", "script"),
            ("max_conns", "max_connections"),
            ("loadfactor", "weight"),
            ("maxage", "max_age"),
        ] {
            assert_eq!(nearest(word, NAMES), Some(meant), "{word}");
        }
    }

    /// S10: a word that is like none gets no suggestion.
    #[test]
    fn nothing_is_suggested_for_another_word() {
        for word in ["", "x", "colour", "unix:/run/php.sock", &"a".repeat(10_000)] {
            assert_eq!(nearest(word, NAMES), None, "{word}");
        }
        assert_eq!(nearest("loadfactor", &["php"]), None, "a foreign word whose setting is no candidate");
    }

    /// The distance counts slips, a swap of neighbours as one.
    #[test]
    fn distances() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abd", 1),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(from.as_bytes(), to.as_bytes()), expected, "{from} {to}");
        }
    }
}
