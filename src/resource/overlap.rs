//! Two credentials of one resource: a rotation with `overlapSeconds` keeps the old one alive for a while, so that whoever
//! holds its value has time to get the new one.
//!
//! The outputs of a state hold all that it takes to revoke both. An update cannot change the id of its resource, which
//! therefore stays that of an earlier credential until a refresh sets it right.

use super::credential::Credential;
use super::rotation::{milliseconds, timestamp};
use crate::property::{Map, Property, Value};

/// The output that says when the previous credential is due to be revoked.
pub(super) const PREVIOUS_REVOKE_TIME: &str = "previousRevokeTime";

// Bookkeeping, which no plugin compares and the engine shows to nobody.
/// The id of the credential, where it is not the resource's.
const CURRENT_ID: &str = "__currentId";
/// What the state said about the previous credential when it was the current one.
const PREVIOUS: &str = "__previous";
/// The credential was refused when it was tried.
const UNPROVED: &str = "__unproved";
/// The credential is gone, while the previous one lives.
const GONE: &str = "__gone";

/// What a state says about its credentials, besides the values of the current one.
#[derive(Debug, Default)]
pub(super) struct Overlap {
    /// The id of the credential, where it is not the resource's.
    pub(super) current: Option<String>,
    pub(super) previous: Option<Previous>,
    /// Whether the credential was refused when it was tried.
    pub(super) is_unproved: bool,
    /// Whether the credential is gone.
    pub(super) is_gone: bool,
}

/// The credential before the current one.
#[derive(Clone, Debug)]
pub(super) struct Previous {
    pub(super) id: String,
    value: Value,
    /// When it is due to be revoked, in milliseconds since 1970.
    pub(super) revoke: i64,
    /// What the state said about it.
    pub(super) record: Map,
}

impl Overlap {
    /// What the outputs of a state say.
    pub(super) fn of<C: Credential>(outputs: &Map) -> Self {
        let text = |name: &str| String::decode(outputs.get(name)?).ok().filter(|text| !text.is_empty());
        let flag = |name: &str| outputs.contains_key(name);
        let (id, value) = C::PREVIOUS;
        let previous = text(id).map(|id| Previous {
            id,
            value: outputs.get(value).cloned().unwrap_or(Value::Null),
            // Where the time is not known, it counts as over.
            revoke: text(PREVIOUS_REVOKE_TIME).and_then(|time| milliseconds(&time)).unwrap_or_default(),
            record: outputs.get(PREVIOUS).and_then(Value::object).cloned().unwrap_or_default(),
        });
        Overlap { current: text(CURRENT_ID), previous, is_unproved: flag(UNPROVED), is_gone: flag(GONE) }
    }

    /// The id of the credential of a resource.
    pub(super) fn id<'a>(&'a self, resource: &'a str) -> &'a str {
        self.current.as_deref().unwrap_or(resource)
    }

    /// Writes all of this into the outputs, in place of what they say.
    pub(super) fn write<C: Credential>(&self, outputs: &mut Map) {
        let (id, value) = C::PREVIOUS;
        for name in [id, value, PREVIOUS_REVOKE_TIME, CURRENT_ID, PREVIOUS, UNPROVED, GONE] {
            outputs.remove(name);
        }
        let mut put = |name: &str, value: Value| drop(outputs.insert(name.to_owned(), value));
        if let Some(current) = &self.current {
            put(CURRENT_ID, current.encode());
        }
        if let Some(previous) = &self.previous {
            put(id, previous.id.encode());
            put(PREVIOUS_REVOKE_TIME, timestamp(previous.revoke).encode());
            put(PREVIOUS, Value::Object(previous.record.clone()));
            if !previous.value.is_blank() {
                put(value, Value::secret(previous.value.clone()));
            }
        }
        for (name, is_set) in [(UNPROVED, self.is_unproved), (GONE, self.is_gone)] {
            if is_set {
                put(name, Value::Bool(true));
            }
        }
    }
}

