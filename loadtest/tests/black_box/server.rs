//! A small ingest server with faults on order: it keeps each messageId once and writes NDJSON as it answers.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;

use crate::scene::as_output;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 200, after it was kept.
    None,
    /// This status; nothing is kept.
    Refuse(u16),
    /// The connection is closed without an answer, after the events were kept.
    KeepAndHangUp,
    /// 200, this much later.
    Slow(Duration),
}

/// Which fault the `n`th request meets.
pub(crate) type Faults = fn(u64) -> Fault;

pub(crate) struct Server {
    address: SocketAddr,
    output: PathBuf,
    state: Arc<Mutex<State>>,
}

struct State {
    requests: u64,
    bodies: Vec<Vec<u8>>,
    seen: HashSet<String>,
    output: File,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    batch: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "messageId")]
    message_id: Option<String>,
}

impl Server {
    /// Serves on a free port until the process ends.
    pub(crate) fn start(dir: &Path, faults: Faults) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let output = dir.join("deduped");
        std::fs::create_dir_all(&output).expect("creates");
        let file = File::create(output.join("1.ndjson")).expect("creates");
        let state = State { requests: 0, bodies: Vec::new(), seen: HashSet::new(), output: file };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let tasks = tokio::task::LocalSet::new();
            tasks.block_on(&runtime, serve(listener, shared, faults));
        });
        Self { address, output, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn output(&self) -> String {
        self.output.display().to_string()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.state.lock().expect("not poisoned").requests
    }

    /// Bodies in the order of their arrival, unpacked.
    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.state.lock().expect("not poisoned").bodies.clone()
    }
}

async fn serve(listener: std::net::TcpListener, state: Arc<Mutex<State>>, faults: Faults) {
    listener.set_nonblocking(true).expect("non-blocking");
    let listener = TcpListener::from_std(listener).expect("a listener");
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        let state = Arc::clone(&state);
        let service = service_fn(move |request| answer(request, Arc::clone(&state), faults));
        tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    faults: Faults,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let is_packed = request.headers().contains_key("content-encoding");
    let mut body = request.into_body().collect().await?.to_bytes().to_vec();
    if is_packed {
        let packed = std::mem::take(&mut body);
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut body)?;
    }
    let number = {
        let mut state = state.lock().expect("not poisoned");
        state.requests += 1;
        state.requests - 1
    };
    let fault = faults(number);
    if let Fault::Slow(delay) = fault {
        tokio::time::sleep(delay).await;
    }
    if let Fault::Refuse(status) = fault {
        let response = Response::builder().status(status).header("Retry-After", "0");
        return Ok(response.body(Full::new(Bytes::from_static(b"{\"success\":false}")))?);
    }
    state.lock().expect("not poisoned").keep(body);
    if fault == Fault::KeepAndHangUp {
        // An error from the service closes the connection.
        return Err("hanging up".into());
    }
    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{\"success\":true}")))).map_err(Into::into)
}

impl State {
    fn keep(&mut self, body: Vec<u8>) {
        let text = std::str::from_utf8(&body).expect("UTF-8");
        let is_batch = text.starts_with("{\"batch\"");
        let events: Vec<&str> = if is_batch {
            let envelope: Envelope<'_> = serde_json::from_str(text).expect("an envelope");
            envelope.batch.iter().map(|event| event.get()).collect()
        } else {
            vec![text]
        };
        let mut lines = String::new();
        for event in events {
            let Event { message_id } = serde_json::from_str(event).expect("an event");
            if message_id.is_none_or(|id| self.seen.insert(id)) {
                lines.push_str(&as_output(event, "loadtest", is_batch));
                lines.push('\n');
            }
        }
        self.output.write_all(lines.as_bytes()).expect("writes");
        self.bodies.push(body);
    }
}
