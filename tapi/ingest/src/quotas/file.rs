//! The bytes of the file of quotas. Pure: values in, bytes out, and back.
//!
//! All numbers are little-endian.
//!
//! | bytes | |
//! |---|---|
//! | 8 | `TURNQUOT` |
//! | 4 | version, 1 |
//! | 4 | whose counts these are: 0 of configured sources, 1 of the slots that any key falls into |
//! | 8 | the day since 1970-01-01 in UTC that they are of |
//! | 16 | the seed by which keys fall into slots; 0 for configured sources |
//! | 8 | what a text known to both ends hashes to under that seed: another build may hash otherwise |
//! | 4 | how many counts follow |
//! | each: 2 + n + 8 | length of the source's id, or 4; the id, or the slot's number; events of the day |
//! | 4 | CRC-32 as of gzip over all before |

use zlib_rs::crc32::crc32;

const MAGIC: &[u8; 8] = b"TURNQUOT";
const VERSION: u32 = 1;

/// What sources have sent of their daily quotas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Days since 1970-01-01.
    pub(crate) day: u64,
    pub(crate) of: Of,
}

/// Whose they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Of {
    /// Of these sources, by their ids.
    Sources(Vec<(Vec<u8>, u64)>),
    /// Of these slots, under a seed, with what [`super::seed::Seed::check`] gives for it.
    Slots { seed: [u64; 2], check: u64, counts: Vec<(u32, u64)> },
}

impl Default for Of {
    fn default() -> Self {
        Self::Sources(Vec::new())
    }
}

pub(crate) fn encode(counts: &Counts) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    let (kind, [first, second], check, count) = match &counts.of {
        Of::Sources(counts) => (0_u32, [0, 0], 0, counts.len()),
        Of::Slots { seed, check, counts } => (1, *seed, *check, counts.len()),
    };
    out.extend_from_slice(&kind.to_le_bytes());
    for word in [counts.day, first, second, check] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&(count as u32).to_le_bytes());
    let mut entry = |name: &[u8], events: u64| {
        out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        out.extend_from_slice(name);
        out.extend_from_slice(&events.to_le_bytes());
    };
    match &counts.of {
        Of::Sources(counts) => counts.iter().for_each(|(id, events)| entry(id, *events)),
        Of::Slots { counts, .. } => counts.iter().for_each(|(slot, events)| entry(&slot.to_le_bytes(), *events)),
    }
    let sum = crc32(0, &out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// `None` for what [`encode`] did not write, or not whole.
pub(crate) fn decode(bytes: &[u8]) -> Option<Counts> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if u32::from_le_bytes(*sum) != crc32(0, body) {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    if u32_of(&mut rest)? != VERSION {
        return None;
    }
    let kind = u32_of(&mut rest)?;
    let (day, seed) = (u64_of(&mut rest)?, [u64_of(&mut rest)?, u64_of(&mut rest)?]);
    let (check, count) = (u64_of(&mut rest)?, u32_of(&mut rest)?);
    let entries = (0..count).map(|_| {
        let length = usize::from(u16::from_le_bytes(*take::<2>(&mut rest)?));
        let (name, behind) = rest.split_at_checked(length)?;
        rest = behind;
        Some((name, u64_of(&mut rest)?))
    });
    let of = match kind {
        0 => Of::Sources(entries.map(|entry| entry.map(|(id, events)| (id.to_vec(), events))).collect::<Option<_>>()?),
        1 => {
            let slot = |(name, events): (&[u8], u64)| Some((u32::from_le_bytes(name.try_into().ok()?), events));
            Of::Slots { seed, check, counts: entries.map(|entry| entry.and_then(slot)).collect::<Option<_>>()? }
        }
        _ => return None,
    };
    rest.is_empty().then_some(Counts { day, of })
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(taken)
}

fn u32_of(rest: &mut &[u8]) -> Option<u32> {
    take(rest).map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_of(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> [Counts; 3] {
        let sources = vec![(b"web".to_vec(), 7), (vec![b'x'; 256], u64::MAX)];
        let slots = Of::Slots { seed: [1, 2], check: 3, counts: vec![(0, 1), (65_535, 9)] };
        [Counts::default(), Counts { day: 20_000, of: Of::Sources(sources) }, Counts { day: 1, of: slots }]
    }

    #[test]
    fn what_is_written_is_read() {
        for counts in all() {
            assert_eq!(decode(&encode(&counts)), Some(counts));
        }
    }

    #[test]
    fn every_field_stands_where_the_table_says() {
        let counts = Counts { day: 0x0807, of: Of::Sources(vec![(b"web".to_vec(), 0x0201)]) };
        let mut expected = b"TURNQUOT\x01\0\0\0\0\0\0\0\x07\x08\0\0\0\0\0\0".to_vec();
        expected.extend_from_slice(&[0; 24]);
        expected.extend_from_slice(b"\x01\0\0\0\x03\0web\x01\x02\0\0\0\0\0\0");
        let sum = crc32(0, &expected);
        expected.extend_from_slice(&sum.to_le_bytes());
        assert_eq!(encode(&counts), expected);
    }

    #[test]
    fn what_is_torn_or_changed_is_none() {
        for counts in all() {
            let bytes = encode(&counts);
            for end in 0..bytes.len() {
                assert_eq!(decode(&bytes[..end]), None, "{end}");
            }
            for index in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[index] ^= 0x10;
                assert_eq!(decode(&changed), None, "{index}");
            }
        }
        assert_eq!(decode(b"something else altogether"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_under_a_good_checksum_make_it_panic(
            kind in 0..3_u8,
            rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120),
        ) {
            let mut bytes = [&MAGIC[..], &[1, 0, 0, 0, kind, 0, 0, 0], &rest].concat();
            let sum = crc32(0, &bytes);
            bytes.extend_from_slice(&sum.to_le_bytes());
            if let Some(counts) = decode(&bytes) {
                proptest::prop_assert_eq!(decode(&encode(&counts)), Some(counts));
            }
        }
    }
}
