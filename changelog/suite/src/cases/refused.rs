//! A log that nobody but a person can say anything of, or that cannot be read now.

use std::fs;
use std::ops::ControlFlow;

use changelog::{Beginning, Log as _, Progress, RestoreError, genesis, newest, restore};

use crate::breaking::{Breaking, Broken};
use crate::scene::{Scene, batch, chain, clock_ms, go_on, moved};
use crate::{Bench, Content, Form, Reached, Subject};

pub(crate) fn all<S: Subject, B: Bench>(bench: &mut B) {
    records_without_a_genesis::<S, B>(bench);
    two_geneses::<S, B>(bench);
    a_beginning_inside_the_window::<S, B>(bench);
    an_unfinished_rebuild::<S, B>(bench);
    a_hole::<S, B>(bench);
    a_checkpoint_that_is_none::<S, B>(bench);
    a_damaged_record::<S, B>(bench);
    a_record_of_a_newer_format::<S, B>(bench);
    stopped::<S, B>(bench);
    a_log_that_breaks_off::<S, B>(bench);
    a_state_that_cannot_be_opened::<S, B>(bench);
}

fn records_without_a_genesis<S: Subject, B: Bench>(bench: &mut B) {
    if let Some(why) = B::never(Form::WithoutGenesis) {
        println!("left out: records without a genesis: {why}");
        return;
    }
    let mut scene = Scene::<S, B>::new("records without a genesis", bench);
    scene.append(&[batch(1)]);
    scene.append(&[batch(2)]);
    is_without_genesis(&mut scene);
    // And where all of them are gone.
    let mut scene = Scene::<S, B>::new("records that are gone", scene.bench);
    scene.append(&[Content::Genesis(scene.genesis.clone()), batch(1)]);
    scene.bench.drop_first(2);
    is_without_genesis(&mut scene);
}

fn is_without_genesis<S: Subject, B: Bench>(scene: &mut Scene<'_, S, B>) {
    let mut log = scene.bench.log();
    let bounds = log.bounds().unwrap();
    let refused = genesis::<_, S::State>(&mut log).err().unwrap();
    assert!(
        matches!(refused, RestoreError::NoGenesis { from, to } if (from, to) == (bounds.start, bounds.end)),
        "{refused:?}"
    );
}

fn two_geneses<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::new("two geneses", bench);
    scene.append(&[Content::Genesis(scene.genesis.clone()), batch(1)]);
    let other = Content::Checkpoint(
        S::genesis(2),
        Reached { clock_ms: clock_ms(1), positions: Vec::new(), has_all_positions: true },
    );
    scene.append(&[other, batch(2)]);
    let at = scene.copy().records[2].0.offset;
    let refused = scene.refused(Beginning::MustBeThere);
    assert!(matches!(refused, RestoreError::TwoGeneses { at: found, .. } if found == at), "{at}: {refused:?}");
}

fn a_beginning_inside_the_window<S: Subject, B: Bench>(bench: &mut B) {
    // Without the genesis alone, the batches before the checkpoint, and that.
    for (dropped, numbers) in [(1, [1, 2, 3].as_slice()), (2, &[2, 3]), (3, &[3])] {
        let mut scene = Scene::<S, B>::written("a beginning inside the window", bench);
        scene.bench.drop_first(dropped);
        let start = scene.bench.log().bounds().unwrap().start;
        // Twice: what a refused one leaves must not be taken for proof.
        for _ in 0..2 {
            let refused = scene.refused(Beginning::MustBeThere);
            assert!(matches!(refused, RestoreError::BeginsInsideWindow { at } if at == start), "{refused:?}");
        }
        let Ok(restored) = scene.restore(None, Beginning::MayBeGone) else { panic!("not restored") };
        assert_eq!(S::known(&restored.state), S::known_of(numbers), "what is left is all there was");
        assert_eq!((restored.records, restored.begun_ms), (5 - dropped as u64, None));
        assert_eq!(restored.clock_ms, Some(clock_ms(3)));
    }
}

fn an_unfinished_rebuild<S: Subject, B: Bench>(bench: &mut B) {
    if let Some(why) = B::never(Form::Mark) {
        println!("left out: an unfinished rebuild: {why}");
        return;
    }
    let mut scene = Scene::<S, B>::new("an unfinished rebuild", bench);
    let part = |number| moved(number, 0);
    let is_refused = |scene: &mut Scene<'_, S, B>| {
        for _ in 0..2 {
            let refused = scene.refused(Beginning::MustBeThere);
            assert!(matches!(refused, RestoreError::Unfinished), "{refused:?}");
        }
        assert!(newest::<_, S::State>(&mut scene.bench.log()).unwrap().unwrap().is_unfinished);
        // Nor is a log that holds nothing but the mark yet one that was lost, or a new one.
        let begun = genesis::<_, S::State>(&mut scene.bench.log());
        assert!(matches!(begun, Ok(Some(_)) | Err(RestoreError::Unfinished)), "{begun:?}");
    };
    scene.append(&[Content::Mark]);
    is_refused(&mut scene);
    scene.append(&[Content::Genesis(scene.genesis.clone())]);
    is_refused(&mut scene);
    scene.append(&[part(1), part(2)]);
    is_refused(&mut scene);
    scene.append(&[scene.checkpoint(2)]);
    let made = scene.restored();
    assert_eq!((&made.known, made.clock_ms), (&S::known_of(&[1, 2]), Some(clock_ms(2))));
    assert!(!newest::<_, S::State>(&mut scene.bench.log()).unwrap().unwrap().is_unfinished);
    // Also to a state that has all that was before.
    scene.append(&[batch(3)]);
    scene.restored();
    scene.append(&[Content::Mark]);
    is_refused(&mut scene);
    // And to none, where retention has taken the beginning and the mark's own deletion is still to come.
    let mut scene = Scene::<S, B>::written("an unfinished rebuild of a log without its beginning", scene.bench);
    scene.bench.drop_first(1);
    scene.append(&[Content::Mark]);
    is_refused(&mut scene);
}

