//! The only place that names metrics of taking events and of the local buffer.
//!
//! Each server thread counts in cells of its own; a scrape adds them up. One label alone has values from outside,
//! the source of an event, and their number is bounded.

mod buffer;
mod thread;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use local_buffer::Monitor;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use service::Section;
use service::metrics::Encoder;
use tokio::sync::watch;

use crate::connection::Closed;
use crate::live::Live;
use crate::pool::InFlight;
use crate::refusal::Refusal;
use crate::reject::Reject;
use crate::route::Label;

pub(crate) use thread::ThreadMetrics;
use thread::{STATUSES, STORED_BUCKETS_S};

/// The figures of one server and its buffer. Register it with a `prometheus_client` registry as a collector.
pub struct Metrics {
    monitor: Monitor,
    in_flight: OnceLock<Arc<InFlight>>,
    live: OnceLock<watch::Receiver<Arc<Live>>>,
    connections_max: AtomicUsize,
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
        Arc::new(Self {
            monitor,
            in_flight: OnceLock::new(),
            live: OnceLock::new(),
            connections_max: AtomicUsize::new(0),
            threads: Mutex::default(),
        })
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

    pub(crate) fn watch_live(&self, live: &watch::Receiver<Arc<Live>>) {
        let _ = self.live.set(live.clone());
    }

    pub(crate) fn set_connections_max(&self, connections: usize) {
        self.connections_max.store(connections, Ordering::Relaxed);
    }

    /// Why this process should get no events now.
    pub fn not_ready(&self) -> Vec<String> {
        let is_starved = self.sum(|thread| thread.starved.get()) > 0;
        let connections = is_starved.then(|| "all connections are taken and none is idle: new ones wait".to_owned());
        buffer::not_ready(&self.monitor.stats()).into_iter().chain(connections).collect()
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

    fn unreadable_times(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for (source, count) in thread.unreadable_times.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                *all.entry(source.clone()).or_default() += count;
            }
        }
        all
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
        out.counters("tapi_events_rejected", "Events set aside, and refused bodies that are kept, by code.", |rows| {
            Reject::ALL.iter().try_for_each(|reject| {
                rows.some([("code", reject.code())], self.sum(|thread| thread.set_aside.of(*reject)))
            })
        })?;
        let help = "Events stored whose timestamp or sentAt is no point in time that can be read, by source.";
        out.counters("tapi_events_time_unreadable", help, |rows| {
            self.unreadable_times().iter().try_for_each(|(source, count)| rows.row([("source", source)], *count))
        })?;
        self.encode_limits(&mut out)?;
        let body_bytes = self.sum(|thread| thread.body_bytes.get());
        out.counter("tapi_request_bytes", "Bytes of request bodies, as they came.", body_bytes)?;
        out.gauge("tapi_connections", "Open connections.", self.sum(|thread| thread.connections.get()))?;
        let connections_max = self.connections_max.load(Ordering::Relaxed) as u64;
        out.gauge("tapi_connections_max", "Their bound.", connections_max)?;
        let starved = self.sum(|thread| thread.starved.get());
        let help = "Server threads whose connections are all taken while none is idle: new ones wait.";
        out.gauge("tapi_connections_starved_threads", help, starved)?;
        out.counters("tapi_connections_closed", "Connections that ended, by reason.", |rows| {
            Closed::ALL.iter().try_for_each(|(closed, reason)| {
                rows.some([("reason", reason)], self.sum(|thread| thread.closed[*closed as usize].get()))
            })
        })?;
        let failed = self.sum(|thread| thread.accepts_failed.get());
        out.counter("tapi_accepts_failed", "Connections that could not be accepted.", failed)?;
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
    /// The labels are ids of configured sources.
    fn encode_limits(&self, out: &mut Encoder<'_>) -> fmt::Result {
        let Some(live) = self.live.get().map(|live| Arc::clone(&live.borrow())) else { return Ok(()) };
        out.counters("tapi_limited_events", "Events of sources with a tier, within its limits.", |rows| {
            live.policies.counts().try_for_each(|(source, (charged, _))| rows.row([("source", source)], charged))
        })?;
        let help = "Events beyond the limits of their tier: refused where it enforces, taken where it observes.";
        out.counters("tapi_limited_events_over", help, |rows| {
            live.policies.counts().try_for_each(|(source, (_, over))| rows.row([("source", source)], over))
        })
    }

    fn encode_stored(&self, out: &mut Encoder<'_>) -> fmt::Result {
        let count = |index: usize| self.sum(|thread| thread.stored_buckets[index].get());
        let buckets = STORED_BUCKETS_S.into_iter().enumerate().map(|(index, bound)| (bound, count(index)));
        let sum_s = self.sum(|thread| thread.stored_us.get()) as f64 / 1e6;
        let help = "Time from the end of a request's body until its events are durable.";
        out.histogram_seconds("tapi_store_duration", help, sum_s, buckets, count(STORED_BUCKETS_S.len()))
    }
}
