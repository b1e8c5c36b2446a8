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
use super::plan::Bounds;
use super::route::Route;
use super::way::{Way, Ways};

const EVENTS: &CStr = c"events";
const EVENTS_REJECTED: &CStr = c"events.rejected";
const SOURCE: &CStr = c"source";
const RECEIVED_AT: &CStr = c"receivedAt";

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// To a partition of `events`.
    Events(u32),
    /// To `events.rejected`, wherever librdkafka likes.
    Rejected,
}

impl Place {
    /// What is watched of it.
    fn track(self) -> usize {
        match self {
            Self::Events(partition) => track_of(Some(partition)),
            Self::Rejected => track_of(None),
        }
    }
}

/// What handing over works with.
pub(super) struct Sender<'a> {
    pub(super) outlets: &'a mut Outlets,
    pub(super) ways: Ways<'a>,
    /// What a lane may have out, where there are several.
    pub(super) share: Option<Bounds>,
    /// The lane that was last found to have it out, and so has until the next handing over.
    pub(super) full: Option<(Route, usize)>,
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
            if let State::Held { lane, .. } = state {
                // One of thousands perhaps, and shown again and again: not even its lane is found out anew.
                match self.ways.next(state.freed(), self.outlets.retries()) {
                    Way::To(route) if !self.has_room(route, usize::from(lane)) => return Shown::Is(state),
                    Way::Stop => return Shown::Stop,
                    Way::To(_) | Way::Skip | Way::Nobody => {}
                }
            }
            let state = state.freed();
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
            // Every partition of its lane is unknown to the producer, or it has no room: those behind it need not wait.
            let Some(place) = self.place(&envelope, route) else { return Shown::Is(state) };
            let lane = self.outlets.line(route).progress.lane(place.track());
            if !self.has_room(route, lane) {
                return Shown::Is(state.held(lane as u16));
            }
            match self.send(token, &envelope, route, place) {
                Ok(()) => {
                    self.ways.went(state, route, self.outlets.retries_mut());
                    Shown::Is(State::Sent { route, refused })
                }
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

    /// Where a record goes; `None` where it has to wait.
    fn place(&self, envelope: &Envelope<'_>, route: Route) -> Option<Place> {
        let Envelope::Event(event) = envelope else { return Some(Place::Rejected) };
        let choice = self.choices[route.cluster as usize]?;
        let (lane, outlet) = (choice.lanes().lane_of(event.message_id), self.outlets.of(route.cluster));
        let health = |partition| outlet.health(route, partition, self.now);
        choice.choose(lane, outlet.turns.of(lane), health).map(Place::Events)
    }

    /// Whether a lane has less than its share out on this route.
    fn has_room(&mut self, route: Route, lane: usize) -> bool {
        let Some(share) = self.share else { return true };
        if self.full == Some((route, lane)) {
            return false;
        }
        let has_room = self.outlets.line(route).progress.has_room(lane, share, self.now);
        if !has_room {
            self.full = Some((route, lane));
        }
        has_room
    }

    #[expect(unsafe_code, reason = "the value is lent to librdkafka, not copied")]
    fn send(&mut self, token: Token, envelope: &Envelope<'_>, route: Route, place: Place) -> Result<(), Code> {
        let (topic, partition) = match place {
            Place::Events(partition) => (EVENTS, Some(partition)),
            Place::Rejected => (EVENTS_REJECTED, None),
        };
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
        let token = token.on_track(place.track() as u16);
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
        line.progress.handed_over(usize::from(token.track), record.value.len(), self.now);
        if let (Some(partition), Some(choice)) = (partition, self.choices[route.cluster as usize]) {
            let lane = choice.lanes().lane_of_partition(partition);
            self.outlets.of_mut(route.cluster).turns.went(lane, record.value.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use service::Properties;
    use wire::envelope::{begin_event, begin_rejected};
    use wire::topic::Retention;
    use wire::{LaneCount, SourceId};

    use super::*;
    use crate::forward::breaker::Limits;
    use crate::forward::in_flight::tests::Rig;
    use crate::forward::plan::Plan;
    use crate::forward::router::{Cluster, Router};

    const MAIN: Route = Route::ALL[0];
    const BOUNDS: Bounds = Bounds { records_max: 100, bytes_max: 1 << 20 };

    /// To a primary that is not there: what it is given stays with librdkafka.
    fn outlets(now: Instant) -> Outlets {
        let clusters = [("primary", "127.0.0.1:1"), ("secondary", "")]
            .map(|(name, brokers)| kafka::Cluster::new("tapi", name, brokers, Properties::default()));
        let plan = Plan {
            clusters,
            pin: None,
            lanes: None,
            linger_ms: 0,
            bounds: BOUNDS,
            finish_within: Duration::ZERO,
            retention: Retention::default(),
            breaker: Limits::default(),
        };
        Outlets::new(&plan, now).unwrap()
    }

    /// Of lane 0, lane 1, none, and again.
    fn records(lanes: LaneCount, count: usize) -> Vec<Vec<u8>> {
        let ids: Vec<_> = (0..1000).map(|number| format!("id-{number}")).collect();
        let ids: Vec<_> = ids.iter().map(|id| MessageId::try_new(id.as_bytes()).unwrap()).collect();
        let source = SourceId::try_new(b"source").unwrap();
        let of = |lane| ids.iter().filter(move |id| lanes.lane_of(**id) == lane);
        let mut records = Vec::new();
        for (zero, one) in of(0).zip(of(1)) {
            for id in [Some(zero), Some(one), None] {
                let mut record = Vec::new();
                match id {
                    Some(id) => begin_event(&mut record, source, *id, 1),
                    None => begin_rejected(&mut record, source, None, 1),
                }
                record.extend_from_slice(b"{}");
                records.push(record);
            }
        }
        records.truncate(count);
        records
    }

    #[test]
    fn a_lane_that_has_its_share_out_waits_and_those_behind_it_do_not() {
        let (now, lanes) = (Instant::now(), LaneCount::try_new(2).unwrap());
        let mut rig = Rig::with(&records(lanes, 9), BOUNDS);
        // Later than the window, so gone before it: librdkafka reads there until then.
        let mut outlets = outlets(now);
        let mut router = Router::new(Limits::default(), None, now);
        router.set_usable(Cluster::Primary, true);
        let choice = Choice::new(lanes, 4);
        outlets.of_mut(Cluster::Primary).follow(choice, &[], now);
        let run = |outlets: &mut Outlets, rig: &mut Rig| {
            let ways = Ways::new(&router, outlets.awaited(now), now);
            let share = Some(Bounds { records_max: 2, ..BOUNDS });
            let choices = [choice, None];
            let sender = Sender { outlets, ways, share, full: None, choices, takes_rejected: [true; 2], now };
            assert_eq!(sender.run(&mut rig.in_flight), None);
        };
        rig.in_flight.fill();
        run(&mut outlets, &mut rig);
        let held = |lane| State::Held { lane, again: false };
        assert_eq!(rig.waiting(), [held(1), held(2), held(0)], "each lane has two out, and what was set aside is one");
        run(&mut outlets, &mut rig);
        assert_eq!((rig.waiting().len(), outlets.awaited(now)), (3, [6, 0]));
        let progress = &mut outlets.line(MAIN).progress;
        let has_one = [2, 4].into_iter().find(|track| progress.holds(*track) > 0).unwrap();
        progress.came_back(has_one, 2, true, now);
        run(&mut outlets, &mut rig);
        assert_eq!(rig.waiting(), [held(1), held(0)], "lane 1 has room");
    }

    #[test]
    fn a_partition_that_nobody_leads_gets_nothing_while_its_lane_has_another() {
        let (now, lanes) = (Instant::now(), LaneCount::ONE);
        let mut rig = Rig::with(&records(LaneCount::try_new(2).unwrap(), 60), BOUNDS);
        let mut outlets = outlets(now);
        let mut router = Router::new(Limits::default(), None, now);
        router.set_usable(Cluster::Primary, true);
        let choice = Choice::new(lanes, 2);
        outlets.of_mut(Cluster::Primary).follow(choice, &[1], now);
        rig.in_flight.fill();
        let ways = Ways::new(&router, outlets.awaited(now), now);
        let sender = Sender {
            outlets: &mut outlets,
            ways,
            share: None,
            full: None,
            choices: [choice, None],
            takes_rejected: [true; 2],
            now,
        };
        assert_eq!(sender.run(&mut rig.in_flight), None);
        let progress = &outlets.line(MAIN).progress;
        assert_eq!([0, 1, 2].map(|track| progress.holds(track)), [20, 40, 0]);
    }

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
