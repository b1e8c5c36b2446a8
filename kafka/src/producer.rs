//! The producer.

use std::ffi::CStr;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _};
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::types::RDKafkaErrorCode;

use crate::cluster::{Cluster, Sending};
use crate::context::{Context, Heard};
use crate::events::Events;
use crate::failure::Failure;
use crate::record::{Parts, Record};
use crate::topics::Topics;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The number that it was given.
    pub token: usize,
    /// Bytes of its value.
    pub bytes: usize,
    /// Its offset, where the cluster has it; negative where that is not known.
    pub offset: i64,
    /// When it was appended, by the broker's clock where its topic has it so, milliseconds since the Unix epoch; `None` where
    /// the broker does not say.
    pub appended_ms: Option<i64>,
    /// Whether the cluster has it.
    pub result: Result<(), RDKafkaErrorCode>,
}

/// A producer. Whoever has it must [`serve`](Self::serve) it.
pub struct Producer {
    /// Before the client: they are the client's.
    events: Events,
    topics: Topics,
    client: BaseProducer<Context>,
    heard: Arc<Heard>,
}

impl fmt::Debug for Producer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl Producer {
    /// To `cluster`; connects by itself.
    ///
    /// # Errors
    /// Where librdkafka does not take a property.
    pub fn new(cluster: &Cluster, sending: Sending) -> Result<Self, Failure> {
        Self::with(&cluster.sending(sending)).map_err(Failure::of("make a producer"))
    }

    /// With these settings; connects by itself.
    ///
    /// # Errors
    /// Where librdkafka does not take a setting.
    #[expect(unsafe_code, reason = "the queue of events is not in the safe interface")]
    pub(crate) fn with(config: &ClientConfig) -> KafkaResult<Self> {
        let heard = Arc::new(Heard::default());
        let client = BaseProducer::from_config_and_context(config, Context(Arc::clone(&heard)))?;
        // SAFETY: the queue is dropped before the client, as the order of the fields and `close` have it.
        let events = unsafe { Events::of(client.client().native_ptr()) };
        Ok(Self { events, topics: Topics::default(), client, heard })
    }

    /// Begins to learn who leads the partitions of a topic, so that the first record for it does not wait for that. There is
    /// room for four.
    #[expect(unsafe_code, reason = "handles of topics are not in the safe interface")]
    pub(crate) fn learn(&self, topic: &CStr) {
        // SAFETY: it is the one client of this producer, and dropped after the topics, as the order of the fields and
        // `close` have it.
        let _ = unsafe { self.topics.find(self.client.client().native_ptr(), topic) };
    }

    /// Hands a record over. Its report comes with the token.
    ///
    /// # Errors
    /// Where it was not taken; no report comes then. [`RDKafkaErrorCode::QueueFull`] passes when reports are served.
    ///
    /// # Safety
    /// The bytes of the value must stay where they are, unchanged, until the record's report was taken or this producer
    /// was closed or dropped.
    #[expect(unsafe_code, reason = "the safe way copies each value and looks up each topic")]
    pub unsafe fn produce(&self, record: &Record<'_>, token: usize) -> Result<(), RDKafkaErrorCode> {
        let client = self.client.client().native_ptr();
        // SAFETY: it is the one client of this producer, and dropped after the topics, as the order of the fields and
        // `close` have it.
        let topic = unsafe { self.topics.find(client, record.topic) };
        let parts = Parts::of(record, topic, token);
        let list = parts.as_slice();
        // SAFETY: each part has the type that its tag says; texts end in NUL; the topic lives as long as `self`; the key
        // is copied before it returns, the headers go over to librdkafka or stay with the parts. The value is only lent,
        // and the caller keeps it until librdkafka is done with it.
        let error = unsafe { rd::rd_kafka_produceva(client, list.as_ptr(), list.len()) };
        if error.is_null() {
            parts.taken();
            return Ok(());
        }
        // SAFETY: the error is ours to read and to destroy.
        let code = unsafe {
            let code = rd::rd_kafka_error_code(error);
            rd::rd_kafka_error_destroy(error);
            code
        };
        Err(code.into())
    }

    /// Waits until librdkafka has something to say, up to `time`, then takes all of it: the reports that have come are
    /// added to `reports`.
    pub fn serve(&self, time: Duration, reports: &mut Vec<Report>) {
        self.events.take(time, &self.heard, reports);
    }

    /// Takes back everything that was handed over; each record is reported, soon.
    pub fn purge(&self) {
        self.client.purge(PurgeConfig::default().queue().inflight());
    }

    /// Whether no broker could be reached, the last time anything was heard of it.
    pub fn is_unreachable(&self) -> bool {
        self.heard.unreachable.load(Relaxed)
    }

