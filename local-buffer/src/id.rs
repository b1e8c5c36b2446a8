//! Names of things: a record inside a buffer, and a buffer.

use std::fmt;

/// The place of a record in the order of one buffer.
///
/// Ids grow by one for each record appended while a buffer is open. They are never reused: after recovery they go on
/// above everything that was ever delivered or acknowledged, which may leave a hole where damage was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(u64);

impl RecordId {
    /// The first id of a new buffer.
    pub const ZERO: Self = Self(0);

    /// The id with this number.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The number of this id.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The id after this one. `u64` outlives any disk: at a billion records a second it lasts 584 years.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A buffer directory's random name, made with it and kept as long as it lives.
///
/// Whoever stores a [`RecordId`] elsewhere stores this beside it: ids of different instances say nothing of each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstanceId([u8; 16]);

impl InstanceId {
    /// The instance with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of this instance.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "InstanceId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_by_their_number_and_instances_print_as_hex() {
        assert!(RecordId::from_u64(9) < RecordId::from_u64(9).next());
        assert_eq!(RecordId::from_u64(9).next().get(), 10);
        assert_eq!(InstanceId::from_bytes([0xab; 16]).to_string(), "ab".repeat(16));
    }
}
