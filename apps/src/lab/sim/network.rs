//! Actions of the network in the simulated world: faults on a wire from some time on, and frames of its own.
//!
//! It must never change what an end knows: only frames.

use std::net::SocketAddr;

use stack::config::ClosedPolicy;
use stack::seq::SeqNum;
use stack::sim::host::{HostError, HostId, HostSpec};
use stack::sim::inspect::Tcp;
use stack::sim::trace::Crossing;
use stack::sim::world::{Direction, World};
use stack::tcp::lang::Base;
use stack::wire::tcp::Flags;

use super::{CLIENT_HOST, FLOOD_HOST, SERVER_HOST, Stage, since_start};
use crate::failure::Failure;
use crate::lab::actor::Actor;
use crate::lab::forge;
use crate::lab::network::{IcmpCode, NetworkAct};
use crate::lab::recording::RecordedEvent;
use crate::lab::scenario::{CLIENT_PORT, Client, End, SERVER_PORT, Scene, SceneAction, Server};

/// A host that answers nothing, in a scene with a flood: it keeps the SYN-ACKs from bouncing.
pub(super) fn flooder(
    world: &mut World<Actor>,
    scene: &Scene,
) -> Result<Option<HostId>, HostError> {
    let is_flood = |what: SceneAction| matches!(what, SceneAction::Network(NetworkAct::Floods(_)));
    if !scene.acts.iter().any(|act| is_flood(act.what)) {
        return Ok(None);
    }
    let mut spec = HostSpec::new(FLOOD_HOST);
    spec.config.closed = ClosedPolicy::Drop;
    // Its application does nothing: no act is its own.
    let nothing = Scene::new("a third host");
    let addresses = (HostSpec::v4(CLIENT_HOST), HostSpec::v4(FLOOD_HOST));
    let actor = |_| Actor::new(Client, addresses, &nothing, 0);
    world.add_host(spec, actor).map(Some)
}

