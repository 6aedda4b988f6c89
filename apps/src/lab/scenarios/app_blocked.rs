//! `app-blocked`: the host is fine, its application hangs.

use stack::tcp::lang::{ack, data, fin, syn, syn_ack};

use crate::lab::scenario::{Client, Observation, Ours, Scenario, Scene, SceneAction, Server};

/// The situation.
pub(super) fn scenario() -> Scenario {
    Scenario {
        name: "app-blocked",
        shows: "The application hangs, but the host's TCP goes on without it. Handshakes complete and data is \
            acknowledged before anybody calls accept(). Once the accept queue is full, new SYNs are dropped, and a \
            handshake that was under way stays half done: the client believes that it is open, the server sends its \
            SYN-ACK again. When nobody reads, the receive window shrinks to zero and the sender probes, more and more \
            rarely, for as long as the probes are answered. When the application comes back, everything goes on.",
        scenes: vec![
            before_accept(),
            full_queue(),
            full_queue_behind_the_handshake(),
            nobody_reads(),
        ],
    }
}

fn before_accept() -> Scene {
    Scene::new("Open and acknowledged before accept()")
        .listening(4)
        .act(0, Client, SceneAction::Connect(1))
        .act(600, Client, SceneAction::Send(1, 5))
        .act(1_000, Server, SceneAction::Accept)
        .act(1_100, Server, SceneAction::Read(1, 5))
        .act(1_300, Client, SceneAction::Close(1))
        .act(1_300, Server, SceneAction::Read(1, 1))
        .act(1_500, Server, SceneAction::Close(1))
        .expect(Client.sends(syn().seq(0)))
        .expect(Server.sends(syn_ack().seq(0).ack(1)))
        .expect(Client.sends(ack().seq(1).ack(1)))
        .expect(Client.sees(Observation::Connected).within_ms(0, 90))
        .expect(Client.sends(data(5).seq(1)).within_ms(600, 700))
        .expect(Server.sends(ack().ack(6)).within_ms(600, 900))
        .expect(Server.sees(Observation::Accepted).within_ms(1_000, 1_090))
        .expect(
            Server
                .sees(Observation::Received(5))
                .within_ms(1_100, 1_200),
        )
        .expect(Client.sends(fin().seq(6)).within_ms(1_300, 1_400))
        .expect(Server.sees(Observation::Eof).within_ms(1_300, 1_400))
        .expect(Server.sends(fin().seq(1).ack(7)).within_ms(1_500, 1_600))
        .expect(Client.sends(ack().seq(7).ack(2)).within_ms(1_500, 1_600))
        .lasts_ms(2_000)
}

fn full_queue() -> Scene {
    Scene::new("The accept queue is full: new SYNs are dropped")
        // Two connections may wait: as everywhere, one more than listen() was told. Both do when the third one comes.
        .listening(1)
        .act(0, Client, SceneAction::Connect(1))
        .act(500, Client, SceneAction::Connect(2))
        .act(1_000, Client, SceneAction::Connect(3))
        .act(2_500, Server, SceneAction::Accept)
        .act(5_300, Server, SceneAction::Accept)
        .act(5_400, Server, SceneAction::Accept)
        .expect(Server.sends(syn_ack().seq(0).ack(1)))
        .expect(Client.sees(Observation::Connected).within_ms(0, 100))
        .expect(
            Client
                .sees(Observation::Connected)
                .on(2)
                .within_ms(500, 600),
        )
        .expect(Client.sends(syn().seq(0)).on(3).within_ms(1_000, 1_100))
        .expect(Client.sends(syn().seq(0)).on(3).within_ms(1_900, 2_300))
        .expect(Server.sees(Observation::Accepted).within_ms(2_500, 2_600))
        // There is room again: the next SYN is answered.
        .expect(Client.sends(syn().seq(0)).on(3).within_ms(2_900, 4_400))
        .expect(
            Server
                .sends(syn_ack().seq(0).ack(1))
                .on(3)
                .within_ms(2_900, 4_400),
        )
        .expect(
            Client
                .sees(Observation::Connected)
                .on(3)
                .within_ms(2_900, 4_500),
        )
        .expect(
            Server
                .sees(Observation::Accepted)
                .on(2)
                .within_ms(5_300, 5_400),
        )
        .expect(
            Server
                .sees(Observation::Accepted)
                .on(3)
                .within_ms(5_400, 5_500),
        )
        .lasts_ms(5_800)
}

