//! A host whose clock is wrong: a few lines of C that a program is started with shift the time that it sees.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::Scene;

/// Compiles the library; preloaded, it shifts a program's time by `CLOCK_SHIFT_SECONDS`.
///
/// # Panics
/// Where there is no C compiler, without which nothing here is built anyway.
pub fn shim(scene: &Scene) -> PathBuf {
    let (source, library) = (scene.folder().join("clock.c"), scene.folder().join("clock.so"));
    fs::write(&source, include_str!("clock.c")).expect("written");
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
    let output = command.output().expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}
