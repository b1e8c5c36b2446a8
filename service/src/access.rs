//! Who may read what a process stores: events are other people's data.

use std::sync::OnceLock;

use rustix::fs::Mode;
use rustix::process::umask;
use serde::{Deserialize, Serialize};

/// Who beside the owner may read the folders and files that a process makes. What is there already stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Nobody: folders 0700, files 0600.
    Owner,
    /// The owner's group: folders 0750, files 0640.
    #[default]
    Group,
    /// Whoever the umask of the process lets, usually everybody: folders 0755, files 0644.
    Umask,
}

impl Access {
    /// Applies to everything that this process makes from here on, whoever makes it: also the store of an index and a
    /// library. The umask that the process began with is never loosened.
    pub fn apply(self) {
        static BEGUN_WITH: OnceLock<Mode> = OnceLock::new();
        let begun_with = *BEGUN_WITH.get_or_init(|| umask(self.forbidden()));
        umask(begun_with | self.forbidden());
    }

    fn forbidden(self) -> Mode {
        match self {
            Self::Owner => Mode::RWXG | Mode::RWXO,
            Self::Group => Mode::WGRP | Mode::RWXO,
            Self::Umask => Mode::empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn folders_and_files_are_for_those_who_may_read_them() {
        umask(Mode::WGRP | Mode::WOTH);
        let dir = tempfile::tempdir().unwrap();
        for (access, of_folder, of_file) in
            [(Access::default(), 0o750, 0o640), (Access::Owner, 0o700, 0o600), (Access::Umask, 0o755, 0o644)]
        {
            access.apply();
            let folder = dir.path().join(format!("{access:?}"));
            fs::create_dir_all(&folder).unwrap();
            let file = folder.join("file");
            File::create(&file).unwrap();
            let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
            assert_eq!((mode(&folder), mode(&file)), (of_folder, of_file), "{access:?}");
        }
    }
}
