//! How a process ends: 0 done, 1 failed, 2 bad usage or configuration.

use std::fmt::Display;
use std::process::ExitCode;

use crate::output::remark;

/// Exit code of a process that tried and failed.
pub const FAILED: u8 = 1;
/// Exit code of a process that was asked for something it cannot do: wrong arguments, a wrong configuration.
pub const USAGE: u8 = 2;

/// Why a process ends without having done its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The person who started it has to change something they wrote; exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Something went wrong; exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// A usage failure out of any error.
    pub fn usage(reason: impl Display) -> Self {
        Self::Usage(format!("{reason:#}"))
    }

    /// A failure out of any error.
    pub fn failed(reason: impl Display) -> Self {
        Self::Failed(format!("{reason:#}"))
    }

    /// What the shell gets to see.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Failed(_) => FAILED,
        }
    }
}

/// The last line of a `main`: says on stderr what went wrong, if anything, and gives the exit code.
pub fn report(program: &str, outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            remark(format_args!("{program}: {failure}"));
            ExitCode::from(failure.code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_code() {
        assert_eq!(Failure::usage("x").code(), 2);
        assert_eq!(Failure::failed("x").code(), 1);
        assert_eq!(Failure::failed("x").to_string(), "x");
    }
}
