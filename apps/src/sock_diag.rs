//! [`SockDiag`]: what the kernel knows of its TCP sockets, by netlink (sock_diag(7)): states, and TCP_INFO.
//!
//! It must never change a socket, and never walk the whole table where a port narrows it.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::nlas::{Nla, TcpInfo};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use stack::tcp::state::State;

/// A TCP socket of the kernel's.
#[derive(Debug, Clone)]
pub(crate) struct KernelSocket {
    /// Its address and port.
    pub(crate) local: (IpAddr, u16),
    /// The other end's, unspecified for one that listens.
    pub(crate) remote: (IpAddr, u16),
    /// Its state.
    pub(crate) state: State,
    /// TCP_INFO; `None` for TIME-WAIT, half-open connections, and kernels whose structure is shorter.
    pub(crate) info: Option<TcpInfo>,
}

/// Asks about the sockets of the network namespace in which it was opened.
pub(crate) struct SockDiag(Socket);

impl SockDiag {
    /// In the namespace of this thread.
    ///
    /// # Errors
    /// The system's, where it has no sock_diag.
    pub(crate) fn open() -> io::Result<Self> {
        Socket::new(NETLINK_SOCK_DIAG).map(Self)
    }

    /// The sockets with these ports; port 0 is any.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn sockets(
        &self,
        is_v4: bool,
        local_port: u16,
        remote_port: u16,
    ) -> io::Result<Vec<KernelSocket>> {
        let message = request(is_v4, local_port, remote_port);
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.0.send(&bytes, 0)?;
        answers(&self.0)
    }
}

fn request(is_v4: bool, local_port: u16, remote_port: u16) -> NetlinkMessage<SockDiagMessage> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let any = if is_v4 {
        SocketId::new_v4()
    } else {
        SocketId::new_v6()
    };
    let request = InetRequest {
        family: if is_v4 { AF_INET } else { AF_INET6 },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: local_port,
            destination_port: remote_port,
            ..any
        },
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    message
}

/// All sockets that the kernel names, until it says that it is done.
fn answers(socket: &Socket) -> io::Result<Vec<KernelSocket>> {
    let mut found = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    found.push(socket_of(&response));
                }
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::Done(_) => return Ok(found),
                _ => {}
            }
            // Each message begins at a multiple of four bytes.
            let len = (message.header.length as usize).next_multiple_of(4).max(4);
            rest = rest.get(len..).unwrap_or(&[]);
        }
    }
}

/// The one between these ends.
///
/// # Errors
/// The system's, where it has no sock_diag.
pub(crate) fn socket_between(
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
) -> io::Result<Option<KernelSocket>> {
    let all = SockDiag::open()?.sockets(local.0.is_ipv4(), local.1, remote.1)?;
    let mut its = all.into_iter();
    Ok(its.find(|socket| socket.local == local && socket.remote == remote))
}

fn socket_of(response: &InetResponse) -> KernelSocket {
    let id = &response.header.socket_id;
    let info = response.nlas.iter().find_map(|nla| match nla {
        Nla::TcpInfo(info) => Some(info.clone()),
        _ => None,
    });
    KernelSocket {
        local: (plain(id.source_address), id.source_port),
        remote: (plain(id.destination_address), id.destination_port),
        state: state(response.header.state),
        info,
    }
}

/// IPv4 where an IPv6 socket carries it.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The kernel's number of a state (net/tcp_states.h).
pub(crate) const fn state(number: u8) -> State {
    match number {
        1 => State::Established,
        2 => State::SynSent,
        3 | 12 => State::SynReceivedPassive,
        4 => State::FinWait1,
        5 => State::FinWait2,
        6 => State::TimeWait,
        8 => State::CloseWait,
        9 => State::LastAck,
        10 => State::Listen,
        11 => State::Closing,
        _ => State::Closed,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_found_at_both_ends_with_its_tcp_info() {
        for address in [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ] {
            let Ok(listener) = TcpListener::bind((address, 0)) else {
                continue;
            };
            let there = listener.local_addr().expect("an address");
            let stream = TcpStream::connect(there).expect("it listens");
            let here = stream.local_addr().expect("an address");
            let (here, there) = ((here.ip(), here.port()), (there.ip(), there.port()));
            let client = socket_between(here, there)
                .expect("sock_diag")
                .expect("it is open");
            assert_eq!(client.state, State::Established);
            let info = client.info.expect("TCP_INFO");
            let mss = info.snd_mss;
            assert!(mss > 500, "{mss}");
            assert!(socket_between(there, here).expect("sock_diag").is_some());
            let all = SockDiag::open().expect("sock_diag");
            let listening = all
                .sockets(address.is_ipv4(), there.1, 0)
                .expect("sock_diag");
            assert!(listening.iter().any(|socket| socket.state == State::Listen));
        }
    }
}
