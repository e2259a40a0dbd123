//! What can be set for the environment of a request.

/// What kind of application the params are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Preset {
    /// The path is split after the script's extension and the script must exist.
    #[default]
    Php,
    /// No script: the whole path is PATH_INFO unless the host says otherwise.
    Plain,
    /// One fixed script answers every path.
    Script,
}

/// A switch that can be left to fcgate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Onoff {
    /// fcgate decides.
    #[default]
    Auto,
    /// On.
    On,
    /// Off.
    Off,
}

/// One param directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamRule {
    /// The param has this value.
    Set {
        /// Its name.
        name: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
        /// Left out when the value is empty.
        if_not_empty: bool,
    },
    /// There is no such param, whatever fcgate, the server or an outer level would say.
    Unset {
        /// Its name.
        name: Vec<u8>,
    },
}

/// The settings of a route that shape the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentSettings {
    /// The kind of application.
    pub preset: Preset,
    /// The fixed script of preset `script`: the path of a file.
    pub script: String,
    /// Extension at which preset `php` splits a path, with its dot.
    pub extension: String,
    /// Appended to a path that ends in `/` (preset `php`).
    pub index: String,
    /// Where the server sees the site's files, when the host names no root of its own.
    pub document_root: String,
    /// `(from, to)`: a path of the server's beneath `from` is told to the application beneath `to`.
    pub map_root: Option<(String, String)>,
    /// The script must be a regular file, else 404.
    pub script_exists: Onoff,
    /// Symbolic links in the script's and the root's path are followed before they are told.
    pub resolve_symlinks: bool,
    /// Whether HTTP_AUTHORIZATION passes.
    pub pass_authorization: Onoff,
    /// A pair beyond 65535 bytes may cross PARAMS records.
    pub split_params: bool,
    /// The most bytes of params, encoded.
    pub max_params_bytes: u64,
    /// Param directives, the innermost level first.
    pub params: Vec<ParamRule>,
}

impl Default for EnvironmentSettings {
    fn default() -> Self {
        Self {
            preset: Preset::Php,
            script: String::new(),
            extension: ".php".into(),
            index: "index.php".into(),
            document_root: String::new(),
            map_root: None,
            script_exists: Onoff::Auto,
            resolve_symlinks: false,
            pass_authorization: Onoff::Auto,
            split_params: false,
            max_params_bytes: 1 << 20,
            params: Vec::new(),
        }
    }
}
