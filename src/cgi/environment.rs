//! The environment: the params that tell an application of an HTTP request (RFC 3875, section 4).
//!
//! Each name stands there at most once, with the value of the highest source that has it: what must
//! match the bytes sent, then param directives, then what is computed here, then the server's own
//! environment, then the client's headers. Params are encoded in that order as they come; an index
//! of the names passes over what is there already, where anyone but fcgate names params at all: its own
//! names never meet. So nothing that a client sends can replace what
//! the server says, and it can make no param of its own without `HTTP_` before it.

use super::facts::{Facts, Files, pairs};
use super::header_params::HeaderParams;
use super::name_index::NameIndex;
use super::script;
use super::settings::{EnvironmentSettings, Onoff, ParamRule, Preset};
use crate::protocol::{PairTooLong, ParamsEncoder, find_param};
use std::borrow::Cow;
use std::fmt;

/// What kind of refusal an [`EnvironmentError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is not one: 400.
    BadRequest,
    /// The script does not exist: 404.
    NotFound,
    /// The params are too large: 431.
    TooLarge,
}

/// Why no environment can be made of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentError {
    kind: ErrorKind,
    text: String,
}

impl EnvironmentError {
    pub(super) fn bad_path(text: &str) -> Self {
        Self::bad_request(text.to_owned())
    }

    pub(super) fn bad_request(text: String) -> Self {
        Self { kind: ErrorKind::BadRequest, text }
    }

    /// What kind of refusal it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The status for the client.
    pub fn http_status(&self) -> u16 {
        match self.kind {
            ErrorKind::BadRequest => 400,
            ErrorKind::NotFound => 404,
            ErrorKind::TooLarge => 431,
        }
    }
}

impl fmt::Display for EnvironmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Params that must match the bytes sent: no directive may name them.
const FIXED: [&[u8]; 2] = [b"CONTENT_LENGTH", b"GATEWAY_INTERFACE"];

/// Whether a param directive may name this param; else why not.
pub fn check_param_name(name: &[u8]) -> Result<(), String> {
    if name.is_empty() || name.iter().any(|byte| *byte < 0x21 || *byte == 0x7F || *byte == b'=') {
        return Err(format!("\"{}\" is no name of a param", printable(name)));
    }
    if FIXED.contains(&name) {
        return Err(format!("{} must match what is sent: fcgate sets it itself", printable(name)));
    }
    Ok(())
}

/// Variables of the server's environment that reconfigure the application: only param directives of
/// the server's own configuration may set them.
fn is_protected(name: &[u8]) -> bool {
    name == b"PHP_VALUE" || name == b"PHP_ADMIN_VALUE" || name.starts_with(b"LD_")
}

pub(super) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).escape_debug().to_string()
}

/// Makes the params of one request after another; keeps its memory.
#[derive(Debug, Default)]
pub struct Environment {
    encoded: Vec<u8>,
    /// No byte of what the host stated is NUL.
    without_nul: bool,
    encoder: ParamsEncoder,
    /// Whether params may meet another of their name.
    indexed: bool,
    names: NameIndex,
    headers: HeaderParams,
    path: Vec<u8>,
    script: Vec<u8>,
    buffer: Vec<u8>,
    limit: usize,
}

impl Environment {
    /// The PARAMS records that were made last, their empty one included; of request id 0.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// The value of a param.
    pub fn param(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        find_param(&self.encoded, name)
    }

    /// The script that the request led to, as the application sees it; empty if to none.
    pub fn script(&self) -> &[u8] {
        &self.script
    }

