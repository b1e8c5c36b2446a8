//! What is sent: the options that decide every byte of every event, and nothing about how fast or to whom.

use serde::{Deserialize, Serialize};
use wire::limits;

use crate::Error;

/// Bytes of a write key: what a Basic header of common servers still takes.
pub const WRITE_KEY_BYTES_MAX: usize = limits::SOURCE_BYTES_MAX;
/// Largest share of duplicates. A duplicate of a duplicate is followed back to its original, and the chain stays short
/// only while most slots are originals.
pub const DUPLICATES_MAX: f64 = 0.9;

/// How events are put into requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// One event a request, to the path of its type (`/v1/track`, ...).
    Single,
    /// `--events-per-request` events a request, to `/v1/batch`.
    Batch,
    /// A fixed cycle of 20 requests, 13 singles and 7 batches of 10 to 100 events, as a mix of SDKs sends them: 253
    /// events.
    Mixed,
}

/// The options that decide the bytes of event `n` together with the seed. Two runs whose workloads are equal send the
/// same events; they are kept in the ledger so that `verify` can make the events again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Tells runs apart: it is part of every messageId.
    #[serde(with = "hex")]
    pub seed: u64,
    /// How events are put into requests.
    pub shape: Shape,
    /// Events of one batch; 1 where the shape is single, not used where it is mixed.
    pub events_per_request: u32,
    /// Bytes of each event as compact JSON.
    pub event_bytes: usize,
    /// Share of event slots that repeat an earlier event, 0 to [`DUPLICATES_MAX`].
    pub duplicates: f64,
    /// Share of events that carry no messageId, 0 to 1. They are never sent as duplicates.
    pub without_message_id: f64,
    /// The `source` that the output must show.
    pub source: String,
}

impl Workload {
    /// Singles of 920 bytes, 1 % duplicates.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            shape: Shape::Single,
            events_per_request: 1,
            event_bytes: 920,
            duplicates: 0.01,
            without_message_id: 0.0,
            source: "loadtest".to_owned(),
        }
    }

    /// Checks every bound that does not depend on the event templates.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the option and its bound.
    pub fn check(&self) -> Result<(), Error> {
        let usage = |message: String| Err(Error::Usage(message));
        if self.event_bytes > limits::EVENT_BYTES_MAX {
            return usage(format!("--event-bytes {}: at most {}", self.event_bytes, limits::EVENT_BYTES_MAX));
        }
        let per_request = self.events_per_request as usize;
        match self.shape {
            Shape::Single if per_request != 1 => {
                return usage(format!("--shape single sends one event a request, not {per_request}"));
            }
            Shape::Batch if per_request == 0 || per_request > limits::BATCH_EVENTS_MAX => {
                return usage(format!("--events-per-request {per_request}: 1 to {}", limits::BATCH_EVENTS_MAX));
            }
            _ => {}
        }
        let events_max = crate::plan::events_max(self);
        let body_bytes = events_max * (self.event_bytes + 1) + crate::request::ENVELOPE_BYTES_MAX;
        if body_bytes > limits::REQUEST_BYTES_MAX {
            return usage(format!(
                "{events_max} events of {} bytes make a body of {body_bytes} bytes; servers take {} \
                 (fewer --events-per-request or --event-bytes)",
                self.event_bytes,
                limits::REQUEST_BYTES_MAX
            ));
        }
        if !(0.0..=DUPLICATES_MAX).contains(&self.duplicates) {
            return usage(format!("--duplicates {}: between 0 and {DUPLICATES_MAX}", self.duplicates));
        }
        if !(0.0..=1.0).contains(&self.without_message_id) {
            return usage(format!("--without-message-id {}: between 0 and 1", self.without_message_id));
        }
        if self.source.is_empty() || self.source.len() > limits::SOURCE_BYTES_MAX {
            return usage(format!("--source: 1 to {} bytes", limits::SOURCE_BYTES_MAX));
        }
        Ok(())
    }
}

/// A seed as hexadecimal text: many JSON readers round integers above 2^53.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's `with` passes a reference")]
    pub(super) fn serialize<S: Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{seed:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_refused_by_name() {
        let refused = |change: fn(&mut Workload)| {
            let mut workload = Workload::new(1);
            change(&mut workload);
            workload.check().expect_err("out of bounds").to_string()
        };
        assert!(Workload::new(1).check().is_ok());
        assert!(refused(|w| w.event_bytes = limits::EVENT_BYTES_MAX + 1).contains("--event-bytes"));
        assert!(refused(|w| w.events_per_request = 2).contains("--shape single"));
        assert!(refused(|w| (w.shape, w.events_per_request) = (Shape::Batch, 2_501)).contains("--events-per-request"));
        assert!(refused(|w| (w.shape, w.events_per_request) = (Shape::Batch, 2_000)).contains("servers take"));
        assert!(refused(|w| w.duplicates = 0.91).contains("--duplicates"));
        assert!(refused(|w| w.without_message_id = -0.1).contains("--without-message-id"));
        assert!(refused(|w| w.source.clear()).contains("--source"));
    }

    #[test]
    fn the_seed_survives_json_whole() {
        let workload = Workload::new(u64::MAX);
        let text = serde_json::to_string(&workload).expect("writes");
        assert_eq!(serde_json::from_str::<Workload>(&text).expect("reads"), workload);
    }
}
