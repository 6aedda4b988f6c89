//! [`Services`]: what stands behind the open ports, all of it in one app, so that there is one instance of the endpoint.
//!
//! It must never block, allocate or call the system for a segment. Each service has a file; what they share stands here:
//! which connection is whose, how they end, what is counted.

mod chargen;
mod daytime;
mod discard;
mod echo;
mod http;
mod linger;
mod proxy;
mod stats;

use stack::app::{App, Cx};
use stack::conn::ConnId;
use stack::local::listener::ListenerId;
use stack::nic::Nic;
use stack::tcp::verdict::CloseReason;
use workload::proxy::Versions;

use self::http::{HttpConn, HttpShared, HttpSite, Server};
use self::proxy::{Origins, ProxyConn};
use super::listen::{Listen, Service};
use super::wall::{Wall, WallClock};

pub(super) use self::proxy::ProxyReport;
pub(super) use self::stats::Closed;
pub(crate) use self::stats::SiteStats;

/// The state of a connection in an app.
#[derive(Debug, Default)]
pub(crate) struct Conn {
    http: HttpConn,
    /// The header in front of it, where there is one.
    proxy: ProxyConn,
    /// Index of its place.
    site: u16,
    /// Where chargen goes on in its pattern.
    pattern_at: u16,
    /// The peer will send nothing more.
    peer_closed: bool,
    /// We have sent our last; what comes is read and forgotten.
    finished: bool,
}

/// One place of `--listen`.
#[derive(Debug)]
struct Site {
    service: Service,
    stats: SiteStats,
    http: Option<HttpSite>,
    proxy: Option<Versions>,
}

/// All services of one worker.
#[derive(Debug)]
pub(crate) struct Services {
    sites: Vec<Site>,
    /// The place of each listener.
    site_of_listener: Vec<u16>,
    wall: Wall,
    http: HttpShared,
    origins: Origins,
    started: bool,
    draining: bool,
}

impl Services {
    /// Bytes of state for each connection.
    pub(super) const STATE_BYTES: usize = size_of::<Conn>();

    /// The services of these places, whose listeners are in the same order, one for each port.
    pub(crate) fn new(listens: &[Listen], clock: WallClock) -> Self {
        let site = |listen: &Listen| Site {
            service: listen.service,
            stats: SiteStats::default(),
            http: match listen.service {
                Service::Http(options) => Some(HttpSite::new(options)),
                _ => None,
            },
            proxy: listen.proxy,
        };
        // There are no more places than listeners, and those are at most 65,535: the configuration is valid.
        let of_ports = |(index, listen): (usize, &Listen)| vec![index as u16; listen.port_count()];
        Self {
            sites: listens.iter().map(site).collect(),
            site_of_listener: listens.iter().enumerate().flat_map(of_ports).collect(),
            wall: Wall::new(clock),
            http: HttpShared::new(),
            origins: Origins::default(),
            started: false,
            draining: false,
        }
    }

    /// The counts of each place, in the order of the command line.
    pub(crate) fn stats(&self) -> impl Iterator<Item = SiteStats> {
        self.sites.iter().map(|site| site.stats)
    }

    /// The counters of listeners, added for each place.
    pub(super) fn by_site(&self, count: impl Fn(ListenerId) -> u64) -> Vec<u64> {
        let mut sums = vec![0; self.sites.len()];
        for (listener, &site) in (0..).zip(&self.site_of_listener) {
            sums[usize::from(site)] += count(ListenerId(listener));
        }
        sums
    }

    /// The service on a listener.
    fn service_of(&self, listener: ListenerId) -> Option<Service> {
        let site = *self.site_of_listener.get(usize::from(listener.0))?;
        Some(self.sites.get(usize::from(site))?.service)
    }

