//! The topics' names as librdkafka takes them.

use std::ffi::CStr;

pub(crate) const EVENTS: &CStr = c"events";
pub(crate) const EVENTS_DEDUPED: &CStr = c"events.deduped";
pub(crate) const EVENTS_INDEX: &CStr = c"events.index";
pub(crate) const EVENTS_REJECTED: &CStr = c"events.rejected";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_wire() {
        let pairs = [
            (EVENTS, wire::topic::EVENTS),
            (EVENTS_DEDUPED, wire::topic::EVENTS_DEDUPED),
            (EVENTS_INDEX, wire::topic::EVENTS_INDEX),
            (EVENTS_REJECTED, wire::topic::EVENTS_REJECTED),
        ];
        for (mine, wires) in pairs {
            assert_eq!(mine.to_str().unwrap(), wires);
        }
    }
}
