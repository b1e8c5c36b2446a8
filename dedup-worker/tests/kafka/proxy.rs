//! A way to a broker that can be cut at the worst moment: between a request to commit and its answer.
//!
//! The broker has a listener of its own for it and names the proxy as that listener's address, so everything that whoever
//! comes through here says to the broker goes through here.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Kafka's number of the request that ends a transaction.
const END_TXN: [u8; 2] = 26_u16.to_be_bytes();
/// How long a test waits for a request to come by.
const LIMIT: Duration = Duration::from_mins(1);

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It goes through, and so does its answer.
    Pass,
    /// The one that ends a transaction of this id waits here until the mode changes.
    Hold(String),
    /// Instead of the one that ends a transaction of this id everything is cut.
    CutBefore(String),
    /// Instead of the answer to the one that ends a transaction of this id everything is cut.
    CutAfter(String),
    /// Nobody gets through.
    Down,
}

struct State {
    mode: Mode,
    broker: Option<u16>,
    /// A request is being held.
    holds: bool,
    /// Requests that were held so far.
    held: u32,
    connections: Vec<TcpStream>,
}

#[derive(Clone)]
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Proxy {
    /// Listens, and lets nobody through before it knows where to.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State { mode: Mode::Down, broker: None, holds: false, held: 0, connections: Vec::new() };
        let proxy = Self { port, shared: Arc::new((Mutex::new(state), Condvar::new())) };
        let serving = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let _ = client.and_then(|client| serving.connect(client));
            }
        });
        proxy
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn lead_to(&self, broker: u16) {
        self.state().broker = Some(broker);
        self.set(Mode::Pass);
    }

    pub(crate) fn set(&self, mode: Mode) {
        let mut state = self.state();
        if mode == Mode::Down {
            cut(&mut state);
        }
        state.mode = mode;
        self.shared.1.notify_all();
    }

    /// Waits until everything was cut.
    pub(crate) fn wait_until_cut(&self) {
        self.wait(|state| state.mode == Mode::Down);
    }

    /// Waits until a request is held.
    pub(crate) fn wait_until_held(&self) {
        self.wait(|state| state.holds);
    }

    /// Requests that were held so far.
    pub(crate) fn held(&self) -> u32 {
        self.state().held
    }

    fn wait(&self, is_so: impl Fn(&State) -> bool) {
        let waited = self.shared.1.wait_timeout_while(self.state(), LIMIT, |state| !is_so(state));
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "no such request came by: {:?}", state.mode);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self, client: TcpStream) -> io::Result<()> {
        let mut state = self.state();
        let Some(port) = state.broker.filter(|_| state.mode != Mode::Down) else { return Ok(()) };
        let broker = TcpStream::connect(("127.0.0.1", port))?;
        for stream in [&client, &broker] {
            stream.set_nodelay(true)?;
            state.connections.push(stream.try_clone()?);
        }
        // The answer to this request is swallowed.
        let swallow = Arc::new(Mutex::new(None));
        let (proxy, swallowed) = (self.clone(), Arc::clone(&swallow));
        let (from_client, to_broker) = (client.try_clone()?, broker.try_clone()?);
        thread::spawn(move || proxy.requests(from_client, to_broker, &swallowed));
        let proxy = self.clone();
        thread::spawn(move || proxy.answers(broker, client, &swallow));
        Ok(())
    }

    fn requests(&self, mut from: TcpStream, mut to: TcpStream, swallow: &Mutex<Option<[u8; 4]>>) {
        while let Ok(frame) = frame(&mut from) {
            if frame[4..6] == END_TXN && !self.lets_through(&frame, swallow) {
                break;
            }
            if to.write_all(&frame).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }

    /// Whether a request that ends a transaction goes on to the broker.
    fn lets_through(&self, frame: &[u8], swallow: &Mutex<Option<[u8; 4]>>) -> bool {
        let is_of = |id: &str| frame.windows(id.len()).any(|bytes| bytes == id.as_bytes());
        let mut state = self.state();
        if matches!(&state.mode, Mode::Hold(id) if is_of(id)) {
            state.holds = true;
            state.held += 1;
            self.shared.1.notify_all();
            let changed = self.shared.1.wait_while(state, |state| matches!(state.mode, Mode::Hold(_)));
            state = changed.unwrap_or_else(PoisonError::into_inner);
            state.holds = false;
        }
        match &state.mode {
            Mode::CutBefore(id) if is_of(id) => {
                cut(&mut state);
                state.mode = Mode::Down;
                self.shared.1.notify_all();
                false
            }
            Mode::CutAfter(id) if is_of(id) => {
                *swallow.lock().unwrap() = Some(frame[8..12].try_into().unwrap());
                true
            }
            Mode::Down => false,
            _ => true,
        }
    }

    fn answers(&self, mut from: TcpStream, mut to: TcpStream, swallow: &Mutex<Option<[u8; 4]>>) {
        while let Ok(frame) = frame(&mut from) {
            if swallow.lock().unwrap().is_some_and(|correlation| frame[4..8] == correlation) {
                self.set(Mode::Down);
                break;
            }
            if to.write_all(&frame).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}

fn cut(state: &mut State) {
    for stream in state.connections.drain(..) {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// One request or answer, its length first.
fn frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut frame = length.to_vec();
    frame.resize(4 + u32::from_be_bytes(length) as usize, 0);
    from.read_exact(&mut frame[4..])?;
    Ok(frame)
}
