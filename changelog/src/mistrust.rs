//! Why a state is not believed.

use std::fmt;

/// Why a state is thrown away and made again from its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mistrust {
    /// It has applied more than the log holds: the log was cut back, or restored from an older copy.
    AheadOfLog,
    /// The log begins behind what it ends with, so nothing proves that it is this log.
    LogBeginsLater,
    /// Another record lies before its mark, or none ends there.
    OtherRecord,
    /// It was made from another log.
    OtherLog(String),
    /// It was made under another genesis.
    OtherGenesis(String),
    /// Its bytes are not those that were written.
    Damaged(String),
    /// A newer program wrote it.
    NewerFormat(String),
}

impl fmt::Display for Mistrust {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AheadOfLog => out.write_str("it is ahead of the changelog"),
            Self::LogBeginsLater => out.write_str("the changelog begins after its end"),
            Self::OtherRecord => out.write_str("the changelog does not hold the record that it ends with"),
            Self::OtherLog(why) | Self::OtherGenesis(why) | Self::Damaged(why) | Self::NewerFormat(why) => {
                out.write_str(why)
            }
        }
    }
}
