//! What validating the inputs of a credential has found, and the rules that all credentials share.

use super::credential::Terms;
use super::rotation;
use crate::property::{Failure, Input};

/// What validating inputs has found.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) failures: Vec<Failure>,
    pub(super) warnings: Vec<String>,
}

impl Findings {
    /// Refuses a property.
    pub(super) fn refuse(&mut self, property: &str, reason: impl Into<String>) {
        self.failures.push(Failure::new(property, reason));
    }

    /// Looks at a lifetime in seconds (0 where none is stated) and at the window of rotation.
    pub(super) fn lifetime(&mut self, property: &str, seconds: i64, rotate_before: &Input<i64>, noun: &str) {
        if seconds < 0 {
            self.refuse(
                property,
                "must be a positive number of seconds; leave it out for the workspace's default",
            );
        } else if seconds > USUAL_LONGEST_LIFETIME {
            let mistaken = if seconds % 1000 == 0 && seconds / 1000 <= USUAL_LONGEST_LIFETIME {
                format!(
                    "; if milliseconds were meant, {} are {}",
                    seconds / 1000,
                    rotation::duration(seconds / 1000)
                )
            } else {
                String::new()
            };
            self.warnings.push(format!(
                "{property} counts seconds: {seconds} are {}, over the 730 days ({USUAL_LONGEST_LIFETIME}) that most \
                 workspaces allow{mistaken}",
                rotation::duration(seconds)
            ));
        }
        if let Some(&before) = rotate_before.known() {
            if before <= 0 {
                self.refuse("rotateBeforeSeconds", "must be a positive number of seconds");
            } else if seconds > 0 && before >= seconds {
                self.refuse(
                    "rotateBeforeSeconds",
                    format!(
                        "must be less than {property}: the {noun} would be replaced by every `pulumi up`"
                    ),
                );
            }
        }
    }

    /// Looks at an overlap, for a lifetime in seconds (0 where none is stated).
    pub(super) fn overlap(&mut self, property: &str, seconds: i64, terms: &Terms<'_>, noun: &str) {
        let Some(&overlap) = terms.overlap.known() else { return };
        let before = terms.rotate_before.known().copied().unwrap_or_default();
        if overlap <= 0 {
            self.refuse(
                "overlapSeconds",
                "must be a positive number of seconds; leave it out for no overlap",
            );
        } else if seconds > 0 && overlap > seconds - before {
            self.refuse(
                "overlapSeconds",
                format!(
                    "must be at most {property} less rotateBeforeSeconds: the next rotation would come before the old \
                     {noun} is revoked"
                ),
            );
        } else if before > 0 && overlap > before {
            self.warnings.push(format!(
                "overlapSeconds ({}) is longer than rotateBeforeSeconds ({}): the old {noun} expires before its overlap \
                 ends",
                rotation::duration(overlap),
                rotation::duration(before)
            ));
        }
    }

    /// Looks at a list of scopes.
    pub(super) fn scopes(&mut self, scopes: Option<&[String]>, noun: &str) {
        let Some(scopes) = scopes else { return };
        if scopes.is_empty() {
            self.refuse(
                "scopes",
                format!("must not be empty; leave it out for a {noun} that is not limited"),
            );
        }
        for (index, scope) in scopes.iter().enumerate() {
            if scope.trim().is_empty() {
                self.refuse("scopes", format!("scope {index} is empty"));
            } else if scopes[..index].contains(scope) {
                self.refuse("scopes", format!("scope {index} is listed twice"));
            }
        }
    }
}

/// The longest lifetime that a workspace allows unless it is set up otherwise: 730 days, in seconds.
const USUAL_LONGEST_LIFETIME: i64 = 730 * 24 * 60 * 60;
