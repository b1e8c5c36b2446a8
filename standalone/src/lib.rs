//! Placeholder.

pub mod ledger;
pub mod output;
