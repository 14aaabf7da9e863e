//! Between the wire's structs and [`Value`]s. Secrets, unknowns and references travel as objects with a signature key
//! or as sentinel strings; anything else that carries a signature is kept as it came.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as Wire};
use tonic::Status;

pub(super) use crate::property::SECRET_SIGNATURE as SECRET;
use crate::property::{Map, SIGNATURE_KEY as SIGNATURE, Value};

/// Values of the key that marks signed objects.
pub(super) const OUTPUT: &str = "d0e6a833031e9bbcd3f4e8bde6ca49a4";
pub(super) const RESOURCE: &str = "5cf8f73096256a8f31e491e813e4eb8e";

/// The texts that stand for a value that is not known yet; for most types the engine sends the one for strings.
pub(super) const UNKNOWN: &str = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const UNKNOWNS: &[&str] = &[
    UNKNOWN,
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    "030794c1-ac77-496b-92df-f27374a8bd58",
    "e48ece36-62e2-4504-bad9-02848725956a",
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
];

/// Reads a struct; an absent one is empty.
pub(super) fn decode(wire: Option<Struct>) -> Map {
    wire.map(|wire| decode_fields(wire.fields)).unwrap_or_default()
}

/// Reads a struct in which everything must be known: a real operation, not a preview.
pub(super) fn decode_known(wire: Option<Struct>) -> Result<Map, Status> {
    let map = decode(wire);
    match map.iter().find(|(_, value)| value.has_unknown()) {
        Some((name, _)) => Err(Status::invalid_argument(format!(
            "property `{name}` is not known, and this is not a preview: this is a bug of the engine or of a program's SDK"
        ))),
        None => Ok(map),
    }
}

fn decode_fields(fields: impl IntoIterator<Item = (String, Wire)>) -> Map {
    fields.into_iter().map(|(name, value)| (name, decode_value(value))).collect()
}

fn decode_value(wire: Wire) -> Value {
    match wire.kind {
        // Nobody should send a value without a kind; null is the only thing that it can mean.
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::NumberValue(number)) => Value::Number(number),
        Some(Kind::StringValue(text)) if UNKNOWNS.contains(&text.as_str()) => Value::Unknown,
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(decode_value).collect()),
        Some(Kind::StructValue(fields)) => decode_object(decode_fields(fields.fields)),
    }
}

fn decode_object(mut object: Map) -> Value {
    let Some(Value::String(signature)) = object.get(SIGNATURE) else { return Value::Object(object) };
    match signature.as_str() {
        SECRET => Value::secret(object.remove("value").unwrap_or(Value::Null)),
        OUTPUT => {
            let value = object.remove("value").unwrap_or(Value::Unknown);
            if object.get("secret") == Some(&Value::Bool(true)) { Value::secret(value) } else { value }
        }
        // To us, a resource is its id; one that does not exist yet has none.
        RESOURCE => match object.remove("id") {
            Some(Value::String(id)) if !id.is_empty() => Value::String(id),
            Some(Value::Unknown | Value::String(_)) | None => Value::Unknown,
            Some(other) => other,
        },
        _ => Value::Object(object),
    }
}

/// Writes a struct. It is always present: the engine takes an absent one for something else.
pub(super) fn encode(map: &Map) -> Option<Struct> {
    Some(encode_fields(map))
}

fn encode_fields(map: &Map) -> Struct {
    Struct { fields: map.iter().map(|(name, value)| (name.clone(), encode_value(value))).collect() }
}

/// Every value has a kind: one without crashes the engine.
fn encode_value(value: &Value) -> Wire {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(*number),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(encode_value).collect() })
        }
        Value::Object(map) => Kind::StructValue(encode_fields(map)),
        Value::Unknown => Kind::StringValue(UNKNOWN.to_owned()),
        Value::Secret(secret) => Kind::StructValue(Struct {
            fields: [
                (SIGNATURE.to_owned(), Wire { kind: Some(Kind::StringValue(SECRET.to_owned())) }),
                ("value".to_owned(), encode_value(secret.expose())),
            ]
            .into(),
        }),
    };
    Wire { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(kind: Kind) -> Wire {
        Wire { kind: Some(kind) }
    }

    fn text(text: &str) -> Wire {
        wire(Kind::StringValue(text.into()))
    }

    fn signed(signature: &str, fields: &[(&str, Wire)]) -> Wire {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let signature = [(SIGNATURE.to_owned(), text(signature))];
        wire(Kind::StructValue(Struct { fields: signature.into_iter().chain(fields).collect() }))
    }

    #[test]
    fn signatures_and_sentinels_are_read() {
        for (wire, expected) in [
            (signed(SECRET, &[("value", text("x"))]), Value::secret("x".into())),
            (signed(SECRET, &[("value", text(UNKNOWN))]), Value::secret(Value::Unknown)),
            (signed(SECRET, &[]), Value::secret(Value::Null)),
            (signed(OUTPUT, &[]), Value::Unknown),
            (
                signed(OUTPUT, &[("value", text("x")), ("secret", wire(Kind::BoolValue(true)))]),
                Value::secret("x".into()),
            ),
            (signed(RESOURCE, &[("id", text("i"))]), "i".into()),
            (signed(RESOURCE, &[("id", text(""))]), Value::Unknown),
            (Wire { kind: None }, Value::Null),
        ] {
            assert_eq!(decode_value(wire), expected);
        }
        for sentinel in UNKNOWNS {
            assert_eq!(decode_value(text(sentinel)), Value::Unknown);
        }
    }

    #[test]
    fn a_foreign_signature_is_handed_back_as_it_came() {
        let asset = signed("c44067f5952c0a294b673a41bacd8c17", &[("text", text("t"))]);
        assert_eq!(encode_value(&decode_value(asset.clone())), asset);
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let map = Map::from([
            ("n".into(), Value::Null),
            ("s".into(), Value::secret(Value::Array(vec![Value::Unknown, Value::Bool(true)]))),
            ("o".into(), Value::Object(Map::from([("x".into(), Value::Number(1.0))]))),
        ]);
        assert_eq!(decode(encode(&map)), map);
    }

    #[test]
    fn nothing_unknown_passes_for_real() {
        let map = Map::from([("comment".into(), Value::Unknown)]);
        assert!(decode_known(encode(&map)).unwrap_err().message().contains("`comment`"));
    }
}
