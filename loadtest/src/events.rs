//! Event `n`, made from nothing but the workload and `n`.

use crate::Error;
use crate::mix::{About, mix};
use crate::plan::Plan;
use crate::template::{ID_BYTES, Kind, NUMBER_DIGITS, Recipe, Template};
use crate::workload::Workload;

const HEX: &[u8; 16] = b"0123456789abcdef";
/// userIds there are; low numbers are far more frequent.
const USERS: u64 = 1_000_000;

/// Makes events; cheap enough to make each one again when its output is checked.
#[derive(Debug, Clone)]
pub struct Events {
    seed: u64,
    plan: Plan,
    /// By kind, variant and whether there is a messageId.
    templates: Vec<Template>,
}

impl Events {
    /// The events of a workload.
    ///
    /// # Errors
    /// [`Error::Usage`] where the workload is out of its bounds or its events are too small for their fields.
    pub fn try_new(workload: &Workload) -> Result<Self, Error> {
        workload.check()?;
        let seed = workload.seed;
        let mut templates = Vec::with_capacity(Kind::ALL.len() * Template::VARIANTS * 2);
        let mut needed_bytes = 0;
        for kind in Kind::ALL {
            for variant in 0..Template::VARIANTS {
                for has_message_id in [false, true] {
                    let recipe = Recipe { seed, kind, variant, has_message_id };
                    match Template::try_new(recipe, workload.event_bytes) {
                        Ok(template) => templates.push(template),
                        Err(needed) => needed_bytes = needed_bytes.max(needed),
                    }
                }
            }
        }
        if needed_bytes > 0 {
            let message = format!("--event-bytes {}: at least {needed_bytes}", workload.event_bytes);
            return Err(Error::Usage(message));
        }
        Ok(Self { seed, plan: Plan::new(workload), templates })
    }

    /// Which request carries which event.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Appends event `number` to `out`: always the same bytes.
    pub fn write(&self, number: u64, out: &mut Vec<u8>) {
        let start = out.len();
        let template = self.template(number);
        out.extend_from_slice(&template.bytes);
        let (event, holes) = (&mut out[start..], &template.holes);
        write_decimal(&mut event[holes.number..][..NUMBER_DIGITS], number);
        write_time(&mut event[holes.time..], number);
        let ids = [mix(self.seed, About::AnonymousId, number), mix(self.seed, About::AnonymousId, !number)];
        write_uuid(&mut event[holes.anonymous_id..], ids);
        write_decimal(&mut event[holes.user..][..6], user(mix(self.seed, About::UserId, number)));
        write_hex(&mut event[holes.nonce..][..16], mix(self.seed, About::Nonce, number));
    }

    /// The messageId of event `number`, or the marker of one that has none.
    pub fn id(&self, number: u64) -> String {
        format!("lt-{:016x}-{number:0width$}", self.seed, width = NUMBER_DIGITS)
    }

    pub(crate) fn kind(&self, number: u64) -> Kind {
        self.template(number).kind
    }

    pub(crate) fn template(&self, number: u64) -> &Template {
        let hash = mix(self.seed, About::Template, number);
        let mut percent = hash % 100;
        let kind = Kind::ALL.iter().position(|kind| {
            let is_it = percent < kind.percent();
            percent = percent.wrapping_sub(kind.percent());
            is_it
        });
        let variant = match (hash >> 32) % 100 {
            0..50 => 0,
            50..75 => 1,
            75..90 => 2,
            _ => 3,
        };
        let has_message_id = !self.plan.lacks_message_id(number);
        &self.templates[(kind.unwrap_or(0) * Template::VARIANTS + variant) * 2 + usize::from(has_message_id)]
    }
}

/// Seed and number of an id or marker that some run of this program made.
pub(crate) fn parse_id(text: &[u8]) -> Option<(u64, u64)> {
    if text.len() != ID_BYTES || !text.starts_with(b"lt-") || text[19] != b'-' {
        return None;
    }
    let seed = text[3..19].iter().try_fold(0, |value, byte| {
        let digit = HEX.iter().position(|hex| hex == byte)?;
        Some(value << 4 | digit as u64)
    })?;
    let number = text[20..]
        .iter()
        .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0')))?;
    Some((seed, number))
}

/// The product of two even choices, which favours low numbers as real users' activity does.
fn user(hash: u64) -> u64 {
    (hash & 0xffff_ffff) * (hash >> 32) / (1 << 32) * USERS / (1 << 32)
}

