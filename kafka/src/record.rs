//! A record on its way out, and its form in librdkafka's call.

use std::ffi::CStr;
use std::ptr;

use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_vtype_t as vtype;

use crate::Message;

/// Topic, partition, flags, value, key, token, headers.
const PARTS_MAX: usize = 7;
/// librdkafka chooses a partition.
const ANY_PARTITION: i32 = -1;

/// One record on its way out.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Where to.
    pub topic: &'a CStr,
    /// Its partition; `None` lets librdkafka choose one.
    pub partition: Option<u32>,
    /// Its key; copied.
    pub key: Option<&'a [u8]>,
    /// Its value; not copied.
    pub value: &'a [u8],
    /// Its headers; copied.
    pub headers: Headers<'a>,
}

/// Headers of a record.
#[derive(Debug, Clone, Copy)]
pub enum Headers<'a> {
    /// These names and values.
    These(&'a [(&'a CStr, &'a [u8])]),
    /// Those of a record that was consumed, and one more behind them.
    Of(&'a Message, Option<(&'a CStr, &'a [u8])>),
}

/// A record as the list of tagged values that librdkafka takes.
pub(crate) struct Parts {
    list: [rd::rd_kafka_vu_t; PARTS_MAX],
    count: usize,
    /// Headers that librdkafka takes over when it takes the record.
    headers: *mut rd::rd_kafka_headers_t,
}

impl Parts {
    /// The parts of `record`, which they point into; by its name where its topic is not known.
    pub(crate) fn of(record: &Record<'_>, topic: Option<*mut rd::rd_kafka_topic_t>, token: usize) -> Self {
        let none = part(vtype::RD_KAFKA_VTYPE_END, Value { ptr: ptr::null_mut() });
        let mut parts = Self { list: [none; PARTS_MAX], count: 0, headers: ptr::null_mut() };
        match topic {
            Some(rkt) => parts.push(vtype::RD_KAFKA_VTYPE_RKT, Value { rkt }),
            None => parts.push(vtype::RD_KAFKA_VTYPE_TOPIC, Value { cstr: record.topic.as_ptr() }),
        }
        let partition = record.partition.map_or(ANY_PARTITION, u32::cast_signed);
        parts.push(vtype::RD_KAFKA_VTYPE_PARTITION, Value { i32_: partition });
        // No flag: the value is lent.
        parts.push(vtype::RD_KAFKA_VTYPE_MSGFLAGS, Value { i: 0 });
        parts.push(vtype::RD_KAFKA_VTYPE_VALUE, Value { mem: bytes(Some(record.value)) });
        parts.push(vtype::RD_KAFKA_VTYPE_KEY, Value { mem: bytes(record.key) });
        parts.push(vtype::RD_KAFKA_VTYPE_OPAQUE, Value { ptr: ptr::without_provenance_mut(token) });
        parts.headers = match record.headers {
            Headers::These(headers) => made(headers),
            Headers::Of(message, more) => copied(message, more),
        };
        if !parts.headers.is_null() {
            parts.push(vtype::RD_KAFKA_VTYPE_HEADERS, Value { headers: parts.headers });
        }
        parts
    }

    pub(crate) fn as_slice(&self) -> &[rd::rd_kafka_vu_t] {
        &self.list[..self.count]
    }

    /// librdkafka has the record, and with it the headers.
    pub(crate) fn taken(mut self) {
        self.headers = ptr::null_mut();
    }

    fn push(&mut self, vtype: rd::rd_kafka_vtype_t, value: Value) {
        self.list[self.count] = part(vtype, value);
        self.count += 1;
    }
}

impl Drop for Parts {
    #[expect(unsafe_code, reason = "the headers are librdkafka's")]
    fn drop(&mut self) {
        if !self.headers.is_null() {
            // SAFETY: they were made for this value, and nobody took them over.
            unsafe { rd::rd_kafka_headers_destroy(self.headers) }
        }
    }
}

type Value = rd::rd_kafka_vu_s__bindgen_ty_1;

fn part(vtype: rd::rd_kafka_vtype_t, u: Value) -> rd::rd_kafka_vu_t {
    rd::rd_kafka_vu_t { vtype, u }
}

fn bytes(bytes: Option<&[u8]>) -> rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    let (ptr, size) = bytes.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr(), bytes.len()));
    rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr: ptr.cast_mut().cast(), size }
}

/// New headers; null for none. Left to itself librdkafka makes room for eight of them.
#[expect(unsafe_code, reason = "the safe way allocates for each name")]
fn made(list: &[(&CStr, &[u8])]) -> *mut rd::rd_kafka_headers_t {
    if list.is_empty() {
        return ptr::null_mut();
    }
    // SAFETY: it takes any number.
    let headers = unsafe { rd::rd_kafka_headers_new(list.len()) };
    for (name, value) in list {
        // SAFETY: the headers are new, and nobody else has them.
        unsafe { add(headers, name, value) }
    }
    headers
}

/// A copy of a consumed record's headers with one more; null for none.
#[expect(unsafe_code, reason = "the safe way makes a copy for itself and one more for librdkafka")]
fn copied(message: &Message, more: Option<(&CStr, &[u8])>) -> *mut rd::rd_kafka_headers_t {
    let mut theirs = ptr::null_mut();
    // SAFETY: the message is alive while it is borrowed; its headers are only read, and copied before it goes.
    let headers = unsafe {
        match rd::rd_kafka_message_headers(message.native(), &raw mut theirs) {
            rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => rd::rd_kafka_headers_copy(theirs),
            _ => ptr::null_mut(),
        }
    };
    let Some((name, value)) = more else { return headers };
    // SAFETY: the headers are new or our own copy, and nobody else has them.
    unsafe {
        let headers = if headers.is_null() { rd::rd_kafka_headers_new(1) } else { headers };
        add(headers, name, value);
        headers
    }
}

/// Adds a copy of one header.
///
/// # Safety
/// The headers must be alive, and nobody else's.
#[expect(unsafe_code, reason = "the headers are librdkafka's")]
unsafe fn add(headers: *mut rd::rd_kafka_headers_t, name: &CStr, value: &[u8]) {
    let (name_bytes, value_bytes) = (name.count_bytes().cast_signed(), value.len().cast_signed());
    // It fails for headers of a record that was consumed, which these are not.
    // SAFETY: the caller gives headers of its own; name and value are as long as it is told, and copied.
    unsafe { rd::rd_kafka_header_add(headers, name.as_ptr(), name_bytes, value.as_ptr().cast(), value_bytes) };
}
