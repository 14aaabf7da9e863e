use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroize;

/// Properties by name, in the order in which they are shown.
pub type Map = BTreeMap<String, Value>;

/// A Pulumi property value, independent of how it travels.
///
/// Assets, archives and resource references, which none of our properties take, stay objects, so that what a program
/// states is handed back as it came.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value; treated like an absent property everywhere.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number; whole ones are exact up to 2^53.
    Number(f64),
    /// A text.
    String(String),
    /// A list.
    Array(Vec<Value>),
    /// An object or a map.
    Object(Map),
    /// A value that is shown and stored only encrypted.
    Secret(Secret),
    /// A value that a preview cannot know yet.
    Unknown,
}

/// The inside of [`Value::Secret`]: neither printed nor left in memory.
#[derive(Clone, PartialEq)]
pub struct Secret(Box<Value>);

impl Secret {
    /// The value itself.
    pub fn expose(&self) -> &Value {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

impl Value {
    /// Marks a value as secret, once.
    pub fn secret(value: Value) -> Value {
        match value {
            Value::Secret(_) => value,
            value => Value::Secret(Secret(Box::new(value))),
        }
    }

    /// The value under any secret marks.
    pub fn plain(&self) -> &Value {
        match self {
            Value::Secret(secret) => secret.expose().plain(),
            value => value,
        }
    }

    /// The fields, if the value is an object; their own secret marks stay.
    pub fn object(&self) -> Option<&Map> {
        match self.plain() {
            Value::Object(map) => Some(map),
            _ => None,
        }
    }

    /// Whether the value is a boolean, a number or a text.
    pub fn is_scalar(&self) -> bool {
        matches!(self.plain(), Value::Bool(_) | Value::Number(_) | Value::String(_))
    }

    /// Whether the value is absent in effect.
    pub fn is_null(&self) -> bool {
        matches!(self.plain(), Value::Null)
    }

    /// Whether the value is absent, or an empty text.
    pub fn is_blank(&self) -> bool {
        match self.plain() {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            _ => false,
        }
    }

    /// Whether the value, or a part of it, is not known yet.
    pub fn has_unknown(&self) -> bool {
        match self.plain() {
            Value::Unknown => true,
            Value::Array(items) => items.iter().any(Value::has_unknown),
            Value::Object(map) => map.values().any(Value::has_unknown),
            _ => false,
        }
    }

    /// Whether the value, or a part of it, is secret.
    pub fn has_secret(&self) -> bool {
        match self {
            Value::Secret(_) => true,
            Value::Array(items) => items.iter().any(Value::has_secret),
            Value::Object(map) => map.values().any(Value::has_secret),
            _ => false,
        }
    }

    /// What kind of value this is, for messages: they name kinds, since a value may be secret.
    pub fn kind(&self) -> &'static str {
        match self.plain() {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
            Value::Secret(_) => "a secret",
            Value::Unknown => "a value that is not known yet",
        }
    }

    fn wipe(&mut self) {
        match self {
            Value::String(text) => text.zeroize(),
            Value::Number(number) => number.zeroize(),
            Value::Bool(flag) => flag.zeroize(),
            Value::Array(items) => items.iter_mut().for_each(Value::wipe),
            // The keys of a secret map may reveal as much as its values.
            Value::Object(map) => std::mem::take(map).into_iter().for_each(|(mut key, mut value)| {
                key.zeroize();
                value.wipe();
            }),
            Value::Secret(_) | Value::Null | Value::Unknown => {}
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.to_owned())
    }
}

/// Whether a key belongs to the engine's or the bridge's bookkeeping, which no property of ours does.
pub fn is_internal(key: &str) -> bool {
    key.starts_with("__")
}

/// The map without bookkeeping keys and nulls at any depth, its secret marks kept.
pub fn cleaned(map: Map) -> Map {
    fn clean(value: Value) -> Value {
        match value {
            Value::Array(items) => Value::Array(items.into_iter().map(clean).collect()),
            Value::Object(map) => Value::Object(cleaned(map)),
            Value::Secret(secret) => Value::secret(clean(secret.expose().clone())),
            value => value,
        }
    }
    map.into_iter()
        .filter(|(key, value)| !is_internal(key) && !value.is_null())
        .map(|(key, value)| (key, clean(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let value = Value::secret(Value::Object(Map::from([("k".into(), "dapi-hidden".into())])));
        assert_eq!(format!("{value:?}"), "Secret([secret])");
    }

    #[test]
    fn secrets_are_marked_once() {
        let once = Value::secret("x".into());
        assert_eq!(Value::secret(once.clone()), once);
    }

    #[test]
    fn a_secret_leaves_nothing_behind() {
        let nested = |value: Value| Value::Array(vec![Value::Object(Map::from([("key".into(), value)]))]);
        for (mut value, wiped) in [
            ("dapi".into(), "".into()),
            (Value::Number(1.0), Value::Number(0.0)),
            (Value::Bool(true), Value::Bool(false)),
            (nested("dapi".into()), Value::Array(vec![Value::Object(Map::new())])),
        ] {
            value.wipe();
            assert_eq!(value, wiped);
        }
    }

    #[test]
    fn a_part_decides_for_the_whole() {
        let inside = |value: Value| {
            [
                value.clone(),
                Value::Array(vec!["x".into(), value.clone()]),
                Value::Object(Map::from([("k".into(), Value::Array(vec![value]))])),
            ]
        };
        for value in inside(Value::secret("x".into())) {
            assert!(value.has_secret() && !value.has_unknown(), "{value:?}");
        }
        for value in inside(Value::Unknown) {
            assert!(value.has_unknown() && !value.has_secret(), "{value:?}");
        }
        assert!(Value::secret(Value::Array(vec![Value::Unknown])).has_unknown());
    }

    #[test]
    fn cleaning_keeps_secret_marks() {
        let dirty = |more: &[(&str, Value)]| {
            let own = [("__defaults".to_owned(), Value::Null), ("n".to_owned(), Value::Null)];
            let more = more.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            own.into_iter().chain(more).collect::<Map>()
        };
        let inside = Value::Array(vec![Value::Object(dirty(&[("a", "x".into())]))]);
        let clean = Value::Array(vec![Value::Object(Map::from([("a".into(), "x".into())]))]);
        let map = dirty(&[("plain", inside.clone()), ("secret", Value::secret(inside))]);
        let expected = Map::from([("plain".into(), clean.clone()), ("secret".into(), Value::secret(clean))]);
        assert_eq!(cleaned(map), expected);
    }
}
