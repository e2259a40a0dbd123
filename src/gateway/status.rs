//! What a process knows of its pools: as values, and as text that a server's status page shows.

use crate::drive::Engine;
use crate::os::clock;
use std::fmt::{self, Display, Write};

/// How a pool does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// It answers.
    Up = 1,
    /// It failed a moment ago; other pools come first.
    Suspect = 2,
    /// It failed for longer than the restart window; one request at a time tries it.
    Down = 3,
    /// It takes no new clients.
    Draining = 4,
    /// A place for an address that its name does not have.
    Absent = 5,
}

impl State {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Draining => "draining",
            Self::Absent => "absent",
        }
    }
}

/// What is known of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolStatus {
    /// Its balancer's name.
    pub balancer: String,
    /// Its address.
    pub address: String,
    /// How it does.
    pub state: State,
    /// Only asked while no other can be reached.
    pub backup: bool,
    /// Its share.
    pub weight: u32,
    /// The most connections; 0 is no limit.
    pub max_connections: u32,
    /// Requests under way in it.
    pub active: u64,
    /// Kept connections that wait for one.
    pub idle: u64,
    /// Requests that wait for a connection.
    pub waiting: u64,
    /// Requests sent to it.
    pub requests: u64,
    /// Connections made.
    pub connects: u64,
    /// Requests that got a kept connection.
    pub reuses: u64,
    /// Attempts that were repeated.
    pub retries: u64,
    /// Requests that failed.
    pub failures: u64,
}

/// The pool at a place among all of an engine's, from 0.
pub fn pool(engine: &Engine, index: usize) -> Option<PoolStatus> {
    let pool = engine.pools().get(index)?;
    let name = pool.address().to_string();
    let address = match pool.target().map(|target| target.to_string()) {
        Some(target) if target != name => format!("{name} ({target})"),
        _ => name,
    };
    let now = clock::milliseconds(clock::now());
    let state = match pool.health() {
        health if health.is_absent() => State::Absent,
        health if health.is_draining() => State::Draining,
        health if health.is_up() => State::Up,
        health if health.is_down(now) => State::Down,
        _ => State::Suspect,
    };
    let (settings, counters) = (pool.settings(), pool.counters());
    // Read before what it is taken from, so that it is never more.
    let ended = counters.ended.get();
    let requests = counters.requests.get();
    Some(PoolStatus {
        balancer: engine.balancer_name(engine.balancer_of(index)).to_owned(),
        address,
        state,
        backup: settings.backup,
        weight: settings.weight,
        max_connections: settings.max_connections,
        active: requests.saturating_sub(ended),
        idle: pool.idle() as u64,
        waiting: pool.waiting() as u64,
        requests,
        connects: counters.connects.get(),
        reuses: counters.reuses.get(),
        retries: counters.retries.get(),
        failures: counters.failures.get(),
    })
}

/// How a status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Format {
    /// A page for a person.
    Html = 1,
    /// An object for a program.
    Json = 2,
    /// Metrics in the text format of Prometheus.
    Prometheus = 3,
}

/// The numbers of a pool, by their names: those that only grow first.
fn numbers(pool: &PoolStatus) -> [(&'static str, &'static str, u64); 11] {
    [
        ("requests", "Requests sent to the pool.", pool.requests),
        ("connects", "Connections made.", pool.connects),
        ("reuses", "Requests that got a kept connection.", pool.reuses),
        ("retries", "Attempts that were repeated.", pool.retries),
        ("failures", "Requests that failed.", pool.failures),
        ("active", "Requests under way.", pool.active),
        ("idle", "Kept connections that wait for a request.", pool.idle),
        ("waiting", "Requests that wait for a connection.", pool.waiting),
        ("max_connections", "The most connections; 0 is no limit.", pool.max_connections.into()),
        ("weight", "Its share of the requests.", pool.weight.into()),
        ("up", "1 while the pool is taken to be up.", u64::from(pool.state == State::Up)),
    ]
}

/// How many of them only grow.
const GROWING: usize = 5;

/// What an engine knows, as text.
pub fn text(engine: &Engine, format: Format) -> String {
    let all = (0..engine.pools().len()).filter_map(|index| pool(engine, index));
    let pools: Vec<PoolStatus> = all.filter(|pool| pool.state != State::Absent).collect();
    let mut out = String::new();
    // Writing to a string can't fail.
    let _ = match format {
        Format::Html => html(&mut out, &pools),
        Format::Json => json(&mut out, &pools),
        Format::Prometheus => prometheus(&mut out, &pools),
    };
    out
}

/// Writes a text with some letters replaced.
struct Escaped<'a>(&'a str, fn(char) -> Option<&'static str>);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match (self.1)(letter) {
                Some(other) => f.write_str(other)?,
                None if letter.is_control() => write!(f, "?")?,
                None => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

fn in_html(letter: char) -> Option<&'static str> {
    Some(match letter {
        '<' => "&lt;",
        '>' => "&gt;",
        '&' => "&amp;",
        '"' => "&quot;",
        _ => return None,
    })
}

/// For JSON and for Prometheus alike.
fn in_quotes(letter: char) -> Option<&'static str> {
    Some(match letter {
        '"' => "\\\"",
        '\\' => "\\\\",
        _ => return None,
    })
}

