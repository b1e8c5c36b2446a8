//! Every refusal, of a whole request or of one event inside an accepted batch, in one table: HTTP status, code, message.
//!
//! The code is what SDKs read in the answer's body, what `events.rejected` carries and what metrics use as a label, so
//! it never changes. Where Segment has a code for the same thing, it is Segment's. The status chooses what the SDK does
//! next: 400 makes practically all of them drop, 429 and 503 make them come back.

macro_rules! rejects {
    ($($(#[$doc:meta])+ $name:ident => $status:literal, $code:literal, $message:literal;)+) => {
        /// Why a request, or one event of a batch, is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reject { $($(#[$doc])+ $name,)+ }

        impl Reject {
            /// Every refusal, in the order of its discriminant.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            const fn row(self) -> (u16, &'static str, &'static str) {
                match self { $(Self::$name => ($status, $code, $message),)+ }
            }
        }
    };
}

rejects! {
    /// The body, or the envelope around a batch, is not JSON; of a single event or an event of a batch: it is not.
    InvalidJson => 400, "invalid_json", "The body is not valid JSON.";
    /// There is no body.
    BodyEmpty => 400, "empty_body", "The body is empty.";
    /// More than [`wire::limits::REQUEST_BYTES_MAX`], before or after decompression.
    BodyTooLarge => 400, "payload_too_large", "Exceed payload limit: the body is larger than 1 MiB.";
    /// `Content-Encoding: gzip`, and the body is not gzip or is cut short.
    BadGzip => 400, "invalid_gzip", "The body is not valid gzip.";
    /// `Content-Encoding: gzip` in so many members or blocks that undoing them costs more than their content is worth.
    GzipInPieces => 400, "gzip_in_pieces", "The gzip consists of too many members or blocks.";
    /// A `Content-Encoding` other than gzip and identity.
    UnsupportedEncoding => 400, "unsupported_encoding", "Only gzip and identity are supported as Content-Encoding.";
    /// The HTTP message itself is malformed, leaves a doubt where it ends, or ended early.
    BadRequest => 400, "bad_request", "The request could not be read.";
    /// The head of the HTTP message has more than 16 KiB or 100 fields.
    HeadTooLarge => 400, "head_too_large", "The head of the request is larger than 16 KiB or has more than 100 fields.";
    /// The body of a batch path has no `batch` array.
    BatchMissing => 400, "missing_batch", "The body has no array named batch.";
    /// The `batch` array is empty.
    BatchEmpty => 400, "empty_batch", "The batch has no events.";
    /// No write key in Basic authorisation, query, envelope or event.
    MissingWriteKey => 401, "missing_write_key", "No write key was given.";
    /// The write key belongs to no source.
    UnknownWriteKey => 401, "unknown_write_key", "The write key is not known.";
    /// The origin of the page is none of the source's.
    OriginNotAllowed => 400, "origin_not_allowed", "The source does not take events from this origin.";
    /// No such path.
    NotFound => 404, "not_found", "There is no such path.";
    /// The path exists, but not for this method.
    MethodNotAllowed => 405, "method_not_allowed", "The path does not support this method.";
    /// The source sends more events than its tier allows.
    RateLimited => 429, "rate_limited", "Too many events from this source; retry later.";
    /// The source holds more than its part of a server that is busy.
    SourceOverloaded => 429, "source_overloaded", "The server is busy and this source has its share; retry later.";
    /// Too much is in flight in this process.
    Overloaded => 429, "overloaded", "The server is busy; retry later.";
    /// The local buffer has reached its bound or the disk is full.
    BufferFull => 503, "buffer_full", "The server cannot store more events at the moment; retry later.";
    /// The local buffer failed to write or sync.
    BufferFailed => 503, "buffer_failed", "The server cannot store events at the moment; retry later.";
    /// The disk did not answer in time; the events may still be stored.
    BufferStalled => 503, "buffer_stalled", "The server could not store the events in time; retry later.";
    /// The process is stopping.
    ShuttingDown => 503, "shutting_down", "The server is shutting down; retry later.";
    /// The head or the body of the request did not arrive in time, or too slowly.
    ReadTimeout => 503, "read_timeout", "The request did not arrive in time; retry later.";
    /// A fault of ours.
    Internal => 503, "internal", "The server failed to handle the request; retry later.";

    /// An event above [`wire::limits::EVENT_BYTES_MAX`].
    EventTooLarge => 400, "event_too_large", "Exceed payload limit: the event is larger than 32 KiB.";
    /// An element of the batch, or the body of a single event, is not an object.
    EventNotObject => 400, "event_not_object", "The event is not a JSON object.";
    /// Nested deeper than [`wire::limits::EVENT_DEPTH_MAX`].
    TooDeep => 400, "too_deep", "The event is nested deeper than 1,000 levels.";
    /// Bytes that are not UTF-8.
    InvalidUtf8 => 400, "invalid_utf8", "The event is not valid UTF-8.";
    /// `type` is none of the six.
    TypeUnknown => 400, "invalid_type", "The event's type is not track, identify, page, screen, group or alias.";
    /// An event of a batch without `type`.
    TypeMissing => 400, "missing_type", "The event has no type.";
    /// Neither `userId` nor `anonymousId`.
    IdentityMissing => 400, "no_user_anon_id", "The event has neither userId nor anonymousId.";
    /// An id that is neither a string nor a number.
    IdNotString => 400, "id_not_string", "An id of the event is not a string.";
    /// An alias without `previousId`.
    PreviousIdMissing => 400, "previous_id_required", "The alias event has no previousId.";
    /// A group event without `groupId`.
    GroupIdMissing => 400, "group_id_required", "The group event has no groupId.";
    /// A track event without the name of what happened.
    EventNameMissing => 400, "event_not_defined", "The track event has no event name.";
    /// A track event whose name is not a string.
    EventNameNotString => 400, "event_not_string", "The track event's name is not a string.";
    /// `properties` of a track, page or screen event is not an object.
    PropertiesNotObject => 400, "properties_not_object", "The event's properties are not an object.";
    /// `traits` of an identify or group event is not an object.
    TraitsNotObject => 400, "traits_not_object", "The event's traits are not an object.";
    /// `name` of a page or screen event is not a string.
    NameNotString => 400, "name_not_string", "The event's name is not a string.";
    /// `category` of a page or screen event is not a string.
    CategoryNotString => 400, "category_not_string", "The event's category is not a string.";
    /// A messageId above [`wire::limits::MESSAGE_ID_BYTES_MAX`].
    MessageIdTooLong => 400, "message_id_too_long", "The event's messageId is longer than 1,024 bytes.";
    /// The events of a batch beyond [`wire::limits::BATCH_EVENTS_MAX`].
    BatchTooLong => 400, "batch_too_long", "The batch has more than 2,500 events.";
    /// A piece of a broken batch that is not a whole event: torn, or with brackets that do not match.
    EventTorn => 400, "event_torn", "The batch is broken here: this piece is not a whole event.";
    /// Text of a broken batch that belongs to no event: a member of the envelope that is not JSON, text behind the end.
    StrayText => 400, "stray_text", "The batch is broken here: this text belongs to no event.";
    /// A surrogate without its partner (`\ud800`), which no UTF-8 text can hold.
    UnreadableText => 400, "unreadable_text", "The event has half a surrogate pair, which common JSON readers refuse.";
    /// A number beyond what a double can hold (`1e400`).
    UnreadableNumber => 400, "unreadable_number", "The event has a number too large for common JSON readers.";
    /// Nested deeper than common readers go.
    UnreadableDepth => 400, "unreadable_depth", "The event is nested deeper than common JSON readers go.";
    /// The batch's common `context` and `integrations` would blow the events up beyond what one request may take.
    ExpandsTooMuch => 400, "expands_too_much", "The batch's common members make its events too large.";
}

impl Reject {
    /// The HTTP status that answers a request refused for this.
    pub const fn status(self) -> u16 {
        self.row().0
    }

    /// The stable name: `code` in answers and set-aside events, label in metrics.
    pub const fn code(self) -> &'static str {
        self.row().1
    }

    /// One sentence for people.
    pub const fn message(self) -> &'static str {
        self.row().2
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use wire::limits;

    use super::*;

    #[test]
    fn every_refusal_has_a_code_of_its_own_and_a_plain_message() {
        let codes: HashSet<_> = Reject::ALL.iter().map(|reject| reject.code()).collect();
        assert_eq!(codes.len(), Reject::ALL.len());
        for (index, reject) in Reject::ALL.iter().enumerate() {
            assert_eq!(*reject as usize, index);
            assert!(reject.code().bytes().all(|byte| byte.is_ascii_lowercase() || b"_8".contains(&byte)));
            assert!(!reject.message().contains(['"', '\\']), "written into JSON as it is");
        }
    }

    #[test]
    fn no_status_that_makes_an_sdk_do_the_wrong_thing() {
        for reject in Reject::ALL {
            assert!(matches!(reject.status(), 400 | 401 | 404 | 405 | 429 | 503), "{reject:?}");
        }
    }

    #[test]
    fn messages_name_the_limits() {
        assert_eq!(limits::REQUEST_BYTES_MAX, 1024 * 1024);
        assert_eq!(limits::EVENT_BYTES_MAX, 32 * 1024);
        assert_eq!(limits::EVENT_DEPTH_MAX, 1_000);
        assert_eq!(limits::MESSAGE_ID_BYTES_MAX, 1_024);
        assert_eq!(limits::BATCH_EVENTS_MAX, 2_500);
    }
}
