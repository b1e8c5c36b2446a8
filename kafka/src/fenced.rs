//! The transactional producer of one lane, and with it the fence.
//!
//! Whoever last asked for a transactional id may commit; everybody who had it before is refused. There is one fixed id
//! for each lane, so there is one owner, whatever any group says.
//!
//! One thread owns it, and a commit consumes it: it comes back from a confirmed commit alone. librdkafka can be asked again
//! for a commit that has timed out, but the answer to the first question may then be taken for the answer to a later one: it
//! reports a commit that has not happened, or aborts the process (2.12.1, measured with a stalled thread of its own). So the
//! question is asked once, with all the time that the transaction has left, and whoever gets no answer has no producer any
//! more that could be asked.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;

use crate::{Cluster, Failure, Headers, Producer, Record, Report};

/// Between two looks at the partitions: those that a topic has grown by are written to 10 s after they were seen.
const METADATA_MS: &str = "5000";

/// Longest wait for acknowledgements between two looks at the clock.
const WAIT: Duration = Duration::from_millis(100);
/// Time that records of one request gather to be sent together. They are handed over in one go, so it is short.
const LINGER_MS: &str = "2";

/// Bytes of records that are handed over before all of them have to be acknowledged: what goes into one request.
///
/// An idempotent client of librdkafka has no second request of more than five records under way to a partition. What waits
/// behind the first one for longer than the linger keeps the client's thread looking at every partition that it knows, again
/// and again (2.12.1, measured: two fifths of the processor time of a worker that catches up with 256 partitions).
const REQUEST_BYTES: usize = 900_000;
/// Records of the same. A request that has so many does not wait for the linger.
const REQUEST_RECORDS: usize = 1_500;
/// What a record takes in a request beside its key and value, rounded up: its headers and its frame.
const RECORD_BYTES: usize = 128;

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

/// Where the changelog record since [`Fenced::begin`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivered {
    /// Offset of the newest changelog record.
    pub changelog: Option<u64>,
    /// When that was appended, by the broker's clock, milliseconds since the Unix epoch.
    pub changelog_appended_ms: Option<i64>,
}

/// The one that may write for a lane, as long as nobody took it over.
///
/// Behind a failure it is to be dropped: nothing that was lent to it is read any more, and it refuses everything.
#[derive(Debug)]
pub struct Fenced {
    timeout: Duration,
    line: Line,
}

/// A client that has not taken the fence yet. One that was made a second before takes it in a hundredth of the time: librdkafka
/// finds its coordinator by a timer of half a second (measured: 5 to 13 ms, instead of 58 to 507).
#[derive(Debug)]
pub struct Prepared {
    timeout: Duration,
    client: Producer,
}

/// The client, what was handed to it since the transaction began, and what became of that.
#[derive(Debug)]
struct Line {
    /// `None` after a failure: nothing that was lent to it is read any more.
    client: Option<Producer>,
    /// When the transaction that was begun last is over.
    deadline: Instant,
    outstanding: usize,
    /// Records and bytes of the request that is being filled.
    request: (usize, usize),
    changelog: Option<u64>,
    changelog_appended_ms: Option<i64>,
    failure: Option<RDKafkaErrorCode>,
    reports: Vec<Report>,
}

impl Prepared {
    /// A client for `transactional_id`, which connects by itself. `timeout` bounds each wait for the fence and each later
    /// transaction from its beginning to its commit, here and on the broker's side.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties.
    pub fn new(cluster: &Cluster, transactional_id: &str, timeout: Duration) -> Result<Self, Failure> {
        let mut config = cluster.producing();
        let timeout_ms = timeout.as_millis().to_string();
        config
            .set("transactional.id", transactional_id)
            .set("transaction.timeout.ms", &timeout_ms)
            .set("message.timeout.ms", &timeout_ms)
            .set("acks", "all")
            .set("linger.ms", LINGER_MS)
            .set("batch.num.messages", REQUEST_RECORDS.to_string())
            .set("topic.metadata.refresh.interval.ms", METADATA_MS)
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
        Ok(Self { timeout, client })
    }

    /// Begins to learn who leads the partitions of these topics, four at most: the first transaction need not ask.
    pub fn learn(&self, topics: &[&CStr]) {
        for topic in topics {
            self.client.learn(topic);
        }
    }

