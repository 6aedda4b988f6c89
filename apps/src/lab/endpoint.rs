//! The configuration of an end that is ours, for both stages: [`configure`].
//!
//! It must never depend on the stage.

use std::time::Duration;

use stack::config::ConfigSpec;
use stack::local::listener::ListenerConfig;
use stack::local::ports::PortRange;

use super::scenario::{CLIENT_PORT, Client, End, SERVER_PORT, Scene, Server};

/// Sets what the scene asks of this end.
pub(super) fn configure(spec: &mut ConfigSpec, scene: &Scene, side: End) {
    if side == Server {
        spec.listeners.extend(listener(scene));
        spec.closed = scene.closed;
    }
    if let (Client, Some(ports)) = (side, scene.local_ports)
        && let Ok(range) = PortRange::new(CLIENT_PORT + 1, CLIENT_PORT + ports.max(1))
    {
        spec.local_ports = range;
    }
    let profile = &mut spec.tcp.profile;
    if let Some(rcv_buf) = scene.rcv_buf {
        profile.rcv_buf = rcv_buf;
    }
    if let Some((idle_s, interval_s, probes)) = scene.keepalive_s {
        profile.keepalive = true;
        profile.keepalive_idle = Duration::from_secs(idle_s.into());
        profile.keepalive_interval = Duration::from_secs(interval_s.into());
        profile.keepalive_probes = probes;
    }
    if let Some(seconds) = scene.user_timeout_s {
        profile.r2 = Duration::from_secs(seconds.into());
    }
    profile.nagle = scene.nagle;
}

/// The listener of the server, if a program listens.
pub(super) fn listener(scene: &Scene) -> Option<ListenerConfig> {
    scene.backlog.map(|backlog| ListenerConfig {
        backlog,
        abort_on_overflow: scene.aborts_on_overflow,
        ..ListenerConfig::new(SERVER_PORT, scene.syn_policy)
    })
}
