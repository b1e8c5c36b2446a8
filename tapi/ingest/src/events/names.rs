//! The member names that mean something to us. They are compared decoded, so `"message\u0049d"` is `messageId`.

use super::text::Decoder;

macro_rules! names {
    ($($name:ident $text:literal),+ $(,)?) => {
        /// A name of an event's or envelope's member.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Name { $($name,)+ Other }

        impl Name {
            /// How many there are, `Other` left out.
            pub(super) const COUNT: usize = Self::Other as usize;

            fn of_plain(name: &[u8]) -> Self {
                match name {
                    $(name if name == $text => Self::$name,)+
                    _ => Self::Other,
                }
            }

            #[cfg(test)]
            pub(super) const ALL: &'static [(Self, &'static [u8])] = &[$((Self::$name, $text)),+];
        }
    };
}

names! {
    Type b"type",
    MessageId b"messageId",
    Timestamp b"timestamp",
    OriginalTimestamp b"originalTimestamp",
    SentAt b"sentAt",
    ReceivedAt b"receivedAt",
    Source b"source",
    WriteKey b"writeKey",
    Context b"context",
    Integrations b"integrations",
    Event b"event",
    UserId b"userId",
    AnonymousId b"anonymousId",
    PreviousId b"previousId",
    GroupId b"groupId",
    Properties b"properties",
    Traits b"traits",
    Title b"name",
    Category b"category",
    Batch b"batch",
}

/// No escape is longer than six bytes a character, and no name of ours is longer than `originalTimestamp`.
const ESCAPED_BYTES_MAX: usize = 6 * b"originalTimestamp".len();

impl Name {
    /// Which name `raw` is, the inside of a JSON string.
    #[inline]
    pub(super) fn of(raw: &[u8], decoder: &mut Decoder) -> Self {
        let name = Self::of_plain(raw);
        if name == Self::Other && raw.len() <= ESCAPED_BYTES_MAX && raw.contains(&b'\\') {
            return Self::of_plain(decoder.decode(raw));
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(name: &[u8]) -> String {
        name.iter().map(|byte| format!("\\u{byte:04x}")).collect::<Vec<_>>().concat()
    }

    #[test]
    fn names_are_known_however_they_are_written() {
        let mut decoder = Decoder::default();
        assert_eq!(Name::ALL.len(), Name::COUNT);
        for &(name, text) in Name::ALL {
            assert_eq!(Name::of(text, &mut decoder), name);
            assert_eq!(Name::of(escaped(text).as_bytes(), &mut decoder), name);
        }
        assert_eq!(Name::of(br"message\u0049d", &mut decoder), Name::MessageId);
    }

    #[test]
    fn other_names_are_other() {
        let mut decoder = Decoder::default();
        for name in [&b""[..], b"Type", b"messageid", br"messageId\u0000", br"\ud800", br"\n"] {
            assert_eq!(Name::of(name, &mut decoder), Name::Other);
        }
    }
}
