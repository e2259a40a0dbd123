//! The bytes of FastCGI 1.0: records and name-value pairs. No state of a connection, no socket.

pub mod name_value;
pub mod record;

pub use name_value::{PairTooLong, Pairs, ParamsEncoder, find_param};
pub use record::{
    BeginRequest, EndRequest, HEADER_LEN, Header, MAX_CONTENT, Part, ProtocolStatus, RecordReader,
    RecordType, Role, VersionMismatch,
};
