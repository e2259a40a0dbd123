//! One connection of a scripted application: a thread that reads, asks the script, and plays what
//! it says.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::application::Shared;
use crate::builder::Closing;
use crate::bytes;
use crate::listener::Socket;
use crate::recorder::{Recorded, Recorder};
use crate::script::Step;

/// How long a piece of a split reply waits for the one before it to be read.
const SPLIT_WAIT: Duration = Duration::from_millis(500);
/// How often a thread that waits looks whether the application is gone.
const LOOK: Duration = Duration::from_millis(10);

/// Whether the connection goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Over,
}

pub(crate) struct Player {
    socket: Arc<Socket>,
    shared: Arc<Shared>,
    connection: usize,
    recorder: Recorder,
    /// Places in the log of the requests that the script has been asked about.
    asked: Vec<usize>,
    buffer: Vec<u8>,
}

impl Player {
    pub(crate) fn new(socket: Arc<Socket>, shared: Arc<Shared>, connection: usize) -> Self {
        let mut recorder = Recorder::new(connection, shared.settings.keep_bodies, shared.settings.multiplex);
        recorder.peer = socket.peer;
        Self { socket, shared, connection, recorder, asked: Vec::new(), buffer: vec![0; 64 << 10] }
    }

    /// Serves the connection to its end. An I/O error is the web server's close as any other.
    pub(crate) fn run(mut self) {
        let _ = self.serve();
        let violations = std::mem::take(&mut self.recorder.violations);
        let (shared, connection) = (Arc::clone(&self.shared), self.connection);
        // The socket first: a connection that counts as closed is closed.
        drop(self);
        shared.forget_connection(connection, violations);
    }

    fn serve(&mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        if let Some(script) = &shared.settings.on_connect
            && self.play(script(self.connection), &[])? == Flow::Over
        {
            return Ok(());
        }
        loop {
            while let Some(requests) = self.due() {
                let snapshot: Vec<Recorded> =
                    self.shared.with_log(|log| requests.iter().map(|index| log[*index].clone()).collect());
                let steps = (shared.settings.script)(&snapshot);
                self.asked.extend(&requests);
                if self.play(steps, &requests)? == Flow::Over || self.is_served(&requests) {
                    return Ok(());
                }
            }
            if !self.read()? {
                return Ok(());
            }
        }
    }

    /// The requests the script is to be asked about next, as many as it wants at once.
    fn due(&self) -> Option<Vec<usize>> {
        let settings = &self.shared.settings;
        let due: Vec<usize> = self.shared.with_log(|log| {
            let open = self.recorder.open().iter().copied();
            open.filter(|index| !self.asked.contains(index) && settings.moment.has_come(&log[*index]))
                .take(settings.at_once)
                .collect()
        });
        (due.len() == settings.at_once).then_some(due)
    }

    /// Whether the connection is to be closed after these requests.
    fn is_served(&mut self, requests: &[usize]) -> bool {
        self.shared.with_log(|log| {
            let all_ended = requests.iter().all(|index| log[*index].ended);
            match self.shared.settings.closing {
                Closing::AsAsked => all_ended && requests.iter().any(|index| !log[*index].keep_conn),
                Closing::Always => all_ended,
                Closing::Never => false,
            }
        })
    }

    /// Reads once; false at the end.
    fn read(&mut self) -> io::Result<bool> {
        let count = loop {
            match (&self.socket.file).read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if count == 0 {
            let stopped = self.shared.stopped.load(Ordering::Relaxed);
            self.recorder.finished(!stopped && self.socket.is_half_closed());
            return Ok(false);
        }
        self.shared.keep_bytes(self.connection, &self.buffer[..count]);
        self.shared.with_log(|log| self.recorder.received(&self.buffer[..count], log));
        let wanted = std::mem::take(&mut self.recorder.wanted);
        if !wanted.is_empty() {
            self.answer_values(wanted)?;
        }
        Ok(true)
    }

    fn answer_values(&mut self, wanted: Vec<String>) -> io::Result<()> {
        let values = self.shared.settings.values.clone();
        self.shared.note_asked(&wanted);
        match values {
            Some(values) => {
                let known: Vec<_> = values.into_iter().filter(|(name, _)| wanted.contains(name)).collect();
                self.send(&bytes::values(&known))
            }
            None => Ok(()),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.shared.with_log(|log| self.recorder.sent(bytes, log));
        (&self.socket.file).write_all(bytes)
    }

    fn play(&mut self, steps: Vec<Step>, requests: &[usize]) -> io::Result<Flow> {
        for step in steps {
            if self.step(step, requests)? == Flow::Over {
                return Ok(Flow::Over);
            }
        }
        Ok(Flow::On)
    }

    fn step(&mut self, step: Step, requests: &[usize]) -> io::Result<Flow> {
        match step {
            Step::Send(bytes) => self.send(&bytes)?,
            Step::SendSplit(bytes, points) => {
                let mut at = 0;
                for point in points.into_iter().map(|point| point.min(bytes.len())).chain([bytes.len()]) {
                    if point > at {
                        self.send_piece(&bytes[at..point])?;
                        at = point;
                    }
                }
            }
            Step::SendSingly(bytes) => bytes.chunks(1).try_for_each(|piece| self.send_piece(piece))?,
            Step::Drip(bytes, interval) => {
                for piece in bytes.chunks(1) {
                    self.send(piece)?;
                    if self.pause(interval) == Flow::Over {
                        return Ok(Flow::Over);
                    }
                }
            }
            Step::Stall(gate) => {
                while !gate.wait(LOOK) {
                    if self.shared.stopped.load(Ordering::Relaxed) {
                        return Ok(Flow::Over);
                    }
                }
            }
            Step::Open(gate) => gate.open(),
            Step::Await(moment) => return self.read_until(requests, |request| moment.has_come(request)),
            Step::AwaitAbort => return self.read_until(requests, |request| request.aborted),
            Step::AwaitClose => {
                while self.read()? {}
                return Ok(Flow::Over);
            }
            Step::CloseSending => self.socket.close_sending(),
            Step::Close => return Ok(Flow::Over),
            Step::Reset => {
                self.socket.reset_on_close();
                return Ok(Flow::Over);
            }
            Step::StopListening => self.shared.stop_listening(),
            Step::RemoveSocket => self.shared.remove_socket(),
            Step::Run(act) => act(),
        }
        Ok(Flow::On)
    }

    /// Sends a piece when what was sent before has been read.
    fn send_piece(&mut self, piece: &[u8]) -> io::Result<()> {
        crate::script::poll(SPLIT_WAIT, || (self.socket.unread() == 0).then_some(()));
        self.send(piece)
    }

    fn read_until(&mut self, requests: &[usize], done: impl Fn(&Recorded) -> bool) -> io::Result<Flow> {
        loop {
            let is_done = self.shared.with_log(|log| requests.iter().any(|index| done(&log[*index])));
            if is_done {
                return Ok(Flow::On);
            }
            if !self.read()? {
                return Ok(Flow::Over);
            }
        }
    }

    /// Lets time pass, unless the application is dropped.
    fn pause(&self, time: Duration) -> Flow {
        let mut left = time;
        while !left.is_zero() {
            if self.shared.stopped.load(Ordering::Relaxed) {
                return Flow::Over;
            }
            let part = left.min(LOOK);
            std::thread::sleep(part);
            left -= part;
        }
        Flow::On
    }
}
