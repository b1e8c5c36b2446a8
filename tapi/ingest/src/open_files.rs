//! Every connection is a file, and so is everything else that the process needs: some are kept for that.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files for everything but connections: those of the local buffer and of an index, connections to brokers, the admin
/// port, listeners and logs. Without them an append fails as soon as clients have taken all there are.
const RESERVED: u64 = 512;

/// How many connections there may be where so many are wanted. Raises the limit of files as far as it goes; the usual one
/// is 1,024.
pub(crate) fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused, the limit that stands is what counts.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let files = getrlimit(Resource::Nofile).current;
    let connections = within(files, wanted);
    if connections < wanted {
        tracing::warn!(
            files,
            wanted,
            connections,
            "fewer connections than limits.connections_max: raise the limit of open files"
        );
    }
    connections
}

/// Of so many files, where there is a limit, at least half are for connections.
fn within(files: Option<u64>, wanted: usize) -> usize {
    let left = files.map_or(u64::MAX, |files| files.saturating_sub(RESERVED).max(files / 2));
    wanted.min(usize::try_from(left).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_for_everything_else() {
        for (files, wanted, expected) in [
            (None, 16_384, 16_384),
            (Some(1 << 20), 16_384, 16_384),
            (Some(16_384), 16_384, 15_872),
            (Some(1024), 16_384, 512),
            (Some(1024), 100, 100),
            (Some(256), 16_384, 128),
            (Some(1), 10, 1),
        ] {
            assert_eq!(within(files, wanted), expected, "{files:?}");
        }
    }
}
