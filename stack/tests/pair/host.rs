//! [`host`]: a worker whose wire lies in memory, and [`carry`] between two of them.
//!
//! It must never lose or change a frame: the simulated world does that.

use std::sync::Arc;

use stack::app::App;
use stack::config::{ConfigSpec, Interface};
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::memory::PageOptions;
use stack::nic::Frame as _;
use stack::nic::memory::MemoryNic;
use stack::tcp::profile::ProfileId;
use stack::worker::{RingEnd, Secrets, Worker};

/// A host with this address and number, as it is unless `change` says otherwise.
pub(crate) fn host<A: App>(
    address: &str,
    number: u8,
    app: A,
    change: impl FnOnce(&mut ConfigSpec),
) -> Worker<MemoryNic, A> {
    let mut spec = ConfigSpec::new(vec![Interface {
        address: address.parse().expect("an address"),
        prefix_len: if address.contains(':') { 64 } else { 24 },
    }]);
    change(&mut spec);
    let secrets = Secrets {
        flow: [1, number.into()],
        isn: [number; 16],
        cookie: [4; 16],
        ports: [5; 16],
    };
    let config = Arc::new(spec.validate().expect("a valid configuration"));
    let nic = MemoryNic::new([2, 0, 0, 0, 0, number]);
    let memory = PageOptions::default();
    Worker::with_app(nic, app, config, &secrets, RingEnd::single(), memory).expect("memory")
}

/// An open port on all addresses.
pub(crate) fn open_port(port: u16, policy: SynPolicy, backlog: u32) -> ListenerConfig {
    ListenerConfig {
        address: None,
        port,
        policy,
        backlog,
        abort_on_overflow: false,
        profile: ProfileId::DEFAULT,
    }
}

/// Carries what one has sent to the other, and says how many frames that were.
pub(crate) fn carry<A: App, B: App>(
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