    /// Makes the params of a request with a body of this length. `more` are param directives
    /// outside those of the settings.
    pub fn build(
        &mut self,
        settings: &EnvironmentSettings,
        more: &[ParamRule],
        facts: &Facts<'_>,
        files: &dyn Files,
        body_length: Option<u64>,
    ) -> Result<(), EnvironmentError> {
        let own_names_only = more.is_empty()
            && settings.params.is_empty()
            && [facts.params, facts.unset, facts.variables].iter().all(|list| list.count() == 0);
        self.indexed = !own_names_only;
        self.encoded.clear();
        self.names.clear();
        self.script.clear();
        self.without_nul = facts.without_nul;
        self.encoder = ParamsEncoder::new(settings.split_params);
        self.limit = usize::try_from(settings.max_params_bytes).unwrap_or(usize::MAX);

        self.add(b"GATEWAY_INTERFACE", b"CGI/1.1")?;
        self.add_directives(settings, more, facts)?;
        let known = self.headers.look(facts.headers, facts.underscores)?;
        if facts.is_http() {
            self.add_computed(settings, facts, known.host, files)?;
        }
        for (name, value) in pairs(facts.variables) {
            if !is_protected(name) && check_param_name(name).is_ok() {
                self.add(name, value)?;
            }
        }
        if facts.is_http() {
            self.add_headers(settings, facts, known.content_type)?;
        }
        if let Some(length) = body_length.filter(|length| *length > 0) {
            let mut digits = itoa::Buffer::new();
            self.encode(b"CONTENT_LENGTH", digits.format(length).as_bytes())?;
        }
        self.encoder.finish(&mut self.encoded);
        Ok(())
    }

