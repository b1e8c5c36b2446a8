//! What is asked of every log and every state.

pub(crate) mod mistrusted;
pub(crate) mod refused;
pub(crate) mod restored;
