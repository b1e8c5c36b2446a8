//! The configurations that are gone through, and where each mutant is looked for.

use std::mem::{Discriminant, discriminant};

use crate::invariants::Violation;
use crate::mutant::Mutant;
use crate::rules::{Left, Rules};

/// One batch on its way and the next one decided, with everything that can become of the first.
const PIPELINE: Rules = Rules {
    name: "a pipeline of two batches",
    batch_max: 2,
    left: Left { records: 3, takeovers: 2, crashes: 1, aborts: 1, unknowns: 1, ..Left::NONE },
    ..Rules::CALM
};

/// Two workers that each believe to own the lane.
const ZOMBIE: Rules = Rules {
    name: "two workers that believe to own the lane",
    workers: 2,
    left: Left { records: 2, takeovers: 2, crashes: 1, unknowns: 1, ..Left::NONE },
    ..Rules::CALM
};

/// A changelog that holds nothing.
const NEW: Rules = Rules {
    name: "a lane that begins",
    is_new: true,
    workers: 2,
    input_buckets: 1,
    left: Left { records: 1, takeovers: 3, crashes: 2, ..Left::NONE },
    ..Rules::CALM
};

/// Two clusters whose topics grow, one of which is made anew under an id of its own, and a worker that hears of it late.
const GROWTH: Rules = Rules {
    name: "two clusters that grow",
    clusters: 2,
    left: Left { records: 2, takeovers: 1, crashes: 1, growths: 1, stales: 1, renewals: 1, ..Left::NONE },
    ..Rules::CALM
};

/// A second partition that a worker has not heard of when it takes over, and a window that moves on meanwhile.
const UNSEEN: Rules = Rules {
    name: "a partition that is not seen",
    copies: 1,
    input_buckets: 21,
    left: Left { records: 1, days: 3, takeovers: 1, crashes: 2, growths: 1, stales: 1, ..Left::NONE },
    ..Rules::CALM
};

/// An input that loses its newest record, and one that is made anew under the same id.
const CUT: Rules = Rules {
    name: "an input that is cut and made anew",
    left: Left { records: 3, takeovers: 1, crashes: 1, recreations: 1, cuts: 1, ..Left::NONE },
    ..Rules::CALM
};

/// An input whose oldest record is taken, the proof of a position among them.
const TRIMMED: Rules = Rules {
    name: "an input that retention shortens",
    left: Left { records: 3, takeovers: 1, crashes: 1, trims: 1, seals: 1, ..Left::NONE },
    ..Rules::CALM
};

/// A window that moves on while an id is repeated.
const EXPIRY: Rules = Rules {
    name: "a window that moves on",
    ids: 1,
    copies: 3,
    left: Left { records: 3, days: 3, aborts: 1, seals: 1, ..Left::NONE },
    ..Rules::CALM
};

/// Records of a time that the window does not reach, and a clock that enters two buckets with one commit.
const LATE: Rules = Rules {
    name: "records that come too late",
    batch_max: 2,
    input_buckets: 14,
    copies: 3,
    left: Left { records: 3, late: 2, days: 1, aborts: 1, ..Left::NONE },
    ..Rules::CALM
};

/// What the window does not reach is gone from the changelog, and an index may be older than that.
const RETENTION: Rules = Rules {
    name: "a changelog that retention shortens",
    left: Left { records: 1, days: 2, takeovers: 1, crashes: 1, seals: 1, retentions: 1, ..Left::NONE },
    ..Rules::CALM
};

/// Two rebuilds of the changelog, each frozen and woken between any two steps, beside a worker.
const REBUILD: Rules = Rules {
    name: "rebuilds of the changelog",
    left: Left { records: 2, takeovers: 1, rebuilds: 2, ..Left::NONE },
    ..Rules::CALM
};

/// A rebuild of such a one.
const REBUILD_OF_REST: Rules = Rules {
    name: "a rebuild of a changelog that retention shortened",
    left: Left { records: 1, takeovers: 1, crashes: 1, seals: 1, retentions: 1, rebuilds: 1, ..Left::NONE },
    ..Rules::CALM
};

/// Each of them is gone through to the last state.
pub(crate) const ALL: [Rules; 12] =
    [PIPELINE, ZOMBIE, NEW, GROWTH, UNSEEN, CUT, TRIMMED, EXPIRY, LATE, RETENTION, REBUILD, REBUILD_OF_REST];

/// Each mutant, where it is looked for, and what it leads to.
pub(crate) fn mutants() -> [(Mutant, Rules, Discriminant<Violation>); 11] {
    let lost = discriminant(&Violation::Lost { id: 0 });
    let twice = discriminant(&Violation::Twice { id: 0 });
    let refused = discriminant(&Violation::LogIsRefused(String::new()));
    [
        (Mutant::AppliedPositionsAlone, UNSEEN, twice),
        (Mutant::CheckpointOfWhatIsSeen, UNSEEN, twice),
        (Mutant::PositionsStay, PIPELINE, lost),
        (Mutant::NextIsKept, PIPELINE, lost),
        (Mutant::OldFence, PIPELINE, twice),
        (Mutant::EndBeforeFence, ZOMBIE, twice),
        (Mutant::ExpiryByMemory, EXPIRY, twice),
        (Mutant::OldestUndoneFirst, LATE, lost),
        (Mutant::PendingSealed, TRIMMED, lost),
        (Mutant::ProofWithoutTime, CUT, lost),
        (Mutant::DeletesPastItsMark, REBUILD, refused),
    ]
}
