//! Makes a list of operations that fails as short as it can be: delta debugging.

use std::cell::Cell;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::proof::model::{Life, Op, Shown, live};
use crate::proof::scene::Engine;

/// With threads a list may fail now and then; each is tried so often.
const TRIES_WITH_THREADS: usize = 20;

/// Lives it; gives what it says when it fails.
pub(super) fn fails(life: &Life) -> Result<Shown, String> {
    let outcome = quietly(|| catch_unwind(AssertUnwindSafe(|| live(life))));
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    })
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs without a word about panics of this thread: hundreds of lists fail on the way to the shortest.
fn quietly<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                loud(panic);
            }
        }));
    });
    QUIET.set(true);
    let result = run();
    QUIET.set(false);
    result
}

/// The shortest list found that fails, printed.
pub(super) fn shortest(mut life: Life) -> String {
    let tries = if life.engine == Engine::Threads { TRIES_WITH_THREADS } else { 1 };
    let ops = std::mem::take(&mut life.ops);
    let mut why = String::new();
    let ops = minimal(ops, |ops: &[Op]| {
        life.ops = ops.to_vec();
        let failed = (0..tries).find_map(|_| fails(&life).err());
        why = failed.clone().unwrap_or_else(|| std::mem::take(&mut why));
        failed.is_some()
    });
    let mut text = format!("direct {}, {:?}, {:?}\n", life.direct, life.engine, life.bounds);
    for op in &ops {
        let _ = writeln!(text, "  {op:?},");
    }
    let _ = write!(text, "{why}");
    text
}

/// A part of the list that still fails, and of which no single piece can be left out.
fn minimal<T: Clone>(mut list: Vec<T>, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut piece = list.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        let before = list.len();
        while at < list.len() {
            let mut without = list.clone();
            without.drain(at..(at + piece).min(list.len()));
            if fails(&without) { list = without } else { at += piece }
        }
        if piece > 1 {
            piece = piece.div_ceil(2);
        } else if list.len() == before {
            break;
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_list_is_found() {
        let list: Vec<u32> = (0..1000).collect();
        let shortest = minimal(list, |list| list.contains(&17) && list.contains(&900) && list.contains(&901));
        assert_eq!(shortest, [17, 900, 901]);
    }
}
