//! Which machine this is, which core a process runs on, and how much processor time it has used.

use std::fs;
use std::process::id;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Ticks a second of the times in `/proc/PID/stat`; the kernel's user interface fixes them (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// Keeps this process, and the threads it starts from now on, on one core.
///
/// # Panics
/// Where the kernel refuses: there is no such core.
pub fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).unwrap_or_else(|error| panic!("pin to core {core}: {error}"));
}

/// Processor time of a process so far, user and kernel, in steps of 10 ms.
///
/// # Panics
/// Where it does not run.
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name in parentheses may hold anything; the fields behind it are numbered from 3.
    let fields = stat.rsplit_once(')').expect("a stat line").1.split_whitespace();
    let ticks: u64 = fields.skip(14 - 3).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// Processor time of the threads that a process has now, to the nanosecond: what short rounds need. The time of those
/// that have ended is not in it.
///
/// # Panics
/// Where it does not run, or the kernel does not tell (`CONFIG_SCHED_INFO`).
pub fn threads_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let ran_ns = tasks.map(|task| {
        let stat = fs::read_to_string(task.expect("a thread").path().join("schedstat")).expect("the thread runs");
        stat.split_whitespace().next().and_then(|ran_ns| ran_ns.parse::<u64>().ok()).expect("nanoseconds")
    });
    Duration::from_nanos(ran_ns.sum())
}

/// Threads of a process.
///
/// # Panics
/// Where it does not run.
pub fn threads(pid: u32) -> u64 {
    status(pid, "Threads:")
}

/// Bytes of a process that are in memory.
///
/// # Panics
/// Where it does not run.
pub fn memory_bytes(pid: u32) -> u64 {
    status(pid, "VmRSS:") * 1024
}

/// Most bytes of a process that were in memory at once.
///
/// # Panics
/// Where it does not run.
pub fn peak_memory_bytes(pid: u32) -> u64 {
    status(pid, "VmHWM:") * 1024
}

/// Descriptors that a process has open.
///
/// # Panics
/// Where it does not run, or is somebody else's.
pub fn descriptors(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count() as u64
}

fn status(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in the status of {pid}"))
}

/// Processor time of this process so far.
pub fn own_processor_time() -> Duration {
    processor_time(id())
}

/// A short name of this machine: cores and processor.
pub fn name() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    // Not what this process may use: a bench pins itself.
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, model)| model.trim().to_lowercase());
    let words: Vec<_> = model.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    format!("{cores}-core-{}", words.join("-"))
}
