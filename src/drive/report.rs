//! Words for a person: what happened, where, to which pool, and what to look at.

use crate::exchange::{self, Cause, Failure, Limits, Notice};
use std::fmt::Write;
use std::io;
use std::time::Duration;

/// A time as a person writes it.
fn spoken(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// What happened, for each cause.
fn what(cause: Cause, limits: &Limits) -> String {
    match cause {
        Cause::QueueFull => "no connection is free and the queue is full (queue_length)".into(),
        Cause::QueueTimeout => "no connection came free in time (queue_timeout)".into(),
        Cause::Connect => "the application can't be reached".into(),
        Cause::ConnectTimeout => "connecting took too long (connect_timeout)".into(),
        Cause::NoPool => {
            "every application is marked down and not due to be tried yet, drains or has no address".into()
        }
        Cause::Closed => "the application closed the connection without an answer".into(),
        Cause::ClosedInHead => "the application closed the connection inside the response head".into(),
        Cause::ClosedInBody => "the application closed the connection before the response was whole".into(),
        Cause::Protocol => "the application broke the FastCGI protocol".into(),
        Cause::SendTimeout => {
            format!("the application did not take the request (send_timeout {})", spoken(limits.send_timeout))
        }
        Cause::HeadTimeout => format!("no response head came (head_timeout {})", spoken(limits.head_timeout)),
        Cause::ReadTimeout => format!("the response stalled (read_timeout {})", spoken(limits.read_timeout)),
        Cause::TotalTimeout => {
            format!("the exchange took too long (total_timeout {})", spoken(limits.total_timeout))
        }
        Cause::BadHead => "the response head is malformed".into(),
        Cause::NoHead => "the application ended the request without a response head".into(),
        Cause::ShortBody => "the response body is shorter than announced".into(),
        Cause::Overloaded => "the application says that it is overloaded".into(),
        Cause::CantMultiplex => "the application refuses to multiplex".into(),
        Cause::UnknownRole => "the application does not know the role".into(),
        Cause::UnknownStatus => "the application ended the request with an unknown protocol status".into(),
        Cause::ClientGone => "the client closed its connection".into(),
        Cause::RequestBodyShort => "the request body ended before its length".into(),
        Cause::RequestBody => "the request body could not be read".into(),
        Cause::Aborted => "the web server gave the request up".into(),
        Cause::CaughtStderr => "the application wrote a line that catch_stderr names".into(),
        Cause::ErrorOverride => "the application answered with an error".into(),
        Cause::ClientSlow => "the client takes its response too slowly for a shared connection".into(),
        Cause::Resources => "this process ran out of a resource".into(),
    }
}

/// Every error, as a page of the docs.
pub fn markdown() -> String {
    let limits = Limits::default();
    exchange::markdown(|cause| {
        let words = what(cause, &limits);
        // What a limit is set to is for logs.
        let words = words.split(" (").next().unwrap_or_default();
        let (first, rest) = words.split_at(1);
        first.to_uppercase() + rest
    })
}

/// One line for a failed exchange.
pub fn failure(
    failure: &Failure,
    balancer: &str,
    address: &str,
    script: &str,
    limits: &Limits,
    retries: u32,
) -> String {
    let mut line = format!("{balancer} ({address}): {}", what(failure.cause, limits));
    if failure.errno != 0 {
        let _ = write!(line, ": {}", io::Error::from_raw_os_error(failure.errno));
    }
    if !failure.detail.is_empty() {
        let _ = write!(line, ": {}", failure.detail);
    }
    let (cause, phase) = (failure.cause.name(), failure.phase.name());
    let _ = write!(line, "; error {cause}, phase {phase}, after {}", spoken(failure.elapsed));
    if retries > 0 {
        let _ = write!(line, ", {retries} retries");
    }
    if !script.is_empty() {
        let _ = write!(line, ", script {script}");
    }
    let _ = write!(line, "; {}", failure.cause.hint());
    line
}

/// One line for what a person should know of an exchange that did not fail.
pub fn notice(notice: Notice, balancer: &str, address: &str, script: &str) -> String {
    let what = match notice {
        Notice::BodyCut { declared, came } => {
            format!(
                "the response body is longer than its Content-Length: {came} bytes came, {declared} were announced and passed on"
            )
        }
        Notice::NoEnd => {
            "the application did not end the request with END_REQUEST; the connection was closed".into()
        }
        Notice::Violation(violation) => {
            format!("the application sent {violation} after its response; the connection was closed")
        }
        Notice::EarlyEnd => {
            "the application answered before it had read the whole request; the connection was closed".into()
        }
    };
    format!("{balancer} ({address}): {what}; script {script}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Phase;

    /// Every cause has a name, words and a hint of its own kind.
    #[test]
    fn every_cause_explains_itself() {
        let mut names = std::collections::HashSet::new();
        for cause in Cause::ALL {
            assert!(names.insert(cause.name()));
            let failure = Failure {
                cause,
                phase: Phase::Head,
                errno: 111,
                elapsed: Duration::from_millis(1500),
                retry_safe: false,
                detail: "some detail".into(),
            };
            let line =
                super::failure(&failure, "php", "unix:/run/fpm.sock", "/srv/x.php", &Limits::default(), 2);
            for part in [
                "php (unix:/run/fpm.sock)",
                "refused",
                "some detail",
                "1.5 s",
                "2 retries",
                "/srv/x.php",
                cause.hint(),
            ] {
                assert!(line.contains(part), "{line}");
            }
        }
    }
}
