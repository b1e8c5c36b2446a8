//! The admin port: what a process says of itself to Prometheus, to an orchestrator and to a person.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | the figures, as OpenMetrics text where that is asked for, else as Prometheus text |
//! | `/healthz` | 200 as long as the process runs |
//! | `/readyz` | 200, or 503 and one reason a line; what the process tells of its parts follows in both cases |
//! | `/` | the status page, which reloads itself |
//! | `POST` to a path of the process | what it did, or 400 and why not; refused to browsers, so that no web page can ask for it |
//!
//! No client can keep the port from the others: where too many connections are open the oldest one closes, and one that
//! does not read its answer, or sends no request, closes by itself.
//!
//! It runs on a thread of its own, so that it answers while the threads that work are busy, and it is not meant for the
//! open internet: it has no login.

mod ask;
mod page;
mod stall;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::Builder;
use tokio::task::AbortHandle;

pub use ask::ask;

use stall::Stall;

use crate::{Shutdown, metrics};

/// Connections served at a time; for one more the oldest closes. Monitoring needs a handful.
const CONNECTIONS_MAX: usize = 64;
/// A connection that sends no request for so long is closed.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that reads nothing of its answer for so long is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an accept that failed, as it does without free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What a process says of itself. Called on the admin thread, so it may take its time but must not wait for work.
pub trait Admin: Send + Sync + 'static {
    /// The figures as Prometheus text.
    fn metrics(&self) -> String;
    /// Why this process should get no traffic now; empty when it should.
    fn not_ready(&self) -> Vec<String>;
    /// How each part of the process stands, for who looks into an answer about readiness; a line each.
    fn parts(&self) -> Vec<String> {
        Vec::new()
    }
    /// Name of the process on the status page.
    fn title(&self) -> String;
    /// The status page.
    fn status(&self) -> Vec<Section>;
    /// An operator's wish, by the path and the query of a POST: what was done, or why not. `None` where there is no
    /// such wish.
    fn post(&self, _path: &str, _query: &str) -> Option<Result<String, String>> {
        None
    }
}

/// One table of the status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// Name and value; plain text, escaped by the page.
    pub rows: Vec<(String, String)>,
}

impl Section {
    /// A section without rows.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new() }
    }

    /// Adds a row.
    #[must_use]
    pub fn row(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.rows.push((name.into(), value.into()));
        self
    }
}

/// The admin port of this process; closed when dropped.
#[derive(Debug)]
pub struct AdminServer {
    local_addr: SocketAddr,
    stop: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Listens and answers from a thread of its own.
    ///
    /// # Errors
    /// With the address and what to do where it cannot be listened on.
    pub fn start(listen: SocketAddr, admin: Arc<dyn Admin>) -> io::Result<Self> {
        Self::on(Self::bind(listen)?, admin)
    }

    /// Listens, and answers nobody yet.
    ///
    /// # Errors
    /// With the address and what to do where it cannot be listened on.
    pub fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(listen).map_err(|error| bind_error("admin_listen", listen, &error))
    }

    /// Answers on a listener from a thread of its own.
    ///
    /// # Errors
    /// Where the operating system refuses a thread or a poller.
    pub fn on(listener: TcpListener, admin: Arc<dyn Admin>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let local_addr = listener.local_addr()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let stop = Shutdown::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, admin) => {}
                    () = stopped.triggered() => {}
                }
            });
        })?;
        Ok(Self { local_addr, stop, thread: Some(thread) })
    }

    /// Where it listens; the port that was chosen where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.stop.trigger();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The error of a listener that could not be bound, with what the person who sees it can do.
pub fn bind_error(key: &str, listen: SocketAddr, error: &io::Error) -> io::Error {
    let what_to_do = match error.kind() {
        io::ErrorKind::AddrInUse => format!("another process has it (see `ss -ltnp`); stop that one or change {key}"),
        io::ErrorKind::AddrNotAvailable => format!("no interface of this host has that address; change {key}"),
        io::ErrorKind::PermissionDenied => format!("ports below 1024 need a privilege; change {key}"),
        _ => format!("change {key}"),
    };
    io::Error::new(error.kind(), format!("cannot listen on {listen}: {error}: {what_to_do}"))
}

async fn serve(listener: TcpListener, admin: Arc<dyn Admin>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin port cannot be polled"),
    };
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        let admin = Arc::clone(&admin);
        open.retain(|connection| !connection.is_finished());
        if open.len() >= CONNECTIONS_MAX
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let connection = tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&request, &*admin);
                async { Ok::<_, Infallible>(response) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
            // A client that goes away in the middle is its own business.
            let _ = http.serve_connection(TokioIo::new(Stall::new(stream, WRITE_TIMEOUT)), service).await;
        });
        open.push_back(connection.abort_handle());
    }
}

fn answer<B>(request: &Request<B>, admin: &dyn Admin) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if *request.method() == Method::POST {
        // Browsers say where the page came from that sends a POST.
        if ["origin", "sec-fetch-site"].iter().any(|name| request.headers().contains_key(*name)) {
            return respond(StatusCode::FORBIDDEN, TEXT, "not from a web page\n".into());
        }
        match admin.post(request.uri().path(), request.uri().query().unwrap_or_default()) {
            Some(Ok(done)) => return respond(StatusCode::OK, TEXT, done + "\n"),
            Some(Err(reason)) => return respond(StatusCode::BAD_REQUEST, TEXT, reason + "\n"),
            None => {}
        }
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is answered here\n".into());
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let text = admin.metrics();
            if accepts_open_metrics(request) {
                respond(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text)
            } else {
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                respond(StatusCode::OK, kind, metrics::as_prometheus_text(&text))
            }
        }
        "/healthz" => respond(StatusCode::OK, TEXT, "ok\n".into()),
        "/readyz" => {
            let (status, said) = match admin.not_ready() {
                reasons if reasons.is_empty() => (StatusCode::OK, vec!["ok".to_owned()]),
                reasons => (StatusCode::SERVICE_UNAVAILABLE, reasons),
            };
            respond(status, TEXT, [said, admin.parts()].concat().join("\n") + "\n")
        }
        "/" => {
            let page = page::render(&admin.title(), &admin.not_ready(), &admin.status());
            respond(StatusCode::OK, "text/html; charset=utf-8", page)
        }
        _ => respond(StatusCode::NOT_FOUND, TEXT, "try /, /metrics, /healthz or /readyz\n".into()),
    }
}

