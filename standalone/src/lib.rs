//! The whole path in one process: the binary `turnstile`.
//!
//! It is the same `ingest`, the same local buffer and the same dedup core as the clustered form; only the two ends
//! differ. Where workers write each event to an output topic and its digest to a changelog topic in one Kafka
//! transaction, here a thread, the [`drain`], writes lines to the [`output`] files and records to the [`ledger`].
//!
//! # The path of an event
//!
//! 1. `ingest` takes it, appends it to the local buffer and answers 200 once it is synced.
//! 2. The [`drain`] reads records above the buffer's floor, a batch at a time.
//! 3. The [`pipeline`] asks the dedup index which of them are new, writes those to the [`output`] and syncs it, writes
//!    their digests with the buffer position and the output place to the [`ledger`] and syncs it, tells the index.
//! 4. The drain moves the floor, and the buffer reuses its space.
//!
//! # Why a crash neither loses nor doubles
//!
//! There is no transaction over two files, so the order above and one rule at the start make up for it: *complete
//! output lines that the ledger does not know are adopted*. They are in the output, somebody may have read them, so
//! they count as published: each says whose it is (`source`, `messageId`, `receivedAt`), and goes into the ledger
//! before anything is written behind it. Only a partial last line is cut. The table of crash points is in
//! [`pipeline`], and its tests crash at each of them.
//!
//! # For those who read along
//!
//! Whoever tails the newest file sees complete lines appended, and after a crash possibly a partial last line that is
//! cut at the next start; nothing that was a complete line is ever taken back by a killed process. After a *power
//! cut* lines that had been visible but not yet synced, at most those of one batch, may be gone and come again, perhaps
//! at another place in the file: a reader that must see each event once even then remembers how far it has read and
//! compares that with the length of the file.
//!
//! Events set aside by `ingest` go to the rejected files, at least once: they have no identity to be known by.
//!
//! # When something is wrong
//!
//! `turnstile buffer` looks into the local buffer and puts it right: [`buffer_tools`], which `tapi` has as well.
//! `turnstile rebuild` makes the index or the ledger again: [`mod@rebuild`].

mod admin;
pub mod config;
pub mod drain;
pub mod figures;
pub mod identity;
pub mod ledger;
mod metrics;
pub mod output;
pub mod pipeline;
mod program;
pub mod rebuild;
pub mod run;
pub mod time;
