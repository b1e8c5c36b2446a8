//! Holds `WIRE.md` to the code: every block of annotated bytes there is what the encoders write for the values below.

use wire::changelog::{
    Chain, Checkpoint, FileRange, Framed, Genesis, Link, LogPositions, Mark, Moved, Output, Position, Record,
    encode_batch, encode_checkpoint, encode_genesis, encode_mark,
};
use wire::envelope::{Envelope, begin_event, begin_rejected};
use wire::topic::{RULES, Retention, Rule};
use wire::{Bucket, Digest, DigestSeed, LaneCount, MessageId, SourceId, Window, partition};

const DOCUMENT: &str = include_str!("../WIRE.md");

/// The bytes of the block that starts with "```bytes NAME": everything before each line's `|`, as hexadecimal.
fn documented(name: &str) -> Vec<u8> {
    let (_, block) = DOCUMENT.split_once(&format!("```bytes {name}\n")).expect("the block is in WIRE.md");
    let (block, _) = block.split_once("```").expect("the block ends");
    let digits: String = block
        .lines()
        .map(|line| line.split('|').next().unwrap_or_default())
        .flat_map(|hex| hex.chars().filter(|c| !c.is_whitespace()))
        .collect();
    assert_eq!(digits.len() % 2, 0, "{name}: whole bytes");
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect("hexadecimal"))
        .collect()
}

fn assert_documented(name: &str, encoded: &[u8]) {
    assert!(documented(name) == encoded, "{name}: WIRE.md differs from what is encoded: {encoded:02x?}");
}

fn source() -> SourceId<'static> {
    SourceId::try_new(b"web").unwrap()
}

fn message_id() -> MessageId<'static> {
    MessageId::try_new(b"m-1").unwrap()
}

fn genesis() -> Genesis {
    Genesis {
        lanes: LaneCount::try_new(8).unwrap(),
        seed: DigestSeed(0x0102_0304_0506_0708),
        window: Window::default(),
        created_ms: 1_700_000_000_000,
    }
}

fn positions() -> Vec<LogPositions> {
    let position = Position { partition: 11, leader_epoch: 5, next_offset: 1_000, appended_ms: 1_700_000_000_400 };
    vec![LogPositions { cluster_id: b"c1".to_vec(), topic_id: [0xaa; 16], partitions: vec![position] }]
}

fn chain() -> Chain {
    Chain { before: Some(Link { end: 70, checksum: 0x0102_0304_0506_0708 }), checkpoint: Some(64) }
}

#[test]
fn envelopes_are_as_documented() {
    let mut event = Vec::new();
    begin_event(&mut event, source(), message_id(), 1_700_000_000_123);
    event.extend_from_slice(b"{}");
    assert_documented("envelope-event", &event);
    assert_eq!(Envelope::decode(&documented("envelope-event")).unwrap().value(), b"{}");

    let mut rejected = Vec::new();
    begin_rejected(&mut rejected, source(), None, 1_700_000_000_123);
    rejected.extend_from_slice(b"{}");
    assert_documented("envelope-rejected", &rejected);
}

#[test]
fn changelog_records_are_as_documented() {
    let decoded =
        |name| Framed::decode(&documented(name)).map(|framed| (framed.lane, framed.chain, framed.record)).is_ok();
    let mut bytes = Vec::new();
    encode_genesis(&mut bytes, 3, Chain::default(), &genesis());
    assert_documented("genesis", &bytes);

    let mut bytes = Vec::new();
    let entries = [(Digest(1), Bucket(19_675)), (Digest(2), Bucket(19_675)), (Digest(3), Bucket(19_676))];
    let moved = Moved { positions: &positions(), is_all: false };
    encode_batch(&mut bytes, (3, chain()), 1_700_000_000_500, moved, Output::Partition(19), &entries);
    assert_documented("batch", &bytes);

    let mut bytes = Vec::new();
    let output = Output::File(FileRange { file: 7, start: 70, end: 73 });
    let moved = Moved { positions: &[], is_all: true };
    encode_batch(&mut bytes, (0, chain()), 1_700_000_000_500, moved, output, &[]);
    assert_documented("batch-standalone", &bytes);

    let mut bytes = Vec::new();
    let checkpoint = Checkpoint { genesis: genesis(), positions: positions(), clock_ms: 1_700_000_000_500 };
    encode_checkpoint(&mut bytes, 3, chain(), &checkpoint);
    assert_documented("checkpoint", &bytes);
    let framed = Framed { lane: 3, chain: chain(), record: Record::Checkpoint(checkpoint) };
    assert_eq!(Framed::decode(&documented("checkpoint")), Ok(framed));

    let mut bytes = Vec::new();
    encode_mark(&mut bytes, 3, &Mark { rebuild: [0xbb; 16], created_ms: 1_700_000_000_000 });
    assert_documented("mark", &bytes);
    assert!(["genesis", "batch", "batch-standalone", "checkpoint", "mark"].into_iter().all(decoded));
}

#[test]
fn identity_and_partition_are_as_documented() {
    let seed = DigestSeed(0x0102_0304_0506_0708);
    assert_documented("digest", &Digest::of(seed, source(), message_id()).to_bytes());
    assert_documented("murmur2", &partition::murmur2(message_id().as_bytes()).to_le_bytes());
}

#[test]
fn limits_are_as_documented() {
    use wire::limits::*;
    for (name, value) in [
        ("REQUEST_BYTES_MAX", REQUEST_BYTES_MAX),
        ("EVENT_BYTES_MAX", EVENT_BYTES_MAX),
        ("BATCH_EVENTS_MAX", BATCH_EVENTS_MAX),
        ("EVENT_DEPTH_MAX", EVENT_DEPTH_MAX),
        ("MESSAGE_ID_BYTES_MAX", MESSAGE_ID_BYTES_MAX),
        ("SOURCE_BYTES_MAX", SOURCE_BYTES_MAX),
        ("RECORD_BYTES_MAX", RECORD_BYTES_MAX),
        ("CHANGELOG_ENTRIES_MAX", CHANGELOG_ENTRIES_MAX),
        ("POSITION_LOGS_MAX", POSITION_LOGS_MAX),
        ("POSITION_PARTITIONS_MAX", POSITION_PARTITIONS_MAX),
        ("LANES_MAX", LANES_MAX as usize),
    ] {
        let row = format!("| `{name}` | {value} |");
        assert!(DOCUMENT.contains(&row), "WIRE.md lacks the row {row}");
    }
}

#[test]
fn rules_of_topics_are_as_documented() {
    let retention = Retention::default();
    let row = |rule: &Rule| {
        let topics: Vec<_> = rule.topics.iter().map(|topic| format!("`{topic}`")).collect();
        let Rule { setting, must, why, .. } = rule;
        let (must, given) = (must.words(retention), rule.given(retention).unwrap_or("-".into()));
        let (topics, otherwise) = (topics.join(", "), if rule.refuse { "refused" } else { "warned of" });
        format!("| {topics} | `{setting}` | {must} | {otherwise} | {given} | {why} |")
    };
    let coded: Vec<_> = RULES.iter().map(row).collect();
    let (_, table) = DOCUMENT.split_once("| topics | setting |").expect("the table is in WIRE.md");
    let documented: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(documented == coded, "the rows in WIRE.md must be\n{}", coded.join("\n"));
}
