//! Waking at a point in time, more finely than the runtime's timers, which tick in milliseconds: at 50,000 requests a
//! second those would send bursts of 50 and count half a millisecond of their own as latency.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// A kernel timer.
pub(super) struct Pace {
    timer: AsyncFd<OwnedFd>,
}

impl Pace {
    /// Must be called inside a runtime.
    #[expect(unsafe_code, reason = "tokio has no safe way to watch a descriptor that is not one of its own")]
    pub(super) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // SAFETY: the OwnedFd is open, it moves into the AsyncFd, and nothing replaces or closes it while it is there.
        let timer = unsafe { AsyncFd::register(timer)? };
        Ok(Self { timer })
    }

    /// Returns at `due`, at once if that has passed.
    pub(super) async fn wait_until(&mut self, due: Instant) -> io::Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Itimerspec { it_interval: zero, it_value: timespec(left) };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &value)?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; 8];
            if ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut expirations)?)).is_ok() {
                return Ok(());
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_wakes_after_the_time_and_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut pace = Pace::new().expect("a timer");
            for _ in 0..20 {
                let due = Instant::now() + Duration::from_micros(300);
                pace.wait_until(due).await.expect("waits");
                assert!(Instant::now() >= due);
            }
        });
    }
}
