//! A state is brought to the end of its log.

use std::ops::ControlFlow;
use std::time::Duration;

use changelog::{Beginning, Positions, Progress, RestoreError, Restored, first, genesis, newest, restore};

use crate::scene::{Scene, batch, clock_ms, closed, moved, of_partition, outcome, positions};
use crate::{BEGUN_MS, Bench, Content, Form, Subject};

pub(crate) fn all<S: Subject, B: Bench>(bench: &mut B) {
    an_empty_log_says_nothing::<S, B>(bench);
    a_genesis_alone::<S, B>(bench);
    all_is_applied_in_its_order::<S, B>(bench);
    only_what_is_behind_the_mark_is_applied::<S, B>(bench);
    what_was_kept_in_memory_goes_on::<S, B>(bench);
    a_log_that_begins_outside_the_window_is_all_there_was::<S, B>(bench);
    a_state_is_proof_of_what_is_gone::<S, B>(bench);
    positions_are_those_of_the_last_record_that_names_each::<S, B>(bench);
    a_checkpoint_that_is_gone_is_not_missed_where_a_later_one_is_there::<S, B>(bench);
}

/// A state that is older than nearly all of the log: retention has taken the record that its mark's record names.
fn a_checkpoint_that_is_gone_is_not_missed_where_a_later_one_is_there<S: Subject, B: Bench>(bench: &mut B) {
    let old = |bench| {
        let name = "a checkpoint that is gone is not missed where a later one is there";
        let mut scene = Scene::<S, B>::new(name, bench);
        scene.append(&[Content::Genesis(scene.genesis.clone()), moved(1, 0), moved(2, 4)]);
        let mut past = scene.copy();
        past.cut_behind(2);
        scene.remember(past);
        scene
    };
    let mut scene = old(bench);
    if B::never(Form::WithoutGenesis).is_none() {
        scene.bench.drop_first(1);
        let refused = scene.refused(Beginning::MustBeThere);
        assert!(matches!(refused, RestoreError::Hole { .. }), "nothing says where partition 8 is: {refused:?}");
        scene = old(scene.bench);
    }
    scene.append(&[scene.checkpoint(2), moved(3, 4)]);
    scene.bench.drop_first(1);
    let made = scene.restored();
    assert_eq!((&made.known, made.records, &made.thrown_away), (&S::known_of(&[1, 2, 3]), 3, &None));
    let next_offset = |partition| Some(made.positions.of(b"a cluster", [7; 16], partition)?.next_offset);
    assert_eq!([0, 4].map(next_offset), [Some(200), Some(300)]);
}

/// Whatever the state had, and where nothing but the newest record is asked.
fn positions_are_those_of_the_last_record_that_names_each<S: Subject, B: Bench>(bench: &mut B) {
    for kept in 3..=8 {
        let mut scene = Scene::<S, B>::written("positions are those of the last record that names each", bench);
        // Partition 4 appears and goes back, partition 0 moves, and nobody but the checkpoint names partition 8.
        let mut whole = of_partition(8, 1);
        whole[0].partitions.extend(of_partition(0, 3).remove(0).partitions);
        let checkpoint = crate::Reached { clock_ms: clock_ms(3), positions: whole, has_all_positions: true };
        scene.append(&[Content::Checkpoint(scene.genesis.clone(), checkpoint), moved(9, 4), moved(5, 0), moved(6, 4)]);
        let mut past = scene.copy();
        past.cut_behind(kept);
        scene.remember(past);
        let made = scene.restored();
        assert_eq!((made.thrown_away, made.records), (None, 9 - kept as u64));
        let newest = newest::<_, S::State>(&mut scene.bench.log()).unwrap().unwrap();
        for positions in [made.positions, newest.positions] {
            let next_offset = |partition| Some(positions.of(b"a cluster", [7; 16], partition)?.next_offset);
            assert_eq!([0, 4, 8, 12].map(next_offset), [Some(500), Some(600), Some(100), None], "{kept}");
        }
    }
}

fn an_empty_log_says_nothing<S: Subject, B: Bench>(bench: &mut B) {
    if let Some(why) = B::never(Form::Empty) {
        println!("left out: an empty log: {why}");
        return;
    }
    let scene = Scene::<S, B>::new("an empty log says nothing", bench);
    let mut log = scene.bench.log();
    assert!(genesis::<_, S::State>(&mut log).unwrap().is_none());
    assert!(first::<_, S::State>(&mut log).unwrap().is_none());
    assert!(newest::<_, S::State>(&mut log).unwrap().is_none());
}

fn a_genesis_alone<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::new("a genesis alone", bench);
    scene.append(&[Content::Genesis(scene.genesis.clone())]);
    let Ok(restored) = scene.restore(None, Beginning::MustBeThere) else { panic!("not restored") };
    let (bucket, input_retention) = (Duration::from_secs(1), Duration::from_mins(1));
    let clock = restored.clock(bucket, input_retention);
    assert_eq!(clock.now_ms(), BEGUN_MS - 60_000, "the inputs may reach back before it");
    let made = outcome::<S>(&restored);
    assert_eq!((made.known, made.records), (S::known_of(&[]), 1));
    assert_eq!((made.clock_ms, made.begun_ms), (None, Some(BEGUN_MS)));
    assert_eq!((made.positions, made.thrown_away), (Positions::default(), None));
}

