//! Daily quotas go on where an earlier process left them.

use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;

use crate::binary::{Program, output, tapi};

const TIER: &str = "[[tiers]]\nid = \"default\"\nevents_per_day = 10\nmode = \"enforce\"\n";
const SOURCES: &str =
    "[[sources]]\nid = \"web\"\nwrite_keys = [\"KEY\"]\n[[sources]]\nid = \"app\"\nwrite_keys = [\"APP\"]\n";

struct Place {
    config: PathBuf,
    data: PathBuf,
    _dir: TempDir,
}

impl Place {
    fn new(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (config, data) = (dir.path().join("tapi.toml"), dir.path().join("data"));
        std::fs::write(&config, settings).unwrap();
        Self { config, data, _dir: dir }
    }

    fn start(&self) -> Program {
        Program::start(&self.config, &self.data)
    }
}

fn send(program: &Program, key: &str, count: usize) -> Vec<u16> {
    (0..count).map(|index| program.post(key, &format!("{key}-{index}"))).collect()
}

/// Goal: a restart is no way around a quota. Fault: restarts and a hand-over. Oracle: ten events of each source get
/// through, whichever process counts them.
#[test]
fn a_quota_outlives_restarts_and_hand_overs() {
    for settings in [TIER.to_owned(), format!("{TIER}{SOURCES}")] {
        let place = Place::new(&settings);
        let program = place.start();
        assert_eq!(send(&program, "KEY", 3), [200; 3]);
        program.stop();
        let mut program = place.start();
        assert_eq!(send(&program, "KEY", 3), [200; 3]);
        assert_eq!(send(&program, "APP", 10), [200; 10]);
        let next = Program::spawn(&place.config, &place.data, &["--take-over"], &[]);
        assert_eq!(program.wait(), Some(0));
        assert_eq!(send(&next, "APP", 1), [429], "{settings}");
        assert_eq!(send(&next, "KEY", 5), [200, 200, 200, 200, 429], "{settings}");
        next.stop();
        assert_eq!(send(&place.start(), "KEY", 1), [429]);
    }
}

/// Fault: the file is torn, or another program's. Oracle: the process serves, says it, and counts anew.
#[test]
fn a_file_of_quotas_that_is_none_begins_them_anew() {
    let place = Place::new(&format!("{TIER}{SOURCES}"));
    let program = place.start();
    assert_eq!(send(&program, "KEY", 10), [200; 10]);
    program.stop();
    let file = place.data.join("quotas");
    let whole = std::fs::read(&file).unwrap();
    for broken in [&whole[..whole.len() - 1], b"", b"something else"] {
        std::fs::write(&file, broken).unwrap();
        let mut command = tapi(&["run", "--config", place.config.to_str().unwrap()]);
        command.env("TAPI_LISTEN", "127.0.0.1:0").env("TAPI_ADMIN_LISTEN", "127.0.0.1:0").env("TAPI_DATA", &place.data);
        let mut program = Program::ready(command.stderr(Stdio::piped()).spawn().unwrap());
        assert_eq!(send(&program, "KEY", 11), [&[200; 10][..], &[429]].concat());
        program.signal(rustix::process::Signal::TERM);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut program.child.stderr.take().unwrap(), &mut said).unwrap();
        assert_eq!(said.matches("torn or foreign").count(), 1, "{said}");
        assert_eq!(program.wait(), Some(0));
        assert_eq!(std::fs::read(&file).unwrap(), whole, "it is whole again");
    }
    // The tool that looks into the buffer is not in the way of it, nor it of the tool.
    let (code, _, stderr) = output(&mut tapi(&["buffer", "verify", place.data.to_str().unwrap()]));
    assert_eq!(code, 0, "{stderr}");
}
