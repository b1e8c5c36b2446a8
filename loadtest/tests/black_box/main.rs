//! The program as its users meet it: arguments in, exit code and words out.

mod broker;
mod fuzz_corpus;
mod kafka;
mod program;
mod run;
mod scene;
mod server;
mod verify;
