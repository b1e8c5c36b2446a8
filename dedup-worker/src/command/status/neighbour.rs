//! What the worker of this host says of its index.

use std::net::SocketAddr;

use service::admin::ask;

/// One line about the worker whose admin port this is; also where there is none.
pub(super) fn told(admin: SocketAddr) -> String {
    match ask(admin, "/metrics") {
        Ok(metrics) => format!("worker at {admin}: {}", index(&metrics)),
        Err(error) => format!("no worker answers at {admin} ({error}): nothing is known of filters and index"),
    }
}

fn index(metrics: &str) -> String {
    let figure = |name: &str| {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(0_u64)
    };
    let [running, known, keys, room, filters, store] = [
        "dedup_lanes_running",
        "dedup_known_digests",
        "dedup_filter_digests",
        "dedup_filter_digests_max",
        "dedup_filter_bytes",
        "dedup_store_bytes",
    ]
    .map(figure);
    let percent = (keys * 100).checked_div(room).unwrap_or(0);
    format!(
        "{running} lanes running, {known} identities in the window; filters {percent} % full ({keys} of {room}) in \
         {} MiB of memory, runs of {} MiB on disk",
        filters >> 20,
        store >> 20
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fill_of_the_filters_is_worked_out() {
        let metrics = "# HELP dedup_filter_digests x\ndedup_filter_digests 250\ndedup_filter_digests_max 1000\n\
                       dedup_known_digests 300\ndedup_lanes_running 4\ndedup_filter_bytes 2097152\n";
        let told = index(metrics);
        assert!(told.starts_with("4 lanes running, 300 identities"), "{told}");
        assert!(told.contains("filters 25 % full (250 of 1000) in 2 MiB"), "{told}");
        assert!(index("").contains("filters 0 % full"), "a worker without lanes");
    }

    #[test]
    fn nobody_there_is_said() {
        assert!(told(([127, 0, 0, 1], 1).into()).starts_with("no worker answers at 127.0.0.1:1"));
    }
}
