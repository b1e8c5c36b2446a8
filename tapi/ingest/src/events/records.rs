//! The records of one request, back to back, with their ends.

/// The request's records, in order.
#[derive(Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

/// Bytes kept from one request to the next.
const BYTES_KEPT_MAX: usize = 2 * 1024 * 1024;

impl Records {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Where the next record is written. What is appended belongs to it until [`Records::end`].
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn end(&mut self) {
        self.ends.push(self.bytes.len() as u32);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.ends.iter().enumerate().map(|(index, &end)| {
            let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.bytes[start as usize..end as usize]
        })
    }

    /// Gives back what only an unusual request needed.
    pub(super) fn trim(&mut self) {
        if self.bytes.capacity() > BYTES_KEPT_MAX {
            self.bytes.shrink_to(BYTES_KEPT_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order() {
        let mut records = Records::default();
        for record in [&b"one"[..], b"", b"three"] {
            records.out().extend_from_slice(record);
            records.end();
        }
        assert_eq!(records.iter().collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        assert_eq!(records.bytes(), 8);
        records.clear();
        assert_eq!(records.iter().count(), 0);
    }

    #[test]
    fn large_buffers_are_not_kept() {
        let mut records = Records::default();
        records.out().resize(BYTES_KEPT_MAX * 2, 0);
        records.clear();
        records.trim();
        assert!(records.bytes.capacity() <= BYTES_KEPT_MAX);
    }
}
