use std::collections::BTreeMap;

use super::{Map, Record, Row, Value, is_internal};

/// What a changed property means for its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: the new value is kept and nothing else happens.
    Nothing,
    /// The resource is updated in place.
    Update,
    /// The resource is replaced.
    Replace,
    /// The resource is replaced, unless the program states elsewhere when it rotates: then it is updated in place.
    ReplaceUnlessRotated,
}

impl Change {
    /// Whether the change replaces the resource, as far as its row alone can tell.
    pub fn replaces(self) -> bool {
        matches!(self, Change::Replace | Change::ReplaceUnlessRotated)
    }
}

/// How a property changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It had no value before.
    Added,
    /// It has no value any more.
    Removed,
    /// It has another value.
    Changed,
}

/// Changed properties by path, with how each changed and what that means.
pub type Changes = BTreeMap<String, (Kind, Change)>;

/// Compares two sets of inputs by the rows of `R`.
///
/// Null is absent, secret marks and bookkeeping keys don't count, and each row says when its values are the same. A
/// value that a preview does not know yet differs from every other.
pub fn changes<R: Record>(old: &Map, new: &Map) -> Changes {
    R::ROWS
        .iter()
        .filter(|row| row.change != Change::Nothing)
        .filter_map(|row| Some((row.name.to_owned(), (kind_of_change(row, old, new)?, row.change))))
        .collect()
}

/// How the property of a row differs between two maps; `None` where it does not.
fn kind_of_change(row: &Row, old: &Map, new: &Map) -> Option<Kind> {
    match (stated(old, row.name), stated(new, row.name)) {
        (None, None) => None,
        (None, Some(_)) => Some(Kind::Added),
        (Some(_), None) => Some(Kind::Removed),
        (Some(old), Some(new)) if !new.has_unknown() && (row.same)(old, new) => None,
        (Some(_), Some(_)) => Some(Kind::Changed),
    }
}

/// The value under a name, unless it is null.
pub fn stated<'a>(map: &'a Map, name: &str) -> Option<&'a Value> {
    map.get(name).filter(|value| !value.is_null())
}

/// Whether two values are the same whatever their secret marks. A number that was stated as text is the same as the
/// number. The values are compared where they are: a copy without the marks would hold secrets in the clear.
pub fn same(old: &Value, new: &Value) -> bool {
    match (old.plain(), new.plain()) {
        (Value::Number(number), Value::String(text)) | (Value::String(text), Value::Number(number)) => {
            text.trim().parse() == Ok(*number)
        }
        (Value::Array(old), Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same(old, new))
        }
        (Value::Object(old), Value::Object(new)) => {
            let keys =
                |map: &Map| map.iter().filter(|(key, value)| !is_internal(key) && !value.is_null()).count();
            keys(old) == keys(new)
                && old
                    .iter()
                    .filter(|(key, value)| !is_internal(key) && !value.is_null())
                    .all(|(key, value)| stated(new, key).is_some_and(|new| same(value, new)))
        }
        (old, new) => old == new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_without_marks_nulls_and_bookkeeping() {
        let object = |fields: &[(&str, Value)]| {
            Value::Object(fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
        };
        let plain = object(&[("workspaceId", "1".into())]);
        for (old, new, expected) in [
            ("c".into(), Value::secret("c".into()), true),
            (Value::secret("c".into()), Value::secret("d".into()), false),
            (Value::Number(60.0), "60".into(), true),
            (
                object(&[("__defaults", Value::Array(vec![])), ("workspaceId", "1".into())]),
                plain.clone(),
                true,
            ),
            (
                object(&[("other", Value::Null), ("workspaceId", Value::secret("1".into()))]),
                plain.clone(),
                true,
            ),
            (object(&[]), plain.clone(), false),
            (plain, object(&[("other", "1".into())]), false),
            (Value::Array(vec!["a".into()]), Value::Array(vec!["a".into(), "b".into()]), false),
        ] {
            assert_eq!(same(&old, &new), expected, "{old:?} {new:?}");
            assert_eq!(same(&new, &old), expected, "{new:?} {old:?}");
        }
    }
}
