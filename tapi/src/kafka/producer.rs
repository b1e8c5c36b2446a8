//! A producer that lends librdkafka the caller's bytes instead of copying them, and gives back what became of each
//! record.

use std::ffi::{CStr, c_void};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::bindings::{rd_kafka_producev, rd_kafka_vtype_t as vtype};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use tracing::{debug, warn};

/// Longest text of an error that is kept for the status page.
const ERROR_CHARS_MAX: usize = 300;

/// One record on its way out.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// Where to.
    pub topic: &'static CStr,
    /// Its partition; -1 lets librdkafka choose one.
    pub partition: i32,
    /// Its key; copied.
    pub key: Option<&'a [u8]>,
    /// Its value; not copied.
    pub value: &'a [u8],
    /// Names and values of its headers; copied.
    pub headers: [(&'static CStr, &'a [u8]); 2],
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The number that it was given.
    pub token: usize,
    /// Whether the cluster has it.
    pub result: Result<(), RDKafkaErrorCode>,
}

#[derive(Debug, Default)]
struct Shared {
    reports: Mutex<Vec<Report>>,
    unreachable: AtomicBool,
    fatal: AtomicBool,
    refused: AtomicBool,
    error: Mutex<String>,
}

struct Context(Arc<Shared>);

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        let shared = &self.0;
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => shared.unreachable.store(true, Ordering::Relaxed),
            Some(RDKafkaErrorCode::Fatal) => shared.fatal.store(true, Ordering::Relaxed),
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) => {
                shared.refused.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        *shared.error.lock().unwrap_or_else(PoisonError::into_inner) = reason.chars().take(ERROR_CHARS_MAX).collect();
        debug!(%error, reason, "kafka client");
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error, a report or a silence, and is logged where it changes something.
        if matches!(level, RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical) {
            warn!(facility, message, "kafka client");
        } else {
            debug!(facility, message, "kafka client");
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, token: usize) {
        let result = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        self.0.reports.lock().unwrap_or_else(PoisonError::into_inner).push(Report { token, result });
    }
}

