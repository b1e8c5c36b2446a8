//! A record as it was read.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as rd;
use rdkafka::types::RDKafkaErrorCode;

use crate::reader::Client;

const NO_ERROR: rd::rd_kafka_resp_err_t = rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// A record, where librdkafka has it: nothing is copied. It keeps its client alive.
pub struct Message {
    record: NonNull<rd::rd_kafka_message_t>,
    /// After the record: it is the client's.
    _client: Arc<Client>,
}

// SAFETY: a record that was handed out is nobody else's, and librdkafka counts what it shares with others by atomics.
#[expect(unsafe_code, reason = "a pointer says nothing of threads")]
unsafe impl Send for Message {}
// SAFETY: it is only read.
#[expect(unsafe_code, reason = "a pointer says nothing of threads")]
unsafe impl Sync for Message {}

impl Message {
    /// Bytes of memory that a record takes beside its key, its value and its headers, about.
    pub const BYTES: usize = 512;

    /// Takes a record over.
    ///
    /// # Safety
    /// It is alive, of this client, and nobody else's.
    #[expect(unsafe_code, reason = "the record is librdkafka's")]
    pub(crate) unsafe fn new(record: NonNull<rd::rd_kafka_message_t>, client: Arc<Client>) -> Self {
        Self { record, _client: client }
    }

    #[expect(unsafe_code, reason = "the record is librdkafka's")]
    fn record(&self) -> &rd::rd_kafka_message_t {
        // SAFETY: it lives as long as `self`, and nobody writes to it.
        unsafe { self.record.as_ref() }
    }

    pub(crate) fn native(&self) -> *mut rd::rd_kafka_message_t {
        self.record.as_ptr()
    }

    /// Why it is no record, but news of a partition.
    pub(crate) fn error(&self) -> RDKafkaErrorCode {
        self.record().err.into()
    }

    /// Its partition.
    pub fn partition(&self) -> u32 {
        self.record().partition.cast_unsigned()
    }

    /// Its offset.
    pub fn offset(&self) -> u64 {
        self.record().offset.max(0).cast_unsigned()
    }

    /// Its key, if it has one.
    pub fn key(&self) -> Option<&[u8]> {
        bytes(self.record().key, self.record().key_len, self)
    }

    /// Its value, if it has one.
    pub fn value(&self) -> Option<&[u8]> {
        bytes(self.record().payload, self.record().len, self)
    }

    /// When it was appended, or produced where its topic has it so, milliseconds since the Unix epoch; 0 where the broker
    /// does not say.
    #[expect(unsafe_code, reason = "the record is librdkafka's")]
    pub fn appended_ms(&self) -> i64 {
        let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the record lives as long as `self`; it writes to a place on the stack.
        unsafe { rd::rd_kafka_message_timestamp(self.native(), &raw mut kind) }.max(0)
    }

    /// Leader epoch under which it was written, -1 where the broker did not say.
    #[expect(unsafe_code, reason = "the record is librdkafka's")]
    pub fn leader_epoch(&self) -> i32 {
        // SAFETY: the record lives as long as `self`.
        unsafe { rd::rd_kafka_message_leader_epoch(self.native()) }
    }

    /// Name and value of each header, in their order, bytes on both sides: anybody may produce a name that is no UTF-8.
    #[expect(unsafe_code, reason = "the headers are librdkafka's")]
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut list = ptr::null_mut();
        // SAFETY: the record lives as long as `self`; the list belongs to it and lives as long as the borrow.
        let is_there = unsafe { rd::rd_kafka_message_headers(self.native(), &raw mut list) } == NO_ERROR;
        let mut place = 0;
        std::iter::from_fn(move || {
            let (mut name, mut value, mut bytes) = (ptr::null(), ptr::null(), 0);
            if !is_there {
                return None;
            }
            // SAFETY: the list lives as long as the borrow, and a place behind its end is answered by an error.
            let found =
                unsafe { rd::rd_kafka_header_get_all(list, place, &raw mut name, &raw mut value, &raw mut bytes) };
            if found != NO_ERROR {
                return None;
            }
            place += 1;
            // SAFETY: librdkafka ends every name with a zero byte and says how long a value is; both are the record's.
            let (name, value) = unsafe {
                let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), bytes));
                (CStr::from_ptr(name).to_bytes(), value)
            };
            Some((name, value))
        })
    }
}

/// Bytes of a record, which live as long as it does; `None` where it has none.
#[expect(unsafe_code, reason = "the record is librdkafka's")]
fn bytes(start: *mut std::ffi::c_void, count: usize, _of: &Message) -> Option<&[u8]> {
    // SAFETY: librdkafka says how many bytes lie there, and they live as long as the record, which is borrowed.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), count) })
}

impl Drop for Message {
    #[expect(unsafe_code, reason = "the record is librdkafka's")]
    fn drop(&mut self) {
        // SAFETY: it was taken over by this value alone.
        unsafe { rd::rd_kafka_message_destroy(self.record.as_ptr()) }
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("partition", &self.partition())
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}
