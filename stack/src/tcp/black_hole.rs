//! [`BlackHole`]: what a connection suspects of a path that swallows full segments (RFC 2923 §2.1, RFC 4821 §7.7).
//!
//! It must never decide by itself: [`super::path_mtu`] moves it.

use crate::seq::SeqNum;

/// Whether full segments vanish while small ones pass: a router that drops them and says nothing, or says it in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum BlackHole {
    /// Nothing speaks for it.
    #[default]
    None,
    /// Segments of `vanished` bytes went unanswered several times: a small one is tried.
    Suspected { vanished: u16 },
    /// The small one was acknowledged up to `una`: were the larger ones only unlucky? The next one of that size decides.
    Trial { una: SeqNum, vanished: u16 },
}