fn html(out: &mut String, pools: &[PoolStatus]) -> fmt::Result {
    let process = std::process::id();
    writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>fcgate</title>\n\
         <style>body{{font-family:sans-serif}}td,th{{padding:.2em .7em;text-align:right}}\
         td:nth-child(-n+3),th:nth-child(-n+3){{text-align:left}}tr.down{{background:#fcc}}\
         tr.suspect{{background:#ffc}}</style></head>\n<body><h1>fcgate {}</h1>\n\
         <p>Process {process}. The numbers are this process's own. Also as <a href=\"?json\">JSON</a> and for \
         <a href=\"?prometheus\">Prometheus</a>.</p>\n<table>",
        env!("CARGO_PKG_VERSION")
    )?;
    for (at, pool) in pools.iter().enumerate() {
        let numbers = &numbers(pool)[..10];
        if at == 0 {
            write!(out, "<tr><th>balancer</th><th>pool</th><th>state</th>")?;
            numbers.iter().try_for_each(|(name, help, _)| {
                write!(out, "<th title=\"{help}\">{}</th>", name.replace('_', " "))
            })?;
            writeln!(out, "</tr>")?;
        }
        let (balancer, address) = (Escaped(&pool.balancer, in_html), Escaped(&pool.address, in_html));
        let backup = if pool.backup { " (backup)" } else { "" };
        let state = pool.state.name();
        write!(out, "<tr class=\"{state}\"><td>{balancer}</td><td>{address}{backup}</td><td>{state}</td>")?;
        numbers.iter().try_for_each(|(_, _, number)| write!(out, "<td>{number}</td>"))?;
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table></body></html>")
}

fn json(out: &mut String, pools: &[PoolStatus]) -> fmt::Result {
    let (version, process) = (env!("CARGO_PKG_VERSION"), std::process::id());
    write!(out, "{{\"version\":\"{version}\",\"process\":{process},\"pools\":[")?;
    for (at, pool) in pools.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let (balancer, address) = (Escaped(&pool.balancer, in_quotes), Escaped(&pool.address, in_quotes));
        let (state, backup) = (pool.state.name(), pool.backup);
        write!(
            out,
            "{comma}\n{{\"balancer\":\"{balancer}\",\"pool\":\"{address}\",\"state\":\"{state}\",\"backup\":{backup}"
        )?;
        for (name, _, number) in &numbers(pool)[..10] {
            write!(out, ",\"{name}\":{number}")?;
        }
        write!(out, "}}")?;
    }
    writeln!(out, "\n]}}")
}

fn prometheus(out: &mut String, pools: &[PoolStatus]) -> fmt::Result {
    let all: Vec<_> = pools.iter().map(numbers).collect();
    for at in 0..all.first().map_or(0, |numbers| numbers.len()) {
        let (kind, end) = if at < GROWING { ("counter", "_total") } else { ("gauge", "") };
        let (name, help, _) = all[0][at];
        writeln!(out, "# HELP fcgate_pool_{name}{end} {help}\n# TYPE fcgate_pool_{name}{end} {kind}")?;
        for (pool, numbers) in pools.iter().zip(&all) {
            let (balancer, address) = (Escaped(&pool.balancer, in_quotes), Escaped(&pool.address, in_quotes));
            let number = numbers[at].2;
            writeln!(out, "fcgate_pool_{name}{end}{{balancer=\"{balancer}\",pool=\"{address}\"}} {number}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::sync::Arc;

    fn engine() -> Engine {
        let mut config = Config::new();
        let php = config.balancer("php").unwrap();
        config.pool(php, "unix:/run/a\\b<c>.sock weight=2 max_connections=4").unwrap();
        config.pool(php, "10.0.0.9:9000 backup").unwrap();
        config.balancer_line("other", "unix:/run/c.sock").unwrap();
        Engine::new(Arc::new(config.freeze().unwrap())).unwrap()
    }

    /// Each pool has its balancer's name, its own numbers, and its state.
    #[test]
    fn pools_tell_what_they_did() {
        let engine = engine();
        let second = engine.pool(0, 1);
        second.counters().requests.add(5);
        second.counters().ended.add(3);
        second.health().on_failure(clock::milliseconds(clock::now()));
        let status = pool(&engine, 1).unwrap();
        assert_eq!((status.balancer.as_str(), status.address.as_str()), ("php", "10.0.0.9:9000"));
        assert_eq!((status.requests, status.active, status.backup), (5, 2, true));
        assert_eq!(status.state, State::Suspect);
        let status = pool(&engine, 2).unwrap();
        assert_eq!((status.balancer.as_str(), status.state, status.requests), ("other", State::Up, 0));
        assert!(pool(&engine, 3).is_none());
    }

    /// The three texts have every pool, and no name breaks them.
    #[test]
    fn texts_are_well_formed() {
        let engine = engine();
        let page = text(&engine, Format::Html);
        assert_eq!(page.matches("<tr").count(), 4);
        assert!(page.contains("unix:/run/a\\b&lt;c&gt;.sock") && page.contains("(backup)"));
        let json = text(&engine, Format::Json);
        assert!(json.contains("\"pool\":\"unix:/run/a\\\\b<c>.sock\""), "{json}");
        assert_eq!(json.matches("\"balancer\"").count(), 3);
        assert_eq!(json.matches('{').count(), json.matches('}').count());
        let metrics = text(&engine, Format::Prometheus);
        assert!(metrics.contains("# TYPE fcgate_pool_requests_total counter\n"));
        assert!(metrics.contains("fcgate_pool_up{balancer=\"other\",pool=\"unix:/run/c.sock\"} 1\n"));
        assert_eq!(metrics.lines().filter(|line| !line.starts_with('#')).count(), 3 * 11);
    }
}
