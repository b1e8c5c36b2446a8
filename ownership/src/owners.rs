//! Which lanes this process owns: one thread that hears the group, and starts and ends the lanes' own.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use kafka::{Failure, Group, Member, Membership, Probe, Told};
use service::Shutdown;
use tracing::{error, info, warn};

use crate::board::Board;
use crate::held::HANDING_OVER;
use crate::lanes::Lanes;
use crate::{Spec, Waker, Work};

/// How long lanes may take to be let go when the process ends. What is still open then is undone by the next owner's fence,
/// as after a kill.
const LETTING_GO: Duration = Duration::from_secs(8);
/// Between two looks at the lanes where the group says nothing.
const TURN: Duration = Duration::from_millis(100);
/// The same while the process ends.
const LAST_TURN: Duration = Duration::from_millis(20);
/// Between two looks at whether anybody is left whom lanes could be handed over to.
const LOOK: Duration = Duration::from_millis(500);
/// Time for an answer to that.
const ANSWER: Duration = Duration::from_secs(2);

/// The lanes of one kind that this process owns.
#[derive(Debug)]
pub struct Owners {
    stop: Sender<Shutdown>,
    thread: JoinHandle<()>,
}

impl Owners {
    /// Joins the group and works on what it gives. `make` makes the work of a lane; the waker ends a wait of its loop.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties, or the operating system refuses a thread.
    pub fn start<W: Work>(
        spec: &'static Spec,
        board: Arc<Board>,
        make: impl Fn(u32, Waker) -> W + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let membership = Some(join(spec).map_err(|failure| failure.to_string())?);
        let lanes = Lanes::new(spec, Arc::clone(&board), make);
        let keeper = Keeper { spec, board, lanes, membership, outside_until: None };
        let (stop, stopped) = bounded(1);
        let thread = thread::Builder::new().name("lanes".into()).spawn(move || keeper.run(&stopped));
        Ok(Self { stop, thread: thread.map_err(|error| error.to_string())? })
    }

    /// Lets every lane go in good order, and keeps the membership: whoever comes back with its id within a session gets the
    /// lanes back, and nobody else notices.
    ///
    /// If, or once, `for_good` is given, it leaves the group instead and hands its lanes over: it works on in each until its
    /// next owner has the fence, or five seconds are over.
    ///
    /// Lanes that are not let go in time, above all because the log's cluster does not answer, are left as a kill leaves them,
    /// and said.
    pub fn stop(self, for_good: &Shutdown) {
        // Where the thread is gone there is nothing to stop.
        let _ = self.stop.send(for_good.clone());
        let _ = self.thread.join();
    }
}

fn join(spec: &Spec) -> Result<(Group, Receiver<Told>), Failure> {
    let Spec { cluster, group, member, session, .. } = spec;
    Group::join(cluster, Membership { group, id: member.as_deref(), session: *session })
}

/// The one that knows the group.
struct Keeper<M> {
    spec: &'static Spec,
    board: Arc<Board>,
    lanes: Lanes<M>,
    /// `None` once its client is of no use any more.
    membership: Option<(Group, Receiver<Told>)>,
    /// When it joins again, where it has left or was pushed out.
    outside_until: Option<Instant>,
}

