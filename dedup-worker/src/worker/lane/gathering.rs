//! From records that have come to a batch that is decided, and addressed.

use std::time::Instant;

use dedup::{Index, Remedy, Verdict};
use ownership::{Fault, Gathered};
use tracing::{error, warn};
use wire::Digest;
use wire::changelog::Genesis;
use wire::topic::{EVENTS, EVENTS_DEDUPED};

use super::super::batch::{Fate, Job};
use super::super::decode::{Undecodable, decode};
use super::super::spec;
use super::super::waiting::{Next, Waiting};
use super::{Held, Lane, NO_ROOM, POSITIONS_EVERY_BATCHES, POSITIONS_EVERY_BYTES};

impl Lane {
    /// Reads what has come into `job`; whether it is full.
    pub(super) fn read(&mut self, job: &mut Job) -> bool {
        let Some(Held { genesis: Genesis { lanes, seed, .. }, inputs, stray, .. }) = &mut self.held else {
            return false;
        };
        let (limits, lane, candidates, watches) =
            (self.plan.limits, self.number, &mut self.candidates, &self.plan.watches);
        let (taken, size) = (self.plan.outputs.taken(), self.size);
        let records_max = size.records().min(taken.batch_records);
        let budget = &self.plan.budget;
        inputs.read(|place, record| {
            let origin = (place, record.partition(), record.offset());
            let bytes_max = if size.is_too_large(origin) { 0 } else { taken.record_bytes };
            let (record_bytes, decoded) = decode(&record, lane, *lanes, *seed, bytes_max);
            job.first.get_or_insert(origin);
            job.bytes += record_bytes;
            let is_over = job.held.add(budget, record_bytes);
            stray[place].count(decoded.err());
            match decoded {
                Ok(candidate) => {
                    candidates.push(candidate);
                    job.fates.push(Fate::Published);
                }
                Err(why) => {
                    if why == Undecodable::Size {
                        let (cluster, partition) = (watches[place].cluster().name(), record.partition());
                        let offset = record.offset();
                        error!(cluster, partition, offset, record_bytes, "a record is set aside without its value");
                    }
                    job.fates.push(Fate::SetAside(why));
                }
            }
            job.records.push(record);
            is_over || job.records.len() >= records_max || job.bytes >= limits.bytes_max
        })
    }

    /// Gives up an input of which too many records are other lanes': whoever wrote them has another idea of where an id
    /// belongs, and nothing of it is to be set aside.
    fn refuse_strays(&mut self) -> Result<(), Fault> {
        let Some(held) = &mut self.held else { return Ok(()) };
        for (place, counted) in held.stray.iter_mut().enumerate() {
            let Some(stray) = counted.judge() else { continue };
            let Some(facts) = held.inputs.facts(place) else { continue };
            let (watch, lanes) = (&self.plan.watches[place], self.plan.lanes.get());
            let why = format!(
                "{EVENTS} on the {} cluster is not read: {stray} in lane {} belong to other lanes; whoever writes them has to \
                 use murmur2 of the key modulo a number of partitions that {lanes} divides",
                watch.cluster().name(),
                self.number
            );
            watch.refuse(facts, why.clone());
            return Err(Fault::Again(why));
        }
        Ok(())
    }

    /// What the batch says of the positions, and where its output goes.
    fn address(&mut self, job: &mut Job) -> Result<(), Fault> {
        let failed = self.failed.filter(|(_, until)| *until > Instant::now()).map(|(partition, _)| partition);
        let next = self.plan.outputs.next(&mut self.rotation, failed);
        job.output = next.ok_or_else(|| {
            let lanes = self.plan.lanes.get();
            Fault::RefusedByLog(format!(
                "{EVENTS_DEDUPED} has fewer partitions than there are lanes, which are {lanes}"
            ))
        })?;
        let held = self.held.as_mut().ok_or(Fault::Released)?;
        held.inputs.enter(&mut held.positions);
        let (bytes, batches) = held.since_all;
        job.is_all = bytes >= POSITIONS_EVERY_BYTES || batches >= POSITIONS_EVERY_BATCHES;
        if job.is_all {
            job.positions = held.positions.as_slice().to_vec();
            held.since_all = (0, 0);
        } else {
            job.positions = held.positions.moved_since(&held.told);
            held.since_all = (bytes + self.candidates.len() * Digest::BYTES, batches + 1);
        }
        held.told.clone_from(&held.positions);
        Ok(())
    }

    /// Decides the batch. Without room, as on a full disk, it waits: nothing is lost by that. A run that cannot be read
    /// after several tries is taken for damage.
    pub(super) fn decide(&mut self, index: &mut Index, job: &mut Job) -> Result<Gathered, Fault> {
        self.refuse_strays()?;
        let held = self.held.as_mut().ok_or(Fault::Released)?;
        let (mut waiting, again) = held.undecided.take().unwrap_or_else(|| (Waiting::default(), Instant::now()));
        let left = again.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            held.undecided = Some((waiting, again));
            return Ok(Gathered::Wait(left));
        }
        let (clock_ms, newest_ms) = (held.clock.now_ms(), held.time.now().newest_ms());
        let decided = loop {
            match index.decide(&self.candidates, clock_ms, newest_ms, &mut self.verdicts) {
                Ok(decided) => break decided,
                Err(error) if error.remedy() == Remedy::Retry => {
                    let made_room = index.maintain(held.committed_ms).is_ok();
                    match waiting.failed(&error, made_room) {
                        Next::AtOnce => continue,
                        Next::Damaged => return Err(Fault::Lies(error.to_string())),
                        Next::Wait { is_first: false } => {}
                        Next::Wait { is_first: true } => {
                            let lane = self.number;
                            warn!(lane, %error, "the index cannot decide now; it is asked again every second");
                        }
                    }
                    held.undecided = Some((waiting, Instant::now() + NO_ROOM));
                    return Ok(Gathered::Wait(NO_ROOM));
                }
                Err(error) => return Err(spec::fault(&error)),
            }
        };
        let mut verdicts = self.verdicts.iter();
        for fate in job.fates.iter_mut().filter(|fate| **fate == Fate::Published) {
            if verdicts.next() == Some(&Verdict::Duplicate) {
                *fate = Fate::Dropped;
            }
        }
        job.expired = self.verdicts.iter().filter(|verdict| **verdict == Verdict::Expired).count() as u64;
        job.decided = Some(decided);
        job.lane = self.number;
        self.address(job)?;
        self.sending = job.first.map(|first| (job.output, job.records.len(), first));
        self.candidates.clear();
        Ok(Gathered::Ready)
    }
}