/// Records are gone from the middle, or lie where others did.
fn a_hole<S: Subject, B: Bench>(bench: &mut B) {
    for kept in [None, Some(2)] {
        let mut scene = Scene::<S, B>::written("a hole", bench);
        let mut past = scene.copy();
        if let Some(count) = kept {
            past.cut_behind(count);
            scene.remember(past);
        }
        let mut gone = scene.copy();
        let missing = scene.encode(&mut gone, &batch(4));
        gone.append(&[missing]);
        let at = scene.end();
        let behind = scene.encode(&mut gone, &batch(5));
        scene.bench.append(&[behind]);
        let refused = scene.refused(Beginning::MustBeThere);
        assert!(matches!(refused, RestoreError::Hole { at: found } if found >= at), "{refused:?}");
    }
}

/// A record names a checkpoint that is none.
fn a_checkpoint_that_is_none<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::written("a checkpoint that is none", bench);
    let before = chain::<S>(&mut scene.bench.log());
    let wrong = wire::changelog::Chain { checkpoint: before.checkpoint.map(|end| end - 1), ..before };
    let record = scene.encode_behind(wrong, &moved(4, 0));
    scene.bench.append(&[record]);
    let refused = scene.refused(Beginning::MustBeThere);
    assert!(matches!(refused, RestoreError::Hole { .. }), "{refused:?}");
}

fn a_damaged_record<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::new("a damaged record", bench);
    let spoil = |record: &mut Vec<u8>| {
        let middle = record.len() / 2;
        record[middle] ^= 1;
    };
    is_undecodable(&mut scene, spoil, |refused| match refused {
        RestoreError::Damaged { at, .. } => Some(*at),
        _ => None,
    });
}

fn a_record_of_a_newer_format<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::new("a record of a newer format", bench);
    let renew = |record: &mut Vec<u8>| S::make_newer(record);
    is_undecodable(&mut scene, renew, |refused| match refused {
        RestoreError::Newer { at, .. } => Some(*at),
        _ => None,
    });
}

/// A record between others that `change` was done to is refused, with its place.
fn is_undecodable<S: Subject, B: Bench>(
    scene: &mut Scene<'_, S, B>,
    change: impl FnOnce(&mut Vec<u8>),
    place: impl Fn(&crate::scene::ErrorOf<B, S>) -> Option<u64>,
) {
    scene.append(&[Content::Genesis(scene.genesis.clone()), batch(1)]);
    let before = scene.end();
    let mut record = scene.next(&batch(2));
    change(&mut record);
    scene.bench.append(&[record]);
    scene.append(&[scene.checkpoint(2), batch(3)]);
    let end = scene.end();
    let refused = scene.refused(Beginning::MustBeThere);
    let is_said = match &refused {
        RestoreError::Log(error) => B::is_undecodable(error),
        refused => place(refused).is_some_and(|at| (before..end).contains(&at)),
    };
    assert!(is_said, "between {before} and {end}: {refused:?}");
}

fn stopped<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::written("stopped", bench);
    let mut told = 0;
    let mut tell = |_: Progress| {
        told += 1;
        if told == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let dir = scene.dir();
    let settings = (&scene.genesis, &S::settings());
    let refused =
        restore::<_, S::State>(&mut scene.bench.log(), &dir, None, settings, Beginning::MustBeThere, &mut tell).err();
    assert!(matches!(refused, Some(RestoreError::Stopped)), "{refused:?}");
    assert_eq!(told, 2);
    assert_eq!(scene.restored(), scene.fresh(), "it goes on from there, or from the first record");
}

fn a_log_that_breaks_off<S: Subject, B: Bench>(bench: &mut B) {
    for records in 0..5 {
        let mut scene = Scene::<S, B>::written("a log that breaks off", bench);
        let dir = scene.dir();
        let settings = (&scene.genesis, &S::settings());
        let mut log = Breaking { log: scene.bench.log(), records };
        let refused = restore::<_, S::State>(&mut log, &dir, None, settings, Beginning::MayBeGone, &mut go_on).err();
        assert!(matches!(refused, Some(RestoreError::Log(Broken::AsAsked))), "{refused:?}");
        drop(log);
        let made = scene.restored();
        let fresh = scene.fresh();
        assert_eq!((made.known, made.applied), (fresh.known, fresh.applied));
    }
}

fn a_state_that_cannot_be_opened<S: Subject, B: Bench>(bench: &mut B) {
    let mut scene = Scene::<S, B>::written("a state that cannot be opened", bench);
    fs::write(scene.dir(), b"no folder").unwrap();
    let refused = scene.refused(Beginning::MustBeThere);
    assert!(matches!(refused, RestoreError::State(_)), "{refused:?}");
    assert_eq!(fs::read(scene.dir()).unwrap(), b"no folder", "that is no reason to throw anything away");
}
