//! Ports that an application opens and closes while the worker runs.

use super::host::{Flow, Host, OPEN};
use crate::counters::Counter;
use crate::local::listener::{ListenerConfig, ListenerId, ListenersError, SynPolicy};
use crate::sim::puppet::AppEvent::{Data, Open, Ready};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, rst, syn, syn_ack};

/// A port that is closed at first.
const OTHER: u16 = OPEN + 1;

fn listen(host: &mut Host<Puppet>, config: ListenerConfig) -> Result<ListenerId, ListenersError> {
    host.act(|_, cx| cx.listen(config))
}

fn unlisten(host: &mut Host<Puppet>, listener: ListenerId) -> bool {
    host.act(|_, cx| cx.unlisten(listener))
}

#[test]
fn a_port_opens_and_serves_and_closes() {
    let mut host = Host::probing(|_| {});
    host.on(Flow::v4(1, OTHER)).inject(syn().seq(0));
    host.counted(Counter::RstSent).next_reply();
    let config = ListenerConfig::new(OTHER, SynPolicy::Embryo);
    let listener = listen(&mut host, config).expect("a closed port");
    assert_eq!(listener, ListenerId(1));
    let known = host.act(move |_, cx| cx.listener_config(listener).copied());
    assert_eq!(known, Some(config));
    host.on(Flow::v4(2, OTHER)).shake_hands();
    host.hears(&[Ready, Open]);
    assert!(unlisten(&mut host, listener));
    assert!(!unlisten(&mut host, listener), "once");
    // Accepted connections go on; the next SYN meets a closed port.
    host.inject(data(5).seq(1).ack(1)).hears(&[Data(5)]);
    host.on(Flow::v4(3, OTHER)).inject(syn().seq(0));
    host.counted(Counter::RstSent).next_reply();
}

#[test]
fn what_waits_at_a_port_that_closes_is_reset() {
    let mut host = Host::probing(|_| {});
    host.app().accepts = false;
    let config = ListenerConfig::new(OTHER, SynPolicy::Embryo);
    let listener = listen(&mut host, config).expect("a closed port");
    let [half_open, silent] = [1, 2].map(|port| {
        host.on(Flow::v4(port, OTHER)).inject(syn().seq(0));
        host.expect(syn_ack().seq(0).ack(1));
        host.flow
    });
    host.on(Flow::v4(3, OTHER)).shake_hands();
    host.hears(&[Ready]);
    assert!(unlisten(&mut host, listener));
    host.expect(rst().seq(1).ack(1));
    host.on(half_open)
        .inject(ack().seq(1).ack(1))
        .counted(Counter::EmbryoAckQueueReset);
    host.expect(rst().seq(1));
    // No SYN-ACK comes again.
    host.on(silent).wait_ms(1_100).silent();
    assert_eq!(host.embryo(), None);
    host.on(half_open).silent();
}

#[test]
fn a_port_is_listened_on_once_and_the_first_listener_stays() {
    let mut host = Host::probing(|_| {});
    let again = ListenerConfig::new(OPEN, SynPolicy::Drop);
    let (address, port) = (None, OPEN);
    let twice = ListenersError::Twice { address, port };
    assert_eq!(listen(&mut host, again), Err(twice));
    host.on(Flow::v4(1, OPEN)).shake_hands();
    host.hears(&[Ready, Open]);
}
