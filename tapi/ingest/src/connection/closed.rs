//! Why connections end.

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident => $label:literal;)+) => {
        /// Why a connection ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Closed { $($(#[$doc])+ $name,)+ }

        impl Closed {
            /// Every reason with its label, in the order of its discriminant.
            pub(crate) const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, $label),)+];
        }
    };
}

reasons! {
    /// The client closed it, or it broke.
    Client => "client";
    /// A request was refused in a way that leaves nothing to go on with, or the answer said that it is the last.
    Refused => "refused";
    /// It sent nothing after it was opened.
    Silent => "silent";
    /// It sent no further request.
    Idle => "idle";
    /// A head did not come in time; that was answered, if the client read it.
    HeadTimeout => "head_timeout";
    /// A body did not come in time, or too slowly; that was answered, if the client read it.
    BodyTimeout => "body_timeout";
    /// The client did not read its answer.
    AnswerTimeout => "answer_timeout";
    /// It was refused and went on sending.
    LingerTimeout => "linger_timeout";
    /// All connections were taken, and it was the one to be spared most easily.
    Evicted => "evicted";
    /// Its body was given up so that others have room.
    Relieved => "relieved";
    /// Its address has as many as it may have.
    Address => "address";
    /// The library could not read what came.
    Protocol => "protocol";
    /// The next process goes on with it.
    Passed => "passed";
    /// The process stopped.
    Stopped => "stopped";
    /// It was open when its thread panicked in it.
    Panicked => "panicked";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_at_their_index() {
        for (index, (closed, _)) in Closed::ALL.iter().enumerate() {
            assert_eq!(*closed as usize, index);
        }
    }
}
