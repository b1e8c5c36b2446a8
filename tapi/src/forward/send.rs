//! Handing records over: which cluster, which topic, which partition.

use std::ffi::CStr;
use std::time::Instant;

use kafka::{Code, Headers, Record};
use local_buffer::{Reader, RecordId};
use tracing::{error, warn};
use wire::envelope::{Envelope, Kind};
use wire::partition::partition_of;
use wire::{MessageId, PartitionCount};

use super::fault::Fault;
use super::figures::Snapshot;
use super::outlet::Outlet;
use super::router::{Cluster, Router};
use super::window::{Route, State, Token, Window, after, bit};

const EVENTS: &CStr = c"events";
const EVENTS_REJECTED: &CStr = c"events.rejected";
const SOURCE: &CStr = c"source";
const RECEIVED_AT: &CStr = c"receivedAt";

/// A producer that did not take a record for a reason other than a full queue.
pub(super) type Trouble = (Route, Code);

/// What handing over works with.
pub(super) struct Sender<'a> {
    pub(super) outlets: &'a mut [Outlet; 2],
    pub(super) router: &'a Router,
    pub(super) reader: &'a mut Reader,
    pub(super) figures: &'a mut Snapshot,
    pub(super) partitions: PartitionCount,
    /// Whether each cluster has the topic for events that were set aside.
    pub(super) has_rejected: [bool; 2],
    pub(super) now: Instant,
}

/// Which way a record goes.
enum Way {
    To(Route),
    /// It waits, and so do those behind it.
    Stop,
    /// It waits, those behind it need not.
    Skip,
    /// No cluster takes it.
    Nobody,
}

impl Sender<'_> {
    /// Hands over as much as there is, and as may go. Gives the trouble that stopped it, if any.
    pub(super) fn run(mut self, window: &mut Window) -> Option<Trouble> {
        let mut trouble = None;
        let mut probes = self
            .router
            .probes()
            .map(|(cluster, count)| (cluster, count.saturating_sub(self.outlets[cluster as usize].outstanding())));
        window.hand_over(|token, id, record, state| {
            let envelope = match Envelope::decode(record) {
                Ok(envelope) => envelope,
                Err(error) => return Some(self.quarantine(id, record, &format!("no envelope: {error}"), state)),
            };
            let route = match self.way(state, &mut probes) {
                Way::To(route) => route,
                Way::Stop => return None,
                Way::Skip => return Some(state),
                Way::Nobody => return Some(self.quarantine(id, record, "no Kafka cluster takes it", state)),
            };
            let refused = if let State::Suspect { refused } = state { refused } else { 0 };
            // Asking for a topic that is missing takes seconds, in which the cluster would count as stalled.
            if envelope.kind == Kind::Rejected && !self.has_rejected[route.cluster as usize] {
                return Some(after(Fault::Record, Route { alone: true, ..route }, refused));
            }
            match self.send(token, &envelope, route) {
                Ok(()) => Some(State::Sent { route, refused }),
                Err(Code::QueueFull) => None,
                // Larger than any request of ours may be, on either cluster.
                Err(Code::MessageSizeTooLarge) => {
                    Some(self.quarantine(id, record, "larger than message.max.bytes", state))
                }
                // Events are not held up for those that were set aside.
                Err(code) if envelope.kind == Kind::Rejected && Fault::of(code) == Fault::Topic => {
                    Some(after(Fault::Record, route, refused))
                }
                Err(code) => {
                    trouble = Some((route, code));
                    None
                }
            }
        });
        trouble
    }

    fn way(&mut self, state: State, probes: &mut Option<(Cluster, u32)>) -> Way {
        let target = self.router.target();
        if let State::Suspect { refused } = state {
            let Some(target) = target else { return Way::Skip };
            let other = Some(target.other()).filter(|other| self.router.pin().is_none() && self.router.is_good(*other));
            let may = |cluster: &Cluster| refused & bit(*cluster) == 0;
            return match [Some(target), other].into_iter().flatten().find(may) {
                Some(cluster) if self.outlets[cluster as usize].retry.is_open(self.now) => {
                    Way::To(Route { cluster, alone: true })
                }
                Some(_) => Way::Skip,
                None => Way::Nobody,
            };
        }
        if let Some((cluster, left @ 1..)) = probes {
            *left -= 1;
            return Way::To(Route { cluster: *cluster, alone: false });
        }
        let Some(cluster) = target else { return Way::Stop };
        let retry = &mut self.outlets[cluster as usize].retry;
        if !retry.is_open(self.now) || state == State::Again && !retry.take(self.now) {
            return Way::Stop;
        }
        Way::To(Route { cluster, alone: false })
    }

    #[expect(unsafe_code, reason = "the value is lent to librdkafka, not copied")]
    fn send(&mut self, token: Token, envelope: &Envelope<'_>, route: Route) -> Result<(), Code> {
        let (topic, partition, track) = match (envelope.kind, envelope.message_id) {
            (Kind::Event, Some(id)) => {
                let partition = partition_of(id, self.partitions);
                (EVENTS, Some(partition), partition)
            }
            _ => (EVENTS_REJECTED, None, self.partitions.get()),
        };
        let mut decimal = itoa::Buffer::new();
        let headers =
            [(SOURCE, envelope.source.as_bytes()), (RECEIVED_AT, decimal.format(envelope.received_at_ms).as_bytes())];
        let record = Record {
            topic,
            partition,
            key: envelope.message_id.map(MessageId::as_bytes),
            value: envelope.value,
            headers: Headers::These(&headers),
        };
        let token = token.on_track(track as u16);
        let line = self.outlets[route.cluster as usize].line(route);
        let was_idle = line.progress.outstanding() == 0;
        let producer = line.producer().ok_or(Code::Fail)?;
        if was_idle {
            // Whatever was heard while nothing was sent may be long over; what still holds is heard again at once.
            producer.reached();
        }
        // SAFETY: the value lies in a batch of the window. The window notes this loan when it hears that the record was
        // sent, and neither changes nor frees a batch before every loan was given back, which happens when the report
        // was taken or the producer was closed. The producers are dropped before the window.
        unsafe { producer.produce(&record, token.to_usize()) }?;
        line.progress.handed_over(usize::from(token.track), self.now);
        Ok(())
    }

    /// Keeps a record that nobody takes, and is done with it; where it cannot be kept, it stays as it is.
    fn quarantine(&mut self, id: RecordId, record: &[u8], reason: &str, state: State) -> State {
        match self.reader.quarantine(id, record, reason) {
            Ok(()) => {
                warn!(%id, reason, "a record was set aside in the quarantine");
                self.figures.quarantined += 1;
                self.figures.blocked.clear();
                State::Done
            }
            Err(error) => {
                let said = format!("a record that no cluster takes cannot be set aside: {error}");
                if self.figures.blocked != said {
                    error!(%id, reason, %error, "a record cannot be set aside; the floor stands until it can");
                    self.figures.blocked = said;
                }
                state
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_wire() {
        let pairs = [
            (EVENTS, wire::topic::EVENTS),
            (EVENTS_REJECTED, wire::topic::EVENTS_REJECTED),
            (SOURCE, wire::topic::SOURCE_HEADER),
            (RECEIVED_AT, wire::topic::RECEIVED_AT_HEADER),
        ];
        for (mine, wires) in pairs {
            assert_eq!(mine.to_str().unwrap(), wires);
        }
    }
}
