//! The fuzz targets of this crate's decoders, on their corpus and some thousand changes of it.

#[path = "../../fuzz/targets/wire_changelog.rs"]
mod changelog;
#[path = "../../fuzz/corpus.rs"]
mod corpus;
#[path = "../../fuzz/targets/wire_envelope.rs"]
mod envelope;

#[test]
fn no_bytes_make_a_decoder_panic_and_what_is_decoded_is_encoded_the_same() {
    corpus::each("wire_changelog", 50_000, changelog::run);
    corpus::each("wire_envelope", 50_000, envelope::run);
}
