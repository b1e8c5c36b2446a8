//! The transactional producer of one partition, and with it the fence.
//!
//! Whoever last asked for a transactional id may commit; everybody who had it before is refused. There is one fixed id
//! for each partition, so there is one owner, whatever any group says.

use std::ffi::CStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka_producer::{Headers, Record, Report};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;

use super::{Cluster, KafkaFailure};

/// How long one call of librdkafka's commit may take. It has been seen to give no answer on a healthy broker until its
/// limit, and to succeed at once when called again; so the limit is short and the calls are several.
const COMMIT_CALL: Duration = Duration::from_millis(500);
/// Longest wait for acknowledgements between two looks at the clock.
const WAIT: Duration = Duration::from_millis(100);
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
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// What it is.
    pub kind: Kind,
    /// Where to.
    pub topic: &'a CStr,
    /// The partition; `None` where any will do.
    pub partition: Option<u32>,
    /// Its key.
    pub key: &'a [u8],
    /// Its value; lent until it is acknowledged.
    pub value: &'a [u8],
    /// Its headers.
    pub headers: Headers<'a>,
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
#[derive(Debug)]
pub struct Producer {
    timeout: Duration,
    line: Mutex<Line>,
}

/// The client, what was handed to it since the transaction began, and what became of that.
#[derive(Debug)]
struct Line {
    /// `None` after a failure: nothing that was lent to it is read any more.
    client: Option<kafka_producer::Producer>,
    outstanding: usize,
    output: Option<(u64, u64)>,
    changelog: Option<u64>,
    failure: Option<RDKafkaErrorCode>,
    reports: Vec<Report>,
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
        // librdkafka makes no producer that could wait longer for an answer than its transaction lives.
        let socket_ms = config.get("socket.timeout.ms").and_then(|ms| ms.parse::<u128>().ok());
        if socket_ms.is_some_and(|ms| ms > timeout.as_millis()) {
            config.set("socket.timeout.ms", &timeout_ms);
        }
        if config.get("compression.type").is_none() {
            config.set("compression.type", "lz4");
        }
        let client = kafka_producer::Producer::new(&config).map_err(KafkaFailure::of("make a producer"))?;
        client.client().init_transactions(timeout).map_err(KafkaFailure::of("take the fence"))?;
        Ok(Self { timeout, line: Mutex::new(Line::new(client)) })
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// Where librdkafka refuses; the producer is to be dropped.
    pub fn begin(&self) -> Result<(), KafkaFailure> {
        let mut line = self.line();
        line.begin();
        line.client()?.client().begin_transaction().map_err(KafkaFailure::of("begin a transaction"))
    }

    /// Hands records over, waiting for room where there is none, and then waits until every one of them is acknowledged.
    /// Says where all records since the beginning went.
    ///
    /// # Errors
    /// Where one is refused or not acknowledged in time; the transaction cannot be committed, and the producer is to be
    /// dropped.
    pub fn send<'a>(&self, outgoing: impl IntoIterator<Item = Outgoing<'a>>) -> Result<Delivered, KafkaFailure> {
        let mut line = self.line();
        let deadline = Instant::now() + self.timeout;
        let mut outgoing = outgoing.into_iter();
        // SAFETY of what is lent: it is borrowed for `'a`, so until this returns. It returns when every record was
        // reported, or when the client is gone.
        let sent = outgoing.try_for_each(|outgoing| line.lend(&outgoing, deadline));
        match sent.and_then(|()| line.settle(deadline)) {
            Ok(()) => Ok(Delivered { output: line.output.unwrap_or_default(), changelog: line.changelog }),
            Err(failure) => {
                line.give_up();
                Err(failure)
            }
        }
    }

    /// Commits.
    ///
    /// # Errors
    /// Anything but a confirmed commit. The transaction may have been committed all the same: only the changelog can
    /// say. The producer is to be dropped.
    pub fn commit(&self) -> Result<(), KafkaFailure> {
        let line = self.line();
        let client = line.client()?.client();
        let deadline = Instant::now() + self.timeout;
        loop {
            let error = match client.commit_transaction(COMMIT_CALL) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match &error {
                KafkaError::Transaction(error) if error.is_retriable() && Instant::now() < deadline => {}
                _ => return Err(KafkaFailure::of("commit a transaction")(error)),
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn new(client: kafka_producer::Producer) -> Self {
        let reports = Vec::new();
        Self { client: Some(client), outstanding: 0, output: None, changelog: None, failure: None, reports }
    }

    fn begin(&mut self) {
        (self.outstanding, self.output, self.changelog, self.failure) = (0, None, None, None);
    }

    fn client(&self) -> Result<&kafka_producer::Producer, KafkaFailure> {
        self.client.as_ref().ok_or_else(|| KafkaFailure::new("produce", "the producer was given up after a failure"))
    }

    #[expect(unsafe_code, reason = "the value is lent to librdkafka, not copied")]
    fn lend(&mut self, outgoing: &Outgoing<'_>, deadline: Instant) -> Result<(), KafkaFailure> {
        let Outgoing { kind, topic, partition, key, value, headers } = *outgoing;
        let record = Record { topic, partition, key: Some(key), value, headers };
        loop {
            // SAFETY: the only caller returns, and so ends the borrow of the value, when the record was reported or the
            // client is gone.
            match unsafe { self.client()?.produce(&record, kind as usize) } {
                Ok(()) => {
                    self.outstanding += 1;
                    return Ok(());
                }
                Err(RDKafkaErrorCode::QueueFull) if Instant::now() < deadline => self.serve()?,
                Err(code) => return Err(KafkaFailure::new("produce", code)),
            }
        }
    }

    fn settle(&mut self, deadline: Instant) -> Result<(), KafkaFailure> {
        while self.outstanding > 0 {
            if Instant::now() > deadline {
                return Err(KafkaFailure::new("produce", "no acknowledgement in time"));
            }
            self.serve()?;
        }
        self.failure.map_or(Ok(()), |code| Err(KafkaFailure::new("produce", code)))
    }

    fn serve(&mut self) -> Result<(), KafkaFailure> {
        let mut reports = std::mem::take(&mut self.reports);
        self.client()?.serve(WAIT, &mut reports);
        for report in reports.drain(..) {
            self.outstanding -= 1;
            self.came_back(report);
        }
        self.reports = reports;
        Ok(())
    }

    fn came_back(&mut self, Report { token, offset, result }: Report) {
        if let Err(code) = result {
            self.failure.get_or_insert(code);
            return;
        }
        let Ok(offset) = u64::try_from(offset) else { return };
        if token == Kind::Output as usize {
            // One partition, one producer: acknowledgements come in the order of the offsets.
            let (first, _) = self.output.unwrap_or((offset, 0));
            self.output = Some((first, offset + 1));
        } else if token == Kind::Changelog as usize {
            self.changelog = Some(offset);
        }
    }

    fn give_up(&mut self) {
        if let Some(client) = self.client.take() {
            client.close(&mut self.reports);
            self.reports.clear();
        }
    }
}
