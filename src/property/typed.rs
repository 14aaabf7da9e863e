use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use super::{Map, Value};

/// Why a value does not fit its property.
#[derive(Debug, PartialEq)]
pub enum Mismatch {
    /// The value, or a part of it, is not known yet.
    Unknown,
    /// The value is of the wrong kind; the text says what was expected and never quotes the value.
    Wrong(String),
}

/// The type of a property: how it is read, written and described in the schema.
pub trait Property: Sized {
    /// Whether values of this type are marked secret on the wire and in the schema.
    const SECRET: bool = false;
    /// The type in a Pulumi schema.
    fn schema() -> Json;
    /// Reads a value, whatever its secret marks.
    fn decode(value: &Value) -> Result<Self, Mismatch>;
    /// Writes a value.
    fn encode(&self) -> Value;
    /// Whether two values of this type mean the same, whatever their secret marks.
    fn same(old: &Value, new: &Value) -> bool {
        super::same(old, new)
    }
}

/// A property in its record: present or not, and known or not.
pub trait Field: Sized {
    /// The type of the property.
    type Type: Property;
    /// Whether the property always has a value.
    const REQUIRED: bool;
    /// Reads the property from what the record has under its name.
    fn read(value: Option<&Value>) -> Result<Self, Mismatch>;
    /// The value to write, if there is one.
    fn write(&self) -> Option<Value>;
}

/// An input, which a program may leave out, and which a preview may not know yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Input<T> {
    /// Left out, or null.
    #[default]
    Absent,
    /// Stated, but not known in this preview.
    Unknown,
    /// Stated.
    Known(T),
}

impl<T> Input<T> {
    /// The value, if it is stated and known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Input::Known(value) => Some(value),
            Input::Absent | Input::Unknown => None,
        }
    }

    /// Whether the program states the input, known or not.
    pub fn is_stated(&self) -> bool {
        !matches!(self, Input::Absent)
    }
}

/// An input that a program must state, and which a preview may not know yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Needed<T>(Option<T>);

impl<T> Needed<T> {
    /// The value, if it is known.
    pub fn known(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T: Property> Field for Needed<T> {
    type Type = T;
    const REQUIRED: bool = true;

    fn read(value: Option<&Value>) -> Result<Self, Mismatch> {
        match Input::read(value)? {
            Input::Absent => Err(Mismatch::Wrong("is required".to_owned())),
            Input::Unknown => Ok(Needed(None)),
            Input::Known(value) => Ok(Needed(Some(value))),
        }
    }

    fn write(&self) -> Option<Value> {
        Some(self.0.as_ref().map_or(Value::Unknown, encode_marked))
    }
}

impl<T: Property> Field for Input<T> {
    type Type = T;
    const REQUIRED: bool = false;

    fn read(value: Option<&Value>) -> Result<Self, Mismatch> {
        match value {
            None => Ok(Input::Absent),
            Some(value) if value.is_null() => Ok(Input::Absent),
            Some(value) => match T::decode(value) {
                Ok(value) => Ok(Input::Known(value)),
                Err(Mismatch::Unknown) => Ok(Input::Unknown),
                Err(wrong) => Err(wrong),
            },
        }
    }

    fn write(&self) -> Option<Value> {
        match self {
            Input::Absent => None,
            Input::Unknown => Some(Value::Unknown),
            Input::Known(value) => Some(encode_marked(value)),
        }
    }
}

impl<T: Property> Field for Option<T> {
    type Type = T;
    const REQUIRED: bool = false;

    fn read(value: Option<&Value>) -> Result<Self, Mismatch> {
        match value {
            Some(value) if !value.is_null() => T::decode(value).map(Some),
            _ => Ok(None),
        }
    }

    fn write(&self) -> Option<Value> {
        self.as_ref().map(encode_marked)
    }
}

impl<T: Property> Field for T {
    type Type = T;
    const REQUIRED: bool = true;

    fn read(value: Option<&Value>) -> Result<Self, Mismatch> {
        T::decode(value.unwrap_or(&Value::Null))
    }

    fn write(&self) -> Option<Value> {
        Some(encode_marked(self))
    }
}

fn encode_marked<T: Property>(value: &T) -> Value {
    if T::SECRET { Value::secret(value.encode()) } else { value.encode() }
}

fn wrong<T>(expected: &str, value: &Value) -> Result<T, Mismatch> {
    match value.plain() {
        Value::Unknown => Err(Mismatch::Unknown),
        value => Err(Mismatch::Wrong(format!("expected {expected}, got {}", value.kind()))),
    }
}

impl Property for String {
    fn schema() -> Json {
        json!({ "type": "string" })
    }

    /// Numbers and booleans become text, as in every Pulumi language.
    fn decode(value: &Value) -> Result<Self, Mismatch> {
        match value.plain() {
            Value::String(text) => Ok(text.clone()),
            // Adding zero turns -0 into 0, which is equal to it but prints without a sign.
            Value::Number(number) if number.abs() < WHOLE => Ok((number + 0.0).to_string()),
            Value::Number(_) => Err(Mismatch::Wrong(
                "expected a string; a number as large as this loses digits, so put it in quotes".to_owned(),
            )),
            Value::Bool(flag) => Ok(flag.to_string()),
            value => wrong("a string", value),
        }
    }

    fn encode(&self) -> Value {
        Value::String(self.clone())
    }
}

/// A text that is secret if the program marks it so. `Debug` shows it only if it is not.
#[derive(Clone, Default, PartialEq)]
pub struct Text {
    text: Zeroizing<String>,
    secret: bool,
}

impl Text {
    /// The text, for a request.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The text, if messages may show it.
    pub fn shown(&self) -> Option<&str> {
        (!self.secret).then_some(&*self.text)
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown().unwrap_or("[secret]"))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Text { text: Zeroizing::new(text.to_owned()), secret: false }
    }
}

impl Property for Text {
    fn schema() -> Json {
        String::schema()
    }

