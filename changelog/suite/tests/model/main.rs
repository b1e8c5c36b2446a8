//! Every order in which things can happen to a lane, in worlds that are small enough to try them all.
//!
//! A [`World`](world::World) is one lane with its inputs, changelog and output in memory, and the processes that would own it.
//! A [`Step`](step::Step) is one thing that happens: a record comes in, a batch is decided, a commit succeeds, fails, or lands
//! although nobody was told, a worker is killed, another one takes over. [`search`](search::search) tries every step in every
//! state, breadth first, until none is new; each state is kept as the 16 bytes of its hash.
//!
//! # What is real
//!
//! The changelog consists of real bytes with real links. They are read by `changelog::restore`, `genesis`, `newest` and
//! `first`; positions are the real ones, and so are the cursor of an input, the window's clock, the window, and the verdict.
//!
//! # What is modelled
//!
//! As the lane's owner and the worker do it: the takeover (look, fence, measure, restore, checkpoint), two batches decided of
//! which one is on its way, what a batch says of the positions, what follows a commit, an abort, an unknown outcome; the steps
//! of a rebuild. As a broker does it: who has not the newest fence commits nothing; what was sent under an older one may land
//! until the log's end is measured behind the new one, and never later. The index is the smallest one that has a sealed part,
//! an open part, and batches that can be undone.
//!
//! # What has to hold
//!
//! | where | what |
//! |---|---|
//! | in every state | no id is in the output twice within the window |
//! | in every state | the changelog is not refused, unless a rebuild of it is under way |
//! | from every state on, where nothing more goes wrong | a worker takes over and reads all inputs to their ends, and every id that lies in one is in the output |
//!
//! Each [`Mutant`](mutant::Mutant) breaks one rule, and has to lead to a violation: a model that finds nothing may be blind.
//!
//! # What is not
//!
//! More than one lane. Records that are fetched and not read yet. Damaged bytes, wrong clocks, a broker that loses what was
//! committed to changelog or output: other tests have those. The group that says who should own the lane: any worker may take
//! over at any time, which is more than the group allows. A reader that goes on in an input that was made anew under the same
//! id: its connection ends, and it opens that anew. An input that keeps records for longer than the window and is cut: what is
//! read again then is older than what is known, and comes out again.

mod calm;
mod configurations;
#[path = "../../../../dedup-worker/dedup/src/decide.rs"]
#[expect(unreachable_pub, reason = "it is the index's own file")]
mod decide;
mod index;
mod input;
mod invariants;
mod lane;
mod mutant;
mod outcome;
mod place;
mod rebuild;
mod rules;
mod search;
mod step;
mod truth;
mod worker;
mod world;

use std::mem::discriminant;

use search::search;

/// Fewer states than this are no search.
const STATES_MIN: usize = 500_000;

#[test]
fn nothing_is_lost_and_nothing_comes_out_twice_in_any_order_of_faults() {
    let mut states = 0;
    for rules in configurations::ALL {
        match search(rules) {
            Ok(complete) => {
                println!("{}: {complete}", rules.name);
                states += complete.states;
            }
            Err(counterexample) => panic!("{}: {counterexample}", rules.name),
        }
    }
    println!("{states} states");
    assert!(states >= STATES_MIN);
}

#[test]
fn every_rule_that_is_broken_leads_to_a_violation() {
    for (mutant, rules, expected) in configurations::mutants() {
        match search(rules.with(mutant)) {
            Ok(complete) => panic!("{mutant:?} goes unnoticed in {}, {complete}", rules.name),
            Err(counterexample) => {
                println!("{mutant:?}: {counterexample}");
                assert_eq!(discriminant(&counterexample.violation), expected, "{mutant:?}");
            }
        }
    }
}
