//! The bytes of request `r`: head, envelope, events.

use base64::Engine;
use flate2::{Compress, Compression, FlushCompress, Status};

use crate::events::Events;
use crate::mix::{About, falls_within, mix};
use crate::plan::Endpoint;
use crate::template::Kind;

/// Bytes of an envelope around its events.
pub(crate) const ENVELOPE_BYTES_MAX: usize = 256;
/// The context of every envelope; servers merge it into each event.
pub(crate) const ENVELOPE_CONTEXT: &str = r#"{"library":{"name":"turnstile-loadtest","version":"1"}}"#;
const SENT_AT: &str = "2026-01-29T00:00:00.000Z";
/// zlib's fastest level: the load generator must not be what is measured.
const GZIP_LEVEL: u32 = 1;
/// A gzip member's header: no name, no time, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Builds requests; its buffers are reused.
pub(crate) struct RequestWriter {
    seed: u64,
    gzip: f64,
    /// Between the request line and the length.
    headers: Vec<u8>,
    body: Vec<u8>,
    packed: Vec<u8>,
    compress: Compress,
    length: itoa::Buffer,
}

/// What a request holds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

impl RequestWriter {
    /// `host` goes into the `Host` header, `gzip` is the share of bodies that are compressed.
    pub(crate) fn new(seed: u64, gzip: f64, host: &str, write_key: &str) -> Self {
        let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{write_key}:"));
        let headers = format!(
            " HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {credentials}\r\nContent-Type: application/json\r\n\
             User-Agent: turnstile-loadtest\r\n"
        );
        Self {
            seed,
            gzip,
            headers: headers.into_bytes(),
            body: Vec::new(),
            packed: Vec::new(),
            compress: Compress::new(Compression::new(GZIP_LEVEL), false),
            length: itoa::Buffer::new(),
        }
    }

    /// Replaces `out` by request `number`.
    pub(crate) fn write(&mut self, events: &Events, number: u64, out: &mut Vec<u8>) -> Size {
        let plan = events.plan();
        let (slots, endpoint) = (plan.slots(number), plan.endpoint(number));
        let kind = events.kind(plan.event(slots.start));
        let count = slots.end - slots.start;
        self.body.clear();
        if endpoint.is_single() {
            events.write(plan.event(slots.start), &mut self.body);
        } else {
            self.body.extend_from_slice(b"{\"batch\":[");
            for slot in slots.clone() {
                if slot > slots.start {
                    self.body.push(b',');
                }
                events.write(plan.event(slot), &mut self.body);
            }
            for text in ["],\"context\":", ENVELOPE_CONTEXT, ",\"sentAt\":\"", SENT_AT, "\"}"] {
                self.body.extend_from_slice(text.as_bytes());
            }
        }
        let is_packed = falls_within(mix(self.seed, About::Gzip, number), self.gzip);
        if is_packed {
            self.pack();
        }
        let body = if is_packed { &self.packed } else { &self.body };

        out.clear();
        out.extend_from_slice(b"POST ");
        out.extend_from_slice(path(endpoint, kind).as_bytes());
        out.extend_from_slice(&self.headers);
        if is_packed {
            out.extend_from_slice(b"Content-Encoding: gzip\r\n");
        }
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(self.length.format(body.len()).as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(body);
        Size { events: count, bytes: out.len() as u64 }
    }

    /// Puts the body as one gzip member into `packed`.
    fn pack(&mut self) {
        self.packed.clear();
        self.packed.extend_from_slice(&GZIP_HEADER);
        self.compress.reset();
        let mut read = 0;
        loop {
            self.packed.reserve(4096);
            let status = self.compress.compress_vec(&self.body[read..], &mut self.packed, FlushCompress::Finish);
            read = self.compress.total_in() as usize;
            if status.expect("compressing into memory does not fail") == Status::StreamEnd {
                break;
            }
        }
        let mut checksum = flate2::Crc::new();
        checksum.update(&self.body);
        self.packed.extend_from_slice(&checksum.sum().to_le_bytes());
        self.packed.extend_from_slice(&checksum.amount().to_le_bytes());
    }
}

fn path(endpoint: Endpoint, kind: Kind) -> &'static str {
    match (endpoint, kind) {
        (Endpoint::Batch, _) => "/v1/batch",
        (Endpoint::ShortBatch, _) => "/v1/b",
        (Endpoint::Import, _) => "/v1/import",
        (Endpoint::Typed, Kind::Track) => "/v1/track",
        (Endpoint::Typed, Kind::Page) => "/v1/page",
        (Endpoint::Typed, Kind::Identify) => "/v1/identify",
        (Endpoint::Typed, Kind::Screen) => "/v1/screen",
        (Endpoint::Typed, Kind::Group) => "/v1/group",
        (Endpoint::Typed, Kind::Alias) => "/v1/alias",
        (Endpoint::Letter, Kind::Track) => "/v1/t",
        (Endpoint::Letter, Kind::Page) => "/v1/p",
        (Endpoint::Letter, Kind::Identify) => "/v1/i",
        (Endpoint::Letter, Kind::Screen) => "/v1/s",
        (Endpoint::Letter, Kind::Group) => "/v1/g",
        (Endpoint::Letter, Kind::Alias) => "/v1/a",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::workload::{Shape, Workload};

    fn body(gzip: f64, workload: &Workload) -> Vec<u8> {
        let events = Events::try_new(workload).expect("a good workload");
        let mut out = Vec::new();
        let size = RequestWriter::new(workload.seed, gzip, "localhost", "key").write(&events, 2, &mut out);
        assert_eq!(size.bytes, out.len() as u64);
        let head_bytes = memchr::memmem::find(&out, b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8_lossy(&out[..head_bytes]).into_owned();
        assert!(head.contains(&format!("Content-Length: {}\r\n", out.len() - head_bytes)), "{head}");
        assert!(head.contains("Authorization: Basic a2V5Og==\r\n"), "{head}");
        assert_eq!(head.contains("Content-Encoding: gzip"), gzip > 0.0);
        out.split_off(head_bytes)
    }

    #[test]
    fn a_single_is_the_event_alone() {
        let workload = Workload::new(1);
        assert_eq!(body(0.0, &workload).len(), workload.event_bytes);
    }

    #[test]
    fn a_batch_is_an_envelope_and_unpacks_to_itself() {
        let workload = Workload { shape: Shape::Batch, events_per_request: 40, ..Workload::new(1) };
        let plain = body(0.0, &workload);
        let value: serde_json::Value = serde_json::from_slice(&plain).expect("JSON");
        assert_eq!(value["batch"].as_array().expect("a batch").len(), 40);
        assert!(plain.len() <= 40 * (workload.event_bytes + 1) + ENVELOPE_BYTES_MAX);

        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&body(1.0, &workload)[..]).read_to_end(&mut unpacked).expect("gzip");
        assert_eq!(unpacked, plain);
    }
}