fn write_decimal(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn write_hex(place: &mut [u8], value: u64) {
    for (index, digit) in place.iter_mut().enumerate() {
        *digit = HEX[(value >> (60 - 4 * index) & 15) as usize];
    }
}

/// Keeps the dashes, the version and the variant that the template has.
fn write_uuid(place: &mut [u8], [high, low]: [u64; 2]) {
    let mut digits = [0; 32];
    write_hex(&mut digits[..16], high);
    write_hex(&mut digits[16..], low);
    place[..8].copy_from_slice(&digits[..8]);
    place[9..13].copy_from_slice(&digits[8..12]);
    place[15..18].copy_from_slice(&digits[13..16]);
    place[20..23].copy_from_slice(&digits[17..20]);
    place[24..36].copy_from_slice(&digits[20..]);
}

/// `DDTHH:MM:SS.mmm`, one millisecond an event, over and over the first 28 days of the month.
fn write_time(place: &mut [u8], number: u64) {
    write_decimal(&mut place[..2], 1 + number / 86_400_000 % 28);
    write_decimal(&mut place[3..5], number / 3_600_000 % 24);
    write_decimal(&mut place[6..8], number / 60_000 % 60);
    write_decimal(&mut place[9..11], number / 1_000 % 60);
    write_decimal(&mut place[12..15], number % 1_000);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Shape;

    fn event(workload: &Workload, number: u64) -> String {
        let mut bytes = Vec::new();
        Events::try_new(workload).expect("a good workload").write(number, &mut bytes);
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn an_event_depends_on_seed_and_number_alone() {
        let workload = Workload::new(5);
        assert_eq!(event(&workload, 77), event(&workload, 77));
        assert_ne!(event(&workload, 77), event(&workload, 78));
        assert_ne!(event(&workload, 77), event(&Workload::new(6), 77));
        let batches = Workload { shape: Shape::Batch, events_per_request: 50, duplicates: 0.5, ..workload.clone() };
        assert_eq!(event(&workload, 77), event(&batches, 77));
    }

    #[test]
    fn the_bytes_of_a_seed_stay_as_they_are() {
        let mut all = Vec::new();
        let workload = Workload { without_message_id: 0.1, ..Workload::new(1) };
        let events = Events::try_new(&workload).expect("a good workload");
        (0..1_000).for_each(|number| events.write(number, &mut all));
        assert_eq!(all.len(), 920_000);
        assert_eq!(crc32c::crc32c(&all), GOLDEN, "old ledgers can no longer be verified: raise run_file::FORMAT");
    }
    /// Of the first thousand events of seed 1.
    const GOLDEN: u32 = 0xb43f_e04c;

    #[test]
    fn events_are_json_with_their_fields() {
        let workload = Workload { without_message_id: 0.5, ..Workload::new(0xabc) };
        let events = Events::try_new(&workload).expect("a good workload");
        for number in 0..2_000 {
            let mut bytes = Vec::new();
            events.write(number, &mut bytes);
            let text = String::from_utf8(bytes).expect("UTF-8");
            let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(text.len(), 920);
            assert_eq!(value["type"], events.kind(number).name());
            let id = events.id(number);
            assert_eq!(parse_id(id.as_bytes()), Some((0xabc, number)));
            if events.plan().lacks_message_id(number) {
                assert!(value.get("messageId").is_none() && text.contains(&id));
            } else {
                assert_eq!(value["messageId"], id);
            }
        }
    }

    #[test]
    fn times_are_dates() {
        let mut place = *b"..T..:..:......";
        place[11] = b'.';
        write_time(&mut place, 27 * 86_400_000 + 86_399_999);
        assert_eq!(&place, b"28T23:59:59.999");
        write_time(&mut place, 28 * 86_400_000);
        assert_eq!(&place, b"01T00:00:00.000");
    }

    #[test]
    fn foreign_ids_are_not_taken_for_ours() {
        for text in [
            "",
            "lt-0000000000000abc-00000000001",
            "lt-0000000000000ABC-000000000001",
            "lx-0000000000000abc-000000000001",
            "lt-0000000000000abc-00000000000x",
            "lt-0000000000000abc_000000000001",
        ] {
            assert_eq!(parse_id(text.as_bytes()), None, "{text}");
        }
    }
}
