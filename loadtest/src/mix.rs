//! Choices that are a pure function of the seed: a hash in place of a random source, so that event `n` can be made
//! again without making those before it.

/// What a choice is about; two choices about the same number must not be related.
#[derive(Clone, Copy)]
pub(crate) enum About {
    Duplicate = 1,
    DuplicateDistance,
    DuplicateFar,
    MissingMessageId,
    Template,
    AnonymousId,
    UserId,
    Nonce,
    Gzip,
    Padding,
    Jitter,
}

/// A hash of the three (splitmix64's finaliser, applied once for the seed and once for the number).
pub(crate) fn mix(seed: u64, about: About, number: u64) -> u64 {
    finalise(finalise(seed ^ (about as u64) << 56).wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// True for `share` of all hashes; `share` lies between 0 and 1.
pub(crate) fn falls_within(hash: u64, share: f64) -> bool {
    // 53 bits fill a double's mantissa, so that 1.0 is above every value.
    ((hash >> 11) as f64) / ((1_u64 << 53) as f64) < share
}

fn finalise(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_out_as_asked() {
        for share in [0.0, 0.01, 0.5, 1.0] {
            let hits = (0..100_000).filter(|&n| falls_within(mix(7, About::Gzip, n), share)).count();
            assert!((hits as f64 / 100_000.0 - share).abs() < 0.005, "{share}: {hits}");
        }
    }

    #[test]
    fn seed_subject_and_number_all_matter() {
        let value = mix(1, About::Gzip, 1);
        assert_ne!(value, mix(2, About::Gzip, 1));
        assert_ne!(value, mix(1, About::UserId, 1));
        assert_ne!(value, mix(1, About::Gzip, 2));
        assert_eq!(value, mix(1, About::Gzip, 1));
    }
}
