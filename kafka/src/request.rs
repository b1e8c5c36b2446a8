//! A request of librdkafka's admin interface that is not in the safe one.

use std::ptr;
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::Failure;
use crate::complaint::Asking;
use crate::handle::{Handle, text};
use crate::reader::Isolation;

/// What librdkafka says where nothing went wrong.
pub(crate) const NO_ERROR: rd::rd_kafka_resp_err_t = rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// What it takes to make a request, and to get the answer.
///
/// Its parts go in this order, before the client that it borrows.
pub(crate) struct Request<'c> {
    operation: &'static str,
    options: Handle<rd::rd_kafka_AdminOptions_t>,
    queue: Handle<rd::rd_kafka_queue_t>,
    begun: Instant,
    client: &'c BaseConsumer<Asking>,
}

impl<'c> Request<'c> {
    /// One of this kind, called `operation`, for which the brokers have so long.
    #[expect(unsafe_code, reason = "the admin interface is librdkafka's")]
    pub(crate) fn new(
        client: &'c BaseConsumer<Asking>,
        kind: rd::rd_kafka_admin_op_t,
        operation: &'static str,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let fail = |detail: &str| Failure::new(operation, detail);
        let native = client.client().native_ptr();
        // SAFETY: the client lives longer than `Self`, which borrows it. Both objects are new, and each is owned by a
        // `Handle`, which destroys it once.
        unsafe {
            let options = rd::rd_kafka_AdminOptions_new(native, kind);
            let options = Handle::new(options, rd::rd_kafka_AdminOptions_destroy).ok_or_else(|| fail("no memory"))?;
            let timeout_ms = timeout.as_millis() as i32;
            let limit = rd::rd_kafka_AdminOptions_set_request_timeout(options.get(), timeout_ms, ptr::null_mut(), 0);
            if limit != NO_ERROR {
                return Err(fail("its time limit was refused"));
            }
            let queue = Handle::new(rd::rd_kafka_queue_new(native), rd::rd_kafka_queue_destroy);
            let queue = queue.ok_or_else(|| fail("no memory"))?;
            Ok(Self { operation, options, queue, begun: Instant::now(), client })
        }
    }

    /// Which records its answer is about.
    #[expect(unsafe_code, reason = "the admin interface is librdkafka's")]
    pub(crate) fn seeing(self, isolation: Isolation) -> Result<Self, Failure> {
        let level = match isolation {
            Isolation::Committed => rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
            Isolation::Uncommitted => rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
        };
        // SAFETY: the options are alive; an error is ours, and its text is read before it goes.
        unsafe {
            let error = rd::rd_kafka_AdminOptions_set_isolation_level(self.options.get(), level);
            match Handle::new(error, rd::rd_kafka_error_destroy) {
                Some(error) => Err(self.failure(&text(rd::rd_kafka_error_string(error.get())))),
                None => Ok(self),
            }
        }
    }

    /// Which broker answers it, in place of whichever librdkafka likes.
    #[expect(unsafe_code, reason = "the admin interface is librdkafka's")]
    pub(crate) fn to(self, broker: i32) -> Result<Self, Failure> {
        // SAFETY: the options are alive, and there is no room for a text to be written to.
        let set = unsafe { rd::rd_kafka_AdminOptions_set_broker(self.options.get(), broker, ptr::null_mut(), 0) };
        if set == NO_ERROR { Ok(self) } else { Err(self.failure("its broker was refused")) }
    }

    /// The client, the options and the queue, as librdkafka's functions take them. They live as long as `self`.
    pub(crate) fn parts(&self) -> (*mut rd::rd_kafka_t, *const rd::rd_kafka_AdminOptions_t, *mut rd::rd_kafka_queue_t) {
        (self.client.client().native_ptr(), self.options.get(), self.queue.get())
    }

    /// What comes within so long after its making; whether it says that the request failed is [`error`]'s to tell.
    #[expect(unsafe_code, reason = "the queue is librdkafka's")]
    pub(crate) fn answer(&self, within: Duration) -> Result<Handle<rd::rd_kafka_event_t>, Failure> {
        let left_ms = within.saturating_sub(self.begun.elapsed()).as_millis() as i32;
        // SAFETY: the queue is alive, and an event that it hands out is ours.
        let event = unsafe {
            let event = rd::rd_kafka_queue_poll(self.queue.get(), left_ms);
            Handle::new(event, rd::rd_kafka_event_destroy)
        };
        event.ok_or_else(|| self.failure("no answer"))
    }

    pub(crate) fn failure(&self, detail: &str) -> Failure {
        Failure::new(self.operation, detail)
    }
}

/// The code and the text of an answer that is an error; `None` where it is none.
#[expect(unsafe_code, reason = "the event is librdkafka's")]
pub(crate) fn error(event: &Handle<rd::rd_kafka_event_t>) -> Option<(rd::rd_kafka_resp_err_t, String)> {
    // SAFETY: the event is alive, and its text is read before it goes.
    unsafe {
        let code = rd::rd_kafka_event_error(event.get());
        (code != NO_ERROR).then(|| (code, text(rd::rd_kafka_event_error_string(event.get()))))
    }
}

/// What an array of librdkafka's holds.
///
/// # Safety
/// `first` is null or the first of `count` pointers, which nobody changes for as long as `'a`.
#[expect(unsafe_code, reason = "the array is librdkafka's")]
pub(crate) unsafe fn array<'a, T>(first: *mut *const T, count: usize) -> &'a [*const T] {
    if first.is_null() {
        return &[];
    }
    // SAFETY: the caller says so.
    unsafe { std::slice::from_raw_parts(first, count) }
}
