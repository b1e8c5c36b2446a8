//! The event that the benches post: a browser's track call of 920 bytes.

use rand::Rng;

/// Bytes of the event.
pub const EVENT_BYTES: usize = 920;
/// Digits of the number in the messageId.
pub const NUMBER_DIGITS: usize = 16;

const ID_START: &str = "ajs-next-";

/// The event with a zero number in its messageId.
pub fn event() -> Vec<u8> {
    let start = format!(
        concat!(
            r#"{{"timestamp":"2026-11-21T04:25:36.126Z","integrations":{{}},"userId":"user-48151623","#,
            r#""anonymousId":"5d3b2a1c-7f6e-4d5c-8b9a-0f1e2d3c4b5a","event":"Order Completed","type":"track","#,
            r#""properties":{{"orderId":"50314b8e9bcf","total":27.5,"currency":"USD","coupon":null,"#,
            r#""products":[{{"productId":"507f1f77bcf8","sku":"45790-32","name":"Monopoly: 3rd Edition","price":19,"quantity":1}},"#,
            r#"{{"productId":"505bd76785eb","sku":"46493-32","name":"Uno Card Game","price":3,"quantity":2}}]}},"#,
            r#""context":{{"page":{{"path":"/checkout","referrer":"https://shop.example/cart","search":"","title":"Checkout","url":"https://shop.example/checkout"}},"#,
            r#""userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36","locale":"en-US","library":{{"name":"analytics.js","version":"npm:next-1.84.3"}}}},"#,
            r#""messageId":"{}{:0width$}","note":""#
        ),
        ID_START,
        0,
        width = NUMBER_DIGITS
    );
    let end = r#""}"#;
    let padding = EVENT_BYTES - start.len() - end.len();
    [start.as_bytes(), &vec![b'x'; padding], end.as_bytes()].concat()
}

/// Where the number's digits begin in `bytes`, which hold one event.
///
/// # Panics
/// Where they do not.
pub fn number_offset(bytes: &[u8]) -> usize {
    let id = ID_START.as_bytes();
    bytes.windows(id.len()).position(|window| window == id).expect("an event of this module") + id.len()
}

/// The same for each event in `bytes`.
pub(crate) fn number_offsets(bytes: &[u8]) -> Vec<usize> {
    let id = ID_START.as_bytes();
    let found = bytes.windows(id.len()).enumerate().filter(|(_, window)| *window == id);
    found.map(|(at, _)| at + id.len()).collect()
}

/// Writes another number over the one in the messageId.
pub fn set_number(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Changes what differs from one event to the next of real traffic: who, which order, which products. A batch of equal
/// events would be packed into next to nothing.
///
/// # Panics
/// Where `event` is none of this module.
pub fn vary(event: &mut [u8], random: &mut impl Rng) {
    const VARIED: [(&str, usize); 5] = [
        (r#""userId":"user-"#, 8),
        (r#""anonymousId":""#, 8),
        (r#""orderId":""#, 12),
        (r#""sku":""#, 5),
        (r#""note":""#, 48),
    ];
    for (before, count) in VARIED {
        let found = event.windows(before.len()).position(|window| window == before.as_bytes());
        let start = found.expect("an event of this module") + before.len();
        for byte in event[start..].iter_mut().take(count).take_while(|byte| **byte != b'"') {
            *byte = b"0123456789abcdef"[random.random_range(0..16)];
        }
    }
}

/// The body of a batch of these events.
pub fn batch(events: &[Vec<u8>]) -> Vec<u8> {
    [br#"{"batch":["#.as_slice(), &events.join(&b','), br#"],"sentAt":"2026-11-21T04:25:37.000Z"}"#].concat()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn the_event_is_json_of_the_size_it_says() {
        let mut event = event();
        assert_eq!(event.len(), EVENT_BYTES);
        let offset = number_offset(&event);
        set_number(&mut event[offset..offset + NUMBER_DIGITS], 120);
        let value: serde_json::Value = serde_json::from_slice(&event).unwrap();
        assert_eq!(value["messageId"], "ajs-next-0000000000000120");
    }

    #[test]
    fn varied_events_are_json_and_differ() {
        let mut random = rand::rngs::StdRng::seed_from_u64(1);
        let events: Vec<_> = (0..3)
            .map(|_| {
                let mut event = event();
                vary(&mut event, &mut random);
                event
            })
            .collect();
        let value: serde_json::Value = serde_json::from_slice(&batch(&events)).unwrap();
        let orders: std::collections::HashSet<_> =
            (0..3).map(|index| value["batch"][index]["properties"]["orderId"].to_string()).collect();
        assert_eq!(orders.len(), 3);
    }
}
