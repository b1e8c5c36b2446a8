//! Events as they lie in Kafka: key, headers and 500 bytes of JSON whose ids, numbers and names differ as those of real
//! traffic do, so that compression finds what it finds there. Each event follows from its number.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use wire::partition::partition_of;
use wire::{MessageId, PartitionCount};

/// Bytes of a value.
pub const VALUE_BYTES: usize = 500;
/// One record in so many is a repeat.
pub const REPEATS_PERIOD: u64 = 100;
/// A repeat is of one of so many events before it.
const REPEAT_DISTANCE: u64 = 100_000;
/// Digits of the number in a key.
const NUMBER_DIGITS: usize = 12;
const KEY_START: &str = "ajs-next-1795248";
/// Where the number begins in a key.
const NUMBER_AT: usize = KEY_START.len();
/// When the first event was received; each comes a millisecond after the one before.
const FIRST_RECEIVED_MS: i64 = 1_795_248_000_000;

const NAMES: [&str; 8] = [
    "Product Viewed",
    "Page Viewed",
    "Order Completed",
    "Product Added",
    "Cart Viewed",
    "Checkout Started",
    "Search Performed",
    "Signed In",
];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
];
/// The sources that post.
const SOURCES: [&str; 4] = ["web-shop", "ios", "android", "server"];

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its messageId.
    pub key: String,
    /// Who sent it.
    pub source: &'static str,
    /// When it was received, milliseconds since the Unix epoch.
    pub received_at_ms: i64,
    /// JSON.
    pub value: Vec<u8>,
}

/// The event with this number.
pub fn event(number: u64) -> Event {
    let mut rng = SmallRng::seed_from_u64(number);
    let key = format!("{KEY_START}{number:0NUMBER_DIGITS$}-{:08x}", rng.random::<u32>());
    let received_at_ms = FIRST_RECEIVED_MS + number as i64;
    let (name, agent) = (NAMES[rng.random_range(0..NAMES.len())], AGENTS[rng.random_range(0..AGENTS.len())]);
    let mut value = format!(
        concat!(
            r#"{{"messageId":"{}","type":"track","event":"{}","userId":"u{}","anonymousId":"{:08x}-{:04x}-4{:03x}-{:016x}","#,
            r#""properties":{{"sku":"{:07}","price":{}.{:02},"quantity":{}}},"#,
            r#""context":{{"ip":"{}.{}.{}.{}","page":{{"path":"/p/{:06}"}},"userAgent":"{}"}},"#,
            r#""receivedAt":"{}","note":""#
        ),
        key,
        name,
        rng.random_range(0..5_000_000),
        rng.random::<u32>(),
        rng.random::<u16>(),
        rng.random_range(0..0x1000),
        rng.random::<u64>(),
        rng.random_range(0..2_000_000),
        rng.random_range(1..500),
        rng.random_range(0..100),
        rng.random_range(1..5),
        rng.random_range(1..224),
        rng.random::<u8>(),
        rng.random::<u8>(),
        rng.random::<u8>(),
        rng.random_range(0..300_000),
        agent,
        received_at_ms,
    )
    .into_bytes();
    let end = br#""}"#;
    while value.len() + end.len() < VALUE_BYTES {
        value.push(b'a' + rng.random_range(0..26));
    }
    value.extend_from_slice(end);
    Event { key, source: SOURCES[number as usize % SOURCES.len()], received_at_ms, value }
}

/// Where it belongs among so many partitions.
///
/// # Panics
/// Where there are none.
pub fn partition(event: &Event, partitions: u32) -> u32 {
    let id = MessageId::try_new(event.key.as_bytes()).expect("an id of an allowed length");
    partition_of(id, PartitionCount::try_new(partitions).expect("at least one partition"))
}

/// An event and where it belongs.
pub type Placed = (Event, u32);

/// The first so many events, each with its place among so many partitions.
///
/// # Panics
/// Where there are none.
pub fn placed(events: u64, partitions: u32) -> Vec<Placed> {
    let place = |event| {
        let partition = partition(&event, partitions);
        (event, partition)
    };
    (0..events).map(event).map(place).collect()
}

/// The number in a key of this module.
pub fn number(key: &[u8]) -> Option<u64> {
    std::str::from_utf8(key.get(NUMBER_AT..NUMBER_AT + NUMBER_DIGITS)?).ok()?.parse().ok()
}

/// The numbers of so many records, a repeat among every hundred, and how many different ones they are.
pub fn numbers(records: u64) -> (impl Iterator<Item = u64>, u64) {
    let is_repeat = |record: u64| record % REPEATS_PERIOD == REPEATS_PERIOD - 1;
    let repeats_before = |record: u64| record / REPEATS_PERIOD;
    let mut rng = SmallRng::seed_from_u64(1);
    let all = (0..records).map(move |record| {
        let new = record - repeats_before(record);
        if is_repeat(record) { new - 1 - rng.random_range(0..REPEAT_DISTANCE.min(new)) } else { new }
    });
    (all, records - repeats_before(records))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_event_is_json_of_the_size_it_says_and_knows_its_number() {
        for number in [0, 7, 123_456_789] {
            let event = event(number);
            assert_eq!((event.value.len(), super::number(event.key.as_bytes())), (VALUE_BYTES, Some(number)));
            let value: serde_json::Value = serde_json::from_slice(&event.value).unwrap();
            assert_eq!(value["messageId"], event.key);
        }
        assert_eq!(number(b"short"), None);
    }

    #[test]
    fn one_record_in_a_hundred_is_a_repeat() {
        let (all, different) = numbers(250_000);
        let all: Vec<u64> = all.collect();
        assert_eq!(all.len(), 250_000);
        assert_eq!(all.iter().collect::<HashSet<_>>().len() as u64, different);
        assert_eq!((different, all.iter().max()), (247_500, Some(&247_499)));
    }
}
