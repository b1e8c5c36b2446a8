//! The local buffer's figures.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use local_buffer::Stats;
use service::Section;
use service::metrics::Encoder;

pub(super) fn encode(stats: &Stats, out: &mut Encoder<'_>) -> fmt::Result {
    out.gauge("local_buffer_backlog_records", "Durable records that are not acknowledged.", stats.backlog_records)?;
    let age_s = age_s(stats);
    out.gauge("local_buffer_oldest_record_age_seconds", "Age of the oldest of them, 0 where there is none.", age_s)?;
    out.gauge("local_buffer_bytes", "Bytes of the buffer's files.", stats.segments_bytes)?;
    out.gauge("local_buffer_bytes_max", "Their bound.", stats.bytes_max)?;
    out.gauge("local_buffer_segments_live", "Files with records.", stats.segments_live)?;
    out.gauge("local_buffer_segments_ready", "Files ready to be written.", stats.segments_ready)?;
    out.gauge("local_buffer_pending_bytes", "Bytes appended and not yet durable.", stats.pending_bytes)?;
    out.counter("local_buffer_appended_records", "Records appended.", stats.appended_records)?;
    out.counter("local_buffer_appended_bytes", "Their bytes.", stats.appended_bytes)?;
    out.counter("local_buffer_groups", "Group commits.", stats.groups)?;
    out.counter("local_buffer_group_bytes", "Bytes written by them, padding included.", stats.group_bytes)?;
    let write_s = stats.write_ns as f64 / 1e9;
    out.counter("local_buffer_write_seconds", "Time spent in writing and syncing them.", write_s)?;
    out.counters("local_buffer_refused", "Appends refused, by reason.", |rows| {
        rows.row([("reason", "full")], stats.refused_full)?;
        rows.row([("reason", "busy")], stats.refused_busy)
    })?;
    out.gauge("local_buffer_full", "1 while no further file can be made.", u64::from(stats.full.is_some()))?;
    out.gauge("local_buffer_failed", "1 after a failed write, until the restart.", u64::from(stats.failed))?;
    out.counter("local_buffer_read_records", "Records read.", stats.read_records)?;
    out.counter("local_buffer_read_memory_records", "Those that came from memory.", stats.read_memory_records)?;
    out.counter("local_buffer_damaged_pieces", "Pieces of damage set aside.", stats.damaged_pieces)?;
    out.counter("local_buffer_damaged_bytes", "Their bytes.", stats.damaged_bytes)?;
    out.counter("local_buffer_quarantined_records", "Records that nobody took.", stats.quarantined_records)?;
    out.gauge("local_buffer_quarantine_bytes", "Bytes of the files set aside.", stats.quarantine_bytes)
}

/// Why no more can be stored.
pub(super) fn not_ready(stats: &Stats) -> Vec<String> {
    let failed = stats.failed.then(|| "the local buffer failed to write: look at the disk, then restart".into());
    let full = stats.full.map(|cause| format!("the local buffer is full: {cause}"));
    failed.into_iter().chain(full).collect()
}

pub(super) fn section(stats: &Stats) -> Section {
    const MIB: u64 = 1 << 20;
    let used = format!("{} of {} MiB", stats.segments_bytes / MIB, stats.bytes_max / MIB);
    Section::new("local buffer")
        .row("records to drain", stats.backlog_records.to_string())
        .row("oldest of them", format!("{:.1} s", age_s(stats)))
        .row("on disk", used)
        .row("records appended", stats.appended_records.to_string())
        .row("group commits", stats.groups.to_string())
        .row("pieces of damage set aside", stats.damaged_pieces.to_string())
        .row("written past the page cache", if stats.direct_io { "yes" } else { "no" })
}

fn age_s(stats: &Stats) -> f64 {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    stats.oldest_append_ms.map_or(0.0, |oldest_ms| now_ms.saturating_sub(oldest_ms) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_or_full_buffer_is_not_ready() {
        assert_eq!(not_ready(&Stats::default()), [""; 0]);
        let failed = not_ready(&Stats { failed: true, ..Stats::default() });
        assert!(failed.len() == 1 && failed[0].contains("restart"));
        let full = not_ready(&Stats { full: Some(local_buffer::FullCause::Disk), ..Stats::default() });
        assert!(full.len() == 1 && full[0].contains("full"));
    }
}
