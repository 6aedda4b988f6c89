//! [`BackOff`]: what a worker does while nothing comes.
//!
//! It must never sleep longer than a timer of the stack may be late (a millisecond), and never sleep while frames come.

use std::time::Duration;

use dpdk::NicSpec;

use crate::clock;

/// Drivers behind which the kernel moves the frames: it wakes up by interrupt anyway, and it needs the CPU for that.
const KERNEL_DRIVERS: &[&str] = &["net_tap", "net_af_packet", "net_af_xdp", "net_pcap"];
/// Empty turns before the first sleep: some 50 µs where a poll reads memory, a few hundred where it asks the kernel (a tap);
/// longer than the gaps inside a busy second.
const TURNS_BEFORE_SLEEP: u32 = 500;
/// The first sleep, and what it doubles up to while nothing comes.
const SHORTEST: Duration = Duration::from_micros(10);
const LONGEST: Duration = Duration::from_micros(640);

/// Whether a worker sleeps or polls while no frames arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Idle {
    /// Polls for a moment, then sleeps: 10 µs, doubling up to 640 µs
    Sleep,
    /// Polls on: the shortest latency, and a CPU that is always busy
    Spin,
}

impl Idle {
    /// The sensible choice on that NIC.
    pub fn usual_on(spec: &NicSpec) -> Self {
        let of_kernel = match spec {
            NicSpec::Tap { .. } | NicSpec::AfXdp { .. } => true,
            NicSpec::Vdev { devargs } => KERNEL_DRIVERS
                .iter()
                .any(|driver| devargs.starts_with(driver)),
            NicSpec::Ring | NicSpec::Memif { .. } | NicSpec::Pci { .. } => false,
        };
        if of_kernel { Self::Sleep } else { Self::Spin }
    }

    /// As it stands on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sleep => "sleep",
            Self::Spin => "spin",
        }
    }
}

/// The back-off of one worker.
#[derive(Debug)]
pub struct BackOff {
    idle: Idle,
    empty_turns: u32,
}

impl BackOff {
    /// For a worker that does this while nothing comes.
    pub const fn new(idle: Idle) -> Self {
        Self {
            idle,
            empty_turns: 0,
        }
    }

    /// After each turn: nothing when it `moved` something, else a pause or a sleep.
    #[inline]
    pub fn rest(&mut self, moved: bool) {
        if moved {
            self.empty_turns = 0;
            return;
        }
        match self.next_sleep() {
            None => dpdk::pause(),
            Some(time) => clock::sleep(time),
        }
    }

    /// How long to sleep after one more empty turn.
    #[inline]
    fn next_sleep(&mut self) -> Option<Duration> {
        if self.idle == Idle::Spin {
            return None;
        }
        self.empty_turns = self.empty_turns.saturating_add(1);
        let doublings = self.empty_turns.checked_sub(TURNS_BEFORE_SLEEP)?;
        Some((SHORTEST * (1 << doublings.min(16))).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sleeps_longer_and_longer_and_is_awake_at_once() {
        let mut back_off = BackOff::new(Idle::Sleep);
        let sleeps: Vec<Duration> = (0..TURNS_BEFORE_SLEEP + 40)
            .filter_map(|_| back_off.next_sleep())
            .collect();
        assert_eq!(sleeps.len(), 41);
        assert_eq!(
            (sleeps[0], sleeps[1], sleeps[40]),
            (SHORTEST, SHORTEST * 2, LONGEST)
        );
        assert!(LONGEST < Duration::from_millis(1));
        back_off.rest(true);
        assert_eq!(back_off.next_sleep(), None);
    }

    #[test]
    fn spinning_never_sleeps() {
        let mut back_off = BackOff::new(Idle::Spin);
        assert!((0..TURNS_BEFORE_SLEEP * 4).all(|_| back_off.next_sleep().is_none()));
    }

    #[test]
    fn nics_of_the_kernel_sleep_and_others_spin() {
        for (nic, idle) in [
            ("tap:t0", Idle::Sleep),
            ("af_xdp:veth0", Idle::Sleep),
            ("net_af_packet0,iface=veth0", Idle::Sleep),
            ("memif:/run/a", Idle::Spin),
            ("pci:0000:3b:00.0", Idle::Spin),
            ("net_virtio_user0,path=/run/a", Idle::Spin),
        ] {
            assert_eq!(Idle::usual_on(&nic.parse().expect(nic)), idle, "{nic}");
        }
    }
}
