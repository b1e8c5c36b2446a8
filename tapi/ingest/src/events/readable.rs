//! JSON that common readers of it cannot read. The grammar has no limits, readers have, and one such line stops whoever
//! reads the output line by line. Measured: serde_json stops at 128 levels; jq 1.6 at half of a surrogate pair and where
//! arrays count one and objects two and the sum of those around a bracket is above 255, which 127 levels never are; Python
//! at 995 levels and at integers of 4,301 digits; Go and serde_json at numbers beyond a double.

use serde::{Deserialize, Serialize};

use super::document::{Document, Value};
use crate::reject::Reject;

/// What becomes of an event that is JSON and that common readers refuse all the same: one with half of a surrogate pair
/// (`"\ud800"`), with a number beyond a double (`1e400`), or nested more than 127 levels deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unreadable {
    /// It is set aside with its reason, so that every line of the output can be read.
    #[default]
    SetAside,
    /// It is taken, its bytes as they are.
    Pass,
}

/// Something that some readers cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Odd {
    pub(super) at: u32,
    pub(super) reject: Reject,
}

/// Levels of objects and arrays that every reader goes down, the event's own among them.
const LEVELS_MAX: usize = 127;

impl Unreadable {
    /// Why the value, with so many levels `above` it, must be set aside.
    ///
    /// # Errors
    /// The reason.
    #[inline]
    pub(super) fn check(self, document: Document<'_>, value: Value, above: usize) -> Result<(), Reject> {
        if self == Self::Pass {
            return Ok(());
        }
        if let Some(odd) = document.odd_of(value) {
            return Err(odd.reject);
        }
        if document.is_deeper_than(value, LEVELS_MAX - above) {
            return Err(Reject::UnreadableDepth);
        }
        Ok(())
    }
}
