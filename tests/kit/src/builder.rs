//! What a scripted application will be, before it listens.

use std::sync::{Mutex, PoisonError};

use crate::application::Application;
use crate::directory::Directory;
use crate::listener::Address;
use crate::recorder::Recorded;
use crate::script::{Moment, Reply, Step};

type Script = Box<dyn Fn(&[Recorded]) -> Vec<Step> + Send + Sync>;

/// When the application closes a connection on which all is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Where the web server did not ask to keep it.
    AsAsked,
    /// After every request, as many applications do.
    Always,
    /// Not even where it was asked to.
    Never,
}

pub(crate) struct Settings {
    pub(crate) script: Script,
    pub(crate) on_connect: Option<Box<dyn Fn(usize) -> Vec<Step> + Send + Sync>>,
    pub(crate) moment: Moment,
    pub(crate) at_once: usize,
    pub(crate) multiplex: bool,
    pub(crate) closing: Closing,
    pub(crate) keep_bodies: bool,
    pub(crate) values: Option<Vec<(String, String)>>,
}

/// What an application will be; [`Builder::start`] makes it.
pub struct Builder {
    pub(crate) address: Address,
    pub(crate) directory: Option<Directory>,
    pub(crate) settings: Settings,
    pub(crate) backlog: Option<i32>,
    pub(crate) accepts: bool,
}

impl Builder {
    pub(crate) fn new(address: Address, directory: Option<Directory>) -> Self {
        let page = Reply::page(200, "hello");
        Self {
            address,
            directory,
            settings: Settings {
                script: Box::new(move |requests| page.to(&requests[0])),
                on_connect: None,
                moment: Moment::Complete,
                at_once: 1,
                multiplex: false,
                closing: Closing::AsAsked,
                keep_bodies: true,
                values: Some(
                    [("FCGI_MAX_CONNS", "1"), ("FCGI_MAX_REQS", "1"), ("FCGI_MPXS_CONNS", "0")]
                        .map(|(name, value)| (name.to_owned(), value.to_owned()))
                        .to_vec(),
                ),
            },
            backlog: None,
            accepts: true,
        }
    }

    /// Answers every request so.
    pub fn reply(self, reply: Reply) -> Self {
        self.on_request(move |request| reply.to(request))
    }

    /// Answers the first request with the first reply, and so on; the last one stays.
    pub fn replies(self, replies: Vec<Reply>) -> Self {
        let next = Mutex::new(0);
        self.on_request(move |request| {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            let reply = replies.get(*next).or(replies.last()).expect("there are replies");
            *next += 1;
            reply.to(request)
        })
    }

    /// Asks for the steps that answer each request.
    pub fn on_request(mut self, script: impl Fn(&Recorded) -> Vec<Step> + Send + Sync + 'static) -> Self {
        self.settings.script = Box::new(move |requests| script(&requests[0]));
        self
    }

    /// Multiplexes: waits for so many requests on a connection and asks for the steps that answer
    /// them together.
    pub fn on_requests(
        mut self,
        count: usize,
        script: impl Fn(&[Recorded]) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        self.settings.script = Box::new(script);
        self.settings.at_once = count;
        self.multiplex()
    }

    /// Plays steps on a fresh connection before anything of it is read, by its number.
    pub fn on_connect(mut self, script: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static) -> Self {
        self.settings.on_connect = Some(Box::new(script));
        self
    }

    /// When requests are answered, if not at their end.
    pub fn at(mut self, moment: Moment) -> Self {
        self.settings.moment = moment;
        self
    }

    /// Several requests at once are no violation.
    pub fn multiplex(mut self) -> Self {
        self.settings.multiplex = true;
        self
    }

    /// When connections are closed.
    pub fn closing(mut self, closing: Closing) -> Self {
        self.settings.closing = closing;
        self
    }

    /// Counts the bytes of bodies and of connections, and keeps none.
    pub fn discard_bodies(mut self) -> Self {
        self.settings.keep_bodies = false;
        self
    }

    /// What GET_VALUES is answered with; `None` is no answer at all.
    pub fn values(mut self, values: Option<&[(&str, &str)]>) -> Self {
        self.settings.values = values
            .map(|pairs| pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect());
        self
    }

    /// How many connections the kernel lets wait.
    pub fn backlog(mut self, backlog: i32) -> Self {
        self.backlog = Some(backlog);
        self
    }

    /// Listens and accepts nobody, until [`Application::accept`].
    pub fn never_accept(mut self) -> Self {
        self.accepts = false;
        self
    }

    /// Listens; from here on web servers can connect.
    pub fn start(self) -> Application {
        Application::begin(self)
    }
}
