//! The real SDKs, unmodified, run by scripts that print each event as the SDK completed it. Those of browsers: [`Browser`].
//!
//! [`Browser`]: crate::Browser

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::output::Event;
use crate::secure::Authority;

/// Where an SDK finds the server, and whom it has to trust there.
#[derive(Debug, Clone)]
pub struct Door {
    /// With its scheme, without a path.
    pub url: String,
    /// Where the door is TLS, the server's certificate and what signed it.
    pub certificates: Option<[PathBuf; 2]>,
}

impl Door {
    /// HTTP.
    pub fn plain(address: SocketAddr) -> Self {
        Self { url: format!("http://{address}"), certificates: None }
    }

    /// TLS with what this authority signed.
    pub fn tls(address: SocketAddr, authority: &Authority) -> Self {
        Self { url: format!("https://{address}"), certificates: Some([authority.signed(), authority.certificate()]) }
    }
}

/// Runs `send.py` with one of the installed versions of analytics-python; gives what it sent.
///
/// # Panics
/// Where the SDK is not installed, or says that it could not deliver.
pub fn python(version: &str, door: &Door, write_key: &str, tracks: usize, options: &[&str]) -> Vec<Event> {
    let mut command = Command::new(installed("venv/bin/python"));
    command
        .env("PYTHONPATH", installed(&format!("python-{version}")))
        .arg(script("python/send.py"))
        .args(["--host", &door.url, "--write-key", write_key, "--tracks", &tracks.to_string()])
        .args(options);
    if let Some([_, authority]) = &door.certificates {
        command.env("REQUESTS_CA_BUNDLE", authority);
    }
    sent(command)
}

/// The same with `send.js` and a package of `tests/sdk/node/package.json`.
///
/// # Panics
/// As for [`python`].
pub fn node(package: &str, door: &Door, write_key: &str, tracks: usize) -> Vec<Event> {
    let mut command = Command::new(installed("node/node"));
    command.env("NODE_PATH", installed("node/node_modules")).arg(script("node/send.js")).args([
        package,
        &door.url,
        write_key,
        &tracks.to_string(),
    ]);
    if let Some([_, authority]) = &door.certificates {
        command.env("NODE_EXTRA_CA_CERTS", authority);
    }
    sent(command)
}

fn sent(mut command: Command) -> Vec<Event> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{complaints}", output.status);
    let printed = String::from_utf8(output.stdout).expect("the script prints UTF-8");
    // Python prints NaN and infinities as it sends them; what should come out of them is null.
    printed
        .lines()
        .map(|line| Event::parse(&line.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null")))
        .collect()
}

/// A file of what `make test` installs.
///
/// # Panics
/// Where it is not there.
pub(crate) fn installed(path: &str) -> PathBuf {
    let folder = env::var_os("TESTS_SDK_DIR").map_or_else(
        || {
            let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache");
            cache.unwrap_or_else(home).join("turnstile/sdk")
        },
        PathBuf::from,
    );
    let path = folder.join(path);
    assert!(path.exists(), "{} is not there: `make test` installs the SDKs", path.display());
    path
}

/// A script of `tests/sdk/`.
pub(crate) fn script(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk").join(path)
}
