//! The only place that names metrics of taking events and of the local buffer.
//!
//! Each server thread counts in cells of its own; a scrape adds them up. No label has values from outside.

mod buffer;
mod thread;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use local_buffer::Monitor;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use service::Section;
use service::metrics::Encoder;

use crate::body::InFlight;
use crate::refusal::Refusal;
use crate::reject::Reject;
use crate::route::Label;

pub(crate) use thread::ThreadMetrics;
use thread::{STATUSES, STORED_BUCKETS_S};

/// The figures of one server and its buffer. Register it with a `prometheus_client` registry as a collector.
pub struct Metrics {
    monitor: Monitor,
    in_flight: OnceLock<Arc<InFlight>>,
    threads: Mutex<Vec<Arc<ThreadMetrics>>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// What a process that takes events says of itself first on its status page: where it listens, and whether it `is_open`
/// because no sources are configured.
pub fn about(listen: SocketAddr, is_open: bool) -> Section {
    let sources = if is_open { "none configured: any write key is accepted" } else { "configured" };
    Section::new("process")
        .row("version", env!("CARGO_PKG_VERSION"))
        .row("listens on", listen.to_string())
        .row("sources", sources)
}

impl Metrics {
    /// For the buffer behind this monitor and the server that will append to it.
    pub fn new(monitor: Monitor) -> Arc<Self> {
        Arc::new(Self { monitor, in_flight: OnceLock::new(), threads: Mutex::default() })
    }

    /// The cells of one more thread.
    pub(crate) fn thread(&self) -> Arc<ThreadMetrics> {
        let thread = Arc::new(ThreadMetrics::default());
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&thread));
        thread
    }

    pub(crate) fn watch_in_flight(&self, in_flight: &Arc<InFlight>) {
        let _ = self.in_flight.set(Arc::clone(in_flight));
    }

    /// Why this process should get no events now.
    pub fn not_ready(&self) -> Vec<String> {
        buffer::not_ready(&self.monitor.stats())
    }

    /// The figures for a status page.
    pub fn sections(&self) -> Vec<Section> {
        let total = |read: fn(&ThreadMetrics) -> u64| self.sum(read).to_string();
        let requests = Section::new("events in")
            .row("requests", total(ThreadMetrics::requests_all))
            .row("of them refused", total(ThreadMetrics::refused_all))
            .row("events stored", total(|thread| thread.events.get()))
            .row("events set aside", total(ThreadMetrics::set_aside_all))
            .row("connections", total(|thread| thread.connections.get()));
        vec![requests, buffer::section(&self.monitor.stats())]
    }

    fn sum(&self, read: impl Fn(&ThreadMetrics) -> u64) -> u64 {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|thread| read(thread)).sum()
    }
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Encoder::new(encoder);
        out.counters("tapi_requests", "Requests answered, by kind of path and HTTP status.", |rows| {
            for (label, endpoint) in Label::ALL {
                for (index, (_, status)) in STATUSES.iter().enumerate() {
                    let count = self.sum(|thread| thread.requests[label as usize][index].get());
                    rows.some([("endpoint", endpoint), ("status", status)], count)?;
                }
            }
            Ok(())
        })?;
        out.counters("tapi_requests_refused", "Requests refused, by code.", |rows| {
            Reject::ALL.iter().try_for_each(|reject| {
                rows.some([("code", reject.code())], self.sum(|thread| thread.refused.of(*reject)))
            })
        })?;
        out.counter("tapi_events", "Events stored.", self.sum(|thread| thread.events.get()))?;
        out.counters("tapi_events_rejected", "Events set aside inside accepted batches, by code.", |rows| {
            Reject::ALL.iter().try_for_each(|reject| {
                rows.some([("code", reject.code())], self.sum(|thread| thread.set_aside.of(*reject)))
            })
        })?;
        let body_bytes = self.sum(|thread| thread.body_bytes.get());
        out.counter("tapi_request_bytes", "Bytes of request bodies, as they came.", body_bytes)?;
        out.gauge("tapi_connections", "Open connections.", self.sum(|thread| thread.connections.get()))?;
        let help = "Connections that ended before their first request, by reason.";
        out.counters("tapi_connections_refused", help, |rows| {
            Refusal::ALL.iter().try_for_each(|refusal| {
                let count = self.sum(|thread| thread.connections_refused[*refusal as usize].get());
                rows.some([("reason", refusal.label())], count)
            })
        })?;
        let in_flight = self.in_flight.get().map_or(0, |in_flight| in_flight.bytes() as u64);
        out.gauge("tapi_body_in_flight_bytes", "Bytes held for requests that are not stored yet.", in_flight)?;
        self.encode_stored(&mut out)?;
        buffer::encode(&self.monitor.stats(), &mut out)
    }
}

impl Metrics {
    fn encode_stored(&self, out: &mut Encoder<'_>) -> fmt::Result {
        let bounds = STORED_BUCKETS_S.into_iter().chain([f64::MAX]);
        let counts =
            bounds.enumerate().map(|(index, bound)| (bound, self.sum(|thread| thread.stored_buckets[index].get())));
        let buckets: Vec<_> = counts.collect();
        let sum_s = self.sum(|thread| thread.stored_us.get()) as f64 / 1e6;
        let help = "Time from the end of a request's body until its events are durable.";
        out.histogram_seconds("tapi_store_duration", help, sum_s, &buckets)
    }
}
