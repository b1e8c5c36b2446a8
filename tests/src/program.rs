//! A real program as a child process, with its output in a file.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use rustix::process::{Pid, Signal, kill_process};

/// Bytes of a log shown when a scenario fails.
const LOG_TAIL_BYTES: usize = 6_000;

/// A running child. It dies with this process, so a killed test leaves nothing behind.
#[derive(Debug)]
pub struct Program {
    name: String,
    log: PathBuf,
    child: Child,
    ended: Option<ExitStatus>,
}

impl Program {
    /// One of the workspace's programs, ready to be given arguments.
    ///
    /// # Panics
    /// Where it was not built; says how.
    pub fn command(name: &str) -> Command {
        let path = target_folder().join(name);
        assert!(
            path.exists(),
            "{} is not there: run the tests with `make test`, which builds it first",
            path.display()
        );
        let mut command = Command::new(path);
        // A program under test sees only what its scenario says, not how this machine happens to be set up.
        for (variable, _) in env::vars_os() {
            let name = variable.to_string_lossy();
            if ["TURNSTILE_", "TAPI_", "DEDUP_", "RUST_LOG"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(variable);
            }
        }
        command
    }

    /// Starts `command`; what it prints is appended to `log`.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = File::options().create(true).append(true).open(log).expect("the program's log");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("the same log")).stderr(file);
        let child = spawn(command).unwrap_or_else(|error| panic!("starting {name}: {error}"));
        Self { name, log: log.to_owned(), child, ended: None }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// Where the child is not ours to wait for.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("waiting for a child");
        }
        self.ended
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(begun.elapsed() < limit, "{} still runs after {limit:?}", self.name);
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for its end and demands exit code 0.
    ///
    /// # Panics
    /// On any other code or signal, or after `limit`.
    pub fn succeed(&mut self, limit: Duration) {
        let status = self.wait(limit);
        assert!(status.success(), "{} ended with {}", self.name, describe(status));
    }

    /// Sends a signal; a program that has already ended gets none.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
            && self.ended.is_none()
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Panics
    /// Where the child is not ours to wait for.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.ended = Some(self.child.wait().expect("waiting for a child"));
    }

    /// Everything it printed, bytes that are no text replaced.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
        if thread::panicking() {
            let printed = self.printed();
            let mut from = printed.len().saturating_sub(LOG_TAIL_BYTES);
            while !printed.is_char_boundary(from) {
                from += 1;
            }
            let _ = io::Write::write_all(
                &mut io::stderr(),
                format!("--- {} printed, at the end:\n{}\n---\n", self.name, &printed[from..]).as_bytes(),
            );
        }
    }
}

/// Where the programs are: the folder above that of the test executable.
pub(crate) fn target_folder() -> PathBuf {
    let mut folder = env::current_exe().expect("the path of this test");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    folder
}

fn describe(status: ExitStatus) -> String {
    status.code().map_or_else(|| format!("signal {:?}", status.signal()), |code| format!("exit code {code}"))
}

/// Starts a child from a thread that lives as long as this process: a child dies with the thread that started it, and
/// some outlive the scenario that needed them first.
fn spawn(mut command: Command) -> io::Result<Child> {
    type Birth = (Command, Sender<io::Result<Child>>);
    static NURSERY: LazyLock<Sender<Birth>> = LazyLock::new(|| {
        let (births, asked) = channel::<Birth>();
        thread::spawn(move || {
            for (mut command, tell) in asked {
                let _ = tell.send(command.spawn());
            }
        });
        births
    });
    die_with_parent(&mut command);
    let (tell, born) = channel();
    NURSERY.send((command, tell)).map_err(io::Error::other)?;
    born.recv().map_err(io::Error::other)?
}

#[expect(unsafe_code, reason = "the one way to run something between fork and exec")]
fn die_with_parent(command: &mut Command) {
    // SAFETY: the closure runs in the forked child; it makes one system call and neither allocates nor locks.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(())
        });
    }
}
