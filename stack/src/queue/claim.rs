//! [`Claim`]: who asks for a place in the queues; [`Lack`]: which claims were refused.
//!
//! It must never count places: that is [`super::chunks::Chunks`].

/// The direction that asks for a node. Each direction has half of them: what was received can't keep out answers, nor what was sent the
/// acknowledgments. In each half the last eighth (of all) is for first claims: while no more connections than that have
/// something queued, none waits for what another one holds, so they can't wait for each other in a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// A queue that is empty, or a segment in order while nothing waits to be read.
    First,
    /// A queue that holds something.
    More,
    /// Bytes behind a gap, which wait for others to arrive: they leave another eighth to those.
    Ahead,
}

impl Claim {
    /// The claim of a queue.
    #[must_use]
    #[inline]
    pub const fn of(queue_is_empty: bool) -> Self {
        if queue_is_empty {
            Self::First
        } else {
            Self::More
        }
    }
}

/// Which kinds of claim were refused: a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lack(u8);

impl Lack {
    /// A first place to send from.
    pub const SEND_FIRST: Self = Self(1);
    /// Another place to send from.
    pub const SEND_MORE: Self = Self(1 << 1);
    /// A first place to receive into.
    pub const RECEIVE_FIRST: Self = Self(1 << 2);
    /// Another place to receive into.
    pub const RECEIVE_MORE: Self = Self(1 << 3);
    /// A place for bytes ahead of a gap.
    pub const AHEAD: Self = Self(1 << 4);

    pub(crate) const SEND: Self = Self(Self::SEND_FIRST.0 | Self::SEND_MORE.0);
    pub(crate) const RECEIVE: Self = Self(Self::RECEIVE_FIRST.0 | Self::RECEIVE_MORE.0);

    /// The shortage that a refused claim to send met.
    #[must_use]
    pub const fn to_send(claim: Claim) -> Self {
        match claim {
            Claim::First => Self::SEND_FIRST,
            Claim::More | Claim::Ahead => Self::SEND_MORE,
        }
    }

    /// The shortage that a refused claim to receive met.
    #[must_use]
    pub const fn to_receive(claim: Claim) -> Self {
        match claim {
            Claim::First => Self::RECEIVE_FIRST,
            Claim::More => Self::RECEIVE_MORE,
            Claim::Ahead => Self::AHEAD,
        }
    }

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }
}