    /// Something came back, so a broker was reached.
    pub fn reached(&self) {
        self.heard.unreachable.store(false, Relaxed);
    }

    /// Whether it can do nothing any more.
    pub fn is_fatal(&self) -> bool {
        self.heard.fatal.load(Relaxed)
    }

    /// Whether the cluster refused who we are, since the last call.
    pub fn take_refused(&self) -> bool {
        self.heard.refused.swap(false, Relaxed)
    }

    /// The last thing that it complained of; empty where it never did.
    pub fn last_error(&self) -> String {
        self.heard.complaint.last()
    }

    /// The client, for transactions. It must not be polled or flushed while records are on their way.
    pub(crate) fn client(&self) -> &BaseProducer<impl ProducerContext + use<>> {
        &self.client
    }

    /// Ends it and adds the last reports to `reports`. What it gives no report for is neither read nor reported any more.
    pub fn close(self, reports: &mut Vec<Report>) {
        let Self { events, topics, client, heard } = self;
        drop((events, topics));
        // Purges, serves the reports of that for half a second, and waits for librdkafka's threads to end.
        drop(client);
        reports.append(&mut heard.take_last());
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::time::Instant;

    use super::*;
    use crate::Headers;

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
            Producer::with(&config(&properties)).unwrap_or_else(|error| panic!("{mechanism}: {error}"));
        }
        assert!(Producer::with(&config(&[("no.such.property", "1")])).is_err());
    }

    #[test]
    #[expect(unsafe_code, reason = "produce demands that the value outlives the producer, which it does")]
    fn a_dead_cluster_is_told_and_what_it_was_given_is_taken_back() {
        let value = vec![7_u8; 100];
        let producer = Producer::with(&config(&[])).unwrap();
        let headers = [(c"a", &b"1"[..]), (c"b", &b""[..])];
        for (token, key) in [(5, Some(&b"key"[..])), (6, None)] {
            let headers = Headers::These(&headers);
            let record = Record { topic: c"events", partition: Some(0), key, value: &value, headers };
            // SAFETY: the value is dropped after the producer is closed.
            unsafe { producer.produce(&record, token) }.unwrap();
        }
        let mut reports = Vec::new();
        let begun = Instant::now();
        while !producer.is_unreachable() {
            producer.serve(Duration::from_secs(1), &mut reports);
            assert!(begun.elapsed() < Duration::from_secs(30), "nobody told");
        }
        assert!(!producer.last_error().is_empty() && !producer.is_fatal());
        producer.reached();
        assert!(!producer.is_unreachable());
        producer.purge();
        producer.close(&mut reports);
        let mut reports: Vec<_> = reports.iter().map(|report| (report.token, report.bytes, report.result)).collect();
        reports.sort_by_key(|report| report.0);
        assert_eq!(reports, [5, 6].map(|token| (token, 100, Err(RDKafkaErrorCode::PurgeQueue))));
    }

    #[test]
    #[expect(unsafe_code, reason = "produce demands that the value outlives the producer, which it does")]
    fn any_number_of_topics_and_headers_will_do() {
        let value = vec![7_u8; 100];
        let producer = Producer::with(&config(&[])).unwrap();
        let topics = [c"a", c"b", c"c", c"d", c"e", c"f"];
        let headers = [(c"name", &b"value"[..]); 20];
        for (token, topic) in topics.iter().chain(&topics).enumerate() {
            let headers = Headers::These(&headers[..token]);
            let record = Record { topic, partition: None, key: None, value: &value, headers };
            // SAFETY: the value is dropped after the producer is closed.
            unsafe { producer.produce(&record, token) }.unwrap();
        }
        let topic = CString::new([b'a'; 513]).unwrap();
        let headers = Headers::These(&headers);
        let record = Record { topic: &topic, partition: None, key: None, value: &value, headers };
        // SAFETY: as above.
        let refused = unsafe { producer.produce(&record, topics.len() * 2) };
        assert_eq!(refused, Err(RDKafkaErrorCode::InvalidArgument), "longer than librdkafka takes");
        let mut reports = Vec::new();
        producer.close(&mut reports);
        let mut tokens: Vec<_> = reports.iter().map(|report| report.token).collect();
        tokens.sort_unstable();
        assert_eq!(tokens, (0..topics.len() * 2).collect::<Vec<_>>());
    }

    #[test]
    fn waiting_takes_no_processor_time() {
        let producer = Producer::with(&config(&[])).unwrap();
        let clock = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let before = clock();
        for _ in 0..200 {
            producer.serve(Duration::from_millis(1), &mut Vec::new());
        }
        let used = clock() - before;
        let used_ms = used.tv_sec * 1000 + used.tv_nsec / 1_000_000;
        assert!(used_ms < 100, "{used_ms} ms of processor time in 200 ms");
    }
}
