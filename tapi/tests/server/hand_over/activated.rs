//! Listeners that are there before the process, as systemd hands them in.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use super::programs::Place;
use crate::binary::{Program, tapi};
use crate::client::{AUTH, Client, event};

/// The program with this listener as its descriptor 3.
fn activated(place: &Place, listener: &TcpListener) -> Program {
    let template = tapi(&["run", "--config", place.config().to_str().unwrap()]);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", r#"export LISTEN_PID=$$; exec "$0" "$@" 3<&0 </dev/null"#])
        .arg(template.get_program())
        .args(template.get_args())
        .env_clear()
        .envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .envs([("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "events"), ("TAPI_ADMIN_LISTEN", "127.0.0.1:0")])
        // Not where it listens: the socket that is handed in says that.
        .env("TAPI_LISTEN", "127.0.0.1:1")
        .env("TAPI_DATA", &place.data)
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    Program::ready(command.spawn().unwrap())
}

/// Goal: a restart refuses nobody. Fault: there is no process for a while. Oracle: a client that connects and sends then
/// gets its 200 from the next one.
#[test]
fn a_client_that_comes_between_two_processes_waits_for_the_next_one() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let body = event("between");
    let message = format!("POST /v1/t HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {}\r\n\r\n{body}", body.len());
    for round in 0..2 {
        let mut early = Client::connect(address);
        early.send(message.as_bytes());
        let program = activated(&place, &listener);
        assert_eq!(program.ingest, address);
        early.answer().assert_stored();
        assert_eq!(program.post("KEY", &format!("after-{round}")), 200);
        program.stop();
    }
}
