//! Workers without a world: one on any NIC ([`worker_on`]), one on a NIC in memory ([`host`]), and [`carry`] between two of
//! these.
//!
//! It must never lose or change a frame: the world does that.

use std::sync::Arc;

use super::host::{HostSpec, draw_secrets};
use crate::config::ConfigSpec;
use crate::memory::PageOptions;
use crate::nic::memory::MemoryNic;
use crate::nic::{Frame, Nic};
use crate::rng::Random;
use crate::worker::app::App;
use crate::worker::{RingEnd, Worker};

/// The only worker of an endpoint, with secrets that are the same in every run.
///
/// # Panics
/// When the configuration contradicts itself, or there isn't the memory that its limits ask for.
#[must_use]
pub fn worker_on<N: Nic, A: App>(nic: N, spec: ConfigSpec, app: A) -> Worker<N, A> {
    let config = Arc::new(spec.validate().expect("a valid configuration"));
    let secrets = draw_secrets(&mut Random::new(1));
    let (ring, memory) = (RingEnd::single(), PageOptions::default());
    Worker::with_app(nic, app, config, &secrets, ring, memory).expect("memory")
}

/// [`worker_on`] a NIC in memory: host `number` at the addresses of [`HostSpec::new`], as it is unless `change` says otherwise.
#[must_use]
pub fn host<A: App>(
    number: u8,
    app: A,
    change: impl FnOnce(&mut ConfigSpec),
) -> Worker<MemoryNic, A> {
    let HostSpec {
        mac, mut config, ..
    } = HostSpec::new(number);
    change(&mut config);
    worker_on(MemoryNic::new(mac), config, app)
}

/// Carries what one has sent to the other, and says how many frames that were.
pub fn carry<A: App, B: App>(
    from: &mut Worker<MemoryNic, A>,
    to: &mut Worker<MemoryNic, B>,
) -> usize {
    let sent = from.nic_mut().take_sent();
    for frame in &sent {
        let mut bytes = vec![0; frame.total_len()];
        frame.copy_out(0, &mut bytes);
        to.nic_mut().inject_bytes(&bytes);
    }
    sent.len()
}
