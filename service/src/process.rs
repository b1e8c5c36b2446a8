//! What every process tells of itself: the figures that dashboards and alert rules know by their customary names
//! (Prometheus, "Writing client libraries", process metrics).

use std::fmt;

use procfs::WithCurrentSystemInfo as _;
use procfs::process::{LimitValue, Process};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::metrics::Encoder;

/// The figures of this process, read when they are asked for.
#[derive(Debug)]
pub(crate) struct ProcessFigures;

impl Collector for ProcessFigures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Encoder::new(encoder);
        // A figure that cannot be read is not there; 0 would be a lie.
        let Ok(process) = Process::myself() else { return Ok(()) };
        if let Ok(stat) = process.stat() {
            let seconds = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
            out.counter("process_cpu_seconds", "CPU time of the process, user and system.", seconds)?;
            let resident = stat.rss_bytes().get();
            out.gauge("process_resident_memory_bytes", "Memory of the process that is in RAM.", resident)?;
            out.gauge("process_virtual_memory_bytes", "Address space of the process.", stat.vsize)?;
            out.gauge("process_threads", "Threads of the process.", stat.num_threads)?;
            if let Ok(boot) = procfs::boot_time_secs() {
                let begun = boot as f64 + stat.starttime as f64 / procfs::ticks_per_second() as f64;
                out.gauge("process_start_time_seconds", "When the process began, in seconds since 1970.", begun)?;
            }
        }
        if let Ok(open) = process.fd_count() {
            out.gauge("process_open_fds", "File descriptors that the process has open.", open as u64)?;
        }
        if let Ok(limits) = process.limits()
            && let LimitValue::Value(most) = limits.max_open_files.soft_limit
        {
            out.gauge("process_max_fds", "File descriptors that the process may have open.", most)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics;

    #[test]
    fn the_customary_figures_of_a_process_are_there_and_plausible() {
        let text = metrics::text(&metrics::registry());
        let value = |name: &str| -> f64 {
            let row = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            row.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
        };
        let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let begun_s = value("process_start_time_seconds");
        assert!(begun_s <= now_s + 1.0 && now_s - begun_s < 86_400.0, "{begun_s} at {now_s}");
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_threads") >= 1.0 && value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") > value("process_open_fds"));
    }
}
