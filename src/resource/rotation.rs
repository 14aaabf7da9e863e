//! When a credential is replaced although nothing that it is made of has changed.

use std::collections::BTreeMap;

use crate::property::{Change, Changes, Input, Kind, Map, Property, stated};

/// A time as people read it, in UTC.
pub(crate) fn date(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// A time as programs read it: RFC 3339, in UTC.
pub(crate) fn timestamp(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}

/// Such a time in milliseconds since 1970.
pub(super) fn milliseconds(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// With less than this left, in milliseconds, there is a warning about a credential that nothing replaces.
pub(super) const SHORT_NOTICE_MS: i64 = 14 * 24 * 60 * 60 * 1000;

/// Outputs that tell people when a credential ends and when it is due.
pub(super) const EXPIRES_AT: &str = "expiresAt";
pub(super) const ROTATES_AT: &str = "rotatesAt";

/// Writes the dates into the outputs, as far as they are known.
pub(super) fn put_dates(outputs: &mut Map, life: fn(&Map) -> Life) {
    let life = life(outputs);
    let before = outputs.get("rotateBeforeSeconds").and_then(|before| i64::decode(before).ok());
    let expires = life.end();
    let rotates = expires.zip(before).map(|(expires, before)| life.due_from(expires, before));
    for (name, time) in [(EXPIRES_AT, expires), (ROTATES_AT, rotates)] {
        match time {
            Some(time) => drop(outputs.insert(name.to_owned(), timestamp(time).encode())),
            None => drop(outputs.remove(name)),
        }
    }
}

/// A duration as people say it, in the largest unit that loses little of it.
pub(crate) fn duration(seconds: i64) -> String {
    let (number, unit) = match seconds {
        ..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    if number == 1 { format!("1 {unit}") } else { format!("{number} {unit}s") }
}

/// When a credential was created and when it expires, in milliseconds since 1970, as far as that is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Life {
    pub(super) created: Option<i64>,
    /// `Some(-1)`, and whatever else is not positive, means never.
    pub(super) expires: Option<i64>,
}

impl Life {
    /// The lifetime that the credential was created with, in whole seconds.
    pub(super) fn seconds(self) -> Option<i64> {
        let (created, expires) = (self.created?, self.expires?);
        (expires > created).then(|| (expires - created + 500) / 1000)
    }

    /// When it ends, if that is known and not never.
    pub(super) fn end(self) -> Option<i64> {
        self.expires.filter(|expires| *expires > 0)
    }

    /// When a credential that expires at `expires` is due, with a window of `before` seconds.
    fn due_from(self, expires: i64, before: i64) -> i64 {
        // A workspace may grant less than was asked for; a window as long as the lifetime would rotate on every run.
        let window = match self.seconds() {
            Some(lifetime) if before >= lifetime => lifetime / 2,
            _ => before,
        };
        expires.saturating_sub(window.saturating_mul(1000))
    }

    /// Why the credential is due at `now`: it has expired, or is about to.
    pub(super) fn due(self, noun: &str, rotate_before: &Input<i64>, now: i64) -> Option<String> {
        let expires = self.end()?;
        if now >= expires {
            return Some(format!("the {noun} expired on {} and is replaced", date(expires)));
        }
        let before = *rotate_before.known()?;
        (self.due_from(expires, before) <= now).then(|| {
            format!(
                "the {noun} expires on {}, in less than rotateBeforeSeconds ({}), and is replaced",
                date(expires),
                duration(before)
            )
        })
    }
}

/// `rotateWhenChanged`: only a change from one set of values to another rotates.
pub(super) fn when_changed(old: &Map, news: &Map) -> Changes {
    const NAME: &str = "rotateWhenChanged";
    // As text, like all values of the map: a program in another language may state 1 as "1".
    let values = |inputs: &Map| {
        let values = BTreeMap::<String, String>::decode(stated(inputs, NAME)?);
        (values != Ok(BTreeMap::new())).then_some(values)
    };
    match (values(old), values(news)) {
        (Some(old), Some(new)) if new.is_err() || old != new => {
            Changes::from([(NAME.to_owned(), (Kind::Changed, Change::Replace))])
        }
        _ => Changes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_their_largest_unit() {
        for (seconds, text) in [
            (1, "1 second"),
            (119, "119 seconds"),
            (7_199, "119 minutes"),
            (7_200, "2 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn dates_are_readable() {
        assert_eq!(date(1_700_000_000_000), "2023-11-14 22:13:20 UTC");
        assert_eq!(date(i64::MAX), format!("{} ms", i64::MAX));
    }
}
