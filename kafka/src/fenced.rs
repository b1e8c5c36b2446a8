//! The transactional producer of one partition, and with it the fence.
//!
//! Whoever last asked for a transactional id may commit; everybody who had it before is refused. There is one fixed id
//! for each partition, so there is one owner, whatever any group says.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;

use crate::{Cluster, Failure, Headers, Producer, Record, Report};

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

/// Where the records since [`Fenced::begin`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivered {
    /// First offset of the output records and the offset behind their last; both 0 where there were none.
    pub output: (u64, u64),
    /// Offset of the newest changelog record.
    pub changelog: Option<u64>,
}

/// The one that may write for a partition, as long as nobody took it over.
#[derive(Debug)]
pub struct Fenced {
    timeout: Duration,
    line: Mutex<Line>,
}

/// The client, what was handed to it since the transaction began, and what became of that.
#[derive(Debug)]
struct Line {
    /// `None` after a failure: nothing that was lent to it is read any more.
    client: Option<Producer>,
    outstanding: usize,
    output: Option<(u64, u64)>,
    changelog: Option<u64>,
    failure: Option<RDKafkaErrorCode>,
    reports: Vec<Report>,
}

impl Fenced {
    /// Takes the fence: when this returns, nobody who had `transactional_id` before can commit any more, and what they
    /// had begun is undone. `timeout` bounds this, each later wait, and on the broker's side an open transaction.
    ///
    /// # Errors
    /// Where the cluster does not answer within `timeout` or refuses.
    pub fn take(cluster: &Cluster, transactional_id: &str, timeout: Duration) -> Result<Self, Failure> {
        let mut config = cluster.producing();
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
        let client = Producer::with(&config).map_err(Failure::of("make a producer"))?;
        client.client().init_transactions(timeout).map_err(Failure::of("take the fence"))?;
        Ok(Self { timeout, line: Mutex::new(Line::new(client)) })
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// Where librdkafka refuses; the producer is to be dropped.
    pub fn begin(&self) -> Result<(), Failure> {
        let mut line = self.line();
        line.begin();
        line.client()?.client().begin_transaction().map_err(Failure::of("begin a transaction"))
    }

    /// Hands records over, waiting for room where there is none, and then waits until every one of them is acknowledged.
    /// Says where all records since the beginning went.
    ///
    /// # Errors
    /// Where one is refused or not acknowledged in time; the transaction cannot be committed, and the producer is to be
    /// dropped.
    pub fn send<'a>(&self, outgoing: impl IntoIterator<Item = Outgoing<'a>>) -> Result<Delivered, Failure> {
        let mut line = self.line();
        let deadline = Instant::now() + self.timeout;
        let mut lent = Lent::to(&mut line);
        outgoing.into_iter().try_for_each(|outgoing| lent.lend(&outgoing, deadline))?;
        let line = lent.settle(deadline)?;
        Ok(Delivered { output: line.output.unwrap_or_default(), changelog: line.changelog })
    }

    /// Commits.
    ///
    /// # Errors
    /// Anything but a confirmed commit. The transaction may have been committed all the same: only the changelog can
    /// say. The producer is to be dropped.
    pub fn commit(&self) -> Result<(), Failure> {
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
                _ => return Err(Failure::of("commit a transaction")(error)),
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn new(client: Producer) -> Self {
        let reports = Vec::new();
        Self { client: Some(client), outstanding: 0, output: None, changelog: None, failure: None, reports }
    }

    fn begin(&mut self) {
        (self.outstanding, self.output, self.changelog, self.failure) = (0, None, None, None);
    }

    fn client(&self) -> Result<&Producer, Failure> {
        self.client.as_ref().ok_or_else(|| Failure::new("produce", "the producer was given up after a failure"))
    }

    fn settle(&mut self, deadline: Instant) -> Result<(), Failure> {
        while self.outstanding > 0 {
            if Instant::now() > deadline {
                return Err(Failure::new("produce", "no acknowledgement in time"));
            }
            self.serve()?;
        }
        self.failure.map_or(Ok(()), |code| Err(Failure::new("produce", code)))
    }

    fn serve(&mut self) -> Result<(), Failure> {
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

/// Records on their way whose values librdkafka reads where they lie. However this ends, by an error or by a panic of who
/// gives the records, nothing that was lent is read any more: either every record was reported, or the client is gone.
struct Lent<'l, 'a> {
    line: Option<&'l mut Line>,
    /// Values are borrowed for so long.
    values: PhantomData<&'a [u8]>,
}

impl<'l, 'a> Lent<'l, 'a> {
    fn to(line: &'l mut Line) -> Self {
        Self { line: Some(line), values: PhantomData }
    }

    #[expect(unsafe_code, reason = "the value is lent to librdkafka, not copied")]
    fn lend(&mut self, outgoing: &Outgoing<'a>, deadline: Instant) -> Result<(), Failure> {
        let Outgoing { kind, topic, partition, key, value, headers } = *outgoing;
        let record = Record { topic, partition, key: Some(key), value, headers };
        let Some(line) = &mut self.line else { return Err(Failure::new("produce", "it was settled")) };
        loop {
            // SAFETY: the value is borrowed for `'a`, which outlives this guard; and the guard's end, also while a panic
            // unwinds, comes after the record's report or closes the client.
            match unsafe { line.client()?.produce(&record, kind as usize) } {
                Ok(()) => {
                    line.outstanding += 1;
                    return Ok(());
                }
                Err(RDKafkaErrorCode::QueueFull) if Instant::now() < deadline => line.serve()?,
                Err(code) => return Err(Failure::new("produce", code)),
            }
        }
    }

    /// Waits until every record was reported, and gives the line back.
    fn settle(mut self, deadline: Instant) -> Result<&'l mut Line, Failure> {
        if let Some(line) = &mut self.line {
            line.settle(deadline)?;
        }
        self.line.take().ok_or_else(|| Failure::new("produce", "it was settled"))
    }
}

impl Drop for Lent<'_, '_> {
    fn drop(&mut self) {
        if let Some(line) = &mut self.line {
            line.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// Nobody listens there, so what is handed over stays with librdkafka.
    fn unreachable() -> Fenced {
        let cluster = Cluster::new("test", "output", "127.0.0.1:1", service::Properties::default());
        let client = Producer::with(&cluster.producing()).unwrap();
        Fenced { timeout: Duration::from_millis(200), line: Mutex::new(Line::new(client)) }
    }

    fn outgoing(value: &[u8]) -> Outgoing<'_> {
        let (kind, topic, headers) = (Kind::Output, c"events.deduped", Headers::These(&[]));
        Outgoing { kind, topic, partition: Some(0), key: b"k", value, headers }
    }

    #[test]
    fn a_panic_between_lending_and_settling_leaves_nobody_who_reads_what_was_lent() {
        let producer = unreachable();
        let values: Vec<Vec<u8>> = (0..10).map(|byte| vec![byte; 100]).collect();
        let records = values.iter().map(|value| {
            assert!(value[0] < 5, "asked for by the test");
            outgoing(value)
        });
        assert!(catch_unwind(AssertUnwindSafe(|| producer.send(records))).is_err());
        assert!(producer.line().client.is_none(), "librdkafka still has what is about to be freed");
        assert!(producer.begin().is_err(), "and it is used no more");
    }

    #[test]
    fn what_is_not_acknowledged_in_time_is_not_read_any_more() {
        let producer = unreachable();
        let value = vec![7_u8; 100];
        assert!(producer.send([outgoing(&value)]).is_err());
        assert!(producer.line().client.is_none());
    }
}
