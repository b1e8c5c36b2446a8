//! Holds `scripts/kafka/topics.tsv`, by which topics are made, to the table of their rules.

use std::fmt::Write as _;

use wire::topic::{RULES, Retention, TOPICS, judge};

const FILE: &str = include_str!("../../scripts/kafka/topics.tsv");
const HEADER: &str = "\
# What a new topic is given, and the words for one that has another value: `wire/src/topic/rules.rs` as the script reads it.
# `wire/tests/script.rs` prints what this file must be.
# topic\tsetting\tgiven\tmust be\twhy
";

/// What the file must be: a line for each setting that a new topic is given.
fn expected() -> String {
    let (mut text, retention) = (HEADER.to_owned(), Retention::default());
    for topic in TOPICS {
        for rule in RULES.iter().filter(|rule| rule.topics.contains(&topic)) {
            let (setting, must, why) = (rule.setting, rule.must.words(retention), rule.why);
            if let Some(given) = rule.given(retention) {
                writeln!(text, "{topic}\t{setting}\t{given}\t{must}\t{why}").unwrap();
            }
        }
    }
    text
}

#[test]
fn the_script_makes_topics_by_the_table() {
    let expected = expected();
    assert!(FILE == expected, "scripts/kafka/topics.tsv must be:\n{expected}");
}

/// What `make kafka` leaves, on its clusters of one broker, which has the broker's defaults where the script gives nothing.
#[test]
fn what_the_script_makes_is_used_and_weak_only_for_want_of_brokers() {
    let defaults = [("replicas", "1"), ("min.insync.replicas", "1"), ("unclean.leader.election.enable", "false")];
    for topic in TOPICS {
        let lines = FILE.lines().filter_map(|line| line.strip_prefix(topic)?.strip_prefix('\t'));
        let given = lines.map(|line| {
            let mut columns = line.split('\t');
            (columns.next().unwrap(), columns.next().unwrap())
        });
        let found: Vec<_> = given.chain(defaults).collect();
        let findings = judge(topic, &found, Retention::default());
        let weak: Vec<_> = findings.iter().map(|finding| (finding.setting, finding.refuse)).collect();
        assert_eq!(weak, [("replicas", false), ("min.insync.replicas", false)], "{topic}");
    }
}
