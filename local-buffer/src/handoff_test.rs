//! The hand-off between appenders, the writer and the reader, in every order that their threads can take (loom).
//!
//! Goal: an append that is durable is on the disk; everybody who waits for it is woken; what was appended is read once,
//! in order; a write that fails reaches everybody. Oracle: assertions in each thread, and loom, which reports a thread
//! that sleeps for ever.
//!
//! It is the code of `append.rs`, `tail.rs`, `writer.rs`, `durable.rs` and `reader.rs` itself, on a simulated disk whose
//! calls are one step each. Not covered: the janitor's thread, a wait that ends by its timeout, and orders with more
//! preemptions than [`PREEMPTIONS_MAX`].

use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use loom::thread;

use crate::append::Appender;
use crate::driven::small_bounds;
use crate::lock::lock;
use crate::open::{Opened, open};
use crate::options::DirectIo;
use crate::reader::Reader;
use crate::shared::Shared;
use crate::sim::SimDisk;
use crate::tail::Phase;
use crate::{Batch, writer};

/// Two threads that each run once hand over in fewer.
const PREEMPTIONS_MAX: usize = 3;

struct Buffer {
    shared: Arc<Shared>,
    appender: Appender,
    reader: Reader,
    disk: SimDisk,
}

fn model(name: &str, run: impl Fn(Buffer) + Sync + Send + 'static) {
    let orders = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&orders);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let disk = SimDisk::new(true);
        let opened = open(&disk.storage(), Path::new("sim"), small_bounds(6, 3), DirectIo::Auto);
        let Opened { shared, lock, .. } = opened.expect("it opens");
        let (appender, reader) = (Appender::new(Arc::clone(&shared)), Reader::new(Arc::clone(&shared), lock));
        run(Buffer { shared, appender, reader, disk });
    });
    println!("{name}: {} orders", orders.load(std::sync::atomic::Ordering::Relaxed));
}

fn write(shared: &Arc<Shared>) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || writer::run(&shared))
}

fn close(shared: &Shared, writer: thread::JoinHandle<()>) {
    lock(&shared.tail).phase = Phase::Closing;
    shared.writer_work.notify_one();
    writer.join().expect("the writer ends");
}

fn is_on(disk: &SimDisk, record: &[u8]) -> bool {
    let names = disk.names().into_iter().filter(|name| name.starts_with("segments/"));
    names.map(|name| disk.content(&name)).any(|bytes| bytes.windows(record.len()).any(|found| found == record))
}

#[test]
fn what_is_durable_is_on_the_disk_and_whoever_waits_is_woken() {
    model("two appenders that wait", |Buffer { shared, appender, disk, .. }| {
        let writer = write(&shared);
        let other = {
            let (appender, disk) = (appender.clone(), disk.clone());
            thread::spawn(move || {
                appender.append(b"first record").expect("room").wait(&appender).expect("written");
                assert!(is_on(&disk, b"first record"));
            })
        };
        appender.append(b"second record").expect("room").wait(&appender).expect("written");
        assert!(is_on(&disk, b"second record"));
        other.join().expect("it ends");
        close(&shared, writer);
    });
}

#[test]
fn a_sleeping_reader_is_woken_and_gets_every_record_in_order() {
    model("a reader that sleeps", |Buffer { shared, appender, mut reader, .. }| {
        let writer = write(&shared);
        let appends = thread::spawn(move || {
            let _ = appender.append(b"0").expect("room");
            let _ = appender.append(b"1").expect("room");
        });
        let (mut batch, mut seen) = (Batch::new(), 0);
        while seen < 2 {
            assert!(reader.wait(Duration::MAX));
            reader.read(&mut batch, 10, 100).expect("it can be read");
            for (id, bytes) in batch.iter() {
                assert_eq!((id.get(), bytes), (seen, &[b'0' + seen as u8][..]));
                seen += 1;
            }
        }
        appends.join().expect("it ends");
        close(&shared, writer);
    });
}

#[test]
fn a_subscription_hears_of_every_advance() {
    model("a subscription", |Buffer { shared, appender, .. }| {
        let writer = write(&shared);
        let mut subscription = appender.subscribe();
        let first = appender.append(b"0").expect("room");
        let second = appender.append(b"1").expect("room");
        loom::future::block_on(std::future::poll_fn(|context| {
            while subscription.check(&second).is_none() {
                match subscription.poll_advanced(context) {
                    Poll::Ready(end) => assert!(end.expect("written") >= first.end()),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(())
        }));
        close(&shared, writer);
    });
}

#[test]
fn a_failed_write_reaches_everybody_who_waits_or_comes_later() {
    model("a failed write", |Buffer { shared, appender, disk, .. }| {
        disk.fail_syncs(1);
        let writer = write(&shared);
        let other = {
            let appender = appender.clone();
            thread::spawn(move || appender.append(b"first").and_then(|first| Ok(first.wait(&appender)?)).is_err())
        };
        // The second may have come too late to be taken; it is never durable.
        let second = appender.append(b"second").and_then(|second| Ok(second.wait(&appender)?));
        assert!(second.is_err());
        assert!(other.join().expect("it ends"));
        writer.join().expect("the writer ends");
    });
}
