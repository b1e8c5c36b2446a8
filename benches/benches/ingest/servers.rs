//! What this executable is when it is started with a role: one of the servers, on its core.

use std::net::Ipv4Addr;
use std::path::Path;

use benches::{bare, machine, server};
use local_buffer::{Batch, Reader};
use tempfile::TempDir;

use crate::secret::{certificate, key};
use crate::{batch_floor, unpack};

const SERVER_CORE: usize = 0;

/// A role, and behind a blank the folder of the certificate that it needs.
pub(crate) fn serve(role: &str) {
    machine::pin(SERVER_CORE);
    let (name, secret) = role.split_once(' ').map_or((role, None), |(name, folder)| (name, Some(Path::new(folder))));
    match (name, secret) {
        ("bare", None) => server::serve_lines(bare::start(), |_| String::new()),
        ("bare", Some(secret)) => {
            server::serve_lines(bare::start_tls(&certificate(secret), &key(secret)), |_| String::new());
        }
        ("tapi", secret) => tapi(secret),
        ("batch_floor", None) => batch_floor::serve(),
        ("unpack", None) => unpack::serve(),
        _ => panic!("no role {role}"),
    }
}

/// A folder on the disk that builds use.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk")
}

/// The whole ingest path with one server thread, and a drain that works only when told.
fn tapi(secret: Option<&Path>) {
    let folder = folder();
    let mut config = ingest::Config::default();
    if let Some(secret) = secret {
        (config.tls.certificate, config.tls.key) = (certificate(secret), key(secret));
    }
    let (mut queue, _) = config.buffer.open(folder.path()).expect("a new buffer");
    let mut reader = queue.take_reader().expect("the only reader");
    let monitor = queue.monitor();
    let metrics = ingest::Metrics::new(queue.monitor());
    let (address, listeners) = ingest::listen((Ipv4Addr::LOCALHOST, 0).into(), 1).expect("a free port");
    let appender = queue.appender();
    // It serves until this process ends.
    std::thread::spawn(move || {
        let ((_reload, live), stop) =
            (ingest::Live::channel(&config).expect("a certificate or none"), service::Shutdown::new());
        ingest::serve(listeners, &config.limits, &live, &appender, &metrics, &stop).expect("threads");
    });
    let mut drained = 0;
    server::serve_lines(address, |_| {
        drained += drain(&mut reader);
        format!("{drained} {}", monitor.stats().group_bytes)
    });
}

/// Takes everything out of the buffer; how many records that were.
fn drain(reader: &mut Reader) -> u64 {
    let mut batch = Batch::new();
    let mut count = 0;
    while reader.read(&mut batch, 16_384, 8 << 20).expect("the buffer can be read") > 0 {
        count += batch.len() as u64;
        reader.acknowledge(batch.end().expect("it is not empty")).expect("the floor moves");
    }
    reader.sync_floor().expect("the floor is durable");
    count
}