fn full_queue_behind_the_handshake() -> Scene {
    Scene::new("The queue fills during a handshake: SYN-ACK again")
        .listening(2)
        // Connections 3 and 4 both meet a queue with one place: a kernel's program can't connect twice in one breath.
        .needs(Client, Ours)
        .act(0, Client, SceneAction::Connect(1))
        .act(500, Client, SceneAction::Connect(2))
        .act(1_000, Client, SceneAction::Connect(3))
        .act(1_000, Client, SceneAction::Connect(4))
        .act(1_600, Client, SceneAction::Send(4, 5))
        .act(3_300, Server, SceneAction::Accept)
        .act(7_800, Server, SceneAction::Accept)
        .act(7_800, Server, SceneAction::Accept)
        .act(7_800, Server, SceneAction::Accept)
        .act(7_900, Server, SceneAction::Read(4, 5))
        .expect(
            Server
                .sends(syn_ack().seq(0).ack(1))
                .on(3)
                .within_ms(1_000, 1_100),
        )
        .expect(
            Server
                .sends(syn_ack().seq(0).ack(1))
                .on(4)
                .within_ms(1_000, 1_100),
        )
        .expect(
            Client
                .sees(Observation::Connected)
                .on(3)
                .within_ms(1_000, 1_100),
        )
        .expect(
            Client
                .sees(Observation::Connected)
                .on(4)
                .within_ms(1_000, 1_100),
        )
        // The client believes that it is open, and sends; nobody acknowledges.
        .expect(Client.sends(data(5).seq(1)).on(4).within_ms(1_600, 1_700))
        .expect(
            Server
                .sends(syn_ack().seq(0).ack(1))
                .on(4)
                .within_ms(1_900, 2_400),
        )
        .expect(Server.sees(Observation::Accepted).within_ms(3_300, 3_400))
        // With room in the queue the next ACK completes the handshake, and the data is taken.
        .expect(Server.sends(ack().ack(6)).on(4).within_ms(3_300, 7_700))
        .expect(
            Server
                .sees(Observation::Accepted)
                .on(4)
                .within_ms(7_800, 7_900),
        )
        .expect(
            Server
                .sees(Observation::Received(5))
                .on(4)
                .within_ms(7_900, 8_000),
        )
        .lasts_ms(8_300)
}

fn nobody_reads() -> Scene {
    /// More than the receive buffer of one end and the window of the other hold.
    const SENT: u32 = 24_000;
    Scene::new("Nobody reads: the window closes, probes, recovery")
        .listening(4)
        .rcv_buf(8_000)
        .act(0, Client, SceneAction::Connect(1))
        .act(100, Server, SceneAction::Accept)
        .act(200, Client, SceneAction::Send(1, SENT))
        .act(12_000, Server, SceneAction::Read(1, SENT))
        .expect(Client.sees(Observation::Connected).within_ms(0, 90))
        .expect(Server.sees(Observation::Accepted).within_ms(0, 190))
        .expect(Server.sends(ack().win(0)).within_ms(200, 3_000))
        // Probes without data, one behind what was acknowledged; the second comes later than the first.
        .expect(Client.sends(ack()).within_ms(300, 6_000))
        .expect(Server.sends(ack().win(0)).within_ms(300, 6_000))
        .expect(Client.sends(ack()).within_ms(600, 12_000))
        .expect(Server.sends(ack().win(0)).within_ms(600, 12_000))
        .expect(
            Server
                .sees(Observation::Received(SENT.into()))
                .within_ms(12_000, 19_000),
        )
        .lasts_ms(20_000)
}
