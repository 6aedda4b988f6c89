//! `closed-port`: nobody listens on the port.

use stack::tcp::lang::{rst, syn};

use crate::lab::errno::Errno::ECONNREFUSED;
use crate::lab::scenario::{Client, Observation, Scenario, Scene, SceneAction, Server};

/// The situation.
pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "closed-port",
        shows: "A SYN arrives at a port where nobody listens. The lookup finds neither a connection nor a listener, so \
            the host answers with a reset that acknowledges the SYN (RFC 9293 3.10.7.1). The client ends its attempt at \
            once and its application is told \"connection refused\" (ECONNREFUSED). The host is there and answers: that \
            is how this differs from a host that is down, or a firewall that drops.",
        scenes: vec![
            Scene::new("Nobody listens")
                .act(0, Client, SceneAction::Connect(1))
                .expect(Client.sends(syn().seq(0)).within_ms(0, 100))
                .expect(Server.sends(rst().seq(0).ack(1).win(0)).within_ms(0, 100))
                .expect(
                    Client
                        .sees(Observation::Failed(ECONNREFUSED))
                        .within_ms(0, 100),
                )
                .expect(Client.never_sends(rst()))
                .lasts_ms(1_500),
        ],
    }
}