    /// In the first turn: takes all memory that the services need.
    fn start<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>) {
        if !self.started {
            self.started = true;
            for http in self.sites.iter_mut().filter_map(|site| site.http.as_mut()) {
                http.register(cx);
            }
            if self
                .sites
                .iter()
                .any(|site| site.proxy.is_some() && site.http.is_some())
            {
                self.origins.reserve(cx);
            }
        }
    }

    /// The service of a connection begins: at once, or behind its header.
    fn begin<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, conn: ConnId, state: &mut Conn) {
        let Some(site) = self.sites.get_mut(usize::from(state.site)) else {
            return cx.abort(conn);
        };
        if let Some(http) = &site.http {
            self.http.begin(cx, conn, &mut state.http, http);
        }
        match site.service {
            Service::Chargen => chargen::run(cx, conn, state, &mut site.stats),
            Service::Daytime => {
                if daytime::run(cx, conn, &mut self.wall, &mut site.stats) {
                    linger::finish(cx, conn);
                    state.finished = true;
                } else {
                    cx.abort(conn);
                }
            }
            Service::Echo
            | Service::Http(_)
            | Service::Reset
            | Service::Discard
            | Service::NoRead
            | Service::NoAccept => {}
        }
    }

    /// Something has come to a connection whose service may not have begun yet.
    fn hear<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, conn: ConnId, state: &mut Conn) {
        if state.proxy.is_awaited() && !state.finished {
            let Some(site) = self.sites.get_mut(usize::from(state.site)) else {
                return cx.abort(conn);
            };
            let Some(versions) = site.proxy else {
                return cx.abort(conn);
            };
            let origins = site.http.is_some().then_some(&mut self.origins);
            let peer = (conn, state.peer_closed);
            if !proxy::read(
                cx,
                peer,
                versions,
                (&mut site.stats.proxy, origins),
                &mut state.proxy,
            ) {
                return;
            }
            self.begin(cx, conn, state);
        }
        self.go_on(cx, conn, state);
    }

    /// Something has changed that lets the service go on: bytes, room, or an end of what comes.
    fn go_on<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, conn: ConnId, state: &mut Conn) {
        let Some(site) = self.sites.get_mut(usize::from(state.site)) else {
            return cx.abort(conn);
        };
        let stats = &mut site.stats;
        if state.finished {
            stats.bytes_in += discard::run(cx, conn);
            if state.peer_closed {
                cx.close(conn);
            }
            return;
        }
        match (site.service, &mut site.http) {
            (Service::Http(_), Some(site)) => Server {
                cx,
                conn,
                site,
                stats,
                shared: &mut self.http,
                wall: &mut self.wall,
                origin: self.origins.get(state.proxy),
                draining: self.draining,
            }
            .run(state),
            (Service::Echo, _) => echo::run(cx, conn, state, stats, self.draining),
            (Service::NoRead, _) => {}
            (Service::Discard | Service::Chargen | Service::Daytime, _) => {
                stats.bytes_in += discard::run(cx, conn);
                if state.peer_closed {
                    cx.close(conn);
                } else if site.service == Service::Chargen {
                    chargen::run(cx, conn, state, stats);
                }
            }
            (Service::Reset | Service::NoAccept | Service::Http(_), _) => cx.abort(conn),
        }
    }
}

impl App for Services {
    type Conn = Conn;

    fn accepts_all(&self, listener: ListenerId) -> bool {
        self.service_of(listener) != Some(Service::NoAccept)
    }

    /// Of [`Service::NoAccept`], which leaves them there.
    fn on_accept_ready<N: Nic>(&mut self, _: &mut Cx<'_, N, Self::Conn>, _: ListenerId) {}

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, state: &mut Conn) {
        // A cookie can come back in the very first turn.
        self.start(cx);
        let site = cx
            .listener(conn)
            .and_then(|listener| self.site_of_listener.get(usize::from(listener.0)));
        let Some((&index, site)) =
            site.and_then(|index| Some((index, self.sites.get_mut(usize::from(*index))?)))
        else {
            return cx.abort(conn);
        };
        state.site = index;
        site.stats.opened();
        if site.proxy.is_some() {
            state.proxy = proxy::begin(cx, conn);
        } else {
            self.begin(cx, conn, state);
        }
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, state: &mut Conn) {
        self.hear(cx, conn, state);
    }

    fn on_writable<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Conn,
    ) {
        self.hear(cx, conn, state);
    }

    fn on_peer_closed<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Conn,
    ) {
        state.peer_closed = true;
        self.hear(cx, conn, state);
    }

    /// The peer has had its time: to end what we have finished, or to go on.
    fn on_timer<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, state: &mut Conn) {
        if state.finished {
            cx.close(conn);
        }
        if state.proxy.is_awaited() {
            let site = self.sites.get_mut(usize::from(state.site));
            return site.map_or((), |site| proxy::time_out(cx, conn, &mut site.stats.proxy));
        }
        let site = self.sites.get(usize::from(state.site));
        if let Some(http) = site.and_then(|site| site.http.as_ref()) {
            self.http.look(cx, conn, &mut state.http, http);
        }
    }

    fn on_close<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        state: &mut Conn,
        reason: CloseReason,
    ) {
        let was_idle = self.http.forget(&state.http);
        self.origins.remove(&mut state.proxy);
        if let Some(site) = self.sites.get_mut(usize::from(state.site)) {
            site.stats.closed(reason, cx.unacked_len(conn));
            site.stats.idle_closed += u64::from(was_idle);
        }
    }

    fn on_tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>) {
        self.start(cx);
    }

    /// Idle connections end now, others with what they are at.
    fn on_drain<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, state: &mut Conn) {
        self.draining = true;
        let service = self
            .sites
            .get(usize::from(state.site))
            .map(|site| site.service);
        let is_busy = match service {
            Some(Service::Http(_)) => !state.http.is_idle(),
            Some(Service::Echo) => !cx.peek(conn).is_empty(),
            _ => false,
        };
        if state.finished || state.proxy.is_awaited() || !is_busy {
            state.finished = true;
            cx.close(conn);
        }
    }
}

#[cfg(test)]
mod tests;
