//! The settings of taking events: a part of those of every program that does.

mod sources;

use std::path::Path;

use local_buffer::{Options, SyncPolicy};
use serde::{Deserialize, Serialize};
use service::Problem;
use wire::limits;

use self::sources::{check_sources, check_tiers};
use crate::client_ip::Network;
use crate::events::Unreadable;
use crate::public_url::PublicUrl;
use crate::sources::Sources;
use crate::tls::Tls;

pub(crate) use self::sources::TIER_DEFAULT;
pub use self::sources::{Mode, SourceConfig, Tier};

/// More threads than any machine has cores.
const THREADS_MAX: usize = 1024;
/// A longer wait than any client's.
const TIMEOUT_MS_MAX: u64 = 3_600_000;

/// Everything about taking events, except where to listen and where to store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Server threads. Default 0: one per core this process may use; at most 1,024.
    pub threads: usize,
    /// Header that names the client's address behind a proxy: `x-forwarded-for` or another one with a list of addresses,
    /// or `forwarded` (RFC 7239). Default empty: the address of the connection. Believed only from `trusted_proxies`; where
    /// they write no address, such as `unknown`, events get none.
    pub client_ip_header: String,
    /// Addresses and networks (`10.0.0.0/8`) of the proxies whose `client_ip_header` is believed. Default none.
    pub trusted_proxies: Vec<String>,
    /// Where SDKs of browsers and mobile apps reach this server, as the settings endpoint tells them:
    /// `https://events.example.com`. Default empty: where they asked. Set it where a proxy changes `Host`, or ends TLS
    /// without being one of `trusted_proxies` that sends `X-Forwarded-Proto`.
    pub public_url: String,
    /// What becomes of an event that is JSON and that common readers of it refuse all the same. Default `set-aside`.
    pub unreadable_events: Unreadable,
    /// Addresses and networks of the load balancers that begin each connection with a PROXY header, version 1 or 2. Default
    /// none. From these it must come, else the connection closes, and the client's address is the one in it; from anybody
    /// else it is no HTTP.
    pub proxy_protocol_from: Vec<String>,
    /// TLS on the port for events.
    pub tls: Tls,
    /// Bounds of what clients may do.
    pub limits: Limits,
    /// The local buffer.
    pub buffer: Buffer,
    /// Limits of events for sources. Default none.
    pub tiers: Vec<Tier>,
    /// The sources that may post. Default none: any non-empty write key is accepted and is itself the source's id.
    pub sources: Vec<SourceConfig>,
}

