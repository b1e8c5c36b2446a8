//! A state that is not what the log says is thrown away with the reason, and is then as one that was just made.

use changelog::{Beginning, Mistrust, RestoreError};

use crate::scene::{Scene, batch, closed};
use crate::{Bench, Content, Memory, Subject};

pub(crate) fn all<S: Subject, B: Bench>(bench: &mut B) {
    ahead_of_the_log::<S, B>(bench);
    ahead_of_the_log_in_memory::<S, B>(bench);
    the_log_begins_later::<S, B>(bench);
    another_record_under_the_mark::<S, B>(bench);
    no_record_ends_at_the_mark::<S, B>(bench);
    another_log::<S, B>(bench);
    another_genesis::<S, B>(bench);
    damaged::<S, B>(bench);
    a_newer_format::<S, B>(bench);
}

/// It was thrown away for that reason, all of the log was applied, and nothing else is known.
fn is_made_anew<S: Subject, B: Bench>(scene: &mut Scene<'_, S, B>, is_reason: impl FnOnce(&Mistrust) -> bool) {
    let made = scene.restored();
    assert!(made.thrown_away.as_ref().is_some_and(is_reason), "{made:?}");
    assert_eq!((&made.known, made.records), (&S::known_of(&[1, 2, 3]), 5));
    let fresh = scene.fresh();
    assert_eq!(made.without_reason(), fresh);
    let again = scene.restored();
    assert_eq!(
        (again.known, again.records, again.thrown_away),
        (S::known_of(&[1, 2, 3]), 0, None),
        "it is believed now"
    );
}

/// A copy of the log, with one more number.
fn longer<S: Subject, B: Bench>(scene: &mut Scene<'_, S, B>) -> Memory {
    let mut past = scene.copy();
    let record = scene.encode(&mut past, &batch(4));
    past.append(&[record]);
    past
}

fn ahead_of_the_log<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::written("ahead of the log", bench);
    let past = longer(&mut scene);
    scene.remember(past);
    is_made_anew(&mut scene, |mistrust| *mistrust == Mistrust::AheadOfLog);
}

fn ahead_of_the_log_in_memory<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::written("ahead of the log, and never closed", bench);
    let past = longer(&mut scene);
    let kept = scene.made_from(past, &scene.genesis);
    let made = closed::<S, _, _>(scene.restore(Some(kept), Beginning::MustBeThere));
    assert_eq!(made.thrown_away, Some(Mistrust::AheadOfLog));
    let fresh = scene.fresh();
    assert_eq!(made.without_reason(), fresh);
}

fn the_log_begins_later<S: Subject, B: Bench>(bench: &mut B) {
    // The second state ends where the log begins: nothing of it is left to be compared.
    for count in [2, 3] {
        let mut scene = Scene::<S, B>::written("the log begins later", bench);
        let mut past = scene.copy();
        past.cut_behind(count);
        scene.bench.drop_first(3);
        scene.remember(past.clone());
        let made = closed::<S, _, _>(scene.restore(None, Beginning::MayBeGone));
        assert_eq!(made.thrown_away, Some(Mistrust::LogBeginsLater));
        assert_eq!((&made.known, made.records), (&S::known_of(&[3]), 2));
        let fresh = scene.fresh();
        assert_eq!(made.without_reason(), fresh);
        // Where what is gone must be there, it does not help that there was a state: it proves nothing.
        let mut scene = Scene::<S, B>::written("the log begins later, inside the window", scene.bench);
        let mut past = scene.copy();
        past.cut_behind(count);
        scene.bench.drop_first(3);
        scene.remember(past);
        for _ in 0..2 {
            let refused = scene.refused(Beginning::MustBeThere);
            assert!(matches!(refused, RestoreError::BeginsInsideWindow { .. }), "{refused:?}");
        }
    }
}

fn another_record_under_the_mark<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::written("another record under the mark", bench);
    let mut past = scene.copy();
    past.cut_behind(2);
    let mut other = Memory::new(past.id);
    let mut before = past.clone();
    before.cut_behind(1);
    other.append(&[scene.encode(&mut before, &batch(7))]);
    let (placed, record) = &mut past.records[1];
    placed.next.checksum = other.records[0].0.next.checksum;
    record.clone_from(&other.records[0].1);
    scene.remember(past);
    is_made_anew(&mut scene, |mistrust| *mistrust == Mistrust::OtherRecord);
}

fn no_record_ends_at_the_mark<S: Subject, B: Bench>(bench: &mut B) {
    for count in [2, 3] {
        let mut scene = Scene::<S, B>::written("no record ends at the mark", bench);
        let mut past = scene.copy();
        past.cut_behind(count);
        past.records[count - 1].0.next.next_offset += 1;
        past.bounds.end += 1;
        scene.remember(past);
        is_made_anew(&mut scene, |mistrust| *mistrust == Mistrust::OtherRecord);
    }
    let mut scene = Scene::<S, B>::written("no record ends at the mark, and none behind it", bench);
    let mut past = scene.copy();
    let Some((last, _)) = past.records.last_mut().filter(|(last, _)| last.next.next_offset < past.bounds.end) else {
        println!("left out: this log ends where its last record ends");
        return;
    };
    last.next.next_offset = past.bounds.end;
    scene.remember(past);
    is_made_anew(&mut scene, |mistrust| *mistrust == Mistrust::OtherRecord);
}

fn another_log<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::written("another log", bench);
    let mut past = scene.copy();
    past.id.0[3] ^= 1;
    scene.remember(past);
    is_made_anew(&mut scene, |mistrust| matches!(mistrust, Mistrust::OtherLog(_)));
}

fn another_genesis<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::written("another genesis", bench);
    let genesis = S::genesis(2);
    let mut past = Memory::new(scene.copy().id);
    for content in [Content::Genesis(genesis.clone()), batch(1)] {
        let record = scene.encode(&mut past, &content);
        past.append(&[record]);
    }
    S::keep(scene.made_from(past, &genesis));
    is_made_anew(&mut scene, |mistrust| matches!(mistrust, Mistrust::OtherGenesis(_)));
}

fn damaged<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::written("damaged", bench);
    scene.restored();
    S::damage_kept(&scene.dir());
    is_made_anew(&mut scene, |mistrust| matches!(mistrust, Mistrust::Damaged(_)));
}

fn a_newer_format<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::written("a newer format", bench);
    scene.restored();
    S::make_kept_newer(&scene.dir());
    is_made_anew(&mut scene, |mistrust| matches!(mistrust, Mistrust::NewerFormat(_)));
}
