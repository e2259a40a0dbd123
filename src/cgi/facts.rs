//! What a host tells of an HTTP request.

/// A list of name-value pairs that the host keeps.
pub trait PairList {
    /// How many there are.
    fn count(&self) -> usize;
    /// The pair at this place, which is below `count`.
    fn pair(&self, index: usize) -> (&[u8], &[u8]);
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const COUNT: usize> PairList for [(N, V); COUNT] {
    fn count(&self) -> usize {
        COUNT
    }

    fn pair(&self, index: usize) -> (&[u8], &[u8]) {
        (self[index].0.as_ref(), self[index].1.as_ref())
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> PairList for Vec<(N, V)> {
    fn count(&self) -> usize {
        self.len()
    }

    fn pair(&self, index: usize) -> (&[u8], &[u8]) {
        (self[index].0.as_ref(), self[index].1.as_ref())
    }
}

/// All pairs of a list.
pub(super) fn pairs(list: &dyn PairList) -> impl Iterator<Item = (&[u8], &[u8])> {
    (0..list.count()).map(|index| list.pair(index))
}

const NO_PAIRS: &[(&[u8], &[u8]); 0] = &[];

/// An HTTP request as its host sees it. What is not known is left out.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The method.
    pub method: Option<&'a [u8]>,
    /// The request-target as it was received: origin-form, absolute-form or `*`.
    pub target: Option<&'a [u8]>,
    /// The decoded path; left out, it is taken from the target.
    pub path: Option<&'a [u8]>,
    /// The query, raw; left out, it is taken from the target.
    pub query: Option<&'a [u8]>,
    /// The protocol and its version.
    pub protocol: Option<&'a [u8]>,
    /// The scheme.
    pub scheme: Option<&'a [u8]>,
    /// The request came over TLS.
    pub https: bool,
    /// The server's name and version.
    pub server_software: Option<&'a [u8]>,
    /// The server's name by its own policy.
    pub server_name: Option<&'a [u8]>,
    /// The address the client connected to.
    pub server_addr: Option<&'a [u8]>,
    /// The port the client connected to.
    pub server_port: Option<&'a [u8]>,
    /// The client's address.
    pub remote_addr: Option<&'a [u8]>,
    /// The client's port.
    pub remote_port: Option<&'a [u8]>,
    /// The user that the server itself authenticated.
    pub remote_user: Option<&'a [u8]>,
    /// How it did.
    pub auth_type: Option<&'a [u8]>,
    /// The root of the site's files.
    pub document_root: Option<&'a [u8]>,
    /// The file that the host's own mapping led to.
    pub file: Option<&'a [u8]>,
    /// Whether that file is a regular one, where the host has looked already.
    pub file_exists: Option<bool>,
    /// What of the path follows the script, where the host split it.
    pub path_info: Option<&'a [u8]>,
    /// The prefix of the path by which the host chose the application.
    pub prefix: Option<&'a [u8]>,
    /// The status of an internal redirect.
    pub redirect_status: Option<&'a [u8]>,
    /// Header names may have underscores.
    pub underscores: bool,
    /// The header fields, as they came.
    pub headers: &'a dyn PairList,
    /// The server's own environment.
    pub variables: &'a dyn PairList,
    /// Params that the host sets itself.
    pub params: &'a dyn PairList,
    /// No byte of any of this is NUL; false where nobody has looked.
    pub without_nul: bool,
    /// Names of params that are left out, whatever anyone but the host says.
    pub unset: &'a dyn PairList,
}

impl Default for Facts<'_> {
    fn default() -> Self {
        Self {
            method: None,
            target: None,
            path: None,
            query: None,
            protocol: None,
            scheme: None,
            https: false,
            server_software: None,
            server_name: None,
            server_addr: None,
            server_port: None,
            remote_addr: None,
            remote_port: None,
            remote_user: None,
            auth_type: None,
            document_root: None,
            file: None,
            file_exists: None,
            path_info: None,
            prefix: None,
            redirect_status: None,
            underscores: false,
            headers: NO_PAIRS,
            variables: NO_PAIRS,
            params: NO_PAIRS,
            unset: NO_PAIRS,
            without_nul: false,
        }
    }
}

impl std::fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts")
            .field("method", &self.method)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Facts<'_> {
    /// Whether these are the facts of an HTTP request at all, and not only params.
    pub fn is_http(&self) -> bool {
        self.method.is_some() || self.target.is_some() || self.path.is_some()
    }
}

/// What the environment asks of the file system.
pub trait Files {
    /// Whether there is a regular file at this path, links followed.
    fn is_regular_file(&self, path: &[u8]) -> bool;
    /// Whether there is a directory at this path, links followed.
    fn is_directory(&self, path: &[u8]) -> bool;
    /// Puts the path without its symbolic links into `out`; `false` if there is no such file.
    fn resolve(&self, path: &[u8], out: &mut Vec<u8>) -> bool;
}
