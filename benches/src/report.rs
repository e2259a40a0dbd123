//! What was measured: on the screen, as JSON, as a page of the docs.

use serde::Serialize;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// One line of the results.
#[derive(Clone, Debug, Serialize)]
pub struct Result {
    /// The goal's mark.
    pub mark: &'static str,
    /// What was measured.
    pub name: String,
    /// Of the two numbers.
    pub unit: &'static str,
    /// Median of the rounds.
    pub fcgate: f64,
    /// Median of the rounds; nothing where there is no peer.
    pub peer: Option<f64>,
    /// Median of the rounds' own ratios; without a peer the number itself.
    pub ratio: f64,
    /// What it should be at most.
    pub goal: f64,
    /// Ratios of all rounds.
    pub rounds: Vec<f64>,
    /// Requests that failed meanwhile.
    pub failed: u64,
}

/// The middle of some numbers.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Result {
    /// Of rounds in which both were measured, one after the other.
    pub fn compared(
        mark: &'static str,
        name: &str,
        unit: &'static str,
        goal: f64,
        rounds: &[(f64, f64)],
    ) -> Self {
        let of = |take: fn(&(f64, f64)) -> f64| median(&rounds.iter().map(take).collect::<Vec<_>>());
        let ratios: Vec<f64> = rounds.iter().map(|(fcgate, peer)| fcgate / peer).collect();
        Self {
            mark,
            name: name.into(),
            unit,
            fcgate: of(|round| round.0),
            peer: Some(of(|round| round.1)),
            ratio: median(&ratios),
            goal,
            rounds: ratios,
            failed: 0,
        }
    }

    /// Of a number that has a goal of its own.
    pub fn alone(mark: &'static str, name: &str, unit: &'static str, goal: f64, number: f64) -> Self {
        Self {
            mark,
            name: name.into(),
            unit,
            fcgate: number,
            peer: None,
            ratio: number,
            goal,
            rounds: vec![number],
            failed: 0,
        }
    }

    fn verdict(&self) -> &'static str {
        match () {
            () if self.failed > 0 => "requests failed",
            () if self.ratio <= self.goal => "at goal",
            () => "short of it",
        }
    }
}

fn number(number: f64) -> String {
    match number.abs() {
        size if size >= 1000.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

fn table(results: &[Result]) -> String {
    let mut text = String::from(
        "| mark | what | unit | fcgate | peer | ratio | goal | |\n|---|---|---|---|---|---|---|---|\n",
    );
    for result in results {
        let peer = result.peer.map_or("".into(), number);
        let Result { mark, name, unit, .. } = result;
        let (own, ratio, goal, verdict) =
            (number(result.fcgate), number(result.ratio), number(result.goal), result.verdict());
        // Writing to a string can't fail.
        let _ =
            writeln!(text, "| {mark} | {name} | {unit} | {own} | {peer} | {ratio} | {goal} | {verdict} |");
    }
    text
}

/// Shows the results.
pub fn print(results: &[Result]) {
    println!("{}", table(results));
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn machine() -> String {
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let count = cpu.matches("processor").count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{count} × {}, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}

/// Writes the results as JSON, and, if they are whole, as a page of the docs.
pub fn write(results: &[Result], whole: bool) {
    let directory = root().join("target/bench");
    fs::create_dir_all(&directory).expect("a directory for the results");
    let json = serde_json::to_string_pretty(results).expect("results are plain");
    fs::write(directory.join("results.json"), json + "\n").expect("the results are written");
    if !whole {
        return;
    }
    let page = format!(
        "# How fast it is\n\nMade by `make bench` on {}.\n\nOne process of the gateway on one core, the application and \
         the load on the other, unix sockets, fcgate and its peer by turns; medians. A ratio is that of the two, round by \
         round: below 1 fcgate needs less. For what has no peer it is the number itself. CPU is the run time of the \
         gateway's threads divided by the requests, the web server's own work included.\n\n{}",
        machine(),
        table(results)
    );
    fs::write(root().join("docs/performance.md"), page).expect("the page is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_verdicts_are_right() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        let result = Result::compared("P1", "x", "ns", 0.6, &[(1.0, 2.0), (1.0, 4.0), (1.0, 1.0)]);
        assert_eq!((result.fcgate, result.peer, result.ratio), (1.0, Some(2.0), 0.5));
        assert_eq!(result.verdict(), "at goal");
        assert_eq!(Result::alone("P8", "x", "n", 2.0, 3.0).verdict(), "short of it");
        assert!(table(&[result]).contains("| P1 | x | ns | 1.00 | 2.00 | 0.50 | 0.60 | at goal |"));
    }
}