impl<M, W> Keeper<M>
where
    M: Fn(u32, Waker) -> W + Send + Sync + 'static,
    W: Work,
{
    fn run(mut self, stop: &Receiver<Shutdown>) {
        let for_good = loop {
            let told = self.membership.as_ref().map_or_else(never, |(_, told)| told.clone());
            select! {
                // Whoever forgets it stops it.
                recv(stop) -> for_good => break for_good.unwrap_or_default(),
                recv(told) -> told => self.hear(told.unwrap_or_else(|_| polled_no_more())),
                default(TURN) => {}
            }
            self.lanes.left();
            match self.outside_until {
                Some(until) if until <= Instant::now() => self.come_back(),
                Some(_) => {}
                None => self.leave_if_unfit(),
            }
        };
        self.end(&for_good);
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Assigned(lanes) => {
                self.board.is_in_group();
                let Some((group, _)) = &self.membership else { return };
                for lane in lanes {
                    self.lanes.take(lane, group);
                }
            }
            Told::Revoked(lanes) => self.lanes.hand_over(|lane| lanes.contains(&lane)),
            Told::Lost(lanes) => self.lanes.let_go(|lane| lanes.contains(&lane)),
            Told::ShutOut(why) => {
                if self.is_outside(&why) {
                    error!(why, "the group does not take this process in");
                }
            }
            Told::Over(why) => {
                self.lanes.let_go(|_| true);
                self.membership = None;
                self.outside_until = Some(Instant::now() + self.spec.session);
                if self.is_outside(&why) {
                    error!(why, "the group has pushed this process out; it asks again after a session's time");
                }
            }
        }
    }

    fn is_outside(&self, why: &str) -> bool {
        self.board.is_outside(&format!("the group does not take this worker in: {why}"))
    }

    /// Others may be able to work on what this host cannot.
    fn leave_if_unfit(&mut self) {
        let Some(why) = self.lanes.refused_here() else { return };
        let Some((group, _)) = &self.membership else { return };
        group.leave();
        self.lanes.let_go(|_| true);
        self.outside_until = Some(Instant::now() + self.spec.session);
        self.board.is_outside(&format!("it has left the group, because none of its lanes can run here: {why}"));
        error!(why, "none of the lanes can run here; leaving the group, and joining again after a session's time");
    }

    fn come_back(&mut self) {
        self.outside_until = None;
        let joined = match &self.membership {
            Some((group, _)) => group.enter(),
            None if self.is_taken() => {
                info!("its id is still taken; asking again after a session's time");
                self.outside_until = Some(Instant::now() + self.spec.session);
                return;
            }
            None => join(self.spec).map(|membership| self.membership = Some(membership)),
        };
        match joined {
            Ok(()) => info!("joining the group again"),
            Err(failure) => {
                warn!(%failure, "the group cannot be joined; trying again after a session's time");
                self.outside_until = Some(Instant::now() + self.spec.session);
            }
        }
    }

    /// Whether somebody has this process's id, or nobody says so. Two that have the same would push each other out for ever, so
    /// whoever came last stays. The group numbers a member by its id and a dash.
    fn is_taken(&self) -> bool {
        let Some(id) = &self.spec.member else { return false };
        let is_its = |member: &Member| member.id.strip_prefix(id.as_str()).is_some_and(|rest| rest.starts_with('-'));
        self.members().is_none_or(|members| members.iter().any(is_its))
    }

    /// Who is in the group, as far as the cluster answers.
    fn members(&self) -> Option<Vec<Member>> {
        let Spec { cluster, group, .. } = self.spec;
        let asked = Probe::new(cluster, ANSWER).and_then(|probe| Member::all(&probe, group, ANSWER));
        asked.inspect_err(|failure| tracing::debug!(%failure, "the group's members are unknown")).ok()
    }

    /// Ends every lane, then the membership.
    fn end(mut self, for_good: &Shutdown) {
        let mut deadline = Instant::now() + LETTING_GO;
        let (mut is_leaving, mut look) = (false, deadline);
        if !for_good.is_triggered() {
            self.lanes.let_go(|_| true);
        }
        let late = loop {
            if for_good.is_triggered() && !std::mem::replace(&mut is_leaving, true) {
                if let Some((group, _)) = &self.membership {
                    group.leave();
                }
                self.lanes.hand_over(|_| true);
                deadline = Instant::now() + HANDING_OVER + LETTING_GO;
                look = Instant::now() + LOOK;
            }
            let left = self.lanes.left();
            if left.is_empty() || deadline <= Instant::now() {
                break left;
            }
            if is_leaving && look <= Instant::now() {
                look = Instant::now() + LOOK;
                if self.members().is_some_and(|members| members.is_empty()) {
                    // Nobody waits for them.
                    self.lanes.let_go(|_| true);
                }
            }
            let told = self.membership.as_ref().map_or_else(never, |(_, told)| told.clone());
            select! {
                // What is given now is not begun with, and what is taken away is being let go.
                recv(told) -> told => match told {
                    Ok(Told::Lost(_) | Told::Over(_)) => self.lanes.let_go(|_| true),
                    Ok(_) => {}
                    Err(_) => self.membership = None,
                },
                default(LAST_TURN) => {}
            }
        };
        if !late.is_empty() {
            warn!(lanes = ?late, "not let go in time; their next owner's fence undoes what is open, and nothing is lost");
        }
        if let Some((group, told)) = self.membership {
            drop(told);
            group.close();
        }
    }
}

/// The polling thread ends before its time only by a bug in it.
fn polled_no_more() -> Told {
    Told::Over("the polling thread ended".into())
}
