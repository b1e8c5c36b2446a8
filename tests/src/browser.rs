//! A page in a real browser, headless, with the unmodified SDK for pages; what it sends to and gets from the server.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;
use std::{fs, io};

use serde_json::{Value, json};

use crate::Scene;
use crate::output::Event;
use crate::sdk::{Door, installed, script};

/// Names of the browser, in the order of choice: Debian has a package for each.
const PROGRAMS: [&str; 2] = ["chromium-headless-shell", "chromium"];
/// A browser starts within seconds, on a busy machine too.
const LIMIT: Duration = Duration::from_mins(1);

/// What becomes of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its tab is closed.
    Closed,
    /// The tab goes to another page of the same site.
    Left,
}

/// An answer of the server, as the browser saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Of the request; `OPTIONS` is a preflight.
    pub method: String,
    /// Path and query of the request.
    pub path: String,
    /// The status code.
    pub status: u64,
    /// `http/1.1` or `h2`.
    pub protocol: String,
}

/// A browser that is open. It closes with this process, whatever happens.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    commands: Option<ChildStdin>,
    printed: Receiver<String>,
    events: VecDeque<Event>,
    answers: Vec<Answered>,
    url: String,
}

impl Browser {
    /// Opens one for pages with this version of analytics-next, told nothing but the write key and the door.
    ///
    /// # Panics
    /// Where browser or SDK is not installed.
    pub fn open(scene: &Scene, package: &str, door: &Door, write_key: &str) -> Self {
        let is_there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
        let program = PROGRAMS.iter().find(|name| is_there(name)).expect("`make test` installs Chromium");
        let profile = scene.folder().join("profile");
        fs::create_dir_all(&profile).expect("a folder for the browser");
        let mut command = Command::new(installed("node/node"));
        command.arg(script("browser/browse.js")).arg(program);
        command.arg(installed("node/node_modules").join(package)).arg(profile).args([&door.url, write_key]);
        if let Some([certificate, _]) = &door.certificates {
            command.arg(certificate);
        }
        let log = fs::File::create(scene.folder().join("browser.log")).expect("the browser's log");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let commands = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (tell, printed) = channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { child, commands, printed, events: VecDeque::new(), answers: Vec::new(), url: door.url.clone() }
    }

    /// Opens a page that sends one event of each type and so many tracks, each by itself or `batching` them, which keeps
    /// them until the page ends. Gives what the SDK was handed, and has sent once or keeps.
    ///
    /// # Panics
    /// Where the page fails.
    pub fn visit(&mut self, tracks: usize, batching: bool) -> Vec<Event> {
        self.command(&json!({ "visit": { "tracks": tracks, "batching": batching } }));
        self.events.drain(..).collect()
    }

    /// Ends the page.
    ///
    /// # Panics
    /// Where the browser fails.
    pub fn end(&mut self, ending: Ending) {
        let how = match ending {
            Ending::Closed => "close",
            Ending::Left => "leave",
        };
        self.command(&json!({ "end": how }));
    }

    /// Closes the browser; gives every answer that the server gave to its pages.
    ///
    /// # Panics
    /// Where the browser has failed.
    pub fn close(mut self) -> Vec<Answered> {
        drop(self.commands.take());
        while let Ok(line) = self.printed.recv_timeout(LIMIT) {
            self.take(&line);
        }
        let status = self.child.wait().expect("waiting for a child");
        assert!(status.success(), "the browser's script ended with {status}, see browser.log");
        std::mem::take(&mut self.answers)
    }

    fn command(&mut self, command: &Value) {
        let commands = self.commands.as_mut().expect("open until it closes");
        writeln!(commands, "{command}").expect("the script reads");
        while let Ok(line) = self.printed.recv_timeout(LIMIT) {
            if self.take(&line) {
                return;
            }
        }
        panic!("the browser did not do {command}, see browser.log");
    }

    /// Takes a line; whether a command is done.
    fn take(&mut self, line: &str) -> bool {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |value: &Value| value.as_str().map(str::to_owned);
        if line["event"].is_object() {
            self.events.push_back(Event::parse(&line["event"].to_string()));
        } else if let Some(answer) = line["answer"].as_object() {
            self.answers.push(Answered {
                method: text(&answer["method"]).unwrap_or_default(),
                path: text(&answer["url"]).unwrap_or_default().replacen(&self.url, "", 1),
                status: answer["status"].as_u64().expect("a status"),
                protocol: text(&answer["protocol"]).unwrap_or_default(),
            });
        }
        line["done"].is_string()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if thread::panicking() {
            let printed: Vec<String> = self.printed.try_iter().collect();
            let _ = writeln!(io::stderr(), "--- the browser saw: {:?}\nand then {printed:#?}\n---", self.answers);
        }
        // Chromium ends with the pipes that steer it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