    fn decode(value: &Value) -> Result<Self, Mismatch> {
        let text = Zeroizing::new(<String as Property>::decode(value)?);
        Ok(Text { text, secret: value.has_secret() })
    }

    fn encode(&self) -> Value {
        let text = Value::String((*self.text).clone());
        if self.secret { Value::secret(text) } else { text }
    }
}

/// API scopes: a set, whose order means nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Scopes(pub Vec<String>);

impl Property for Scopes {
    fn schema() -> Json {
        Vec::<String>::schema()
    }

    fn decode(value: &Value) -> Result<Self, Mismatch> {
        Vec::decode(value).map(Scopes)
    }

    fn encode(&self) -> Value {
        self.0.encode()
    }

    fn same(old: &Value, new: &Value) -> bool {
        let set = |scopes| Scopes::decode(scopes).map(|scopes| scopes.0.into_iter().collect::<BTreeSet<_>>());
        matches!((set(old), set(new)), (Ok(old), Ok(new)) if old == new)
    }
}

impl Property for SecretString {
    const SECRET: bool = true;

    fn schema() -> Json {
        String::schema()
    }

    fn decode(value: &Value) -> Result<Self, Mismatch> {
        <String as Property>::decode(value).map(SecretString::from)
    }

    fn encode(&self) -> Value {
        self.expose_secret().into()
    }
}

impl Property for bool {
    fn schema() -> Json {
        json!({ "type": "boolean" })
    }

    fn decode(value: &Value) -> Result<Self, Mismatch> {
        match value.plain() {
            Value::Bool(flag) => Ok(*flag),
            Value::String(text) if text == "true" => Ok(true),
            Value::String(text) if text == "false" => Ok(false),
            value => wrong("a boolean", value),
        }
    }

    fn encode(&self) -> Value {
        Value::Bool(*self)
    }
}

/// Whole numbers travel as doubles; beyond 2^53 neighbouring ones are the same.
const WHOLE: f64 = 9_007_199_254_740_992.0;

impl Property for i64 {
    fn schema() -> Json {
        json!({ "type": "integer" })
    }

    /// Text that holds a whole number is taken as one, as the official provider does.
    fn decode(value: &Value) -> Result<Self, Mismatch> {
        let number = match value.plain() {
            Value::Number(number) => *number,
            Value::String(text) => match text.trim().parse::<f64>() {
                Ok(number) => number,
                Err(_) => return wrong("a whole number", value),
            },
            value => return wrong("a whole number", value),
        };
        if number.fract() == 0.0 && number.abs() <= WHOLE {
            // Exact: integral and within the range that a double represents.
            Ok(number as i64)
        } else {
            Err(Mismatch::Wrong("expected a whole number".to_owned()))
        }
    }

    fn encode(&self) -> Value {
        Value::Number(*self as f64)
    }
}

impl<T: Property> Property for Vec<T> {
    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }

    fn decode(value: &Value) -> Result<Self, Mismatch> {
        match value.plain() {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| T::decode(item).map_err(|error| at(&format!("[{index}]"), error)))
                .collect(),
            value => wrong("a list", value),
        }
    }

    fn encode(&self) -> Value {
        Value::Array(self.iter().map(Property::encode).collect())
    }
}

