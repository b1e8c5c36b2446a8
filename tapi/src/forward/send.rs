//! Handing records over: to which topic and partition, and what follows from what a producer says to it.

use std::ffi::CStr;
use std::time::Instant;

use kafka::{Code, Headers, Record};
use wire::MessageId;
use wire::envelope::Envelope;

use super::choice::Choice;
use super::fault::Fault;
use super::in_flight::{InFlight, Shown, State, Token};
use super::outlets::{Outlets, track_of};
use super::route::Route;
use super::way::{Way, Ways};

const EVENTS: &CStr = c"events";
const EVENTS_REJECTED: &CStr = c"events.rejected";
const SOURCE: &CStr = c"source";
const RECEIVED_AT: &CStr = c"receivedAt";

/// What handing over works with.
pub(super) struct Sender<'a> {
    pub(super) outlets: &'a mut Outlets,
    pub(super) ways: Ways<'a>,
    /// The partitions of each cluster; one without them gets nothing.
    pub(super) choices: [Option<Choice>; 2],
    /// Whether each cluster has the topic for events that were set aside.
    pub(super) takes_rejected: [bool; 2],
    pub(super) now: Instant,
}

impl Sender<'_> {
    /// Hands over as much as there is, and as may go. Gives the producer that did not take a record for a reason other
    /// than a full queue, if any, and that reason.
    pub(super) fn run(mut self, in_flight: &mut InFlight) -> Option<(Route, Code)> {
        let mut trouble = None;
        in_flight.hand_over(|token, record, state| {
            let envelope = match Envelope::decode(record) {
                Ok(envelope) => envelope,
                Err(error) => return Shown::Aside(format!("no envelope: {error}").into()),
            };
            let route = match self.ways.next(state, self.outlets.retries()) {
                Way::To(route) => route,
                Way::Stop => return Shown::Stop,
                Way::Skip => return Shown::Is(state),
                Way::Nobody => return Shown::Aside("no Kafka cluster takes it".into()),
            };
            let refused = if let State::Suspect { refused } = state { refused } else { 0 };
            // Asking for a topic that is missing takes seconds, in which the cluster would count as stalled.
            if !envelope.is_event() && !self.takes_rejected[route.cluster as usize] {
                return Shown::Is(State::after(Fault::Record, Route { alone: true, ..route }, refused));
            }
            let sent = match self.partition(&envelope, route) {
                Some(partition) => self.send(token, &envelope, route, partition),
                // Every partition of its lane is unknown to the producer; those behind it need not wait.
                None => return Shown::Is(state),
            };
            match sent {
                Ok(()) => Shown::Is(State::Sent { route, refused }),
                Err(Code::QueueFull) => Shown::Stop,
                // Larger than any request of ours may be, on either cluster.
                Err(Code::MessageSizeTooLarge) => Shown::Aside("larger than message.max.bytes".into()),
                // Events are not held up for those that were set aside.
                Err(code) if !envelope.is_event() && matches!(Fault::of(code), Fault::Topic | Fault::Partition) => {
                    Shown::Is(State::after(Fault::Record, route, refused))
                }
                Err(code) if Fault::of(code) == Fault::Partition => Shown::Is(state),
                Err(code) => {
                    trouble = Some((route, code));
                    Shown::Stop
                }
            }
        });
        trouble
    }

    /// The partition of an event, and none of what was set aside; `None` where it has to wait.
    fn partition(&mut self, envelope: &Envelope<'_>, route: Route) -> Option<Option<u32>> {
        let Envelope::Event(event) = envelope else { return Some(None) };
        let choice = self.choices[route.cluster as usize]?;
        let progress = &self.outlets.line(route).progress;
        choice.choose(event.message_id, |partition| progress.health(partition, self.now)).map(Some)
    }

    #[expect(unsafe_code, reason = "the value is lent to librdkafka, not copied")]
    fn send(
        &mut self,
        token: Token,
        envelope: &Envelope<'_>,
        route: Route,
        partition: Option<u32>,
    ) -> Result<(), Code> {
        let topic = if envelope.is_event() { EVENTS } else { EVENTS_REJECTED };
        let track = track_of(partition);
        let mut decimal = itoa::Buffer::new();
        let headers = [
            (SOURCE, envelope.source().as_bytes()),
            (RECEIVED_AT, decimal.format(envelope.received_at_ms()).as_bytes()),
        ];
        let record = Record {
            topic,
            partition,
            key: envelope.message_id().map(MessageId::as_bytes),
            value: envelope.value(),
            headers: Headers::These(&headers),
        };
        let token = token.on_track(track as u16);
        let line = self.outlets.line(route);
        let was_idle = line.progress.outstanding() == 0;
        let producer = line.producer().ok_or(Code::Fail)?;
        if was_idle {
            // Whatever was heard while nothing was sent may be long over; what still holds is heard again at once.
            producer.reached();
        }
        // SAFETY: the value lies in a batch of the window. The window notes this loan when it hears that the record was
        // sent, and neither changes nor frees a batch before every loan was given back, which happens when the report
        // was taken or the producer was closed. The producers are dropped before the window.
        let taken = unsafe { producer.produce(&record, token.to_usize()) };
        if partition.is_some() && taken.is_err_and(|code| Fault::of(code) == Fault::Partition) {
            line.progress.unknown(usize::from(token.track), self.now);
        }
        taken?;
        line.progress.handed_over(usize::from(token.track), self.now);
        Ok(())
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
