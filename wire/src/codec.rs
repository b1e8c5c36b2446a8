//! Reading little-endian fields off a byte slice without ever reading past its end.

use thiserror::Error;

/// Why bytes are not a record of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("record is cut short")]
    Short,
    /// The first bytes are not those of this kind of record.
    #[error("not a record of this kind (wrong magic)")]
    Magic,
    /// Written by a version this program does not know.
    #[error("record has format version {0}, which this program does not know")]
    Version(u8),
    /// The kind byte has no meaning.
    #[error("record has the unknown kind {0}")]
    Kind(u8),
    /// The checksum over the record does not match.
    #[error("record's checksum does not match its bytes")]
    Checksum,
    /// A field holds a value outside its bounds.
    #[error("field {0} is outside its bounds")]
    Field(&'static str),
    /// Lanes that were split, of which this program knows nothing.
    #[error("record is of lanes that were split, which this program does not know")]
    Split,
    /// There are bytes behind the last field.
    #[error("bytes follow the last field")]
    Trailing,
}

impl DecodeError {
    /// What is wrong, as far as that needs no numbers.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Short => "the record is cut short",
            Self::Magic => "it is no record of this kind",
            Self::Version(_) => "its format version is unknown",
            Self::Kind(_) => "its kind is unknown",
            Self::Checksum => "its checksum does not match its bytes",
            Self::Field(_) => "a field is outside its bounds",
            Self::Split => "it is of lanes that were split, which this program does not know",
            Self::Trailing => "bytes follow its last field",
        }
    }
}

/// A cursor over the bytes not read yet.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}
