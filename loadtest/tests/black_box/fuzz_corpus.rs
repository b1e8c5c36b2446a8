//! The fuzz target of the ledger, on its corpus and some thousand changes of it.

#[path = "../../../fuzz/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/targets/loadtest_ledger.rs"]
mod target;

#[test]
fn no_bytes_make_reading_a_ledger_panic() {
    corpus::each("loadtest_ledger", 3_000, target::run);
}