    /// Adds a param unless a higher source has it.
    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), EnvironmentError> {
        if !self.indexed {
            return self.encode(name, value);
        }
        if let Some((hash, at)) = self.names.find(&self.encoded, name) {
            self.encode(name, value)?;
            let place = self.encoded.len() - name.len() - value.len();
            self.names.put(at, hash, place as u32, name);
        }
        Ok(())
    }

    fn add_if(&mut self, name: &[u8], value: Option<&[u8]>) -> Result<(), EnvironmentError> {
        value.map_or(Ok(()), |value| self.add(name, value))
    }

    #[inline]
    fn encode(&mut self, name: &[u8], value: &[u8]) -> Result<(), EnvironmentError> {
        if !self.without_nul && (memchr::memchr(0, value).is_some() || memchr::memchr(0, name).is_some()) {
            return Err(EnvironmentError::bad_request(format!("a NUL byte in {}", printable(name))));
        }
        let encoded = self.encoder.pair(&mut self.encoded, name, value);
        if encoded.is_err() || self.encoded.len() > self.limit {
            return Err(self.too_large(name, encoded.err()));
        }
        Ok(())
    }

    #[cold]
    fn too_large(&self, name: &[u8], too_long: Option<PairTooLong>) -> EnvironmentError {
        let name = printable(name);
        let text = match too_long {
            Some(PairTooLong(size)) => format!(
                "the param {name} takes {size} bytes, more than a record holds (65535); split_params=on is for applications that take it"
            ),
            None => format!(
                "the params are larger than max_params_bytes ({}), with {name} the limit was reached",
                self.limit
            ),
        };
        EnvironmentError { kind: ErrorKind::TooLarge, text }
    }

    fn add_directives(
        &mut self,
        settings: &EnvironmentSettings,
        more: &[ParamRule],
        facts: &Facts<'_>,
    ) -> Result<(), EnvironmentError> {
        for (name, value) in pairs(facts.params) {
            check_param_name(name).map_err(EnvironmentError::bad_request)?;
            self.add(name, value)?;
        }
        for (name, _) in pairs(facts.unset) {
            self.names.insert_aside(&self.encoded, name);
        }
        for rule in settings.params.iter().chain(more) {
            match rule {
                ParamRule::Set { value, if_not_empty: true, .. } if value.is_empty() => {}
                ParamRule::Set { name, value, .. } => self.add(name, value)?,
                ParamRule::Unset { name } => drop(self.names.insert_aside(&self.encoded, name)),
            }
        }
        Ok(())
    }

    fn add_computed(
        &mut self,
        settings: &EnvironmentSettings,
        facts: &Facts<'_>,
        host: Option<&[u8]>,
        files: &dyn Files,
    ) -> Result<(), EnvironmentError> {
        let target = match facts.target {
            Some(target) => Some(script::split_target(target).ok_or_else(|| {
                EnvironmentError::bad_request(format!("\"{}\" is no request-target", printable(target)))
            })?),
            None => None,
        };
        let authority = target.and_then(|target| target.authority);
        self.add_if(b"REQUEST_METHOD", facts.method)?;
        self.add_if(b"SERVER_PROTOCOL", facts.protocol)?;
        self.add_if(b"SERVER_SOFTWARE", facts.server_software)?;
        let host = authority.or(host);
        let name = facts.server_name.filter(|name| !name.is_empty());
        let name = name.or_else(|| host.map(host_name).filter(|name| !name.is_empty()));
        self.add(b"SERVER_NAME", name.or(facts.server_addr).unwrap_or(b"localhost"))?;
        self.add_if(b"SERVER_PORT", facts.server_port)?;
        self.add_if(b"SERVER_ADDR", facts.server_addr)?;
        self.add_if(b"REMOTE_ADDR", facts.remote_addr.map(without_brackets))?;
        self.add_if(b"REMOTE_PORT", facts.remote_port)?;
        self.add_if(b"REMOTE_USER", facts.remote_user)?;
        self.add_if(b"AUTH_TYPE", facts.auth_type)?;
        let scheme = facts.scheme.unwrap_or(if facts.https { b"https" } else { b"http" });
        self.add(b"REQUEST_SCHEME", scheme)?;
        if facts.https {
            self.add(b"HTTPS", b"on")?;
        }
        self.add(b"REDIRECT_STATUS", facts.redirect_status.unwrap_or(b"200"))?;
        let query = facts.query.or_else(|| target.and_then(|target| target.query));
        self.add(b"QUERY_STRING", query.unwrap_or_default())?;
        self.add_if(b"REQUEST_URI", target.map(|target| target.origin))?;
        self.add_if(b"HTTP_HOST", host)?;

        let mut path = std::mem::take(&mut self.path);
        path.clear();
        let result = match (facts.path, target) {
            (Some(given), _) => {
                path.extend_from_slice(given);
                script::check_path(given)
            }
            (None, Some(target)) => {
                script::decode_path(target.path, &mut path).and_then(|()| script::check_path(&path))
            }
            (None, None) => Ok(()),
        };
        let result = result.and_then(|()| self.add_paths(settings, facts, files, &mut path));
        self.path = path;
        result
    }

    /// SCRIPT_NAME, PATH_INFO and the paths of files.
    fn add_paths(
        &mut self,
        settings: &EnvironmentSettings,
        facts: &Facts<'_>,
        files: &dyn Files,
        path: &mut Vec<u8>,
    ) -> Result<(), EnvironmentError> {
        let root =
            facts.document_root.filter(|root| !root.is_empty()).unwrap_or(settings.document_root.as_bytes());
        let exists = facts.file_exists.filter(|_| facts.file.is_some() && settings.preset != Preset::Script);
        let checked = exists != Some(true) && may_check_script(settings, root);
        let mut script_file = std::mem::take(&mut self.script);
        let (script_name, path_info) = match (settings.preset, facts.file) {
            (Preset::Script, _) => {
                script_file.extend_from_slice(settings.script.as_bytes());
                (&b""[..], &path[..])
            }
            (Preset::Plain, _) if facts.prefix.is_some() => {
                script::split_prefix(path, facts.prefix.unwrap_or_default())
            }
            (Preset::Php, Some(file)) if facts.path_info.is_none() => {
                script_file.extend_from_slice(file);
                let files = checked.then_some(files);
                let info = match exists {
                    Some(true) => 0,
                    _ => script::split_mapped(path, &script_file, settings.extension.as_bytes(), files),
                };
                if info == 0 && path.ends_with(b"/") && file.ends_with(b"/") {
                    path.extend_from_slice(settings.index.as_bytes());
                    script_file.extend_from_slice(settings.index.as_bytes());
                }
                script_file.truncate(script_file.len() - info);
                path.split_at(path.len() - info)
            }
            (_, Some(file)) => {
                script_file.extend_from_slice(file);
                let info = facts.path_info.unwrap_or_default();
                match path.strip_suffix(info) {
                    Some(name) => (name, info),
                    None => (&path[..], info),
                }
            }
            (Preset::Plain, None) => {
                let info = facts.path_info.unwrap_or(path);
                (path.strip_suffix(info).unwrap_or_default(), info)
            }
            (Preset::Php, None) => {
                let extension = settings.extension.as_bytes();
                let files = checked.then_some(files);
                if path.ends_with(b"/")
                    && facts.path_info.unwrap_or_default().is_empty()
                    && !script::has_script(path, root, extension, files, &mut self.buffer)
                {
                    path.extend_from_slice(settings.index.as_bytes());
                }
                let (name, info) = match facts.path_info.and_then(|info| path.strip_suffix(info)) {
                    Some(name) => path.split_at(name.len()),
                    None => script::split_script(path, root, extension, files, &mut self.buffer),
                };
                if !root.is_empty() && name.starts_with(b"/") {
                    script::join(root, name, &mut script_file);
                }
                (name, info)
            }
        };
        self.script = script_file;
        if checked
            && !self.script.is_empty()
            && !exists.unwrap_or_else(|| files.is_regular_file(&self.script))
            && !stated_script(settings, facts).is_some_and(|script| files.is_regular_file(script))
            && (settings.script_exists == Onoff::On || files.is_directory(root))
        {
            return Err(EnvironmentError {
                kind: ErrorKind::NotFound,
                text: format!(
                    "the script {} is not a regular file (document root {}; script_exists=off if only the application sees its files)",
                    printable(&self.script),
                    printable(root)
                ),
            });
        }
        self.add(b"SCRIPT_NAME", script_name)?;
        if !path_info.is_empty() {
            self.add(b"PATH_INFO", path_info)?;
            if !root.is_empty() {
                let mut translated = std::mem::take(&mut self.buffer);
                script::join(root, path_info, &mut translated);
                let result = self.add_file(b"PATH_TRANSLATED", &mut translated, settings, files, false);
                self.buffer = translated;
                result?;
            }
        }
        if !root.is_empty() {
            let mut told = std::mem::take(&mut self.buffer);
            told.clear();
            told.extend_from_slice(root);
            let result =
                self.add_file(b"DOCUMENT_ROOT", &mut told, settings, files, settings.resolve_symlinks);
            self.buffer = told;
            result?;
        }
        if !self.script.is_empty() {
            let mut script = std::mem::take(&mut self.script);
            let result =
                self.add_file(b"SCRIPT_FILENAME", &mut script, settings, files, settings.resolve_symlinks);
            self.script = script;
            result?;
        }
        Ok(())
    }

    /// Adds the path of a file as the application sees it.
    fn add_file(
        &mut self,
        name: &[u8],
        path: &mut Vec<u8>,
        settings: &EnvironmentSettings,
        files: &dyn Files,
        resolve: bool,
    ) -> Result<(), EnvironmentError> {
        if resolve {
            let mut resolved = Vec::new();
            if files.resolve(path, &mut resolved) {
                *path = resolved;
            }
        }
        if let Some((from, to)) = &settings.map_root {
            script::map_root(path, from, to);
        }
        self.add(name, path)
    }

    fn add_headers(
        &mut self,
        settings: &EnvironmentSettings,
        facts: &Facts<'_>,
        content_type: Option<&[u8]>,
    ) -> Result<(), EnvironmentError> {
        self.add_if(b"CONTENT_TYPE", content_type)?;
        let authenticated = facts.remote_user.is_some() || facts.auth_type.is_some();
        let passes = match settings.pass_authorization {
            Onoff::Auto => !authenticated,
            Onoff::On => true,
            Onoff::Off => false,
        };
        let mut headers = std::mem::take(&mut self.headers);
        let result = headers.each(facts.headers, passes, |name, value| self.add(name, value));
        self.headers = headers;
        result
    }
}

