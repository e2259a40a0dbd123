//! What the kernel knows of unix sockets, without a connection of one's own (Linux: `/proc/net/unix`).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::application::PATIENCE;
use crate::script::poll;

/// Less than the time after which an idle connection is closed anyway (`idle_timeout`).
const SOON: Duration = Duration::from_secs(8);
/// The flag of a socket that listens.
const LISTENS: &str = "00010000";
/// The state of one that is connected.
const CONNECTED: &str = "03";

/// Flags, state and number of each socket of this path: the one that listens, and those that it has accepted or is
/// to accept.
fn rows(path: &Path) -> Vec<[String; 3]> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let own = rows.filter(|row| row.get(7).is_some_and(|place| Path::new(place) == path));
    own.map(|row| [3, 5, 6].map(|column| row[column].to_owned())).collect()
}

/// Whether somebody listens.
pub fn listens(path: &Path) -> bool {
    rows(path).iter().any(|[flags, ..]| flags == LISTENS)
}

/// Waits until nobody listens any more: who was killed with a group may end a moment later than its first process.
pub fn wait_for_silence(path: &Path) {
    poll(PATIENCE, || (!listens(path)).then_some(()))
        .unwrap_or_else(|| panic!("somebody still listens on {}", path.display()));
}

/// The connections of the one that listens, by their numbers.
pub fn connections(path: &Path) -> BTreeSet<String> {
    let connected = rows(path).into_iter().filter(|[_, state, _]| state == CONNECTED);
    connected.map(|[.., number]| number).collect()
}

/// Waits until no connection is left, for a shorter time than idle ones are kept.
pub fn wait_for_no_connection(path: &Path) {
    poll(SOON, || connections(path).is_empty().then_some(()))
        .unwrap_or_else(|| panic!("{} has {} connections", path.display(), connections(path).len()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Directory;
    use std::io::ErrorKind;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_listener_and_its_connections_are_seen() {
        let directory = Directory::new();
        let path = directory.join("socket");
        assert!(!listens(&path));
        let listener = UnixListener::bind(&path).unwrap();
        assert!(listens(&path));
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let client = UnixStream::connect(&path).unwrap();
        let accepted = listener.accept().unwrap();
        assert_eq!(connections(&path).len(), 1);
        drop((client, accepted));
        wait_for_no_connection(&path);
        drop(listener);
        wait_for_silence(&path);
    }
}