/// Whether whoever asks reads OpenMetrics. A person with curl asks for nothing, and an older Prometheus for plain text.
fn accepts_open_metrics<B>(request: &Request<B>) -> bool {
    let values = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = values.flat_map(|value| value.split(','));
    kinds.any(|kind| {
        let (kind, parameters) = kind.split_once(';').unwrap_or((kind, ""));
        let is_refused = parameters.split(';').any(|parameter| matches!(parameter.trim(), "q=0" | "q=0.0"));
        kind.trim().eq_ignore_ascii_case("application/openmetrics-text") && !is_refused
    })
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, kind).header(CACHE_CONTROL, "no-store");
    response.body(Full::new(body.into())).expect("static headers are valid")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::sync::Mutex;

    use super::*;

    struct Fake(Mutex<Vec<String>>);

    impl Admin for Fake {
        fn metrics(&self) -> String {
            "# EOF\n".into()
        }

        fn not_ready(&self) -> Vec<String> {
            self.0.lock().unwrap().clone()
        }

        fn parts(&self) -> Vec<String> {
            vec!["part 1: at work".into()]
        }

        fn title(&self) -> String {
            "fake".into()
        }

        fn status(&self) -> Vec<Section> {
            vec![Section::new("a <section>").row("name", "<value>")]
        }

        fn post(&self, path: &str, query: &str) -> Option<Result<String, String>> {
            (path == "/do").then(|| if query == "it" { Ok("done".into()) } else { Err("no".into()) })
        }
    }

    fn send(server: &AdminServer, request: &str) -> String {
        let mut stream = TcpStream::connect(server.local_addr()).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn each_path_is_answered() {
        let fake = Arc::new(Fake(Mutex::default()));
        let server = AdminServer::start(([127, 0, 0, 1], 0).into(), Arc::clone(&fake) as _).unwrap();
        assert!(send(&server, "GET /healthz").starts_with("HTTP/1.1 200 "));
        let ready = send(&server, "GET /readyz");
        assert!(ready.starts_with("HTTP/1.1 200 ") && ready.ends_with("\r\n\r\nok\npart 1: at work\n"), "{ready}");
        let plain = send(&server, "GET /metrics");
        assert!(
            plain.contains("\r\ncontent-type: text/plain; version=0.0.4;") && plain.ends_with("\r\n\r\n"),
            "{plain}"
        );
        let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        let open = send(&server, &format!("GET /metrics HTTP/1.1\r\naccept: {accept}\r\nx:"));
        assert!(open.contains("\r\ncontent-type: application/openmetrics-text;"), "{open}");
        assert!(open.ends_with("\r\n\r\n# EOF\n"), "{open}");
        assert!(send(&server, "GET /x").starts_with("HTTP/1.1 404 "));
        assert!(send(&server, "POST /").starts_with("HTTP/1.1 405 "));
        assert!(send(&server, "POST /do?it").ends_with("\r\n\r\ndone\n"));
        assert!(send(&server, "POST /do").starts_with("HTTP/1.1 400 "));
        assert!(send(&server, "POST /do?it HTTP/1.1\r\norigin: http://x\r\nx:").starts_with("HTTP/1.1 403 "));
        let address = server.local_addr();
        assert_eq!(ask(address, "/metrics").unwrap(), "");
        assert!(ask(address, "/x").unwrap_err().to_string().contains("404"));
        let page = send(&server, "GET /");
        assert!(page.contains("a &lt;section&gt;") && page.contains("&lt;value&gt;"), "{page}");

        fake.0.lock().unwrap().push("the buffer is full".into());
        let answer = send(&server, "GET /readyz");
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("the buffer is full\npart 1: at work\n"),
            "{answer}"
        );
        assert!(send(&server, "GET /").contains("the buffer is full"));
    }

    #[test]
    fn clients_that_do_nothing_keep_nobody_out() {
        let server = AdminServer::start(([127, 0, 0, 1], 0).into(), Arc::new(Fake(Mutex::default()))).unwrap();
        // Silent ones, those with half a request, and those that ask and do not read.
        let begins = ["", "GET /healthz HTTP/1.1\r\nhost", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"];
        let mut held: Vec<TcpStream> = (0..2 * CONNECTIONS_MAX)
            .map(|index| {
                let mut stream = TcpStream::connect(server.local_addr()).unwrap();
                let _ = stream.write_all(begins[index % begins.len()].as_bytes());
                stream
            })
            .collect();
        for _ in 0..3 {
            assert!(send(&server, "GET /healthz").starts_with("HTTP/1.1 200 "));
        }
        // The oldest one was closed for it.
        let _ = held[0].read_to_end(&mut Vec::new());
    }

    #[test]
    fn an_address_in_use_says_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = AdminServer::start(address, Arc::new(Fake(Mutex::default()))).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("change admin_listen"), "{error}");
    }
}
