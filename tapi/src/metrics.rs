//! The only place that names metrics of the drain.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use service::Section;
use service::metrics::Encoder;

use crate::forward::breaker::Cause;
use crate::forward::outlets::sentence;
use crate::forward::{Cluster, Fault, Remote, Snapshot};

/// The figures of the drain. Register it with a `prometheus_client` registry as a collector.
#[derive(Clone)]
pub(crate) struct ForwardMetrics(pub Remote);

impl fmt::Debug for ForwardMetrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ForwardMetrics").finish_non_exhaustive()
    }
}

impl Collector for ForwardMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.0.snapshot();
        let mut out = Encoder::new(encoder);
        let clusters = || Cluster::BOTH.into_iter().zip(&snapshot.clusters);
        out.counters("tapi_forward_records", "Records acknowledged, by cluster.", |rows| {
            clusters().try_for_each(|(cluster, of)| rows.row([("cluster", cluster.name())], of.counts.acknowledged))
        })?;
        let help = "Records that came back from a cluster, by what was at fault; taken_back: nothing, we took them.";
        out.counters("tapi_forward_faults", help, |rows| {
            for (cluster, of) in clusters() {
                for fault in Fault::ALL {
                    let labels = [("cluster", cluster.name()), ("fault", fault.name())];
                    rows.some(labels, of.counts.faults[fault as usize])?;
                }
            }
            Ok(())
        })?;
        out.counters("tapi_forward_breaker_transitions", "Changes of a cluster's breaker, by cause.", |rows| {
            for (cluster, of) in clusters() {
                for cause in Cause::ALL {
                    let labels = [("cluster", cluster.name()), ("cause", cause.name())];
                    rows.some(labels, of.counts.transitions[cause as usize])?;
                }
            }
            Ok(())
        })?;
        out.counters("tapi_forward_producers_replaced", "Producers that failed for good.", |rows| {
            clusters().try_for_each(|(cluster, of)| rows.row([("cluster", cluster.name())], of.counts.restarts))
        })?;
        out.gauges("tapi_forward_breaker", "A cluster's breaker: 0 closed, 1 half-open, 2 open.", |rows| {
            clusters()
                .try_for_each(|(cluster, of)| rows.gauge([("cluster", cluster.name())], of.breaker.number() as f64))
        })?;
        out.gauges("tapi_forward_usable", "1 for a cluster that was seen and is what it should be.", |rows| {
            clusters().try_for_each(|(cluster, of)| {
                rows.gauge([("cluster", cluster.name())], f64::from(u8::from(of.standing.is_fit())))
            })
        })?;
        out.gauges("tapi_forward_target", "1 for the cluster that gets records now.", |rows| {
            clusters().try_for_each(|(cluster, _)| {
                let is = snapshot.target == Some(cluster);
                rows.gauge([("cluster", cluster.name())], f64::from(u8::from(is)))
            })
        })?;
        out.gauges("tapi_forward_in_flight_records", "Records handed over and not answered.", |rows| {
            clusters().try_for_each(|(cluster, of)| rows.gauge([("cluster", cluster.name())], of.outstanding as f64))
        })?;
        out.gauges("tapi_forward_stalled_seconds", "Longest time a lane has made no progress.", |rows| {
            clusters()
                .try_for_each(|(cluster, of)| rows.gauge([("cluster", cluster.name())], of.stalled_for.as_secs_f64()))
        })?;
        let help = "Partitions that get no records because others of their lane do: no leader, or no progress.";
        out.gauges("tapi_forward_partitions_left_out", help, |rows| {
            clusters().try_for_each(|(cluster, of)| rows.gauge([("cluster", cluster.name())], of.left_out.len() as f64))
        })?;
        let help =
            "Seconds by which the cluster's clock is ahead of this host's where that is more than an hour; else 0.";
        out.gauges("tapi_forward_clock_off_seconds", help, |rows| {
            clusters().try_for_each(|(cluster, of)| {
                rows.gauge([("cluster", cluster.name())], of.clock_off_s.unwrap_or(0) as f64)
            })
        })?;
        out.gauge(
            "tapi_forward_pinned",
            "1 while an operator's choice is in force.",
            u64::from(snapshot.pin.is_some()),
        )?;
        out.gauge("tapi_forward_window_records", "Records in memory on their way.", snapshot.window_records)?;
        out.gauge("tapi_forward_window_bytes", "Their bytes.", snapshot.window_bytes)?;
        out.counter("tapi_forward_quarantined", "Records that no cluster takes.", snapshot.quarantined)?;
        out.gauge("tapi_forward_running", "1 while the drain runs.", u64::from(snapshot.running))
    }
}

