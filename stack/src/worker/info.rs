//! Reports on connections: open ones, parked ones, and the one that has just ended.
//!
//! It must never change anything, and never name a connection by what took its place.

use core::net::SocketAddr;
use core::time::Duration;

use super::Core;
use super::cx::Cx;
use super::fast_path::LentFrame;
use crate::conn::connections::{Conn, Slot};
use crate::conn::{ConnId, FlowKey, Parked};
use crate::local::listener::ListenerId;
use crate::nic::Nic;
use crate::tcp::info::TcpInfo;
use crate::tcp::state::State;
use crate::tcp::verdict::CloseReason;
use crate::time::Instant;
use crate::worker::connect::ConnInfo;
use crate::worker::opening::local_mss;

impl<N: Nic, S> Cx<'_, N, S> {
    /// The state of the connection; in [`crate::worker::app::App::on_close`] its state at its end. `None` when it ended
    /// before.
    #[must_use]
    pub fn info(&self, conn: ConnId) -> Option<ConnInfo> {
        match self.open_slot(conn) {
            Some(slot) => self.core.info_of_slot(slot, self.now()),
            None => self.core.parked_info(conn, self.now()),
        }
    }

    /// The listener that a connection came from.
    #[must_use]
    pub fn listener(&self, conn: ConnId) -> Option<ListenerId> {
        let table = &self.core.endpoint.table;
        table.listener(table.resolve(conn)?)
    }
}

impl<N: Nic> Core<N> {
    fn info_of_slot(&self, slot: Slot, now: Instant) -> Option<ConnInfo> {
        let Some(conn) = self.conns.get(slot) else {
            let conn = self.copy_of_resting(slot, now)?;
            return self.info_of_open(&conn, self.endpoint.table.listener(conn.found));
        };
        let listener = self.endpoint.table.listener(conn.found);
        let mut info = self.info_of_open(conn, listener)?;
        info.unread_len += self.lent_to(slot).map_or(0, LentFrame::unread_len);
        Some(info)
    }

    fn info_of_open(&self, conn: &Conn, listener: Option<ListenerId>) -> Option<ConnInfo> {
        let state = conn.tcb.state();
        Some(ConnInfo {
            listener,
            unread_len: conn.rx.len(),
            unacked_len: conn.tx.len(),
            snd_wnd: conn.tcb.send_window(),
            rcv_wnd: conn.tcb.receive_window(),
            peer_closed: state.peer_has_closed(),
            ..self.blank(&conn.key, state, conn.tcb.info())?
        })
    }

    /// Of a parked connection, or of the one that ended last.
    #[cold]
    fn parked_info(&self, id: ConnId, now: Instant) -> Option<ConnInfo> {
        let table = &self.endpoint.table;
        if let Some(found) = table.resolve(id) {
            let (parked, key) = (table.parked(found)?, table.key(found)?);
            return self.info_of_parked(parked, &key, table.listener(found), now);
        }
        match &self.last_parked {
            Some((parked, info)) if *parked == id => Some(*info),
            _ => {
                //~ The last callback sees what the connection was:
                //~   -> `let (conn, unacked_len) = self.conns.ended(id).filter(|_| false)?;`;
                //~   the_last_callback_sees_the_connection_as_it_ended
                let (conn, unacked_len) = self.conns.ended(id)?;
                Some(ConnInfo {
                    unacked_len,
                    unread_len: 0,
                    ..self.info_of_open(conn, None)?
                })
            }
        }
    }

    fn info_of_parked(
        &self,
        parked: &Parked,
        key: &FlowKey,
        listener: Option<ListenerId>,
        now: Instant,
    ) -> Option<ConnInfo> {
        let tcb = parked.tcb(now);
        let us = |us: u32| Duration::from_micros(us.into());
        let tcp = TcpInfo {
            srtt: Some(us(tcb.srtt_us)).filter(|srtt| !srtt.is_zero()),
            rttvar: us(tcb.rttvar_us),
            rto: us(tcb.rto_us),
            cwnd: tcb.cwnd,
            ssthresh: Some(tcb.ssthresh).filter(|&bytes| bytes != u32::MAX),
            snd_mss: tcb.negotiated.full_mss(),
            rcv_mss: local_mss(key, self.endpoint.mtu),
            timestamps: tcb.negotiated.timestamps,
            window_scales: tcb
                .negotiated
                .window_scale
                .map(|send| (send, tcb.rcv_scale)),
            sack_permitted: tcb.negotiated.sack_permitted,
            ..TcpInfo::default()
        };
        Some(ConnInfo {
            listener,
            snd_wnd: u32::from(parked.peer_window) << parked.shifts.send(),
            rcv_wnd: parked.rcv_wnd,
            ..self.blank(key, State::Established, tcp)?
        })
    }

    fn blank(&self, key: &FlowKey, state: State, tcp: TcpInfo) -> Option<ConnInfo> {
        let (vlan, local) = self.endpoint.config.locals.locate(key.local())?;
        Some(ConnInfo {
            state,
            vlan,
            local: SocketAddr::new(local, key.local_port()),
            remote: SocketAddr::new(key.remote(), key.remote_port()),
            listener: None,
            unread_len: 0,
            unacked_len: 0,
            snd_wnd: 0,
            rcv_wnd: 0,
            peer_closed: false,
            tcp,
        })
    }

    /// Keeps what a parked connection looks like, whose record is about to go, for its last callback.
    pub(super) fn keep_info(&mut self, id: ConnId, reason: CloseReason, now: Instant) {
        let info = self.parked_info(id, now);
        self.last_parked = info.map(|mut info| {
            info.state = State::Closed;
            info.tcp.close_reason = Some(reason);
            (id, info)
        });
    }
}
