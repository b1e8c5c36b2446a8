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

            /// Every name and its text, in the order of its discriminant.
            pub(super) const ALL: [(Self, &'static [u8]); Self::COUNT] = [$((Self::$name, $text)),+];
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

/// Names are told apart by length, first and last byte; no two of ours share a slot.
const SLOTS: usize = 64;
const BY_SLOT: [Name; SLOTS] = {
    let (mut slots, mut index) = ([Name::Other; SLOTS], 0);
    while index < Name::COUNT {
        let (name, text) = Name::ALL[index];
        let slot = slot(text.len(), text[0], text[text.len() - 1]);
        assert!(slots[slot] as usize == Name::COUNT, "two names share a slot");
        slots[slot] = name;
        index += 1;
    }
    slots
};

const fn slot(bytes: usize, first: u8, last: u8) -> usize {
    (3 * bytes + first as usize + 6 * last as usize) % SLOTS
}

/// No escape is longer than six bytes a character, and no name of ours is longer than `originalTimestamp`.
const ESCAPED_BYTES_MAX: usize = 6 * b"originalTimestamp".len();

impl Name {
    /// Which name `name` is, which has no escapes.
    #[inline]
    pub(super) fn of_plain(name: &[u8]) -> Self {
        let [first, .., last] = *name else { return Self::Other };
        let name_of_slot = BY_SLOT[slot(name.len(), first, last)];
        match Self::ALL.get(name_of_slot as usize) {
            Some((_, text)) if *text == name => name_of_slot,
            _ => Self::Other,
        }
    }

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
        for (name, text) in Name::ALL {
            assert_eq!(Name::of(text, &mut decoder), name);
            assert_eq!(Name::of(escaped(text).as_bytes(), &mut decoder), name);
        }
        assert_eq!(Name::of(br"message\u0049d", &mut decoder), Name::MessageId);
    }

    #[test]
    fn other_names_are_other() {
        let mut decoder = Decoder::default();
        for name in [
            &b""[..],
            b"t",
            b"Type",
            b"tyme",
            b"targetIdentifier",
            b"messageid",
            br"messageId\u0000",
            br"\ud800",
            br"\n",
        ] {
            assert_eq!(Name::of(name, &mut decoder), Name::Other);
        }
    }
}