/// The script that a param directive names, in place of the one that the path leads to.
fn stated_script<'a>(settings: &'a EnvironmentSettings, facts: &Facts<'a>) -> Option<&'a [u8]> {
    const NAME: &[u8] = b"SCRIPT_FILENAME";
    let of_route = || {
        settings.params.iter().find_map(|rule| match rule {
            ParamRule::Set { name, value, .. } if name == NAME => Some(&value[..]),
            _ => None,
        })
    };
    pairs(facts.params).find(|(name, _)| *name == NAME).map(|(_, value)| value).or_else(of_route)
}

/// Whether the script must be a regular file, if its root is a directory here.
fn may_check_script(settings: &EnvironmentSettings, root: &[u8]) -> bool {
    match settings.script_exists {
        Onoff::On => true,
        Onoff::Off => false,
        Onoff::Auto => settings.preset != Preset::Plain && settings.map_root.is_none() && !root.is_empty(),
    }
}

/// The host of an authority, without its port.
fn host_name(authority: &[u8]) -> &[u8] {
    if authority.first() == Some(&b'[') {
        let end = memchr::memchr(b']', authority).map_or(authority.len(), |at| at + 1);
        return &authority[..end];
    }
    &authority[..memchr::memchr(b':', authority).unwrap_or(authority.len())]
}

fn without_brackets(address: &[u8]) -> &[u8] {
    address.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(address)
}

#[cfg(test)]
mod tests;
