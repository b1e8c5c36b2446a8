//! Who leads the partitions of a topic and which replicas are in sync, looked at again and again, and when that last changed.
//!
//! A broker that is stopped in order hands over what it leads and leaves the in-sync replicas before it goes. Until every
//! other broker has heard of it no leader acknowledges anything, since acknowledgements wait for each in-sync replica. From
//! outside that looks like a frozen cluster, but for this: the cluster answers, and what it answers changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::Metadata;

use crate::complaint::Asking;
use crate::{Cluster, Failure};

/// One question: a frozen broker costs so much, then librdkafka chooses one at random again.
const QUESTION: Duration = Duration::from_millis(500);
/// Between two looks while nobody cares.
const PAUSE: Duration = Duration::from_secs(5);
/// Between two looks while somebody does.
const PAUSE_CLOSELY: Duration = Duration::from_millis(100);
/// How long somebody cares who has said so.
const CLOSELY: Duration = Duration::from_millis(500);

/// The thread that looks; it ends when this is dropped.
#[derive(Debug)]
pub struct Leadership {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_over: bool,
    closely_until: Option<Instant>,
    changed: Option<Instant>,
}

impl State {
    fn is_close(&self) -> bool {
        self.closely_until.is_some_and(|until| Instant::now() < until)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the next look is due; whether there is one.
    fn wait(&self) -> bool {
        let looked = Instant::now();
        let mut state = self.state();
        while !state.is_over {
            let pause = if state.is_close() { PAUSE_CLOSELY } else { PAUSE };
            let left = pause.saturating_sub(looked.elapsed());
            if left.is_zero() {
                return true;
            }
            state = self.woken.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}

impl Leadership {
    /// Begins to look at `topic` of `cluster`, which need not be reachable: every 5 s.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties, or the system refuses a thread.
    pub fn start(cluster: &Cluster, topic: &'static str) -> Result<Self, Failure> {
        let client: BaseConsumer<Asking> =
            cluster.config().create_with_context(Asking::default()).map_err(Failure::of("make a client"))?;
        let shared = Arc::<Shared>::default();
        let told = Arc::clone(&shared);
        let thread = thread::Builder::new().name(format!("lead-{}", cluster.name())).spawn(move || {
            let mut roles = Roles::default();
            loop {
                let answer = client.fetch_metadata(Some(topic), QUESTION);
                // Complaints wait until somebody polls.
                while client.poll(Duration::ZERO).is_some() {}
                if let Ok(metadata) = answer
                    && roles.enter(Roles::of(&metadata))
                {
                    told.state().changed = Some(Instant::now());
                }
                if !told.wait() {
                    return;
                }
            }
        });
        let thread = Some(thread.map_err(|error| Failure::new("start a thread", error))?);
        Ok(Self { shared, thread })
    }

    /// Somebody has to know: for the next half a second looks are 0.1 s apart.
    pub fn look_closely(&self) {
        let mut state = self.shared.state();
        let was_close = state.is_close();
        state.closely_until = Some(Instant::now() + CLOSELY);
        if !was_close {
            self.shared.woken.notify_all();
        }
    }

    /// When a look last differed from the one before it. A partition that is new is no difference.
    pub fn changed(&self) -> Option<Instant> {
        self.shared.state().changed
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.woken.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// By partition, its leader (negative: none) and its in-sync replicas, ascending.
#[derive(Debug, Default)]
struct Roles(BTreeMap<i32, (i32, Vec<i32>)>);

impl Roles {
    fn of(metadata: &Metadata) -> Self {
        let partitions = metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions);
        Self(partitions.map(|one| (one.id(), (one.leader(), sorted(one.isr())))).collect())
    }

    /// Whether those of any partition that was there before differ. What is not told any more stays as it was.
    fn enter(&mut self, now: Self) -> bool {
        let differs = now.0.iter().any(|(partition, roles)| self.0.get(partition).is_some_and(|was| was != roles));
        self.0.extend(now.0);
        differs
    }
}

fn sorted(replicas: &[i32]) -> Vec<i32> {
    let mut replicas = replicas.to_vec();
    replicas.sort_unstable();
    replicas
}

#[cfg(test)]
mod tests {
    use service::Properties;

    use super::*;

    fn roles(of: &[(i32, i32, &[i32])]) -> Roles {
        Roles(of.iter().map(|(partition, leader, in_sync)| (*partition, (*leader, sorted(in_sync)))).collect())
    }

    #[test]
    fn another_leader_and_other_replicas_in_sync_are_a_change_and_what_is_new_or_untold_is_none() {
        let mut now = Roles::default();
        for (next, differs) in [
            (roles(&[(0, 1, &[1, 2, 3]), (1, 2, &[1, 2, 3])]), false),
            (roles(&[(0, 1, &[3, 1, 2]), (1, 2, &[1, 2, 3])]), false),
            (roles(&[(0, 1, &[1, 2]), (1, 2, &[1, 2, 3])]), true),
            (roles(&[(0, 2, &[1, 2]), (1, 2, &[1, 2, 3])]), true),
            (roles(&[]), false),
            (roles(&[(0, 2, &[1, 2]), (1, 2, &[1, 2, 3]), (2, 1, &[1])]), false),
            (roles(&[(0, -1, &[2]), (1, 2, &[1, 2, 3]), (2, 1, &[1])]), true),
        ] {
            let said = format!("{now:?} {next:?}");
            assert_eq!(now.enter(next), differs, "{said}");
        }
    }

    #[test]
    fn silence_is_no_change_and_the_end_waits_for_no_pause() {
        let cluster = Cluster::new("tapi", "primary", "127.0.0.1:1", Properties::default());
        let begun = Instant::now();
        let leadership = Leadership::start(&cluster, "events").unwrap();
        leadership.look_closely();
        assert_eq!(leadership.changed(), None);
        drop(leadership);
        assert!(begun.elapsed() < PAUSE, "{:?}", begun.elapsed());
    }
}
