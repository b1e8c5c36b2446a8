//! Goal: what is acknowledged after a crash outlives the next one, whatever step of its work the first one hit.
//! Fault: the process dies, or the power goes, in the middle of the n-th change of the disk, for every n from an empty
//! folder to the second segment; then one record is acknowledged, and the power goes and takes all that was not synced.
//! Oracle: all acknowledged records are delivered.

use std::io::Write as _;
use std::path::Path;

use forgetful_disk::{Disk, Fate, Mounted};
use local_buffer::{Batch, DirectIo, Options, Queue};

static RECORD: [u8; 60_000] = [7; 60_000];
/// Enough to fill the first segment and begin the second.
const RECORDS: usize = 6;

fn options(direct_io: DirectIo) -> Options {
    let segment_bytes = 256 << 10;
    Options {
        segment_bytes,
        bytes_max: 8 * segment_bytes,
        pending_bytes_max: 512 << 10,
        direct_io,
        ..Options::default()
    }
}

fn mount(disk: &Disk, dir: &Path) -> Option<Mounted> {
    let mounted = disk.mount(dir).inspect_err(|unavailable| {
        let _ = writeln!(std::io::stderr(), "SKIPPED, no step was taken: {unavailable}");
    });
    mounted.ok()
}

/// Opens, and appends some records, waiting for each; gives the number of those that are durable.
fn append(dir: &Path, options: &Options, records: usize) -> usize {
    let Ok((queue, _)) = Queue::open(dir, options.clone()) else { return 0 };
    let appender = queue.appender();
    let mut durable = 0;
    while durable < records {
        match appender.append(&RECORD) {
            Ok(pending) if pending.wait(&appender).is_ok() => durable += 1,
            Err(local_buffer::AppendError::Busy) => std::thread::yield_now(),
            _ => break,
        }
    }
    durable
}

fn delivered(dir: &Path, options: &Options) -> usize {
    let (mut queue, _) = Queue::open(dir, options.clone()).expect("it opens with the power on");
    let mut reader = queue.take_reader().expect("the first to ask");
    let (mut batch, mut delivered) = (Batch::new(), 0);
    while reader.read(&mut batch, 100, 1 << 20).expect("the power is on") > 0 {
        assert!(batch.iter().all(|(_, record)| record == RECORD));
        delivered += batch.len();
    }
    delivered
}

#[test]
fn what_is_acknowledged_after_a_crash_at_any_step_outlives_the_next_one() {
    let mut steps = 0;
    for direct_io in [DirectIo::Auto, DirectIo::Off] {
        for power_cut in [false, true] {
            for step in 0.. {
                let options = options(direct_io);
                let (disk, dir) = (Disk::new(), tempfile::tempdir().expect("a mount point"));
                // Below the mount, so that the name of the buffer's own folder is at stake too.
                let buffer = dir.path().join("above/buffer");
                let Some(mounted) = mount(&disk, dir.path()) else { return };
                disk.cut_after(step);
                let mut durable = append(&buffer, &options, RECORDS);
                let reached = disk.is_off();
                drop(mounted);
                disk.power_off();
                if power_cut {
                    disk.restore(Fate::AllLost, step);
                } else {
                    disk.resume();
                }

                let mounted = mount(&disk, dir.path()).expect("it was mounted before");
                durable += append(&buffer, &options, 1);
                drop(mounted);
                disk.power_off();
                disk.restore(Fate::AllLost, step);

                let mounted = mount(&disk, dir.path()).expect("it was mounted before");
                let found = delivered(&buffer, &options);
                assert!(found >= durable, "{direct_io:?}, step {step}, power cut {power_cut}: {found} of {durable}");
                drop(mounted);
                steps += 1;
                if !reached {
                    break;
                }
            }
        }
    }
    let _ = writeln!(std::io::stderr(), "a crash at each of {steps} steps, and a power cut after it: 0 records lost");
}
