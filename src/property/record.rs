use serde_json::Value as Json;

use super::{Change, Map, Value, is_internal};

/// A property of a record, as the schema and Diff need it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name on the wire and in every SDK.
    pub name: &'static str,
    /// Description in the schema; Markdown.
    pub doc: &'static str,
    /// What a changed value means for the resource.
    pub change: Change,
    /// Whether the value is secret.
    pub secret: bool,
    /// Whether the value is always present.
    pub required: bool,
    /// Type in the schema.
    pub schema: fn() -> Json,
    /// Whether two values mean the same.
    pub same: fn(&Value, &Value) -> bool,
}

/// Rows with a typed form; written by [`record!`](crate::record).
pub trait Record: Sized {
    /// The properties, in the order of the documentation.
    const ROWS: &'static [Row];
    /// Reads every property and reports every failure at once.
    fn decode(map: &Map) -> Result<Self, Vec<Failure>>;
    /// Writes the properties that have a value.
    fn encode(&self) -> Map;
}

/// An input that was refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The property, or empty where no single one is to blame.
    pub property: String,
    /// What is wrong and what to do; never quotes a value.
    pub reason: String,
}

impl Failure {
    /// A failure of one property.
    pub fn new(property: impl Into<String>, reason: impl Into<String>) -> Self {
        Failure { property: property.into(), reason: reason.into() }
    }
}

/// Refuses keys that the record does not have, and suggests what may have been meant. Each failure names its key, so
/// this is not for maps that are secret as a whole.
pub fn check_keys(map: &Map, rows: &[Row], of: &str) -> Vec<Failure> {
    map.keys()
        .filter(|key| !is_internal(key) && !rows.iter().any(|row| row.name == key.as_str()))
        .map(|key| {
            let hint = match probably_meant(key, rows.iter().map(|row| row.name)) {
                Some(name) => format!("did you mean `{name}`?"),
                None => {
                    format!("it has {}", rows.iter().map(|row| row.name).collect::<Vec<_>>().join(", "))
                }
            };
            Failure::new(key, format!("{of} has no property `{key}`; {hint}"))
        })
        .collect()
}

/// Which of these names somebody who wrote `key` probably meant.
pub fn probably_meant(key: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let written = key.to_lowercase().replace('_', "");
    let distance = |name: &str| strsim::levenshtein(&written, &name.to_lowercase());
    let (distance, name) = names.map(|name| (distance(name), name)).min()?;
    (distance <= 1 + key.len() / 4).then_some(name)
}

/// Declares a record: each row is documentation, field, type, name on the wire and, for inputs, what a change means.
///
/// ```text
/// record! {
///     /// What the program states.
///     pub struct TokenInputs {
///         /// Comment shown in the user's settings.
///         comment: Input<String> = "comment", Replace;
///     }
/// }
/// ```
#[macro_export]
macro_rules! record {
    (
        $(#[doc = $about:literal])*
        $vis:vis struct $Record:ident {
            $( $(#[doc = $doc:literal])* $field:ident: $Field:ty = $name:literal $(, $change:ident)?; )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone)]
        $vis struct $Record {
            $( $(#[doc = $doc])* pub $field: $Field, )*
        }

        impl $crate::property::Record for $Record {
            const ROWS: &'static [$crate::property::Row] = &[ $(
                $crate::property::Row {
                    name: $name,
                    doc: concat!($($doc, "\n"),*),
                    change: $crate::record!(@change $($change)?),
                    secret: <<$Field as $crate::property::Field>::Type as $crate::property::Property>::SECRET,
                    required: <$Field as $crate::property::Field>::REQUIRED,
                    schema: <<$Field as $crate::property::Field>::Type as $crate::property::Property>::schema,
                    same: <<$Field as $crate::property::Field>::Type as $crate::property::Property>::same,
                },
            )* ];

            fn decode(map: &$crate::property::Map) -> Result<Self, Vec<$crate::property::Failure>> {
                let mut failures = Vec::new();
                $( let $field = match <$Field as $crate::property::Field>::read(map.get($name)) {
                    Ok(value) => Some(value),
                    Err(mismatch) => {
                        let reason = match mismatch {
                            $crate::property::Mismatch::Unknown => "is not known yet".to_owned(),
                            $crate::property::Mismatch::Wrong(reason) => reason,
                        };
                        failures.push($crate::property::Failure::new($name, reason));
                        None
                    }
                }; )*
                match ($($field,)*) {
                    ($(Some($field),)*) => Ok($Record { $($field),* }),
                    _ => Err(failures),
                }
            }

            fn encode(&self) -> $crate::property::Map {
                let mut map = $crate::property::Map::new();
                $( if let Some(value) = $crate::property::Field::write(&self.$field) {
                    map.insert($name.to_owned(), value);
                } )*
                map
            }
        }
    };
    (@change) => { $crate::property::Change::Nothing };
    (@change $change:ident) => { $crate::property::Change::$change };
}

#[cfg(test)]
mod tests {
    use super::super::Input;
    use super::*;

    record! {
        /// A record of the tests.
        struct Sample {
            /// First line.
            /// Second line.
            comment: Input<String> = "comment", Replace;
            /// A number.
            lifetime_seconds: Input<i64> = "lifetimeSeconds", Replace;
            /// A secret.
            value: Option<secrecy::SecretString> = "value";
        }
    }

    #[test]
    fn rows_say_what_the_types_say() {
        let [comment, lifetime, value] = Sample::ROWS else { panic!("three rows") };
        assert_eq!(comment.doc, " First line.\n Second line.\n");
        assert_eq!(lifetime.change, Change::Replace);
        assert!(value.secret && !comment.secret && !value.required);
    }

    #[test]
    fn every_failure_is_reported_at_once() {
        let map = Map::from([
            ("comment".into(), Value::Array(vec![])),
            ("lifetimeSeconds".into(), Value::Number(0.5)),
        ]);
        let failures = Sample::decode(&map).err().unwrap();
        assert_eq!(
            failures.iter().map(|f| f.property.as_str()).collect::<Vec<_>>(),
            ["comment", "lifetimeSeconds"]
        );
    }

    #[test]
    fn secrets_are_marked_when_written() {
        let map = Map::from([("value".into(), "v".into())]);
        let encoded = Sample::decode(&map).ok().unwrap().encode();
        assert_eq!(encoded["value"], Value::secret("v".into()));
    }

    #[test]
    fn unknown_keys_get_a_suggestion() {
        let map = Map::from([("lifetime_second".into(), Value::Null), ("__defaults".into(), Value::Null)]);
        let failures = check_keys(&map, Sample::ROWS, "Sample");
        assert_eq!(failures.len(), 1);
        assert!(failures[0].reason.contains("did you mean `lifetimeSeconds`?"), "{failures:?}");
        let map = Map::from([("bogus".into(), Value::Null)]);
        assert!(check_keys(&map, Sample::ROWS, "Sample")[0].reason.contains("it has comment, "));
    }
}
