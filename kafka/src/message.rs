//! A record as it was read.

use std::ffi::CStr;
use std::ptr;

use rdkafka::Message as _;
use rdkafka::bindings as rd;
use rdkafka::message::BorrowedMessage;

/// A record; borrows the reader it came from, and copies nothing.
#[derive(Debug)]
pub struct Message<'a>(pub(crate) BorrowedMessage<'a>);

impl Message<'_> {
    /// Its offset.
    pub fn offset(&self) -> u64 {
        self.0.offset() as u64
    }

    /// Its key, if it has one.
    pub fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    /// Its value, if it has one.
    pub fn value(&self) -> Option<&[u8]> {
        self.0.payload()
    }

    /// When it was appended, or produced where its topic has it so, milliseconds since the Unix epoch; 0 where the broker
    /// does not say.
    pub fn appended_ms(&self) -> i64 {
        self.0.timestamp().to_millis().unwrap_or(0)
    }

    /// Leader epoch under which it was written, -1 where the broker did not say.
    #[expect(unsafe_code, reason = "leader epochs are not in the safe interface")]
    pub fn leader_epoch(&self) -> i32 {
        // SAFETY: the pointer is the record's own and lives as long as the borrow.
        unsafe { rd::rd_kafka_message_leader_epoch(self.0.ptr()) }
    }

    /// Name and value of each header, in their order, bytes on both sides.
    ///
    /// The safe interface takes a header's name for UTF-8 and panics where it is not. Anybody may produce such a record,
    /// and it would end every program that reads it.
    #[expect(unsafe_code, reason = "the safe interface panics at a name that is not UTF-8")]
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut list = ptr::null_mut();
        // SAFETY: the pointer is the record's own; the list belongs to the record and lives as long as the borrow.
        let found = unsafe { rd::rd_kafka_message_headers(self.0.ptr(), &raw mut list) };
        let is_there = found == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        let mut place = 0;
        std::iter::from_fn(move || {
            let (mut name, mut value, mut bytes) = (ptr::null(), ptr::null(), 0);
            if !is_there {
                return None;
            }
            // SAFETY: the list lives as long as the borrow, and a place behind its end is answered by an error.
            let found =
                unsafe { rd::rd_kafka_header_get_all(list, place, &raw mut name, &raw mut value, &raw mut bytes) };
            if found != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
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
