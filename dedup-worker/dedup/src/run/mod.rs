//! A run: a range of the changelog, sealed. Its description, and how its identities are packed.

pub(crate) mod meta;
pub(crate) mod pack;
