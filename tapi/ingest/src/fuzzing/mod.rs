//! What the fuzz targets of `fuzz/` run, and a test here with the same corpus: bytes that any client may send, to
//! everything that reads them before an event is looked at, and those of the one file that is kept here. Each is held to a second opinion, where there is one: that of
//! the library behind it, or of one that knows nothing of this crate.

mod credentials;
mod forwarded;
mod gzip;
mod proxy_header;
mod quotas;

pub use crate::connection::fuzzing::gate;
pub use crate::events::fuzzing::timestamps;
pub use credentials::credentials;
pub use forwarded::forwarded;
pub use gzip::gzip;
pub use proxy_header::proxy_header;
pub use quotas::quotas;

#[cfg(test)]
#[path = "../../../../fuzz/corpus.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_reads_what_the_gate_lets_through_as_the_gate_does() {
        corpus::each("ingest_gate", 5_000, gate);
    }

    #[test]
    fn gzip_is_undone_as_others_undo_it() {
        corpus::each("ingest_gzip", 5_000, gzip);
    }

    #[test]
    fn a_proxy_header_means_the_same_however_it_comes() {
        corpus::each("ingest_proxy_header", 10_000, proxy_header);
    }

    #[test]
    fn what_a_client_forwards_does_not_change_what_proxies_say() {
        corpus::each("ingest_forwarded", 10_000, forwarded);
    }

    #[test]
    fn no_credential_hides_a_key() {
        corpus::each("ingest_credentials", 10_000, credentials);
    }

    #[test]
    fn no_file_of_quotas_is_read_in_two_ways() {
        corpus::each("ingest_quotas", 10_000, quotas);
    }

    #[test]
    fn a_point_in_time_is_the_same_to_others() {
        corpus::each("ingest_timestamps", 10_000, timestamps);
    }
}
