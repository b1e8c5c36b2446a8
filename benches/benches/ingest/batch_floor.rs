//! The floor of batches: hyper's body, simd-json's tape over it, and as many bytes as the buffer needs for it written in
//! groups, one write in flight, each of all that waits and at most as large as the buffer's. It answers when that is done.
//! No event is looked at, no record is made, nothing has a checksum.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use benches::disk::{BLOCK_BYTES, BareDisk, WRITE_BYTES_MAX};
use benches::{bare, server};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use simd_json::{Buffers, INPUT_PADDING, Tape};
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_local;

use crate::servers::folder;

/// Memory of a group: room for a batch of each connection.
const GROUP_BYTES: usize = 16 << 20;
const FILES: usize = 14;

/// What the server's thread and the writer share.
struct Groups {
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    filling: Group,
    /// Bytes that a batch takes.
    batch_bytes: usize,
    /// Batches so far.
    count: u64,
}

/// Bytes on their way to the disk, from a block on.
struct Group {
    memory: Vec<u8>,
    start: usize,
    used: usize,
}

/// What the requests share.
struct Floor {
    groups: Arc<Groups>,
    buffers: RefCell<Buffers>,
    tape: RefCell<Tape<'static>>,
    bodies: RefCell<Vec<Vec<u8>>>,
    waiting: RefCell<VecDeque<(u64, oneshot::Sender<()>)>>,
}

/// Serves; a line says how many bytes a batch takes from now on.
pub(crate) fn serve() {
    let state = State { filling: Group::new(), batch_bytes: 0, count: 0 };
    let groups = Arc::new(Groups { state: Mutex::new(state), work: Condvar::new() });
    let (written, durable) = watch::channel(0);
    let (writer, of_server) = (Arc::clone(&groups), Arc::clone(&groups));
    thread::spawn(move || writer.write(&written));
    let address = bare::accept(move || {
        let floor = Rc::new(Floor {
            groups: of_server,
            buffers: RefCell::new(Buffers::new(0)),
            tape: RefCell::new(Tape(Vec::new())),
            bodies: RefCell::default(),
            waiting: RefCell::default(),
        });
        spawn_local(Rc::clone(&floor).follow(durable));
        move |stream| {
            let floor = Rc::clone(&floor);
            let service = service_fn(move |request| Rc::clone(&floor).answer(request));
            spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    server::serve_lines(address, |line| {
        groups.state.lock().expect("nobody panicked").batch_bytes = line.parse().expect("bytes");
        String::new()
    });
}

impl Floor {
    async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let mut body = self.bodies.borrow_mut().pop().unwrap_or_default();
        body.clear();
        let mut incoming = request.into_body();
        while let Some(frame) = incoming.frame().await {
            if let Ok(data) = frame.expect("a body").into_data() {
                body.extend_from_slice(&data);
            }
        }
        let bytes = body.len();
        body.resize(bytes + INPUT_PADDING, b' ');
        let mut tape = self.tape.replace(Tape(Vec::new())).reset();
        simd_json::fill_tape_padded(&mut body, bytes, &mut self.buffers.borrow_mut(), &mut tape).expect("JSON");
        self.tape.replace(tape.reset());
        let number = self.groups.push(&body[..bytes]);
        self.bodies.borrow_mut().push(body);
        let (tell, told) = oneshot::channel();
        self.waiting.borrow_mut().push_back((number, tell));
        told.await.expect("the follower runs");
        Ok(bare::success())
    }

    /// Tells those whose bytes are on disk.
    async fn follow(self: Rc<Self>, mut durable: watch::Receiver<u64>) {
        while durable.changed().await.is_ok() {
            let end = *durable.borrow_and_update();
            let mut waiting = self.waiting.borrow_mut();
            while waiting.front().is_some_and(|(number, _)| *number < end) {
                let _ = waiting.pop_front().map(|(_, tell)| tell.send(()));
            }
        }
    }
}

impl Groups {
    /// Puts a body into the group that fills, and gives its number.
    fn push(&self, body: &[u8]) -> u64 {
        let mut state = self.state.lock().expect("nobody panicked");
        let bytes = state.batch_bytes.max(body.len());
        let group = &mut state.filling;
        let at = group.start + group.used;
        group.memory[at..at + body.len()].copy_from_slice(body);
        group.used += bytes;
        state.count += 1;
        self.work.notify_one();
        state.count - 1
    }

    /// Writes group after group, and says up to which number.
    fn write(&self, written: &watch::Sender<u64>) {
        let mut disk = BareDisk::new(folder(), FILES, true);
        let (mut group, mut done) = (Group::new(), 0);
        loop {
            let (batches, count) = {
                let state = self.state.lock().expect("nobody panicked");
                let mut state = self.work.wait_while(state, |state| state.count == done).expect("nobody panicked");
                std::mem::swap(&mut state.filling, &mut group);
                ((state.count - done) as usize, state.count)
            };
            let bytes = group.used.next_multiple_of(BLOCK_BYTES);
            let blocks = &group.memory[group.start..group.start + bytes];
            for (index, piece) in blocks.chunks(WRITE_BYTES_MAX).enumerate() {
                disk.write_bytes(piece);
                let end = (index * WRITE_BYTES_MAX + piece.len()).min(group.used);
                // Those that are whole on disk.
                written.send_replace(done + (end * batches / group.used) as u64);
            }
            done = count;
            group.used = 0;
        }
    }
}

impl Group {
    fn new() -> Self {
        let memory = vec![0; GROUP_BYTES + BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        Self { memory, start, used: 0 }
    }
}
