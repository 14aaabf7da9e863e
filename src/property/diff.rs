use std::collections::BTreeMap;

use super::{Map, Record, Value, normalized};

/// What a changed property means for its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: the new value is kept and nothing else happens.
    Nothing,
    /// The resource is updated in place.
    Update,
    /// The resource is replaced.
    Replace,
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
/// Null is absent, secret marks and bookkeeping keys don't count, and numbers compare by value. A value that a
/// preview does not know yet differs from every other.
pub fn changes<R: Record>(old: &Map, new: &Map) -> Changes {
    let (old, new) = (normalized(old), normalized(new));
    R::ROWS
        .iter()
        .filter(|row| row.change != Change::Nothing)
        .filter_map(|row| {
            let kind = match (old.get(row.name), new.get(row.name)) {
                (None, None) => return None,
                (None, Some(_)) => Kind::Added,
                (Some(_), None) => Kind::Removed,
                (Some(old), Some(new)) if !new.has_unknown() && same(old, new) => return None,
                (Some(_), Some(_)) => Kind::Changed,
            };
            Some((row.name.to_owned(), (kind, row.change)))
        })
        .collect()
}

/// Equality by value: numbers that were stated as text are the numbers.
fn same(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Number(number), Value::String(text)) | (Value::String(text), Value::Number(number)) => {
            text.trim().parse() == Ok(*number)
        }
        (old, new) => old == new,
    }
}
