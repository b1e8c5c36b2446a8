//! The fuzz target of the ingest path, on its corpus and some thousand changes of it.

#[path = "../../../../fuzz/corpus.rs"]
mod corpus;
#[path = "../../../../fuzz/targets/tapi_ingest.rs"]
mod target;

#[test]
fn every_record_of_any_body_is_one_that_the_rest_of_the_pipeline_reads() {
    corpus::each("tapi_ingest", 20_000, target::run);
}
