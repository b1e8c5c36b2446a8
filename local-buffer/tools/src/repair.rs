//! `buffer repair`: told beforehand, done, and looked at again.

use std::path::Path;

use local_buffer::RecordId;
use local_buffer::inspect::{self, RepairAction, Repaired, Verification};
use serde::Serialize;
use service::{Failure, Output};

use crate::bar::Bar;
use crate::inspect::state;
use crate::place::failure;
use crate::verify::{self, counted_pieces};
use crate::{damage, text};

#[derive(Serialize)]
struct Shown {
    dir: String,
    dry_run: bool,
    actions: Vec<ShownAction>,
    #[serde(flatten)]
    result: Option<Outcome>,
}

/// What is so after a repair.
#[derive(Serialize)]
struct Outcome {
    floor: u64,
    readable_records: u64,
    set_aside_pieces: u64,
    set_aside_bytes: u64,
    /// As `verify` prints it.
    verified: verify::Shown,
}

/// An action; fields that it does not have are left out.
#[derive(Serialize, Default)]
struct ShownAction {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
}

pub(crate) fn run(dir: &Path, dry_run: bool, floor: Option<u64>, json: bool) -> Result<(), Failure> {
    let floor = floor.map(RecordId::from_u64);
    let bar = Bar::new(if dry_run { "looking" } else { "repairing" });
    let show = &mut |progress| bar.show(progress);
    if dry_run {
        let actions = inspect::plan_repair(dir, floor, show).map_err(failure)?;
        drop(bar);
        let shown = Shown::planned(dir, &actions);
        return shown.print(json, |shown| shown.plan_lines(&actions));
    }
    let repaired = inspect::repair(dir, floor, show).map_err(failure)?;
    drop(bar);
    let (seen, list) = verify::verify(dir)?;
    let mut lines = done_lines(&repaired);
    lines.extend(verify::lines(dir, &seen, &list));
    let shown =
        Shown { result: Some(Outcome::of(dir, &repaired, &seen, list)), ..Shown::planned(dir, &repaired.actions) };
    let shown = Shown { dry_run: false, ..shown };
    shown.print(json, |_| lines)?;
    if seen.is_clean() {
        return Ok(());
    }
    let pieces = counted_pieces(seen.damage_open);
    let why =
        "what is missing cannot be brought back, and where the disk or the quarantine is full nothing is set aside";
    Err(Failure::failed(format!("{pieces} of damage could not be repaired: {why}")))
}

impl Shown {
    fn planned(dir: &Path, actions: &[RepairAction]) -> Self {
        let actions = actions.iter().map(ShownAction::of).collect();
        Self { dir: dir.display().to_string(), dry_run: true, actions, result: None }
    }

    fn print(&self, json: bool, lines: impl FnOnce(&Self) -> Vec<String>) -> Result<(), Failure> {
        let mut output = Output::new();
        if json {
            output.json(self)?;
        } else {
            lines(self).iter().try_for_each(|line| output.line(line))?;
        }
        output.finish()
    }

    fn plan_lines(&self, actions: &[RepairAction]) -> Vec<String> {
        let mut lines = vec![format!("{}: a repair would, as things are now,", self.dir)];
        lines.extend(actions.iter().map(|action| format!("  {}", sentence(action))));
        if actions.is_empty() {
            lines.push("  do nothing".to_owned());
        }
        lines
    }
}

fn done_lines(repaired: &Repaired) -> Vec<String> {
    let mut lines = vec!["repaired:".to_owned()];
    lines.extend(repaired.actions.iter().map(|action| format!("  {}", sentence(action))));
    let aside = (counted_pieces(repaired.set_aside_pieces), text::bytes(repaired.set_aside_bytes));
    lines.push(format!("  {}, {}, set aside in all", aside.0, aside.1));
    let readable = text::counted(repaired.readable_records, "record");
    lines.push(format!("  {readable} can be read from the floor on, which is {}", text::count(repaired.floor.get())));
    lines.push(String::new());
    lines
}

impl Outcome {
    fn of(dir: &Path, repaired: &Repaired, seen: &Verification, list: damage::List) -> Self {
        Self {
            floor: repaired.floor.get(),
            readable_records: repaired.readable_records,
            set_aside_pieces: repaired.set_aside_pieces,
            set_aside_bytes: repaired.set_aside_bytes,
            verified: verify::Shown::of(dir, seen, list),
        }
    }
}

impl ShownAction {
    fn of(action: &RepairAction) -> Self {
        let file = |action, file: &String| Self { action, file: Some(file.clone()), ..Self::default() };
        match action {
            RepairAction::WriteName { instance } => {
                let instance = instance.map(|instance| instance.to_string());
                Self { action: "write_name", instance, ..Self::default() }
            }
            RepairAction::WriteFloor { floor, lost } => {
                let cause = Some(if *lost { "lost" } else { "asked_for" });
                Self { action: "write_floor", floor: Some(floor.get()), cause, ..Self::default() }
            }
            RepairAction::RemoveUnfinished { file: name } => file("remove_unfinished", name),
            RepairAction::MoveAside { file: name, case } => {
                Self { cause: Some(state(*case)), ..file("move_aside", name) }
            }
            RepairAction::Free { file: name, case } => Self { cause: Some(state(*case)), ..file("free", name) },
            RepairAction::SetAside { file: name, offset, bytes, kind } => {
                Self { offset: Some(*offset), bytes: Some(*bytes), cause: Some(kind.name()), ..file("set_aside", name) }
            }
            RepairAction::Seal { file: name } => file("seal", name),
        }
    }
}

fn sentence(action: &RepairAction) -> String {
    match action {
        RepairAction::WriteName { instance: Some(instance) } => format!("write the buffer's name again: {instance}"),
        RepairAction::WriteName { instance: None } => "give the buffer a new name, because no file has one".to_owned(),
        RepairAction::WriteFloor { floor, lost: true } => {
            format!("write the floor again, as the segments tell it: {}", text::count(floor.get()))
        }
        RepairAction::WriteFloor { floor, lost: false } => format!("write the floor: {}", text::count(floor.get())),
        RepairAction::RemoveUnfinished { file } => {
            format!("remove {file}, which was never finished and held no record")
        }
        RepairAction::MoveAside { file, case } => format!("move {file} to the quarantine: it is {}", state(*case)),
        RepairAction::Free { file, case } => {
            format!("mark {file} as free: nothing in it counts ({})", state(*case))
        }
        RepairAction::SetAside { file, offset, bytes, kind } => {
            format!("copy {bytes} bytes at {offset} of {file} to the quarantine: {}", kind.reason())
        }
        RepairAction::Seal { file } => format!("seal {file}, and write its last records again in the next segment"),
    }
}
