//! Property values, their typed form, and what changed between two of them.
//!
//! [`Value`] is what the wire carries. A [`record!`](crate::record) gives it a typed form: each row of a record is a
//! property, and from the rows come the decoder, the encoder and the schema.

/// The key that tells Pulumi's signed objects, such as secrets, from ordinary ones.
pub(crate) const SIGNATURE_KEY: &str = "4dabf18193072939515e22adb298388d";

/// The signature of a secret.
pub(crate) const SECRET_SIGNATURE: &str = "1b47061264138c4ac30d75fd1eb44270";

mod diff;
mod record;
mod stored;
mod typed;
mod value;

pub use diff::{Change, Changes, Kind, changes, same, stated};
pub use record::{Failure, Record, Row, check_keys, probably_meant};
pub use stored::Stored;
pub use typed::{Field, Input, Mismatch, Needed, Property, Scopes, Text};
pub use value::{Map, Secret, Value, cleaned, is_internal};
