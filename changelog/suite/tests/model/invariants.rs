//! What has to hold.

use crate::input::{Cluster, Event};
use crate::rules::{KEPT_BUCKETS, window};
use crate::world::{Published, World};

/// What does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// An id came out twice, and the window reaches from one to the other.
    Twice { id: u8 },
    /// An id was produced, everything is read, and it never came out.
    Lost { id: u8 },
    /// The log is refused, although nothing was done to it but what it must bear.
    LogIsRefused(String),
    /// Nothing more goes wrong, and the lane is still not read to its end.
    Stuck,
}

impl World {
    /// No id comes out twice within the window: in every state.
    ///
    /// What the window reaches counts by buckets of append times, which is the most that is kept: what the margin is for,
    /// time in a host's buffer, is not modelled. Of a record that came too late nothing is promised but that it comes out.
    pub(crate) fn nothing_is_out_twice(&self) -> Result<(), Violation> {
        let in_time = |published: &&Published| {
            window().at(published.event.appended_ms) == window().at(published.event.received_ms)
        };
        let output: Vec<_> = self.output.iter().filter(in_time).map(|published| published.event).collect();
        for (place, one) in output.iter().enumerate() {
            for other in output[..place].iter().filter(|other| other.id == one.id) {
                let buckets = window().at(one.appended_ms).0.abs_diff(window().at(other.appended_ms).0);
                if buckets <= KEPT_BUCKETS {
                    return Err(Violation::Twice { id: one.id });
                }
            }
        }
        Ok(())
    }

    /// Every id that lies in an input is out: where everything is read. What was lost with an input that was cut or made anew
    /// is owed by nobody.
    pub(crate) fn nothing_is_lost(&self) -> Result<(), Violation> {
        for Event { id, .. } in self.inputs.iter().flat_map(Cluster::events) {
            if !self.output.iter().any(|published| published.event.id == *id) {
                return Err(Violation::Lost { id: *id });
            }
        }
        Ok(())
    }
}
