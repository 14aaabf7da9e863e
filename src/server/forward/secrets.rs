//! What the engine does for a plugin that takes no secrets: it sends the values without their marks, and puts the marks
//! back on what returns. The engine has been told that this plugin takes them, so it is done here for the official one.

use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{Struct, Value};

use super::super::wire::{OUTPUT, RESOURCE, SECRET, UNKNOWN};
use crate::property::SIGNATURE_KEY as SIGNATURE;

/// Which marks a plugin takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accepts {
    pub(super) secrets: bool,
    pub(super) resources: bool,
    pub(super) outputs: bool,
}

/// Whether a struct, or anything else, may hold marks. Most hold none, and are not decoded.
pub(super) fn has_marks(bytes: &[u8]) -> bool {
    bytes.windows(SIGNATURE.len()).any(|window| window == SIGNATURE.as_bytes())
}

/// The struct with only those marks that the plugin takes; None if it may stay as it is.
pub(super) fn adapted(bytes: &[u8], accepts: Accepts) -> Option<Vec<u8>> {
    if !has_marks(bytes) || accepts == (Accepts { secrets: true, resources: true, outputs: true }) {
        return None;
    }
    let adapted = adapted_struct(Struct::decode(bytes).ok()?, accepts);
    Some(adapted.encode_to_vec())
}

fn adapted_struct(mut object: Struct, accepts: Accepts) -> Struct {
    for value in object.fields.values_mut() {
        *value = adapted_value(std::mem::take(value), accepts);
    }
    object
}

fn adapted_value(value: Value, accepts: Accepts) -> Value {
    match value.kind {
        Some(Kind::ListValue(mut list)) => {
            for item in &mut list.values {
                *item = adapted_value(std::mem::take(item), accepts);
            }
            Value { kind: Some(Kind::ListValue(list)) }
        }
        Some(Kind::StructValue(object)) => adapted_object(object, accepts),
        _ => value,
    }
}

fn adapted_object(mut object: Struct, accepts: Accepts) -> Value {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    match signature(&object) {
        Some(SECRET) if !accepts.secrets => {
            adapted_value(object.fields.remove("value").unwrap_or(NULL), accepts)
        }
        Some(OUTPUT) if !accepts.outputs => {
            let secret = is_true(object.fields.get("secret"));
            let value = object.fields.remove("value").unwrap_or_else(|| text(UNKNOWN));
            let value = adapted_value(value, accepts);
            if secret && accepts.secrets { marked(value) } else { value }
        }
        // A resource that does not exist yet has an empty id; a component has none.
        Some(RESOURCE) if !accepts.resources => {
            match (object.fields.remove("id"), object.fields.remove("urn")) {
                (Some(Value { kind: Some(Kind::StringValue(id)) }), _) if id.is_empty() => text(UNKNOWN),
                (Some(id), _) => adapted_value(id, accepts),
                (None, urn) => urn.unwrap_or(NULL),
            }
        }
        _ => Value { kind: Some(Kind::StructValue(adapted_struct(object, accepts))) },
    }
}

/// Every value has a kind: one without crashes the engine, and maybe others.
const NULL: Value = Value { kind: Some(Kind::NullValue(0)) };

fn signature(object: &Struct) -> Option<&str> {
    match object.fields.get(SIGNATURE)?.kind.as_ref()? {
        Kind::StringValue(signature) => Some(signature),
        _ => None,
    }
}

fn is_true(value: Option<&Value>) -> bool {
    matches!(value, Some(Value { kind: Some(Kind::BoolValue(true)) }))
}

/// The value marked as secret.
fn marked(value: Value) -> Value {
    let signature = Value { kind: Some(Kind::StringValue(SECRET.to_owned())) };
    let fields = [(SIGNATURE.to_owned(), signature), ("value".to_owned(), value)].into();
    Value { kind: Some(Kind::StructValue(Struct { fields })) }
}

fn is_secret(value: &Value) -> bool {
    matches!(&value.kind, Some(Kind::StructValue(object)) if signature(object) == Some(SECRET))
}

/// Whether there is a secret at any depth.
fn holds_secret(value: &Value) -> bool {
    match &value.kind {
        Some(Kind::ListValue(list)) => list.values.iter().any(holds_secret),
        Some(Kind::StructValue(object)) => match signature(object) {
            Some(SECRET) => true,
            Some(OUTPUT) if is_true(object.fields.get("secret")) => true,
            _ => object.fields.values().any(holds_secret),
        },
        _ => false,
    }
}

/// What was sent, if secrets are in it.
pub(super) fn secret_inputs(bytes: &[u8]) -> Option<Struct> {
    let sent = has_marks(bytes).then(|| Struct::decode(bytes).ok())??;
    sent.fields.values().any(holds_secret).then_some(sent)
}

/// Marks each property of an answer whose input of the same name holds a secret.
pub(super) fn mark(answer: &mut Struct, sent: &Struct) {
    for (name, input) in &sent.fields {
        let Some(output) = answer.fields.get_mut(name) else { continue };
        if let (Some(Kind::StructValue(output)), Some(Kind::StructValue(input))) =
            (&mut output.kind, &input.kind)
            && signature(output).is_none()
            && signature(input).is_none()
        {
            mark(output, input);
        } else if holds_secret(input) && !is_secret(output) {
            *output = marked(std::mem::take(output));
        }
    }
}

