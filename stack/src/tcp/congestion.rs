//! How much may be in flight: the seam behind which congestion control algorithms stand.
//!
//! It must never dispatch through a pointer: the algorithms are variants of [`Congestion`].

pub mod reno;

use crate::seq::SeqNum;
use crate::tcp::settings::InitialWindow;
use reno::Reno;

/// One ACK of new data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// SEG.ACK.
    pub ack: SeqNum,
    /// Bytes (or numbers) that it acknowledges for the first time.
    pub acked: u32,
    /// Bytes in flight before it.
    pub flight: u32,
    /// Effective MSS in bytes.
    pub mss: u32,
}

/// The action that the algorithm asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    None,
    /// Enter fast retransmit: send the oldest segment again.
    FastRetransmit,
    /// A partial ACK in recovery (RFC 6582): send the now oldest segment again.
    PartialAck,
    /// Another partial ACK of the same recovery: as before, but the retransmission timer runs on (RFC 6582, the
    /// impatient variant).
    LaterPartialAck,
}

/// The algorithm of one connection with its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Congestion {
    /// NewReno: RFC 5681, RFC 6582, RFC 3042.
    Reno(Reno),
}

impl Congestion {
    /// A connection that starts with the initial window for this MSS.
    #[must_use]
    pub const fn new(mss: u32, initial: InitialWindow) -> Self {
        Self::Reno(Reno::new(initial_window(mss, initial)))
    }

    /// A connection that continues after an idle period (RFC 5681 §4.1): the restart window, which is the initial one or
    /// `cwnd` where that is less, with the threshold that it had. All in bytes.
    #[must_use]
    pub fn resume(cwnd: u32, ssthresh: u32, mss: u32, initial: InitialWindow) -> Self {
        let cwnd = cwnd.min(initial_window(mss, initial));
        let mut reno = Reno::new(cwnd);
        reno.ssthresh = ssthresh;
        Self::Reno(reno)
    }

    /// cwnd in bytes.
    #[must_use]
    #[inline]
    pub const fn window(&self) -> u32 {
        match self {
            Self::Reno(reno) => reno.cwnd,
        }
    }

    /// How much new data may make the flight grow to, in bytes: cwnd, and what limited transmit adds.
    #[must_use]
    #[inline]
    pub const fn send_limit(&self, mss: u32) -> u32 {
        match self {
            Self::Reno(reno) => reno.send_limit(mss),
        }
    }

    /// ssthresh in bytes.
    #[must_use]
    pub const fn threshold(&self) -> u32 {
        match self {
            Self::Reno(reno) => reno.ssthresh,
        }
    }

    /// Whether a loss is being repaired by fast recovery.
    #[must_use]
    pub const fn is_recovering(&self) -> bool {
        match self {
            Self::Reno(reno) => reno.is_recovering(),
        }
    }

    /// 0 unless a loss is being repaired by fast recovery, or duplicate ACKs suggest one. Without any, cwnd is all that may be in
    /// flight.
    #[must_use]
    #[inline(always)]
    pub const fn signs_of_loss(&self) -> u8 {
        match self {
            Self::Reno(reno) => reno.signs_of_loss(),
        }
    }

    /// New data was acknowledged.
    #[inline(always)]
    pub fn on_ack(&mut self, ack: Ack) -> Reaction {
        match self {
            Self::Reno(reno) => reno.on_ack(ack),
        }
    }

    /// A duplicate ACK (RFC 5681 §2) came; `una` and `nxt` bound the flight.
    pub const fn on_duplicate_ack(&mut self, una: SeqNum, nxt: SeqNum, mss: u32) -> Reaction {
        match self {
            Self::Reno(reno) => reno.on_duplicate_ack(una, nxt, mss),
        }
    }

    /// The retransmission timer expired with this flight; `is_first` unless it already did for the same octet.
    pub const fn on_timeout(&mut self, una: SeqNum, nxt: SeqNum, mss: u32, is_first: bool) {
        match self {
            Self::Reno(reno) => reno.on_timeout(una, nxt, mss, is_first),
        }
    }

    /// Nothing was sent for longer than an RTO: RFC 5681 §4.1.
    pub fn on_idle(&mut self, mss: u32, initial: InitialWindow) {
        match self {
            Self::Reno(reno) => reno.restart(initial_window(mss, initial)),
        }
    }

    /// A full segment has grown: cwnd is at least one, else it would never go.
    pub const fn at_least(&mut self, mss: u32) {
        match self {
            Self::Reno(reno) if reno.cwnd < mss => reno.cwnd = mss,
            Self::Reno(_) => {}
        }
    }

    /// The SYN or SYN-ACK was lost: the connection starts with one segment (RFC 5681 §3.1).
    pub const fn on_syn_lost(&mut self, mss: u32) {
        match self {
            Self::Reno(reno) => reno.cwnd = mss,
        }
    }
}

/// The initial window in bytes.
#[must_use]
pub const fn initial_window(mss: u32, initial: InitialWindow) -> u32 {
    match initial {
        InitialWindow::Rfc5681 if mss > 2190 => 2 * mss,
        InitialWindow::Rfc5681 if mss > 1095 => 3 * mss,
        InitialWindow::Rfc5681 => 4 * mss,
        InitialWindow::Rfc6928 => {
            let (two, ten) = (2 * mss, 10 * mss);
            let floor = if two > 14_600 { two } else { 14_600 };
            if ten < floor { ten } else { floor }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_window_is_the_rfcs() {
        let rfc5681 = |mss| initial_window(mss, InitialWindow::Rfc5681);
        assert_eq!(
            [rfc5681(2191), rfc5681(2190), rfc5681(1095)],
            [4382, 6570, 4380]
        );
        let rfc6928 = |mss| initial_window(mss, InitialWindow::Rfc6928);
        assert_eq!(
            [rfc6928(1460), rfc6928(8960), rfc6928(536)],
            [14_600, 17_920, 5360]
        );
    }
}