    /// Takes the fence: when this returns, nobody who had the id before can commit any more, and what they had begun is
    /// undone.
    ///
    /// # Errors
    /// Where the cluster does not answer in time or refuses.
    pub fn take(self) -> Result<Fenced, Failure> {
        let Self { timeout, client } = self;
        client.client().init_transactions(timeout).map_err(Failure::of("take the fence"))?;
        Ok(Fenced { timeout, line: Line::new(client) })
    }
}

impl Fenced {
    /// Takes the fence with a new client.
    ///
    /// # Errors
    /// As [`Prepared::new`] and [`Prepared::take`].
    pub fn take(cluster: &Cluster, transactional_id: &str, timeout: Duration) -> Result<Self, Failure> {
        Prepared::new(cluster, transactional_id, timeout)?.take()
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// Where librdkafka refuses.
    pub fn begin(&mut self) -> Result<(), Failure> {
        self.line.begin(Instant::now() + self.timeout);
        self.line.client()?.client().begin_transaction().map_err(Failure::of("begin a transaction"))
    }

    /// Hands records over, waiting for room where there is none, and then waits until every one of them is acknowledged.
    /// Says where all records since the beginning went.
    ///
    /// # Errors
    /// Where one is refused or not acknowledged in the transaction's time.
    pub fn send<'a>(&mut self, outgoing: impl IntoIterator<Item = Outgoing<'a>>) -> Result<Delivered, Failure> {
        let mut lent = Lent::to(&mut self.line);
        outgoing.into_iter().try_for_each(|outgoing| lent.lend(&outgoing))?;
        let line = lent.settle()?;
        Ok(Delivered { changelog: line.changelog, changelog_appended_ms: line.changelog_appended_ms })
    }

    /// Commits, and gives the producer back. It is asked for once, with the time that the transaction has left; who has no
    /// answer has no producer to ask again:
    ///
    /// ```compile_fail,E0382
    /// fn asks_twice(producer: kafka::Fenced) {
    ///     let _ = producer.commit();
    ///     let _ = producer.commit();
    /// }
    /// ```
    ///
    /// # Errors
    /// Anything but a confirmed commit. The transaction may have been committed all the same: only the changelog can
    /// say. There is no producer any more.
    pub fn commit(self) -> Result<Self, Failure> {
        let left = self.line.deadline.saturating_duration_since(Instant::now());
        let committed = self.line.client()?.client().commit_transaction(left);
        committed.map_err(Failure::of("commit a transaction"))?;
        Ok(self)
    }
}

impl Line {
    fn new(client: Producer) -> Self {
        let reports = Vec::new();
        Self {
            client: Some(client),
            deadline: Instant::now(),
            outstanding: 0,
            request: (0, 0),
            changelog: None,
            changelog_appended_ms: None,
            failure: None,
            reports,
        }
    }

    fn begin(&mut self, deadline: Instant) {
        (self.outstanding, self.request, self.changelog, self.failure) = (0, (0, 0), None, None);
        (self.changelog_appended_ms, self.deadline) = (None, deadline);
    }

    fn client(&self) -> Result<&Producer, Failure> {
        self.client.as_ref().ok_or_else(|| Failure::new("produce", "the producer was given up after a failure"))
    }