/// Bounds of what clients may do, beside those that the protocol fixes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Open connections of all threads together. Default 16,384, fewer where the process may not have so many files open,
    /// of which 512 are kept for its own. At the bound those close for new ones that have sent nothing for 2 s, then those
    /// that are idle longest; where there are none of either, new ones wait in the kernel's queue. Each takes 8 KiB of
    /// memory, at most 64 KiB beside what `body_bytes_in_flight_max` bounds. Where half as many requests are in flight, a
    /// source gets its equal part of three quarters, and 429 beyond it.
    pub connections_max: usize,
    /// Open connections of one address, of IPv6 one network of 64 bits; another one closes at once. Default 0: no bound.
    /// A PROXY header of `proxy_protocol_from` names the address. Behind any other proxy all connections have its own, so
    /// leave it there.
    pub connections_per_address_max: usize,
    /// Bytes that have come of bodies and heads in several pieces, all threads together, in buffers of at most four times
    /// as much. Default 64 MiB, at least one body of 1 MiB. Where half of it is taken, the bodies of a source get their
    /// equal part of three quarters, but always 1 MiB. At either bound the body is given up that has held the most for the
    /// longest time, if that is over 2 s, of that source or of all; it, or else the one that came last, is answered with
    /// 429.
    pub body_bytes_in_flight_max: usize,
    /// Time for the head of a request, from its first byte, milliseconds. Default 10,000; then it is answered with 503 and
    /// the connection closes. One that sends nothing closes without an answer.
    pub header_read_timeout_ms: u64,
    /// Time in which a part of a body has to come, milliseconds: `body_bytes_per_second_min` of it in each such stretch.
    /// Default 30,000; then it is answered with 503 and the connection closes.
    pub body_read_timeout_ms: u64,
    /// Slowest rate of a body, bytes a second on the average of each `body_read_timeout_ms`. Default 1,000, at least 1: a
    /// batch of 475 KB takes less than a minute on the slowest phone, and hardly any client needs eight.
    pub body_bytes_per_second_min: u64,
    /// Time for a whole body, however steadily it comes, milliseconds. Default 600,000; then as above.
    pub body_total_timeout_ms: u64,
    /// Time without a request after which a connection closes, milliseconds. Default 300,000: SDKs that lose a
    /// connection in the moment of reuse count it as a failed attempt, so it is long.
    pub idle_timeout_ms: u64,
    /// Time a request waits for room while the disk is behind, and for its sync, milliseconds. Default 5,000, below the
    /// shortest client timeout (8 s); then 503. What was on its way to a disk that hangs may still become durable.
    pub append_timeout_ms: u64,
    /// Time for requests in flight at a stop, milliseconds. Default 8,000; then their connections close.
    pub shutdown_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            connections_per_address_max: 0,
            body_bytes_in_flight_max: 64 << 20,
            header_read_timeout_ms: 10_000,
            body_read_timeout_ms: 30_000,
            body_bytes_per_second_min: 1_000,
            body_total_timeout_ms: 600_000,
            idle_timeout_ms: 300_000,
            append_timeout_ms: 5_000,
            shutdown_timeout_ms: 8_000,
        }
    }
}

/// The local buffer: what lies between a 200 and Kafka.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Buffer {
    /// Size of one file of the buffer, bytes. Default 64 MiB; a multiple of 4,096 from 256 KiB to 4 GiB.
    pub segment_bytes: u64,
    /// Bound of the buffer on disk, bytes. Default 8 GiB, at least two segments; at the bound requests get a 503.
    pub bytes_max: u64,
    /// Bound of what was appended and is not yet on disk, bytes of memory. Default 16 MiB, at least 256 KiB; beyond it
    /// requests wait for the disk. Below 8 MiB the largest group, and with it the largest record, becomes smaller too.
    /// Where half of it waits, a source that is not alone gets its equal part of three quarters, and 429 beyond it.
    pub pending_bytes_max: usize,
    /// When events count as safe. Default `group`.
    pub sync: Sync,
    /// How files are written. Default `auto`.
    pub direct_io: DirectIo,
}

impl Default for Buffer {
    fn default() -> Self {
        let Options { segment_bytes, bytes_max, pending_bytes_max, .. } = Options::default();
        Self { segment_bytes, bytes_max, pending_bytes_max, sync: Sync::Group, direct_io: DirectIo::Auto }
    }
}

/// When events count as safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sync {
    /// Requests that wait together share one sync. A 200 survives a process kill and a power cut.
    Group,
    /// Each request gets its own sync. A 200 survives a process kill and a power cut; slower than `group`, never safer.
    EveryAppend,
    /// Nothing is synced. A 200 survives a process kill, not a power cut.
    Never,
}

/// How files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DirectIo {
    /// Past the page cache where the file system can.
    Auto,
    /// Through the page cache.
    Off,
}

