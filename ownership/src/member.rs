//! The id by which a process is known to its group again after a restart.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// The file of the id.
const FILE: &str = "member-id";
/// The same while it is made.
const UNFINISHED: &str = "member-id.new";
/// Hexadecimal digits of an id: 128 random bits.
const DIGITS: usize = 32;

/// The id kept in a folder that this process has for itself; made, and synced, where there is none that can be read. One that
/// is lost costs its lanes the wait for a session.
///
/// # Errors
/// Where the folder cannot be read or written, or there are no random numbers.
pub fn member_id(folder: &Path) -> io::Result<String> {
    let path = folder.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) if is_id(text.trim_end()) => return Ok(text.trim_end().to_owned()),
        Err(error) if ![io::ErrorKind::NotFound, io::ErrorKind::InvalidData].contains(&error.kind()) => {
            return Err(error);
        }
        _ => {}
    }
    let mut bytes = [0; DIGITS / 2];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let id = format!("{:032x}", u128::from_le_bytes(bytes));
    let unfinished = folder.join(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    fs::rename(&unfinished, &path)?;
    File::open(folder)?.sync_all()?;
    Ok(id)
}

fn is_id(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_id_and_another_folder_another() {
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let id = member_id(one.path()).unwrap();
        assert!(is_id(&id), "{id}");
        assert_eq!(member_id(one.path()).unwrap(), id);
        assert_ne!(member_id(other.path()).unwrap(), id);
        for torn in [&b""[..], b"0123", b"\xff\xfe"] {
            fs::write(one.path().join(FILE), torn).unwrap();
            let made = member_id(one.path()).unwrap();
            assert!(is_id(&made) && made != id, "{made}");
            assert_eq!(member_id(one.path()).unwrap(), made);
        }
        assert!(member_id(&one.path().join("nowhere")).is_err());
    }
}
