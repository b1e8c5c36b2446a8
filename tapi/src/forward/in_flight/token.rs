//! The name of a record while librdkafka has it.

/// Names one record of the window, and its track; what librdkafka carries and gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    /// Number of its batch, modulo 2^32.
    pub(super) batch: u32,
    /// Its place in the batch.
    pub(super) index: u16,
    /// Its partition, or the track of `events.rejected` behind the last one.
    pub track: u16,
}

impl Token {
    /// The same record with its track.
    pub(crate) fn on_track(self, track: u16) -> Self {
        Self { track, ..self }
    }

    /// As a number.
    pub(crate) fn to_usize(self) -> usize {
        (self.batch as usize) << 32 | usize::from(self.index) << 16 | usize::from(self.track)
    }

    /// From its number.
    pub(crate) fn from_usize(number: usize) -> Self {
        Self { batch: (number >> 32) as u32, index: (number >> 16) as u16, track: number as u16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_numbers_and_back() {
        let token = Token { batch: u32::MAX, index: 1023, track: 65_535 };
        assert_eq!(Token::from_usize(token.to_usize()), token);
    }
}