impl Config {
    /// Names of keys whose values are never printed.
    pub const SECRETS: &'static [&'static str] = &["write_keys"];

    /// What is wrong with the values that their types cannot say.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut demand = |holds: bool, key: &'static str, message: String| {
            if !holds {
                problems.push(Problem::new(key, message));
            }
        };
        demand(self.threads <= THREADS_MAX, "threads", format!("must be at most {THREADS_MAX}"));
        let header = self.client_ip_header.parse::<hyper::header::HeaderName>();
        demand(
            self.client_ip_header.is_empty() || header.is_ok(),
            "client_ip_header",
            "is not the name of a header".into(),
        );
        for (key, networks) in
            [("trusted_proxies", &self.trusted_proxies), ("proxy_protocol_from", &self.proxy_protocol_from)]
        {
            for network in networks {
                let parsed = network.parse::<Network>();
                demand(parsed.is_ok(), key, format!("{network:?} is not an address or a network"));
            }
        }
        if let Err(fault) = self.tls.load() {
            demand(false, fault.key, fault.message);
        }
        demand(
            self.client_ip_header.is_empty() || !self.trusted_proxies.is_empty(),
            "client_ip_header",
            "is believed only from trusted_proxies, and there are none".into(),
        );
        self.limits.check(&mut demand);
        self.buffer.check(&mut demand);
        let url = self.public_url.is_empty() || PublicUrl::parse(&self.public_url).is_some();
        demand(url, "public_url", "is not an address such as https://events.example.com".into());
        check_tiers(&self.tiers, &mut demand);
        check_sources(&self.sources, &self.tiers, &mut demand);
        problems
    }

    /// Which source a write key belongs to.
    pub fn sources(&self) -> Sources {
        if self.is_open() {
            return Sources::Open;
        }
        Sources::configured(self.sources.iter().flat_map(SourceConfig::pairs))
    }

    /// Whether any write key is accepted, because there are no sources.
    pub fn is_open(&self) -> bool {
        self.sources.is_empty()
    }

    /// Server threads, the default resolved.
    pub fn thread_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        if self.threads == 0 { cores().min(THREADS_MAX) } else { self.threads }
    }
}