/// A producer. Whoever has it must poll it.
pub struct Producer {
    inner: BaseProducer<Context>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Producer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl Producer {
    /// With these settings; connects by itself.
    ///
    /// # Errors
    /// Where librdkafka does not take a setting.
    pub fn new(config: &ClientConfig) -> KafkaResult<Self> {
        let shared = Arc::new(Shared::default());
        let inner = BaseProducer::from_config_and_context(config, Context(Arc::clone(&shared)))?;
        Ok(Self { inner, shared })
    }

    /// Hands a record over. Its report comes with the token.
    ///
    /// # Errors
    /// Where it was not taken; no report comes then.
    ///
    /// # Safety
    /// The bytes of the value must stay where they are, unchanged, until the record's report was taken or this producer
    /// was dropped.
    #[expect(unsafe_code, reason = "the safe way copies each value, and allocates for topic and headers")]
    pub unsafe fn produce(&self, record: Record<'_>, token: usize) -> Result<(), RDKafkaErrorCode> {
        let bytes = |bytes: &[u8]| (bytes.as_ptr().cast::<c_void>(), bytes.len());
        let (key, key_bytes) = record.key.map_or((std::ptr::null(), 0), bytes);
        let (value, value_bytes) = bytes(record.value);
        let [(first_name, first), (second_name, second)] = record.headers;
        // SAFETY: the arguments are the tagged list that librdkafka's header demands, each with its C type; topic and
        // names end in NUL; key and headers are copied before it returns. The value is only lent (no flag is set), and
        // the caller keeps it until librdkafka is done with it.
        let code: RDKafkaRespErr = unsafe {
            rd_kafka_producev(
                self.inner.client().native_ptr(),
                vtype::RD_KAFKA_VTYPE_TOPIC,
                record.topic.as_ptr(),
                vtype::RD_KAFKA_VTYPE_PARTITION,
                record.partition,
                vtype::RD_KAFKA_VTYPE_MSGFLAGS,
                0_i32,
                vtype::RD_KAFKA_VTYPE_VALUE,
                value,
                value_bytes,
                vtype::RD_KAFKA_VTYPE_KEY,
                key,
                key_bytes,
                vtype::RD_KAFKA_VTYPE_HEADER,
                first_name.as_ptr(),
                first.as_ptr().cast::<c_void>(),
                first.len() as isize,
                vtype::RD_KAFKA_VTYPE_HEADER,
                second_name.as_ptr(),
                second.as_ptr().cast::<c_void>(),
                second.len() as isize,
                vtype::RD_KAFKA_VTYPE_OPAQUE,
                token as *mut c_void,
                vtype::RD_KAFKA_VTYPE_END,
            )
        };
        match RDKafkaErrorCode::from(code) {
            RDKafkaErrorCode::NoError => Ok(()),
            error => Err(error),
        }
    }

    /// Serves what librdkafka has to say, for this long.
    pub fn poll(&self, time: Duration) {
        self.inner.poll(time);
    }

    /// Serves everything that it has to say now.
    pub fn poll_all(&self) {
        let count = || self.reports().len();
        loop {
            let before = count();
            self.inner.poll(Duration::ZERO);
            if count() == before {
                return;
            }
        }
    }

    /// Moves the reports that have come into `out`, which is empty.
    pub fn take_reports(&self, out: &mut Vec<Report>) {
        std::mem::swap(&mut *self.reports(), out);
    }

    /// Takes back everything that was handed over; each record is reported, soon.
    pub fn purge(&self) {
        self.inner.purge(PurgeConfig::default().queue().inflight());
    }

    /// Whether no broker could be reached, the last time anything was heard of it.
    pub fn is_unreachable(&self) -> bool {
        self.shared.unreachable.load(Ordering::Relaxed)
    }

    /// Something came back, so a broker was reached.
    pub fn reached(&self) {
        self.shared.unreachable.store(false, Ordering::Relaxed);
    }

    /// Whether it can do nothing any more.
    pub fn is_fatal(&self) -> bool {
        self.shared.fatal.load(Ordering::Relaxed)
    }

    /// Whether the cluster refused who we are, since the last call.
    pub fn take_refused(&self) -> bool {
        self.shared.refused.swap(false, Ordering::Relaxed)
    }

    /// The last thing that it complained of; empty where it never did.
    pub fn last_error(&self) -> String {
        self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it. What it gave no report for is neither read nor reported any more.
    pub fn close(self, out: &mut Vec<Report>) {
        let Self { inner, shared } = self;
        // Purges, serves the reports of that for half a second, and waits for librdkafka's threads to end.
        drop(inner);
        std::mem::swap(&mut *shared.reports.lock().unwrap_or_else(PoisonError::into_inner), out);
    }

    pub(super) fn inner(&self) -> &BaseProducer<impl ProducerContext + use<>> {
        &self.inner
    }

    fn reports(&self) -> std::sync::MutexGuard<'_, Vec<Report>> {
        self.shared.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn config(properties: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:1");
        for (name, value) in properties {
            config.set(*name, *value);
        }
        config
    }

    #[test]
    fn tls_and_sasl_are_built_in() {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let properties = [
                ("sasl.mechanisms", mechanism),
                ("sasl.username", "u"),
                ("sasl.password", "p"),
                ("security.protocol", "SASL_SSL"),
            ];
            Producer::new(&config(&properties)).unwrap_or_else(|error| panic!("{mechanism}: {error}"));
        }
        assert!(Producer::new(&config(&[("no.such.property", "1")])).is_err());
    }

    #[test]
    #[expect(unsafe_code, reason = "produce demands that the value outlives the producer, which it does")]
    fn a_dead_cluster_is_told_and_what_it_was_given_is_taken_back() {
        let value = vec![7_u8; 100];
        let producer = Producer::new(&config(&[])).unwrap();
        let headers = [(c"a", &b"1"[..]), (c"b", &b""[..])];
        for (token, key) in [(5, Some(&b"key"[..])), (6, None)] {
            let record = Record { topic: c"events", partition: 0, key, value: &value, headers };
            // SAFETY: the value is dropped after the producer is closed.
            unsafe { producer.produce(record, token) }.unwrap();
        }
        let begun = Instant::now();
        while !producer.is_unreachable() {
            producer.poll(Duration::from_millis(1));
            assert!(begun.elapsed() < Duration::from_secs(30), "nobody told");
        }
        assert!(!producer.last_error().is_empty() && !producer.is_fatal());
        producer.reached();
        assert!(!producer.is_unreachable());
        producer.purge();
        let mut reports = Vec::new();
        producer.close(&mut reports);
        reports.sort_by_key(|report| report.token);
        let taken_back = Err(RDKafkaErrorCode::PurgeQueue);
        assert_eq!(reports, [5, 6].map(|token| Report { token, result: taken_back }));
    }
}