impl<T: Property> Property for BTreeMap<String, T> {
    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }

    fn decode(value: &Value) -> Result<Self, Mismatch> {
        match value.plain() {
            Value::Object(map) => map
                .iter()
                .map(|(key, item)| {
                    // A secret map's keys are as secret as its values.
                    let place = if matches!(value, Value::Secret(_)) { "one of its values" } else { key };
                    T::decode(item).map(|item| (key.clone(), item)).map_err(|error| at(place, error))
                })
                .collect(),
            value => wrong("a map", value),
        }
    }

    fn encode(&self) -> Value {
        Value::Object(self.iter().map(|(key, item)| (key.clone(), item.encode())).collect::<Map>())
    }
}

fn at(place: &str, error: Mismatch) -> Mismatch {
    match error {
        Mismatch::Unknown => Mismatch::Unknown,
        Mismatch::Wrong(reason) => Mismatch::Wrong(format!("{place}: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_from_every_shape_that_holds_one() {
        for value in [Value::Number(8_640_000.0), "8640000".into(), Value::secret(Value::Number(8.64e6))] {
            assert_eq!(i64::decode(&value), Ok(8_640_000), "{value:?}");
        }
        for value in
            [Value::Number(1.5), Value::Number(f64::NAN), Value::Number(1e300), "abc".into(), "".into()]
        {
            assert!(matches!(i64::decode(&value), Err(Mismatch::Wrong(_))), "{value:?}");
        }
    }

    #[test]
    fn flags_are_flags_or_their_words() {
        for (value, flag) in [
            (Value::Bool(true), true),
            (Value::Bool(false), false),
            ("true".into(), true),
            (Value::secret("false".into()), false),
        ] {
            assert_eq!(bool::decode(&value), Ok(flag), "{value:?}");
        }
        for value in ["1".into(), "".into(), "True".into(), Value::Number(1.0)] {
            assert!(matches!(bool::decode(&value), Err(Mismatch::Wrong(_))), "{value:?}");
        }
    }

    #[test]
    fn an_output_may_be_null() {
        for value in [None, Some(&Value::Null), Some(&Value::secret(Value::Null))] {
            assert_eq!(<Option<String> as Field>::read(value), Ok(None));
        }
        assert_eq!(<Option<String> as Field>::read(Some(&"x".into())), Ok(Some("x".to_owned())));
    }

    #[test]
    fn a_refusal_never_quotes_the_value() {
        let error = i64::decode(&Value::secret("dapi-hidden".into())).unwrap_err();
        assert_eq!(error, Mismatch::Wrong("expected a whole number, got a string".into()));
    }

    #[test]
    fn numbers_become_text_if_they_have_one() {
        for (number, text) in [(8.0, "8"), (0.5, "0.5"), (-0.0, "0")] {
            assert_eq!(<String as Property>::decode(&Value::Number(number)), Ok(text.to_owned()));
        }
        // An id of a workspace, which a program in YAML may write without quotes.
        let id = <String as Property>::decode(&Value::Number(7_474_644_325_553_837.0));
        assert_eq!(id, Ok("7474644325553837".to_owned()));
        for number in [f64::NAN, f64::INFINITY, 9_007_199_254_740_993.0, -1e20] {
            let error = <String as Property>::decode(&Value::Number(number)).unwrap_err();
            assert!(
                matches!(error, Mismatch::Wrong(reason) if reason.contains("put it in quotes")),
                "{number}"
            );
        }
    }

    #[test]
    fn a_refusal_names_the_key_unless_it_is_secret() {
        let map = Value::Object(Map::from([("hidden".to_owned(), Value::Null)]));
        let refusal = |value: &Value| <BTreeMap<String, String> as Property>::decode(value).unwrap_err();
        assert_eq!(refusal(&map), Mismatch::Wrong("hidden: expected a string, got nothing".into()));
        let refused = Mismatch::Wrong("one of its values: expected a string, got nothing".into());
        assert_eq!(refusal(&Value::secret(map)), refused);
    }

    #[test]
    fn an_unknown_part_makes_the_input_unknown() {
        let value = Value::Array(vec!["sql".into(), Value::Unknown]);
        assert_eq!(<Input<Vec<String>> as Field>::read(Some(&value)), Ok(Input::Unknown));
    }

    #[test]
    fn null_is_absent() {
        assert_eq!(<Input<String> as Field>::read(Some(&Value::secret(Value::Null))), Ok(Input::Absent));
    }
}
