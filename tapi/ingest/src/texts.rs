//! Short texts of answers that depend on the request, in memory that is used again once the answers are sent.

use bytes::{Bytes, BytesMut};
use hyper::header::HeaderValue;

/// Texts that are kept in one piece of memory before the next one is asked for.
const CHUNK_BYTES: usize = 16 * 1024;

/// The memory of one thread.
#[derive(Debug)]
pub(crate) struct Texts(BytesMut);

impl Texts {
    pub(crate) fn new() -> Self {
        Self(BytesMut::with_capacity(CHUNK_BYTES))
    }

    /// Keeps a text as long as the value lives.
    pub(crate) fn keep(&mut self, text: &[u8]) -> Bytes {
        // It takes the whole piece again where all that was kept in it is gone.
        if self.0.capacity() < text.len() {
            self.0.reserve(text.len().max(CHUNK_BYTES));
        }
        self.0.extend_from_slice(text);
        self.0.split().freeze()
    }

    /// A number as the value of a header.
    pub(crate) fn number(&mut self, number: u64) -> HeaderValue {
        let text = self.keep(itoa::Buffer::new().format(number).as_bytes());
        HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static("0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_once_texts_are_gone() {
        let mut texts = Texts::new();
        let first = texts.keep(b"first").as_ptr();
        let mut places = std::collections::HashSet::new();
        for number in 0..10 * CHUNK_BYTES as u64 {
            let value = texts.number(number);
            assert_eq!(value.to_str().unwrap(), number.to_string());
            places.insert(value.as_bytes().as_ptr() as usize / CHUNK_BYTES);
        }
        assert!(places.len() <= 2, "one piece, wherever it begins: {places:?} {first:?}");
        let held = texts.keep(b"held");
        (0..CHUNK_BYTES).for_each(|_| drop(texts.keep(b"other")));
        assert_eq!(&held[..], b"held");
    }
}
