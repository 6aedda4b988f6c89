//! Actions of the network on the stage in real time: faults on a link from some time on, and frames of its own.
//!
//! It must never change what an end knows: only frames.

use std::net::SocketAddr;

use stack::tcp::lang::Base;

use super::stage::Stage;
use super::wire::Wire;
use super::{FLOOD_HOST, mac};
use crate::failure::Failure;
use crate::lab::forge;
use crate::lab::network::{IcmpCode, NetworkAct};
use crate::lab::recording::RecordedEvent;
use crate::lab::scenario::{End, Family, SERVER_PORT, Server};

/// SYNs of a flood that arrive between two looks at what the ends say.
const FLOOD_BURST: u32 = 64;

impl Stage<'_> {
    /// The network does that to the frames of `from`, from now on.
    pub(super) fn network(
        &mut self,
        from: End,
        what: NetworkAct,
        at_ns: u64,
    ) -> Result<(), Failure> {
        if let Some(said) = what.announcement(from.name()) {
            self.recording.push(at_ns, RecordedEvent::Network(said));
        }
        match what {
            NetworkAct::Forges(conn, spec) => {
                let base = Base {
                    sender_iss: self.wire.iss(from, conn),
                    receiver_iss: self.wire.iss(from.other(), conn),
                };
                let [src, dst] = self.setting.ends(from, conn);
                let macs = [self.wire.mac(from), self.wire.mac(from.other())];
                let frame = forge::segment(&spec, base, macs, src, dst);
                self.put(from, frame.map_err(|error| format!("{error:?}")), at_ns)
            }
            NetworkAct::Rejects(conn, code) => self.reject(from, conn, code, at_ns),
            NetworkAct::Floods(syns) => self.flood(syns),
            _ => {
                let link = self.wire.link_mut(from);
                match what {
                    NetworkAct::Loses(frames) => link.lose_next = frames,
                    NetworkAct::Cuts => link.up = false,
                    NetworkAct::Passes => {
                        link.up = true;
                        link.spec = Wire::perfect();
                    }
                    other => other.change(&mut link.spec),
                }
                Ok(())
            }
        }
    }

    fn reject(&mut self, from: End, conn: u16, code: IcmpCode, at_ns: u64) -> Result<(), Failure> {
        let Some(about) = self.wire.last_segment(from.other(), conn) else {
            return Err(Failure::Run(format!(
                "the {} has sent nothing on connection {conn} that could be rejected",
                from.other().name()
            )));
        };
        let is_v4 = self.setting.family == Family::V4;
        let frame = forge::icmp_error(about, self.wire.mac(from), is_v4, code);
        self.put(from, frame.map_err(|error| format!("{error:?}")), at_ns)
    }

    fn put(
        &mut self,
        from: End,
        frame: Result<Vec<u8>, String>,
        at_ns: u64,
    ) -> Result<(), Failure> {
        let frame =
            frame.map_err(|error| Failure::Run(format!("no frame can be forged: {error}")))?;
        self.wire.put(from, frame, at_ns, true);
        Ok(())
    }

    /// SYNs of a third host at the server, each from another port.
    fn flood(&mut self, syns: u32) -> Result<(), Failure> {
        let server = SocketAddr::new(self.setting.address(Server), SERVER_PORT);
        let macs = [mac(FLOOD_HOST), self.wire.mac(Server)];
        for n in 0..syns {
            let src = SocketAddr::new(self.setting.flooder(), forge::flood_port(n));
            // Each flood has numbers of its own.
            let seq = n.wrapping_add(self.now_ns() as u32);
            let frame = forge::flood_syn(macs, src, server, seq)
                .map_err(|error| Failure::Run(format!("no SYN for the flood: {error:?}")))?;
            self.receive(Server, &frame);
            if n % FLOOD_BURST == 0 {
                self.exchange()?;
            }
        }
        Ok(())
    }
}