fn all_is_applied_in_its_order<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::written("all is applied, in its order", bench);
    let copy = scene.copy();
    let mut log = scene.bench.log();
    assert!(genesis::<_, S::State>(&mut log).unwrap().as_ref() == Some(&scene.genesis));
    let said = first::<_, S::State>(&mut log).unwrap().unwrap();
    assert!(said.is_beginning && said.clock_ms == BEGUN_MS);
    let said = newest::<_, S::State>(&mut log).unwrap().unwrap();
    assert_eq!((said.clock_ms, said.positions.as_slice()), (clock_ms(3), &*positions(3)));
    let mut told = Vec::new();
    let mut tell = |progress| {
        told.push(progress);
        ControlFlow::Continue(())
    };
    let settings = (&scene.genesis, &S::settings());
    drop(log);
    let dir = scene.dir();
    let restored = restore(&mut scene.bench.log(), &dir, None, settings, Beginning::MustBeThere, &mut tell);
    let made = closed::<S, _, _>(restored);
    assert_eq!((made.known, made.records), (S::known_of(&[1, 2, 3]), 5));
    assert_eq!(made.applied, copy.records.last().map(|(placed, _)| placed.next));
    assert_eq!(made.positions.as_slice(), positions(3));
    assert_eq!((made.clock_ms, made.begun_ms), (Some(clock_ms(3)), Some(BEGUN_MS)));
    assert_eq!(made.thrown_away, None);
    let entries = [0, 1, 2, 2, 3];
    let expected = copy.records.iter().zip(entries).map(|((placed, _), entries)| Progress {
        from: copy.bounds.start,
        offset: placed.next.next_offset,
        end: copy.bounds.end,
        entries,
    });
    assert_eq!(told, expected.collect::<Vec<_>>());
}

fn only_what_is_behind_the_mark_is_applied<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::written("only what is behind the mark is applied", bench);
    let before = scene.restored();
    let again = scene.restored();
    assert_eq!((&again.known, again.records), (&S::known_of(&[1, 2, 3]), 0), "it is all there");
    assert_eq!((again.applied, &again.positions), (before.applied, &before.positions), "the proof says it");
    assert_eq!((again.clock_ms, again.begun_ms), (Some(clock_ms(3)), None));
    scene.append(&[batch(4), batch(5)]);
    let after = scene.restored();
    assert_eq!((&after.known, after.records), (&S::known_of(&[1, 2, 3, 4, 5]), 2));
    assert_eq!((after.positions.as_slice(), after.clock_ms), (&*positions(5), Some(clock_ms(5))));
    assert_eq!((after.applied, after.thrown_away), (scene.fresh().applied, None));
}

fn what_was_kept_in_memory_goes_on<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::written("what was kept in memory goes on", bench);
    let Ok(Restored { mut state, .. }) = scene.restore(None, Beginning::MustBeThere) else { panic!("not restored") };
    S::decide(&mut state, 9);
    assert_ne!(S::known(&state), S::known_of(&[1, 2, 3]), "what is decided is known at once");
    scene.append(&[batch(4)]);
    let made = closed::<S, _, _>(scene.restore(Some(state), Beginning::MustBeThere));
    assert_eq!((&made.known, made.records), (&S::known_of(&[1, 2, 3, 4]), 1), "the decided one was not committed");
    assert_eq!((made.positions.as_slice(), made.clock_ms), (&*positions(4), Some(clock_ms(4))));
    assert_eq!((made.applied, made.thrown_away), (scene.fresh().applied, None));
    assert_eq!(scene.restored().known, S::known_of(&[1, 2, 3, 4]));
}

fn a_log_that_begins_outside_the_window_is_all_there_was<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::new("a log that begins outside of the window is all there was", bench);
    scene.append(&[Content::Genesis(scene.genesis.clone()), batch(1)]);
    let mut later = crate::Reached { clock_ms: BEGUN_MS + 5_000, ..crate::scene::reached(2) };
    scene.append(&[Content::Checkpoint(scene.genesis.clone(), later.clone()), Content::Batch(2, later.clone())]);
    scene.bench.drop_first(1);
    let made = scene.restored();
    assert_eq!((made.records, made.clock_ms, made.begun_ms), (3, Some(later.clock_ms), None));
    assert_eq!(made.positions.as_slice(), later.positions);
    assert_eq!(made, scene.fresh());
    // The same, one bucket nearer.
    scene = Scene::new("a log that begins inside of the window is not", scene.bench);
    later.clock_ms -= 1;
    scene.append(&[Content::Genesis(scene.genesis.clone()), batch(1)]);
    scene.append(&[Content::Checkpoint(scene.genesis.clone(), later.clone()), Content::Batch(2, later)]);
    scene.bench.drop_first(1);
    let refused = scene.refused(Beginning::MustBeThere);
    assert!(matches!(refused, RestoreError::BeginsInsideWindow { .. }), "{refused:?}");
}

fn a_state_is_proof_of_what_is_gone<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::written("a state is proof of what is gone from the log", bench);
    let before = scene.restored();
    scene.bench.drop_first(3);
    scene.append(&[batch(4)]);
    let Ok(restored) = scene.restore(None, Beginning::MustBeThere) else { panic!("not restored") };
    let made = outcome::<S>(&restored);
    assert_eq!((made.known, made.records, made.thrown_away), (S::known_of(&[1, 2, 3, 4]), 1, None));
    assert_ne!(made.applied, before.applied);
}
