//! `forgetful-disk FOLDER [SYNC_MS]`: mounts a disk whose syncs take so long, says `mounted`, and unmounts when its
//! standard input ends. For benches, which are not built with FUSE.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use forgetful_disk::Disk;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (folder, sync_ms) = (arguments.next(), arguments.next().map_or(Ok(0), |number| number.parse()));
    let (Some(folder), Ok(sync_ms), None) = (folder, sync_ms, arguments.next()) else {
        eprintln!("forgetful-disk FOLDER [SYNC_MS]");
        return ExitCode::from(2);
    };
    let disk = Disk::new();
    disk.set_sync_time(Duration::from_millis(sync_ms));
    match disk.mount(Path::new(&folder)) {
        Ok(_mounted) => {
            println!("mounted");
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            ExitCode::SUCCESS
        }
        Err(unavailable) => {
            eprintln!("{unavailable}");
            ExitCode::FAILURE
        }
    }
}