/// Marks every property of an answer.
pub(super) fn mark_all(answer: &mut Struct) {
    for output in answer.fields.values_mut().filter(|output| !is_secret(output)) {
        *output = marked(std::mem::take(output));
    }
}

/// The texts of the secrets in what was sent.
pub(super) fn texts(sent: &Struct) -> Vec<String> {
    let mut found = Vec::new();
    sent.fields.values().for_each(|value| collect(value, false, &mut found));
    found
}

fn collect(value: &Value, secret: bool, found: &mut Vec<String>) {
    match &value.kind {
        Some(Kind::StringValue(text)) if secret && text != SECRET && text != OUTPUT => {
            found.push(text.clone())
        }
        Some(Kind::ListValue(list)) => list.values.iter().for_each(|value| collect(value, secret, found)),
        Some(Kind::StructValue(object)) => {
            let signed = matches!(signature(object), Some(SECRET | OUTPUT));
            let inside = secret || signed && holds_secret(value);
            object.fields.values().for_each(|value| collect(value, inside, found));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    fn text(text: &str) -> Value {
        value(Kind::StringValue(text.into()))
    }

    fn object(fields: &[(&str, Value)]) -> Struct {
        Struct { fields: fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect() }
    }

    fn nested(fields: &[(&str, Value)]) -> Value {
        value(Kind::StructValue(object(fields)))
    }

    fn list(values: &[Value]) -> Value {
        value(Kind::ListValue(prost_types::ListValue { values: values.to_vec() }))
    }

    fn signed(signature: &str, fields: &[(&str, Value)]) -> Value {
        nested(&[&[(SIGNATURE, text(signature))], fields].concat())
    }

    fn secret(inner: Value) -> Value {
        signed(SECRET, &[("value", inner)])
    }

    #[test]
    fn marks_that_a_plugin_does_not_take_are_taken_off() {
        let asset = signed("c44067f5952c0a294b673a41bacd8c17", &[("text", text("t"))]);
        let output = |secret: bool, inner: &[(&str, Value)]| {
            signed(OUTPUT, &[inner, &[("secret", value(Kind::BoolValue(secret)))]].concat())
        };
        for (sent, plain) in [
            (secret(text("x")), text("x")),
            (secret(secret(text("x"))), text("x")),
            (secret(nested(&[("a", list(&[secret(text("x"))]))])), nested(&[("a", list(&[text("x")]))])),
            (signed(SECRET, &[]), NULL),
            (signed(RESOURCE, &[("urn", text("u")), ("id", text("i"))]), text("i")),
            (signed(RESOURCE, &[("urn", text("u")), ("id", secret(text("i")))]), text("i")),
            (signed(RESOURCE, &[("urn", text("u")), ("id", text(""))]), text(UNKNOWN)),
            (signed(RESOURCE, &[("urn", text("u"))]), text("u")),
            (output(true, &[("value", text("x"))]), text("x")),
            (output(false, &[]), text(UNKNOWN)),
            (asset.clone(), asset),
        ] {
            let bytes = object(&[("p", sent)]).encode_to_vec();
            let taken_off = adapted(&bytes, Accepts::default()).unwrap();
            assert_eq!(Struct::decode(&*taken_off).unwrap(), object(&[("p", plain)]));
            let all = Accepts { secrets: true, resources: true, outputs: true };
            assert_eq!(adapted(&bytes, all), None);
        }
        assert_eq!(adapted(&object(&[("p", text("x"))]).encode_to_vec(), Accepts::default()), None);
        // The mark stays where secrets are taken, and outputs are not.
        let bytes = object(&[("p", output(true, &[("value", text("x"))]))]).encode_to_vec();
        let secrets = adapted(&bytes, Accepts { secrets: true, ..Accepts::default() }).unwrap();
        assert_eq!(Struct::decode(&*secrets).unwrap(), object(&[("p", secret(text("x")))]));
    }

    #[test]
    fn marks_come_back_on_properties_of_the_same_name() {
        let sent = object(&[
            ("plain", text("p")),
            ("hidden", secret(text("h"))),
            ("list", list(&[text("a"), secret(text("b"))])),
            ("nested", nested(&[("in", secret(text("h"))), ("out", text("o"))])),
            ("whole", secret(nested(&[("in", text("i"))]))),
            ("already", secret(text("h"))),
            ("gone", secret(text("h"))),
        ]);
        let answer = |mark: fn(Value) -> Value| {
            object(&[
                ("plain", text("p")),
                ("hidden", mark(text("h"))),
                ("list", mark(list(&[text("a"), text("b")]))),
                ("nested", nested(&[("in", mark(text("h"))), ("out", text("o"))])),
                ("whole", mark(nested(&[("in", text("i"))]))),
                ("already", secret(text("h"))),
                ("computed", text("c")),
            ])
        };
        let mut found = answer(|value| value);
        mark(&mut found, &secret_inputs(&sent.encode_to_vec()).unwrap());
        assert_eq!(found, answer(secret));
        assert!(secret_inputs(&object(&[("plain", text("p"))]).encode_to_vec()).is_none());
        assert_eq!(texts(&sent), ["h", "h", "h", "b", "h", "i"].map(String::from));
        let mut all = object(&[("a", text("x")), ("b", secret(text("y")))]);
        mark_all(&mut all);
        assert_eq!(all, object(&[("a", secret(text("x"))), ("b", secret(text("y")))]));
    }
}