    /// Makes room in the request for one more record of so many bytes.
    fn make_room(&mut self, bytes: usize) -> Result<(), Failure> {
        let (records, filled) = self.request;
        if records == REQUEST_RECORDS || filled + bytes > REQUEST_BYTES {
            self.settle()?;
            self.request = (0, 0);
        }
        self.request = (self.request.0 + 1, self.request.1 + bytes);
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Failure> {
        while self.outstanding > 0 {
            if Instant::now() > self.deadline {
                return Err(Failure::new("produce", "no acknowledgement in time"));
            }
            self.serve()?;
        }
        self.failure.map_or(Ok(()), |code| Err(Failure::to_produce(code)))
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

    fn came_back(&mut self, Report { token, offset, appended_ms, result, .. }: Report) {
        if let Err(code) = result {
            if self.failure.is_none_or(is_consequence) {
                self.failure = Some(code);
            }
            return;
        }
        let Ok(offset) = u64::try_from(offset) else { return };
        if token == Kind::Changelog as usize {
            (self.changelog, self.changelog_appended_ms) = (Some(offset), appended_ms);
        }
    }

    fn give_up(&mut self) {
        if let Some(client) = self.client.take() {
            client.close(&mut self.reports);
            self.reports.clear();
        }
    }
}

/// Whether an error only says that another record of the batch had one.
fn is_consequence(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::State | RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
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
    fn lend(&mut self, outgoing: &Outgoing<'a>) -> Result<(), Failure> {
        let Outgoing { kind, topic, partition, key, value, headers } = *outgoing;
        let record = Record { topic, partition, key: Some(key), value, headers };
        let Some(line) = &mut self.line else { return Err(Failure::new("produce", "it was settled")) };
        // The changelog's goes to a partition of its own.
        if kind != Kind::Changelog {
            line.make_room(key.len() + value.len() + RECORD_BYTES)?;
        }
        loop {
            // SAFETY: the value is borrowed for `'a`, which outlives this guard; and the guard's end, also while a panic
            // unwinds, comes after the record's report or closes the client.
            match unsafe { line.client()?.produce(&record, kind as usize) } {
                Ok(()) => {
                    line.outstanding += 1;
                    return Ok(());
                }
                Err(RDKafkaErrorCode::QueueFull) if Instant::now() < line.deadline => line.serve()?,
                Err(code) => {
                    // What the others came back with says why.
                    line.settle()?;
                    return Err(Failure::to_produce(code));
                }
            }
        }
    }

    /// Waits until every record was reported, and gives the line back.
    fn settle(mut self) -> Result<&'l mut Line, Failure> {
        if let Some(line) = &mut self.line {
            line.settle()?;
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
        let mut line = Line::new(client);
        line.begin(Instant::now() + Duration::from_millis(200));
        Fenced { timeout: Duration::from_millis(200), line }
    }

    fn outgoing(value: &[u8]) -> Outgoing<'_> {
        let (kind, topic, headers) = (Kind::Output, c"events.deduped", Headers::These(&[]));
        Outgoing { kind, topic, partition: Some(0), key: b"k", value, headers }
    }

    #[test]
    fn a_panic_between_lending_and_settling_leaves_nobody_who_reads_what_was_lent() {
        let mut producer = unreachable();
        let values: Vec<Vec<u8>> = (0..10).map(|byte| vec![byte; 100]).collect();
        let records = values.iter().map(|value| {
            assert!(value[0] < 5, "asked for by the test");
            outgoing(value)
        });
        assert!(catch_unwind(AssertUnwindSafe(|| producer.send(records))).is_err());
        assert!(producer.line.client.is_none(), "librdkafka still has what is about to be freed");
        assert!(producer.begin().is_err(), "and it is used no more");
    }

    #[test]
    fn no_more_is_handed_over_than_goes_into_one_request() {
        for (bytes, records_max) in [(100, REQUEST_RECORDS), (100_000, REQUEST_BYTES / 100_000)] {
            let (mut producer, value, mut asked_for) = (unreachable(), vec![7_u8; bytes], 0);
            let records = (0..10_000).map(|_| {
                asked_for += 1;
                outgoing(&value)
            });
            assert!(producer.send(records).is_err(), "nobody acknowledges any");
            // The next one was asked for, and waits.
            assert!(asked_for <= records_max + 1, "{asked_for} of {bytes} bytes");
        }
    }

    #[test]
    fn the_error_that_is_said_is_the_one_that_others_follow_from() {
        let Fenced { mut line, .. } = unreachable();
        let mut said = |code| {
            line.came_back(Report { token: 0, bytes: 0, offset: -1, appended_ms: None, result: Err(code) });
            line.failure
        };
        assert_eq!(said(RDKafkaErrorCode::State), Some(RDKafkaErrorCode::State));
        assert_eq!(said(RDKafkaErrorCode::MessageSizeTooLarge), Some(RDKafkaErrorCode::MessageSizeTooLarge));
        for later in [RDKafkaErrorCode::PurgeQueue, RDKafkaErrorCode::MessageTimedOut] {
            assert_eq!(said(later), Some(RDKafkaErrorCode::MessageSizeTooLarge));
        }
    }

    #[test]
    fn what_is_not_acknowledged_in_time_is_not_read_any_more() {
        let mut producer = unreachable();
        let value = vec![7_u8; 100];
        assert!(producer.send([outgoing(&value)]).is_err());
        assert!(producer.line.client.is_none());
    }
}