impl Stage<'_> {
    /// The network does that to the frames of `from`, from now on.
    pub(super) fn network(&mut self, from: End, what: NetworkAct) -> Result<(), Failure> {
        let now = self.world.now();
        if let Some(said) = what.announcement(from.name()) {
            self.recording
                .push(since_start(now), RecordedEvent::Network(said));
        }
        match what {
            NetworkAct::Forges(conn, spec) => {
                let base = Base {
                    sender_iss: self.iss(from, conn),
                    receiver_iss: self.iss(from.other(), conn),
                };
                let [src, dst] = self.ends(from, conn);
                let macs = [self.mac(from), self.mac(from.other())];
                let frame = forge::segment(&spec, base, macs, src, dst);
                self.put(from, frame.map_err(|error| format!("{error:?}")))
            }
            NetworkAct::Rejects(conn, code) => self.reject(from, conn, code),
            NetworkAct::Floods(syns) => self.flood(syns),
            _ => {
                let host = self.hosts[from as usize];
                let link = self.world.link_mut(host, Direction::Up);
                match what {
                    NetworkAct::Loses(frames) => link.lose_next = frames,
                    NetworkAct::Cuts => link.up = false,
                    NetworkAct::Passes => {
                        link.up = true;
                        link.spec = HostSpec::new(CLIENT_HOST).up;
                    }
                    other => other.change(&mut link.spec),
                }
                Ok(())
            }
        }
    }

    fn reject(&mut self, from: End, conn: u16, code: IcmpCode) -> Result<(), Failure> {
        let about = self.segments(from.other(), conn).last();
        let Some(about) = about.map(|crossing| crossing.bytes.to_vec()) else {
            return Err(Failure::Run(format!(
                "the {} has sent nothing on connection {conn} that could be rejected",
                from.other().name()
            )));
        };
        let is_v4 = self.recording.client.is_ipv4();
        let frame = forge::icmp_error(&about, self.mac(from), is_v4, code);
        self.put(from, frame.map_err(|error| format!("{error:?}")))
    }

    fn flood(&mut self, syns: u32) -> Result<(), Failure> {
        let Some(flooder) = self.flooder else {
            return Ok(());
        };
        let server = SocketAddr::new(self.recording.server, SERVER_PORT);
        let address = match self.recording.server.is_ipv4() {
            true => HostSpec::v4(FLOOD_HOST),
            false => HostSpec::v6(FLOOD_HOST),
        };
        let macs = [HostSpec::new(FLOOD_HOST).mac, self.mac(Server)];
        for n in 0..syns {
            let src = SocketAddr::new(address, forge::flood_port(n));
            // Each flood has numbers of its own.
            let seq = n.wrapping_add(self.world.now().as_ns() as u32);
            let frame = forge::flood_syn(macs, src, server, seq)
                .map_err(|error| Failure::Run(format!("no SYN for the flood: {error:?}")))?;
            self.world.send(flooder, frame);
        }
        Ok(())
    }

    /// Puts a frame of the network's own on the wire of `from`.
    fn put(&mut self, from: End, frame: Result<Vec<u8>, String>) -> Result<(), Failure> {
        let frame =
            frame.map_err(|error| Failure::Run(format!("no frame can be forged: {error}")))?;
        self.forged.push((self.world.now(), frame.clone()));
        self.world.send(self.hosts[from as usize], frame);
        Ok(())
    }

    fn mac(&self, side: End) -> [u8; 6] {
        match side {
            Client => HostSpec::new(CLIENT_HOST).mac,
            Server => HostSpec::new(SERVER_HOST).mac,
        }
    }

    /// Sender and receiver of the segments of `from`.
    fn ends(&self, from: End, conn: u16) -> [SocketAddr; 2] {
        let client = SocketAddr::new(self.recording.client, CLIENT_PORT + conn);
        let server = SocketAddr::new(self.recording.server, SERVER_PORT);
        match from {
            Client => [client, server],
            Server => [server, client],
        }
    }

    /// The segments that an end itself has sent on a connection so far.
    fn segments(&self, from: End, conn: u16) -> impl Iterator<Item = &Crossing> {
        let [src, dst] = self.ends(from, conn).map(|end| end.port());
        let host = self.hosts[from as usize];
        let is_it = move |crossing: &&Crossing| {
            let tcp = Tcp::of(&crossing.bytes);
            crossing.from == host && tcp.is_some_and(|tcp| tcp.ports() == [src, dst])
        };
        let is_forged = |crossing: &&Crossing| self.is_forged(crossing);
        let all = self.world.trace().iter();
        all.filter(is_it)
            .filter(move |crossing| !is_forged(crossing))
    }

    /// The initial number of an end, 0 before its SYN.
    fn iss(&self, side: End, conn: u16) -> SeqNum {
        let syns = self.segments(side, conn).filter_map(|crossing| {
            let tcp = Tcp::of(&crossing.bytes)?;
            Flags(tcp.flags()).syn().then(|| tcp.seq())
        });
        SeqNum(syns.last().unwrap_or(0))
    }

    /// Whether the network made it.
    pub(super) fn is_forged(&self, crossing: &Crossing) -> bool {
        let is_it = |(at, bytes): &(_, Vec<u8>)| {
            *at == crossing.sent_at && bytes.as_slice() == &*crossing.bytes
        };
        self.forged.iter().any(is_it)
    }

    /// Which end sent it to the other; `None` for a third host's part. A router's word counts as the far end's.
    pub(super) fn sender(&self, crossing: &Crossing) -> Option<End> {
        let side = |host: HostId| {
            [Client, Server]
                .into_iter()
                .find(|side| self.hosts[*side as usize] == host)
        };
        match (side(crossing.from), crossing.to.map(side)) {
            (Some(from), None) => Some(from),
            (Some(from), Some(Some(to))) if to != from => Some(from),
            (None, Some(Some(to))) if Some(crossing.from) != self.flooder => Some(to.other()),
            _ => None,
        }
    }
}
