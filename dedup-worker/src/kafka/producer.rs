//! The transactional producer of one partition, and with it the fence.
//!
//! Whoever last asked for a transactional id may commit; everybody who had it before is refused. There is one fixed id
//! for each partition, so there is one owner, whatever any group says.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::{Cluster, KafkaFailure};

/// How long one call of librdkafka's commit may take. It has been seen to give no answer on a healthy broker until its
/// limit, and to succeed at once when called again; so the limit is short and the calls are several.
const COMMIT_CALL: Duration = Duration::from_millis(500);
/// librdkafka's poll takes all of the time it is given, so this is what a wait for an acknowledgement is rounded up to.
const POLL: Duration = Duration::from_millis(1);
/// Time that records of one batch gather to be sent together. A batch is handed over in one go, so it is short.
const LINGER_MS: &str = "2";

/// What a record is, so that its acknowledgement can be told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An event of the output.
    Output,
    /// A record of the changelog.
    Changelog,
    /// A record set aside.
    Rejected,
}

/// A record to be sent.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// What it is.
    pub kind: Kind,
    /// Where to.
    pub topic: &'a str,
    /// The partition; `None` where any will do.
    pub partition: Option<u32>,
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Its headers.
    pub headers: Option<OwnedHeaders>,
}

/// Where the records since [`Producer::begin`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivered {
    /// First offset of the output records and the offset behind their last; both 0 where there were none.
    pub output: (u64, u64),
    /// Offset of the newest changelog record.
    pub changelog: Option<u64>,
}

/// The one that may write for a partition, as long as nobody took it over.
pub struct Producer {
    inner: BaseProducer<Deliveries>,
    timeout: Duration,
}

struct Deliveries {
    output_first: AtomicI64,
    output_last: AtomicI64,
    changelog: AtomicI64,
    failure: Mutex<Option<String>>,
}

impl Producer {
    /// Takes the fence: when this returns, nobody who had `transactional_id` before can commit any more, and what they
    /// had begun is undone. `timeout` bounds this, each later wait, and on the broker's side an open transaction.
    ///
    /// # Errors
    /// Where the cluster does not answer within `timeout` or refuses.
    pub fn fence(cluster: &Cluster, transactional_id: &str, timeout: Duration) -> Result<Self, KafkaFailure> {
        let mut config = cluster.config();
        let timeout_ms = timeout.as_millis().to_string();
        config
            .set("transactional.id", transactional_id)
            .set("transaction.timeout.ms", &timeout_ms)
            .set("message.timeout.ms", &timeout_ms)
            .set("acks", "all")
            .set("linger.ms", LINGER_MS)
            .set("queue.buffering.max.messages", "200000");
        if config.get("compression.type").is_none() {
            config.set("compression.type", "lz4");
        }
        let none = || AtomicI64::new(-1);
        let context =
            Deliveries { output_first: none(), output_last: none(), changelog: none(), failure: Mutex::default() };
        let inner: BaseProducer<Deliveries> =
            config.create_with_context(context).map_err(KafkaFailure::of("make a producer"))?;
        inner.init_transactions(timeout).map_err(KafkaFailure::of("take the fence"))?;
        Ok(Self { inner, timeout })
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// Where librdkafka refuses; the producer is to be dropped.
    pub fn begin(&self) -> Result<(), KafkaFailure> {
        let deliveries = self.inner.context();
        for offset in [&deliveries.output_first, &deliveries.output_last, &deliveries.changelog] {
            offset.store(-1, Relaxed);
        }
        self.inner.begin_transaction().map_err(KafkaFailure::of("begin a transaction"))
    }

    /// Hands a record over, waiting for room where there is none.
    ///
    /// # Errors
    /// Where it is refused; the transaction cannot be committed.
    pub fn send(&self, outgoing: Outgoing<'_>) -> Result<(), KafkaFailure> {
        let mut record = BaseRecord::with_opaque_to(outgoing.topic, outgoing.kind as usize)
            .key(outgoing.key)
            .payload(outgoing.value);
        record.partition = outgoing.partition.map(u32::cast_signed);
        record.headers = outgoing.headers;
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    record = back;
                    self.inner.poll(POLL);
                }
                Err((error, _)) => return Err(KafkaFailure::new("produce", error)),
            }
        }
    }

    /// Waits until every record is acknowledged, and says where they went.
    ///
    /// # Errors
    /// Where one was not; the transaction cannot be committed.
    pub fn settle(&self) -> Result<Delivered, KafkaFailure> {
        let deadline = Instant::now() + self.timeout;
        // Polled here because librdkafka's own flush waits in steps of 100 ms.
        while self.inner.in_flight_count() > 0 {
            if Instant::now() > deadline {
                return Err(KafkaFailure::new("produce", "no acknowledgement in time"));
            }
            self.inner.poll(POLL);
        }
        let deliveries = self.inner.context();
        if let Some(failure) = deliveries.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(KafkaFailure { operation: "produce", detail: failure });
        }
        let output = match (deliveries.output_first.load(Relaxed), deliveries.output_last.load(Relaxed)) {
            (first @ 0.., last @ 0..) => (first as u64, last as u64 + 1),
            _ => (0, 0),
        };
        Ok(Delivered { output, changelog: u64::try_from(deliveries.changelog.load(Relaxed)).ok() })
    }

    /// Commits. Call [`settle`](Self::settle) first.
    ///
    /// # Errors
    /// Anything but a confirmed commit. The transaction may have been committed all the same: only the changelog can
    /// say. The producer is to be dropped.
    pub fn commit(&self) -> Result<(), KafkaFailure> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let error = match self.inner.commit_transaction(COMMIT_CALL) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match &error {
                KafkaError::Transaction(error) if error.is_retriable() && Instant::now() < deadline => {}
                _ => return Err(KafkaFailure::of("commit a transaction")(error)),
            }
        }
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, message: &str) {
        tracing::debug!(message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, kind: usize) {
        match result {
            Ok(record) => {
                let offset = record.offset();
                if kind == Kind::Output as usize {
                    // One partition, one producer: acknowledgements come in the order of the offsets.
                    let _ = self.output_first.compare_exchange(-1, offset, Relaxed, Relaxed);
                    self.output_last.store(offset, Relaxed);
                } else if kind == Kind::Changelog as usize {
                    self.changelog.store(offset, Relaxed);
                }
            }
            Err((error, _)) => {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert_with(|| error.to_string());
            }
        }
    }
}