impl Previous {
    /// The credential of these outputs, as it is kept once it has a successor.
    pub(super) fn was<C: Credential>(id: &str, outputs: &Map, revoke: i64) -> Self {
        let mut record = outputs.clone();
        record.retain(|name, _| C::OF_PREVIOUS.contains(&name.as_str()));
        Previous {
            id: id.to_owned(),
            value: outputs.get(C::VALUE).cloned().unwrap_or(Value::Null),
            revoke,
            record,
        }
    }

    /// Whether it is due to be revoked.
    pub(super) fn is_due(&self, now: i64) -> bool {
        self.revoke <= now
    }
}

/// How many characters a comment may have.
const LONGEST_COMMENT: usize = 255;

/// How a comment ends while the credential that this one replaces is kept. The id of the old one makes the mark unique
/// in the workspace, so that a successor that the engine never heard of can be recognised.
pub(super) fn mark(replaces: &str) -> String {
    let id: String = replaces.chars().take(16).collect();
    format!("(replaces {id})")
}

/// A comment with its mark.
fn marked(comment: &str, mark: &str) -> String {
    let room = LONGEST_COMMENT - mark.len() - 1;
    let comment: String = comment.chars().take(room).collect();
    if comment.is_empty() { mark.to_owned() } else { format!("{comment} {mark}") }
}

const COMMENT: &str = "comment";

/// The inputs, with a mark on the comment.
pub(super) fn with_mark(inputs: &Map, mark: &str) -> Map {
    let mut inputs = inputs.clone();
    let stated = inputs.get(COMMENT);
    let comment = stated.and_then(|comment| String::decode(comment).ok()).unwrap_or_default();
    let comment = Value::String(marked(&comment, mark));
    let is_secret = stated.is_some_and(Value::has_secret);
    inputs.insert(COMMENT.to_owned(), if is_secret { Value::secret(comment) } else { comment });
    inputs
}

/// What the workspace says about the inputs, with the comment as the program would state it.
pub(super) fn without_mark(mut observed: Map, stated: &Map, mark: &str) -> Map {
    let text = |map: &Map| map.get(COMMENT).and_then(|comment| String::decode(comment).ok());
    let (seen, own) = (text(&observed).unwrap_or_default(), text(stated).unwrap_or_default());
    let plain = if seen == marked(&own, mark) {
        Some(own.as_str())
    } else {
        seen.strip_suffix(mark).map(str::trim_end)
    };
    match plain {
        Some("") => drop(observed.remove(COMMENT)),
        Some(plain) => drop(observed.insert(COMMENT.to_owned(), plain.into())),
        None => {}
    }
    observed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_put_on_and_taken_off() {
        let mark = mark("0123456789abcdef0123");
        assert_eq!(mark, "(replaces 0123456789abcdef)");
        for comment in ["", "Token of the CI", &"ä".repeat(300)] {
            let stated = Map::from([(COMMENT.to_owned(), comment.into())]);
            let sent = with_mark(&stated, &mark);
            let text = String::decode(&sent[COMMENT]).unwrap();
            assert!(text.ends_with(&mark) && text.chars().count() <= LONGEST_COMMENT, "{text}");
            let seen = without_mark(sent, &stated, &mark);
            assert_eq!(
                seen.get(COMMENT),
                Some(comment).filter(|it| !it.is_empty()).map(Value::from).as_ref()
            );
        }
    }

    #[test]
    fn a_comment_that_somebody_changed_is_seen() {
        let mark = mark("0123456789abcdef0123");
        let seen = |comment: &str| Map::from([(COMMENT.to_owned(), comment.into())]);
        let stated = seen("mine");
        assert_eq!(without_mark(seen("theirs"), &stated, &mark), seen("theirs"));
        assert_eq!(without_mark(seen(&format!("theirs {mark}")), &stated, &mark), seen("theirs"));
    }
}