impl Limits {
    fn check(&self, demand: &mut impl FnMut(bool, &'static str, String)) {
        demand(self.connections_max > 0, "limits.connections_max", "must be at least 1".into());
        let bytes_min = limits::REQUEST_BYTES_MAX;
        demand(
            self.body_bytes_in_flight_max >= bytes_min,
            "limits.body_bytes_in_flight_max",
            format!("must be at least one body, {bytes_min}"),
        );
        for (key, milliseconds) in [
            ("limits.header_read_timeout_ms", self.header_read_timeout_ms),
            ("limits.body_read_timeout_ms", self.body_read_timeout_ms),
            ("limits.body_total_timeout_ms", self.body_total_timeout_ms),
            ("limits.idle_timeout_ms", self.idle_timeout_ms),
            ("limits.append_timeout_ms", self.append_timeout_ms),
            ("limits.shutdown_timeout_ms", self.shutdown_timeout_ms),
        ] {
            let valid = (1..=TIMEOUT_MS_MAX).contains(&milliseconds);
            demand(valid, key, format!("must be between 1 and {TIMEOUT_MS_MAX}"));
        }
        demand(self.body_bytes_per_second_min > 0, "limits.body_bytes_per_second_min", "must be at least 1".into());
    }
}

impl Buffer {
    fn check(&self, demand: &mut impl FnMut(bool, &'static str, String)) {
        use local_buffer::{PENDING_BYTES_MIN, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
        let segment = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes);
        demand(
            segment && self.segment_bytes.is_multiple_of(4096),
            "buffer.segment_bytes",
            format!("must be a multiple of 4096 between {SEGMENT_BYTES_MIN} and {SEGMENT_BYTES_MAX}"),
        );
        let bytes_min = self.segment_bytes.saturating_mul(2);
        demand(self.bytes_max >= bytes_min, "buffer.bytes_max", format!("must be two segments, {bytes_min}, or more"));
        demand(
            self.pending_bytes_max >= PENDING_BYTES_MIN,
            "buffer.pending_bytes_max",
            format!("must be at least {PENDING_BYTES_MIN}"),
        );
    }

    /// The buffer's options.
    pub fn options(&self) -> Options {
        Options {
            segment_bytes: self.segment_bytes,
            bytes_max: self.bytes_max,
            record_bytes_max: limits::RECORD_BYTES_MAX as u32,
            pending_bytes_max: self.pending_bytes_max,
            sync: match self.sync {
                Sync::Group => SyncPolicy::Group,
                Sync::EveryAppend => SyncPolicy::EveryAppend,
                Sync::Never => SyncPolicy::Never,
            },
            direct_io: match self.direct_io {
                DirectIo::Auto => local_buffer::DirectIo::Auto,
                DirectIo::Off => local_buffer::DirectIo::Off,
            },
        }
    }

    /// Opens the buffer in a directory, which is made where it is missing.
    ///
    /// # Errors
    /// As [`local_buffer::Queue::open`].
    pub fn open(
        &self,
        dir: &Path,
    ) -> Result<(local_buffer::Queue, local_buffer::RecoveryReport), local_buffer::OpenError> {
        local_buffer::Queue::open(dir, self.options())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut Config)) -> Vec<&'static str> {
        let mut ingest = Config::default();
        change(&mut ingest);
        ingest.problems().iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn every_bound_is_checked_by_name() {
        assert_eq!(problem(|_| ()), [""; 0]);
        assert_eq!(problem(|i| i.threads = 1025), ["threads"]);
        assert_eq!(problem(|i| i.client_ip_header = "a b".into()), ["client_ip_header", "client_ip_header"]);
        assert_eq!(problem(|i| i.client_ip_header = "x-real-ip".into()), ["client_ip_header"]);
        assert_eq!(problem(|i| i.trusted_proxies = vec!["10.0.0.0/40".into()]), ["trusted_proxies"]);
        assert_eq!(problem(|i| i.proxy_protocol_from = vec!["x".into()]), ["proxy_protocol_from"]);
        assert_eq!(problem(|i| i.tls.key = "/nowhere".into()), ["tls.certificate"]);
        assert_eq!(problem(|i| i.limits.connections_max = 0), ["limits.connections_max"]);
        assert_eq!(problem(|i| i.limits.body_bytes_in_flight_max = 1), ["limits.body_bytes_in_flight_max"]);
        assert_eq!(problem(|i| i.limits.body_read_timeout_ms = 0), ["limits.body_read_timeout_ms"]);
        assert_eq!(problem(|i| i.limits.body_total_timeout_ms = 0), ["limits.body_total_timeout_ms"]);
        let rate = "limits.body_bytes_per_second_min";
        assert_eq!(problem(|i| i.limits.body_bytes_per_second_min = 0), [rate]);
        assert_eq!(problem(|i| i.limits.idle_timeout_ms = 3_600_001), ["limits.idle_timeout_ms"]);
        assert_eq!(problem(|i| i.public_url = "events.example.com".into()), ["public_url"]);
        assert_eq!(problem(|i| i.buffer.segment_bytes = 300_000), ["buffer.segment_bytes"]);
        assert_eq!(problem(|i| i.buffer.bytes_max = 1), ["buffer.bytes_max"]);
        assert_eq!(problem(|i| i.buffer.pending_bytes_max = 1), ["buffer.pending_bytes_max"]);
    }

    #[test]
    fn several_keys_lead_to_one_source() {
        let write_keys = vec!["a".into(), " b\n".into()];
        let web = SourceConfig { id: "web".into(), write_keys, ..SourceConfig::default() };
        let ingest = Config { sources: vec![web], ..Config::default() };
        let sources = ingest.sources();
        assert_eq!(sources.resolve(b"a").unwrap().as_bytes(), b"web");
        assert_eq!(sources.resolve(b"a"), sources.resolve(b"b"));
        assert_eq!(Config::default().sources().resolve(b"any").unwrap().as_bytes(), b"any");
    }

    #[test]
    fn the_buffer_takes_what_the_protocol_allows() {
        assert_eq!(Buffer::default().options().record_bytes_max as usize, limits::RECORD_BYTES_MAX);
    }
}
