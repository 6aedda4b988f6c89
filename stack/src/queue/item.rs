//! [`TxItem`]: something to send, as an app hands it over, and [`StaticId`], the name of registered bytes.
//!
//! It must never hold a byte of its own.

/// Bytes that were copied into the NIC's memory once, to be sent any number of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StaticId(pub u16);

/// Something to send: a place in the short send queue of a connection.
#[derive(Debug)]
pub enum TxItem<F> {
    /// A frame's bytes from `start` on: kept until they are acknowledged, sent without being copied where the NIC can.
    Owned {
        /// The frame.
        frame: F,
        /// First byte, counted from the start of the frame's first segment.
        start: u32,
        /// Bytes, at least 1.
        len: u32,
    },
    /// A part of bytes registered with [`crate::worker::app::Cx::register_static`].
    Static {
        /// Which.
        id: StaticId,
        /// First byte.
        start: u32,
        /// Bytes, at least 1.
        len: u32,
    },
    /// A part of the endless chargen pattern of RFC 864 ([`crate::queue::pattern`]): sent again, it is made again.
    Pattern {
        /// Offset in the pattern of the first byte.
        start: u64,
        /// Bytes, at least 1; may be more than any window.
        len: u64,
    },
}

impl<F> TxItem<F> {
    /// How many bytes it stands for.
    #[must_use]
    #[inline]
    pub const fn byte_len(&self) -> u64 {
        match self {
            Self::Owned { len, .. } | Self::Static { len, .. } => *len as u64,
            Self::Pattern { len, .. } => *len,
        }
    }

    /// Whether it names at least one byte and its end can be named too.
    #[inline]
    pub(super) const fn is_legal(&self) -> bool {
        match self {
            Self::Owned { start, len, .. } | Self::Static { start, len, .. } => {
                *len > 0 && start.checked_add(*len).is_some()
            }
            Self::Pattern { len, .. } => *len > 0,
        }
    }
}
