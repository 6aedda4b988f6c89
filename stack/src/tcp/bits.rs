//! The yes-or-no properties of a connection, as constants of [`Bits`].
//!
//! It must never say anything that a number of the connection says already.

use crate::bits::Bits;

impl Bits {
    /// Timestamps were negotiated (until then: would be accepted).
    pub(super) const TIMESTAMPS: u16 = 1;
    /// Window scaling was negotiated.
    pub(super) const SCALING: u16 = 1 << 1;
    /// Both SYNs permitted SACK.
    pub(super) const SACK_PERMITTED: u16 = 1 << 2;
    /// A FIN follows the last byte queued.
    pub(super) const FIN_WANTED: u16 = 1 << 3;
    /// It was sent at least once.
    pub(super) const FIN_SENT: u16 = 1 << 4;
    /// The application reads no more.
    pub(super) const APP_CLOSED: u16 = 1 << 5;
    /// A reset is to be sent, as the last thing.
    pub(super) const RST_DUE: u16 = 1 << 6;
    /// Only the segment at `rtx_nxt` is to be sent again, not everything up to SND.NXT.
    pub(super) const RTX_HEAD: u16 = 1 << 7;
    /// A zero-window probe is to be sent.
    pub(super) const PROBE_DUE: u16 = 1 << 8;
    /// A keepalive probe is to be sent.
    pub(super) const KEEPALIVE_DUE: u16 = 1 << 9;
    /// The silly-window override expired.
    pub(super) const FORCE_SEND: u16 = 1 << 10;
    /// Our SYN had to be sent again.
    pub(super) const SYN_LOST: u16 = 1 << 11;
    /// The peer's FIN arrived ahead of a gap: `rcv_fin` says where.
    pub(super) const FIN_AHEAD: u16 = 1 << 12;
    /// `snd_up` points at urgent data that isn't acknowledged.
    pub(super) const URGENT_OUT: u16 = 1 << 13;
    /// `rcv_up` points at urgent data that was announced.
    pub(super) const URGENT_IN: u16 = 1 << 14;
    /// The slow deadline is set: the hot part alone says whether the cold one is to be read.
    pub(super) const SLOW_SET: u16 = 1 << 15;
}
