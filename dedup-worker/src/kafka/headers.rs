//! A record's headers as they came, bytes on both sides.
//!
//! The safe interface takes a header's name for UTF-8 and panics where it is not. Anybody may produce such a record, and
//! it would end every worker that reads it.

use std::ffi::CStr;
use std::ptr;

use rdkafka::bindings as rd;
use rdkafka::message::BorrowedMessage;

/// Name and value of each header, in their order.
#[expect(unsafe_code, reason = "the safe interface panics at a name that is not UTF-8")]
pub fn headers<'a>(record: &'a BorrowedMessage<'_>) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
    let mut list = ptr::null_mut();
    // SAFETY: the pointer is the record's own; the list belongs to the record and lives as long as the borrow.
    let found = unsafe { rd::rd_kafka_message_headers(record.ptr(), &raw mut list) };
    let is_there = found == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    let mut place = 0;
    std::iter::from_fn(move || {
        let (mut name, mut value, mut bytes) = (ptr::null(), ptr::null(), 0);
        if !is_there {
            return None;
        }
        // SAFETY: the list lives as long as the borrow, and a place behind its end is answered by an error.
        let found = unsafe { rd::rd_kafka_header_get_all(list, place, &raw mut name, &raw mut value, &raw mut bytes) };
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