pub(crate) fn section(snapshot: &Snapshot) -> Section {
    let lanes = match snapshot.lanes.known() {
        Some(lanes) => lanes.get().to_string(),
        None => format!("not known, so nothing is drained: {}", snapshot.lanes.why_not().unwrap_or_default()),
    };
    let target = match (snapshot.target, snapshot.pin) {
        (Some(target), Some(_)) => format!("{target}, pinned"),
        (Some(target), None) => target.to_string(),
        (None, Some(pin)) => format!("nowhere; pinned to the {pin}, which cannot be used"),
        (None, None) => "nowhere; events stay in the local buffer".into(),
    };
    let mut section = Section::new("drain to Kafka").row("records go to", target).row("lanes", lanes);
    for (cluster, of) in Cluster::BOTH.into_iter().zip(&snapshot.clusters) {
        let state = of.standing.why_unusable().unwrap_or_else(|| of.breaker.name().into());
        section = section.row(cluster.name(), state).row(
            format!("{cluster}: acknowledged, on their way"),
            format!("{}, {}", of.counts.acknowledged, of.outstanding),
        );
        if let Some(off_s) = of.clock_off_s {
            let said = format!("{off_s} s ahead of this host's; set the wrong one right");
            section = section.row(format!("{cluster}: clock"), said);
        }
        if let Some(left_out) = sentence(&of.left_out) {
            section = section.row(format!("{cluster}: partitions"), left_out);
        }
        if !of.last_error.is_empty() {
            section = section.row(format!("{cluster}: last complaint"), of.last_error.clone());
        }
    }
    section = section.row("records set aside", snapshot.quarantined.to_string());
    match &snapshot.blocked {
        Some(blocked) => section.row("held up", blocked.to_string()),
        None => section,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::forward::breaker::State;
    use crate::forward::clusters::{Misfit, Standing};
    use crate::forward::outlets::{LeftOut, Why};

    #[test]
    fn the_status_page_has_of_each_cluster_its_breaker_or_why_it_is_not_used() {
        let fit = || Standing::Fit(Arc::default());
        let mut snapshot = Snapshot::default();
        let mut said = |standing: Standing, breaker| {
            (snapshot.clusters[0].standing, snapshot.clusters[0].breaker) = (standing, breaker);
            let rows = section(&snapshot).rows;
            rows.into_iter().find(|(name, _)| name == "primary").unwrap().1
        };
        assert_eq!(said(fit(), State::Closed), "closed");
        assert_eq!(said(fit(), State::HalfOpen { acknowledged: 1 }), "half-open");
        assert_eq!(said(Standing::default(), State::Closed), "no answer yet");
        assert_eq!(said(Standing::Unseen("down".into()), State::Closed), "down");
        assert_eq!(said(Standing::Unconfigured, State::Closed), "not configured");
        assert_eq!(said(Standing::Misfit(Misfit::NoTopic), State::Closed), "it has no topic events; create it");
    }

    #[test]
    fn the_status_page_says_which_partitions_are_left_out_and_why() {
        let mut snapshot = Snapshot::default();
        let said = |snapshot: &Snapshot| {
            let rows = section(snapshot).rows;
            rows.into_iter().find(|(name, _)| name == "primary: partitions").map(|(_, value)| value)
        };
        assert_eq!(said(&snapshot), None);
        snapshot.clusters[0].left_out = vec![LeftOut { partition: 3, why: Why::NoLeader }];
        assert_eq!(said(&snapshot).unwrap(), "1 left out: 3 (no leader)");
    }
}
