//! How the writer thread shares a core with those who append.
//!
//! Measured with everything on one core (`make bench`, row `ingest_single`): 0.74 of a bare server's requests and 1.28 of
//! its processor time, against 0.59 and 1.61 with the usual policy, under which the writer interrupts the appender at
//! once and writes a small group.

/// Makes this a batch thread: woken on a core where an appender runs, it waits until that one has nothing more to do,
/// so that the group it then takes is as large as it can be. On a core of its own nothing changes.
#[expect(unsafe_code, reason = "rustix has no safe call for a thread's scheduling policy")]
pub(crate) fn yield_to_appenders() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: `parameters` is a valid sched_param for the length of the call, and 0 names the calling thread.
    let refused = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) } != 0;
    if refused {
        tracing::debug!("the writer thread keeps its scheduling policy; groups may be smaller");
    }
}
