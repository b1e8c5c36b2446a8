//! Whatever bytes a decoder is given, it answers and does not panic; and what it accepts, it reads to the last entry.

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, proptest};
use wire::changelog::{Chain, Framed, Moved, Output, Record, encode_batch, record_bytes};
use wire::envelope::Envelope;
use wire::{Bucket, Digest};

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Envelope::decode(&bytes);
        let _ = Framed::decode(&bytes);
        let _ = record_bytes(&bytes);
    }

    #[test]
    fn a_batch_survives_the_trip_and_a_changed_byte_does_not_go_unnoticed(
        entries in vec((any::<u128>(), any::<u32>()), 0..50),
        at in any::<proptest::sample::Index>(),
        flip in 1_u8..,
    ) {
        let entries: Vec<_> = entries.into_iter().map(|(digest, bucket)| (Digest(digest), Bucket(bucket))).collect();
        let mut bytes = Vec::new();
        let moved = Moved { positions: &[], is_all: true };
        encode_batch(&mut bytes, (1, Chain::default()), 2, moved, Output::None, &entries);
        let decoded = match Framed::decode(&bytes) {
            Ok(Framed { lane: 1, record: Record::Batch(batch), .. }) => batch.entries.iter().collect::<Vec<_>>(),
            other => panic!("not the batch that was written: {other:?}"),
        };
        prop_assert!(decoded == entries);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(Framed::decode(&bytes).is_err());
    }
}
