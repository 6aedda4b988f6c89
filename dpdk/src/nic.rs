//! [`DpdkNic`]: the stack's NIC on one queue pair, the same for every driver.
//!
//! It must never call an instrument or allocate when there is none: instruments and faults cost one branch each per
//! burst.

use nic::fault::FaultSpec;
use nic::{Burst, Caps, Nic, PoolClass};

use crate::Mempool;
use crate::faults::{FaultTotals, Faults};
use crate::mbuf::Mbuf;
use crate::offloads::OffloadFault;
use crate::queue::{QueuePair, RxQueue, TxQueue, alloc, chain, free, share};

/// Sees every frame that goes through a NIC (captures, traces). Called on the worker's thread, once per burst.
pub trait Instrument {
    /// Frames that were received just now.
    fn rx(&mut self, frames: &[Mbuf]);

    /// Frames that are about to be sent, oldest first.
    fn tx(&mut self, frames: &[Mbuf]);

    /// Follows every [`Instrument::tx`]: the NIC took its frames, but for the last `refused` of them (0 when it took all).
    /// Those that are sent again are shown again.
    fn tx_done(&mut self, refused: usize);
}

/// One queue pair of a port, with its pools: what one worker polls.
pub struct DpdkNic {
    rx: RxQueue,
    tx: TxQueue,
    control: Mempool,
    data: Mempool,
    caps: Caps,
    mac: [u8; 6],
    instrument: Option<Box<dyn Instrument + Send>>,
    faults: Option<Box<Faults>>,
    offload_fault: Option<OffloadFault>,
}

impl DpdkNic {
    /// The NIC of one worker.
    #[must_use]
    pub fn new(queues: QueuePair) -> Self {
        let QueuePair {
            rx,
            tx,
            control,
            data,
            caps,
            mac,
            fault,
        } = queues;
        Self {
            rx,
            tx,
            control,
            data,
            caps,
            mac,
            instrument: None,
            faults: None,
            offload_fault: fault,
        }
    }

    /// The queue pair alone, without instrument and faults.
    #[must_use]
    pub fn into_queues(self) -> QueuePair {
        QueuePair {
            rx: self.rx,
            tx: self.tx,
            control: self.control,
            data: self.data,
            caps: self.caps,
            mac: self.mac,
            fault: self.offload_fault,
        }
    }

    /// Shows every burst from now on to `instrument` (`None`: to none), and returns the one before.
    pub fn set_instrument(
        &mut self,
        instrument: Option<Box<dyn Instrument + Send>>,
    ) -> Option<Box<dyn Instrument + Send>> {
        core::mem::replace(&mut self.instrument, instrument)
    }

    /// Makes the link a bad one from now on (`None`: a good one; what the faults still held is lost). `ticks_hz` are the
    /// ticks of [`crate::cycles`] in a second. The instrument sees what the worker sees: what was lost on the way in is not
    /// shown, what is lost on the way out is. Frames that the faults hold back count as sent.
    pub fn set_faults(&mut self, spec: Option<&FaultSpec>, ticks_hz: u64) {
        let tx_offloads = self.caps.tx_ipv4_checksum || self.caps.tx_tcp_checksum;
        self.faults = spec.map(|spec| {
            let queue = self.rx.index();
            Box::new(Faults::new(spec, queue, ticks_hz, tx_offloads))
        });
    }

    /// Counts of the injected faults so far; `None` when no faults were asked for.
    #[must_use]
    pub fn fault_totals(&self) -> Option<FaultTotals> {
        self.faults.as_ref().map(|faults| faults.totals())
    }

    /// Whether the link is up. Cheap enough for every few milliseconds, not for every burst.
    #[must_use]
    pub fn link_is_up(&self) -> bool {
        self.rx.port().link_is_up()
    }

    /// Frames that the driver took so far ([`TxQueue::frames_taken`]).
    #[must_use]
    pub fn frames_taken(&self) -> u64 {
        self.tx.frames_taken()
    }

    /// The number of this queue pair on its port.
    #[must_use]
    pub fn queue_index(&self) -> u16 {
        self.rx.index()
    }

    #[cold]
    #[inline(never)]
    fn tx_with_instrument(&mut self, from: &mut Burst<Mbuf>) -> usize {
        if let Some(instrument) = &mut self.instrument {
            instrument.tx(from.as_slice());
        }
        if let Some(fault) = self.offload_fault {
            for frame in from.as_mut_slice() {
                frame.break_request(fault);
            }
        }
        let sent = self.tx_to_link(from);
        if let Some(instrument) = &mut self.instrument {
            instrument.tx_done(from.len());
        }
        sent
    }

    #[inline]
    fn tx_to_link(&mut self, from: &mut Burst<Mbuf>) -> usize {
        match &mut self.faults {
            None => self.tx.burst(from),
            Some(faults) => faults.tx(&mut self.tx, &self.control, from),
        }
    }
}

impl core::fmt::Debug for DpdkNic {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DpdkNic")
            .field("port", &self.tx.port().name())
            .field("queue", &self.rx.index())
            .field("instrument", &self.instrument.is_some())
            .field("faults", &self.faults.is_some())
            .finish_non_exhaustive()
    }
}

impl Nic for DpdkNic {
    type Frame = Mbuf;

    #[inline]
    fn caps(&self) -> &Caps {
        &self.caps
    }

    #[inline]
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    #[inline]
    fn rx(&mut self, into: &mut Burst<Mbuf>) -> usize {
        let n = match &mut self.faults {
            None => self.rx.burst(into),
            Some(faults) => faults.rx((&mut self.rx, &mut self.tx), &self.control, into),
        };
        if let Some(instrument) = &mut self.instrument
            && n > 0
        {
            let frames = into.as_slice();
            instrument.rx(&frames[frames.len() - n..]);
        }
        n
    }

    #[inline]
    fn tx(&mut self, from: &mut Burst<Mbuf>) -> usize {
        if from.is_empty() {
            return 0;
        }
        if self.instrument.is_some() || self.offload_fault.is_some() {
            return self.tx_with_instrument(from);
        }
        self.tx_to_link(from)
    }

    #[inline]
    fn alloc(&mut self, class: PoolClass, into: &mut Burst<Mbuf>, n: usize) -> usize {
        match class {
            PoolClass::Control => alloc(&self.control, into, n),
            PoolClass::Data => alloc(&self.data, into, n),
        }
    }

    fn share(&mut self, frame: &mut Mbuf) -> Option<Mbuf> {
        share(&self.data, frame)
    }

    #[inline]
    fn chain(&mut self, head: &mut Mbuf, body: &mut Mbuf, start: usize, len: usize) -> bool {
        // From the pool of what is sent and forgotten: the reference needs a header, its data room stays unused.
        self.caps.tx_multi_seg && chain(&self.control, head, body, start, len)
    }

    #[inline]
    fn free(&mut self, from: &mut Burst<Mbuf>) {
        free(from);
    }

    #[inline]
    fn cycles(&self) -> u64 {
        crate::cycles()
    }
}
