//! The queue on which librdkafka tells what happened.

use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use crate::Report;
use crate::complaint::log;
use crate::context::Heard;
use crate::handle::text;

/// A client's main queue.
#[derive(Debug)]
pub(crate) struct Events(NonNull<rd::rd_kafka_queue_t>);

// SAFETY: librdkafka locks its queues; any thread may poll one.
#[expect(unsafe_code, reason = "a pointer says nothing of threads")]
unsafe impl Send for Events {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a pointer says nothing of threads")]
unsafe impl Sync for Events {}

impl Events {
    /// The main queue of a client.
    ///
    /// # Safety
    /// The client must outlive what this returns.
    #[expect(unsafe_code, reason = "the queue is not in the safe interface")]
    pub(crate) unsafe fn of(client: *mut rd::rd_kafka_t) -> Self {
        // SAFETY: the caller gives a live client. It never returns null.
        let queue = unsafe { rd::rd_kafka_queue_get_main(client) };
        Self(NonNull::new(queue).expect("every client has a main queue"))
    }

    /// Waits up to `time` for something to happen, then takes all that has: reports go into `reports`, the rest to
    /// `heard`. A time below a millisecond is none.
    #[expect(unsafe_code, reason = "rdkafka's own poll spins; see the crate's front page")]
    pub(crate) fn take(&self, time: Duration, heard: &Heard, reports: &mut Vec<Report>) {
        let mut timeout_ms = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        loop {
            // SAFETY: the queue lives as long as `self`.
            let Some(event) = NonNull::new(unsafe { rd::rd_kafka_queue_poll(self.0.as_ptr(), timeout_ms) }) else {
                return;
            };
            timeout_ms = 0;
            let event = Event(event);
            match event.kind() {
                rd::RD_KAFKA_EVENT_DR => event.reports(reports),
                rd::RD_KAFKA_EVENT_ERROR => event.error(heard),
                rd::RD_KAFKA_EVENT_LOG => event.log(),
                _ => {}
            }
        }
    }
}

impl Drop for Events {
    #[expect(unsafe_code, reason = "the queue is librdkafka's")]
    fn drop(&mut self) {
        // SAFETY: this gives back the one reference that `of` took.
        unsafe { rd::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// Something that happened.
struct Event(NonNull<rd::rd_kafka_event_t>);

#[expect(unsafe_code, reason = "events are librdkafka's; what one lends is read before it is destroyed")]
impl Event {
    fn kind(&self) -> i32 {
        // SAFETY: the event lives as long as `self`.
        unsafe { rd::rd_kafka_event_type(self.0.as_ptr()) }
    }

    fn reports(&self, reports: &mut Vec<Report>) {
        // SAFETY: as above; the messages live as long as the event.
        reports.reserve(unsafe { rd::rd_kafka_event_message_count(self.0.as_ptr()) });
        loop {
            // SAFETY: as above.
            let message = unsafe { rd::rd_kafka_event_message_next(self.0.as_ptr()) };
            // SAFETY: it is null or a message of the event.
            let Some(message) = (unsafe { message.as_ref() }) else { return };
            let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            // SAFETY: as above; it reads the message and writes to a place on the stack.
            let appended_ms = unsafe { rd::rd_kafka_message_timestamp(message, &raw mut kind) };
            reports.push(Report {
                token: message._private.addr(),
                bytes: message.len,
                offset: message.offset,
                appended_ms: Some(appended_ms).filter(|ms| *ms >= 0),
                result: result(message.err),
            });
        }
    }

    fn error(&self, heard: &Heard) {
        let event = self.0.as_ptr();
        // SAFETY: as above; the text lives as long as the event.
        let (code, reason) = unsafe { (rd::rd_kafka_event_error(event), text(rd::rd_kafka_event_error_string(event))) };
        // SAFETY: as above.
        let is_fatal = unsafe { rd::rd_kafka_event_error_is_fatal(event) } != 0;
        heard.error(if is_fatal { RDKafkaErrorCode::Fatal } else { code.into() }, &reason);
    }

    fn log(&self) {
        let (mut facility, mut message, mut level) = (ptr::null(), ptr::null(), 0);
        let event = self.0.as_ptr();
        // SAFETY: as above; the places it writes to are on the stack.
        if unsafe { rd::rd_kafka_event_log(event, &raw mut facility, &raw mut message, &raw mut level) } == 0 {
            // SAFETY: it gave texts that live as long as the event.
            let (facility, message) = unsafe { (text(facility), text(message)) };
            log(level, &facility, &message);
        }
    }
}

impl Drop for Event {
    #[expect(unsafe_code, reason = "the event is librdkafka's")]
    fn drop(&mut self) {
        // SAFETY: the event was taken off the queue by this value alone.
        unsafe { rd::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

fn result(error: RDKafkaRespErr) -> Result<(), RDKafkaErrorCode> {
    match RDKafkaErrorCode::from(error) {
        RDKafkaErrorCode::NoError => Ok(()),
        code => Err(code),
    }
}
