//! A server in a process of its own, so that its processor time is its own: the same executable started again with a
//! role. Lines on its standard input steer it; its first line of output is the address it serves.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Tells the started executable what to be.
pub const ROLE_VARIABLE: &str = "TURNSTILE_BENCH_ROLE";

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Starts this executable in a role that prints one line of numbers and ends; gives the numbers.
///
/// # Panics
/// Where it cannot be started, fails, or prints something else.
pub fn ask_once(role: &str) -> Vec<f64> {
    let mut command = Command::new(std::env::current_exe().expect("the path of this executable"));
    let output = command.env(ROLE_VARIABLE, role).stderr(Stdio::inherit()).output().expect("this executable starts");
    assert!(output.status.success(), "{role}: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().map(|word| word.parse().unwrap_or_else(|_| panic!("{role} said {text:?}"))).collect()
}

/// The role of this process, if it was started as a server.
pub fn role() -> Option<String> {
    std::env::var(ROLE_VARIABLE).ok()
}

impl ServerProcess {
    /// Starts this executable in a role and waits for its address.
    ///
    /// # Panics
    /// Where it cannot be started or says something else.
    pub fn start(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("the path of this executable"));
        command.env(ROLE_VARIABLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this executable starts");
        let input = child.stdin.take().expect("a pipe");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("the server says its address");
        let address = line.trim().parse().unwrap_or_else(|_| panic!("the server said {line:?}, not its address"));
        Self { child, input, output, address }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a line and waits for the line it answers.
    ///
    /// # Panics
    /// Where it is gone.
    pub fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").expect("the server reads");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("the server answers");
        answer.trim().to_owned()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// For the server: says its address, then answers each line of its input, until that ends.
///
/// # Panics
/// Where standard output is closed.
pub fn serve_lines(address: SocketAddr, mut answer: impl FnMut(&str) -> String) {
    let mut output = std::io::stdout();
    writeln!(output, "{address}").and_then(|()| output.flush()).expect("somebody listens");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        writeln!(output, "{}", answer(&line)).and_then(|()| output.flush()).expect("somebody listens");
    }
}
