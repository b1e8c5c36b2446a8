//! The rules of ingest as tables: a body goes in, exact bytes come out.

mod broken;
mod hazards;
mod output;
mod properties;
mod readers;
mod refusals;
mod tape;

use std::net::IpAddr;

use wire::envelope::Envelope;

use super::*;
use crate::request::{ClientIp, EventType};

/// 2026-11-21T04:25:36.126Z
const RECEIVED_AT_MS: i64 = 1_795_235_136_126;
/// What every output value ends with, from `timestamp` on, when the client says nothing of time.
const NOW: &str = r#""timestamp":"2026-11-21T04:25:36.126Z","source":"web","receivedAt":"2026-11-21T04:25:36.126Z"}"#;

/// One record, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    is_event: bool,
    source: String,
    message_id: Option<Vec<u8>>,
    value: String,
}

/// A request in the making.
#[derive(Clone, Copy)]
struct Post<'a> {
    endpoint: Endpoint,
    write_key: Option<&'a str>,
    last_write_key: Option<&'a str>,
    client_ip: Option<&'a str>,
    client_side: bool,
    unreadable: Unreadable,
}

const BATCH: Post<'_> = Post {
    endpoint: Endpoint::Batch,
    write_key: Some("key"),
    last_write_key: None,
    client_ip: None,
    client_side: true,
    unreadable: Unreadable::SetAside,
};
/// The same for readers that read everything.
const PASS: Post<'_> = Post { unreadable: Unreadable::Pass, ..BATCH };
const TRACK: Post<'_> = Post { endpoint: Endpoint::Single(EventType::Track), ..BATCH };

impl Post<'_> {
    fn send(self, body: impl AsRef<[u8]>) -> Result<(Accepted, Vec<Record>), Reject> {
        let body = body.as_ref();
        let sent = self.send_by(body, ingest);
        // Where the body lies makes no difference. An id that is made up has another value each time, and one length.
        let shape = |sent: &Result<(Accepted, Vec<Record>), Reject>| {
            let of = |record: &Record| (record.is_event, record.source.clone(), record.value.len());
            sent.clone().map(|(accepted, records)| (accepted, records.iter().map(of).collect::<Vec<_>>()))
        };
        assert_eq!(shape(&self.send_by(body, ingest_in_place)), shape(&sent));
        sent
    }

    /// Past simd-json's judgement of the whole body.
    fn send_slowly(self, body: &[u8]) -> Result<(Accepted, Vec<Record>), Reject> {
        self.send_by(body, |body, request, sources, scratch| {
            scratch.begin();
            let mut receipt = scratch.intake.open(request, sources);
            let outcome = match request.endpoint {
                Endpoint::Single(_) => scratch.slow_single(body, &receipt),
                Endpoint::Batch => scratch.slow_batch(body, &mut receipt),
            };
            scratch.finish(outcome)
        })
    }

    fn send_by(
        self,
        body: &[u8],
        ingest: impl Fn(&[u8], &Request<'_>, &Sources, &mut Scratch) -> Result<Accepted, Reject>,
    ) -> Result<(Accepted, Vec<Record>), Reject> {
        let keys = [("key", "web"), ("other", "ios"), ("bad", "\u{0}\"")];
        let sources = Sources::configured(keys.iter().map(|(key, id)| (key.as_bytes(), id.as_bytes())));
        let request = Request {
            endpoint: self.endpoint,
            received_at_ms: RECEIVED_AT_MS,
            write_key: self.write_key.map(str::as_bytes),
            last_write_key: self.last_write_key.map(str::as_bytes),
            client_ip: self.client_ip.map(|ip| {
                let ip = ip.parse::<IpAddr>().unwrap();
                if self.client_side { ClientIp::All(ip) } else { ClientIp::Direct(ip) }
            }),
        };
        let mut scratch = Scratch::new();
        scratch.unreadable = self.unreadable;
        let outcome = ingest(body, &request, &sources, &mut scratch);
        let records: Vec<_> = scratch.records().map(record).collect();
        match outcome {
            Ok(accepted) => {
                let set_aside = scratch.event_rejects().map(|(_, count)| count).sum::<usize>();
                assert_eq!(set_aside, accepted.rejected);
                assert_eq!(records.iter().filter(|record| record.is_event).count(), accepted.events);
                Ok((accepted, records))
            }
            Err(reject) => {
                assert!(
                    records.len() <= 1 && records.iter().all(|record| !record.is_event),
                    "at most the body: {records:?}"
                );
                Err(reject)
            }
        }
    }

    /// What is kept of a body that is refused.
    fn kept(self, body: impl AsRef<[u8]>) -> Option<Record> {
        let kept = std::cell::Cell::new(None);
        let outcome = self.send_by(body.as_ref(), |body, request, sources, scratch| {
            ingest_in_place(body, request, sources, scratch).unwrap_err();
            let in_place = scratch.records().next().map(record);
            let outcome = ingest(body, request, sources, scratch);
            let kept_now = scratch.records().next().map(record);
            assert_eq!(kept_now, in_place);
            kept.set(kept_now);
            outcome
        });
        let reject = outcome.unwrap_err();
        let kept = kept.into_inner();
        let code = kept.as_ref().and_then(|record| member(&record.value, "code"));
        assert!(code.is_none_or(|code| code == reject.code()), "{kept:?}");
        kept
    }

    /// The one record of a body that has one event.
    fn one(self, body: impl AsRef<[u8]>) -> Record {
        let (accepted, mut records) = self.send(body).unwrap();
        assert_eq!((accepted.events + accepted.rejected, records.len()), (1, 1));
        records.remove(0)
    }

    /// The value of the one event.
    fn value(self, body: impl AsRef<[u8]>) -> String {
        let record = self.one(body);
        assert!(record.is_event, "{}", record.value);
        record.value
    }
}

/// The body parsed where it lies.
fn ingest_in_place(
    body: &[u8],
    request: &Request<'_>,
    sources: &Sources,
    scratch: &mut Scratch,
) -> Result<Accepted, Reject> {
    let mut buffer = [&[b'x'; Framed::BEFORE], body, &[b'x'; Framed::BEHIND]].concat();
    ingest_framed(Framed::new(&mut buffer), request, sources, scratch)
}

fn record(bytes: &[u8]) -> Record {
    let envelope = Envelope::decode(bytes).unwrap();
    assert_eq!(envelope.received_at_ms(), RECEIVED_AT_MS);
    assert!(!envelope.value().contains(&b'\n') && !envelope.value().contains(&b'\r'), "one line");
    Record {
        is_event: envelope.is_event(),
        source: String::from_utf8(envelope.source().as_bytes().to_vec()).unwrap(),
        message_id: envelope.message_id().map(|id| id.as_bytes().to_vec()),
        value: String::from_utf8(envelope.value().to_vec()).unwrap(),
    }
}

fn batch_of(events: &[&str]) -> String {
    format!(r#"{{"batch":[{}]}}"#, events.join(","))
}

/// A member of a set-aside record's value.
fn member(value: &str, name: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(value).unwrap();
    value.get(name).map(|member| member.as_str().map_or_else(|| member.to_string(), str::to_owned))
}

/// A track event that is taken.
const GOOD: &str = r#"{"type":"track","event":"e","userId":"u","messageId":"m"}"#;
