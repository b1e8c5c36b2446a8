//! Many appenders in one thread, as in a server: each appends, waits until its record is durable, and appends again. One
//! waker tells all of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use local_buffer::{AppendError, Appender, Pending, Subscription};

/// What they saw.
pub(crate) struct Seen {
    pub(crate) elapsed: Duration,
    /// From the append to the news that it is durable, rising.
    latencies: Vec<Duration>,
}

impl Seen {
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        self.latencies[((self.latencies.len() as f64 * share) as usize).min(self.latencies.len() - 1)]
    }

    pub(crate) fn appends(&self) -> u64 {
        self.latencies.len() as u64
    }
}

/// Runs `appenders` until `appends` of them are durable; `append` is called for each.
pub(crate) fn run(
    appender: &Appender,
    appenders: usize,
    appends: u64,
    append: impl Fn(&Appender) -> Result<Pending, AppendError>,
) -> Seen {
    let mut subscription = appender.subscribe();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut waiting: VecDeque<(Pending, Instant)> = VecDeque::with_capacity(appenders);
    let mut latencies = Vec::with_capacity(appends as usize);
    let mut left = appends;
    let start = Instant::now();
    while (latencies.len() as u64) < appends {
        while waiting.len() < appenders && left > 0 {
            match append(appender) {
                Ok(pending) => waiting.push_back((pending, Instant::now())),
                // The next news brings room.
                Err(AppendError::Busy) if !waiting.is_empty() => break,
                Err(AppendError::Busy) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
            left -= 1;
        }
        let end = next_end(&mut subscription, &waker);
        let now = Instant::now();
        while let Some((pending, since)) = waiting.front() {
            if pending.end() > end {
                break;
            }
            latencies.push(now - *since);
            waiting.pop_front();
        }
    }
    let elapsed = start.elapsed();
    latencies.sort_unstable();
    Seen { elapsed, latencies }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn next_end(subscription: &mut Subscription, waker: &Waker) -> local_buffer::RecordId {
    let mut context = Context::from_waker(waker);
    loop {
        match subscription.poll_advanced(&mut context) {
            Poll::Ready(end) => return end.expect("writes succeed"),
            Poll::Pending => std::thread::park(),
        }
    }
}
