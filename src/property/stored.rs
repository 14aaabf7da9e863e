use serde::ser::{Serialize, SerializeMap as _, Serializer};
use zeroize::Zeroizing;

use super::{Map, SECRET_SIGNATURE, SIGNATURE_KEY, Value};

/// Properties as the files of the engine have them: secrets are marked, and in the clear. The engine encrypts them once
/// it has read them. What is not known yet is left out.
#[derive(Debug)]
pub struct Stored<'a>(pub &'a Map);

/// A single value, written in the same form.
struct StoredValue<'a>(&'a Value);

impl Serialize for Stored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .filter(|(_, value)| !value.has_unknown())
                .map(|(name, value)| (name, StoredValue(value))),
        )
    }
}

impl Serialize for StoredValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null | Value::Unknown => serializer.serialize_unit(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
            Value::Number(number) => {
                // Whole numbers are written as such.
                let whole = *number as i64;
                if whole as f64 == *number {
                    serializer.serialize_i64(whole)
                } else {
                    serializer.serialize_f64(*number)
                }
            }
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(items) => serializer.collect_seq(items.iter().map(StoredValue)),
            Value::Object(map) => Stored(map).serialize(serializer),
            Value::Secret(secret) => {
                use serde::ser::Error as _;
                let text = serde_json::to_string(&StoredValue(secret.expose())).map_err(S::Error::custom)?;
                let text = Zeroizing::new(text);
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry(SIGNATURE_KEY, SECRET_SIGNATURE)?;
                map.serialize_entry("plaintext", text.as_str())?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_marked_and_numbers_whole() {
        let map = Map::from([
            ("list".into(), Value::Array(vec![Value::Bool(true), Value::Null, Value::Number(0.5)])),
            ("secret".into(), Value::secret(Value::Object([("a".into(), "\"".into())].into()))),
            ("time".into(), Value::Number(1_795_721_271_799.0)),
            ("unknown".into(), Value::Unknown),
        ]);
        let expected = format!(
            r#"{{"list":[true,null,0.5],"secret":{{"{SIGNATURE_KEY}":"{SECRET_SIGNATURE}","plaintext":"{{\"a\":\"\\\"\"}}"}},"time":1795721271799}}"#
        );
        assert_eq!(serde_json::to_string(&Stored(&map)).unwrap(), expected);
    }
}
