//! [`Listeners`]: which ports are open on which addresses, and what a SYN to them gets; some are opened and closed at run time.
//!
//! It must never cost more than a bit test for a port without a listener: that is the path of a SYN flood on closed
//! ports.

use core::fmt;

use crate::local::addresses::{LocalAddrs, LocalId, LocalPrefix};
use crate::tcp::profile::ProfileId;

/// How a listener treats a SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SynPolicy {
    /// An embryo while there is room, then the SYN is dropped.
    Embryo,
    /// An embryo while there is room, then a SYN cookie (RFC 4987 §3.6): the default, as on Linux.
    #[default]
    CookieWhenFull,
    /// Always a SYN cookie, never state before the handshake is complete.
    CookieAlways,
    /// Every SYN is dropped, as by a firewall in front of an open port.
    Drop,
    /// Every SYN is reset, though other segments are treated as a listener's.
    Rst,
}

/// One open port as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The address, or all of our addresses within a prefix, or `None` for all of ours (both families).
    pub address: Option<LocalPrefix>,
    /// The port, 1 to 65535.
    pub port: u16,
    /// How a SYN is treated.
    pub policy: SynPolicy,
    /// Embryos of this listener per worker; established connections that wait to be accepted may be one more (as on
    /// Linux).
    pub backlog: u32,
    /// An embryo whose final ACK meets a full accept queue is reset. Otherwise it stays, and its SYN-ACK is sent again. New SYNs
    /// are dropped while the queue is full, whatever this says (as with Linux's `tcp_abort_on_overflow`).
    pub abort_on_overflow: bool,
    /// The profile that its connections begin with.
    pub profile: ProfileId,
}

impl ListenerConfig {
    /// A listener on all addresses, with a backlog of 128 that drops what is too much.
    #[must_use]
    pub const fn new(port: u16, policy: SynPolicy) -> Self {
        Self {
            address: None,
            port,
            policy,
            backlog: 128,
            abort_on_overflow: false,
            profile: ProfileId::DEFAULT,
        }
    }
}

/// The number of a listener: those of the configuration come first, in its order, then those of
/// [`Cx::listen`](crate::worker::app::Cx::listen). No number is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u16);

/// The listeners can't be used as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenersError {
    /// Port 0 can't be listened on.
    PortZero,
    /// Two listeners want the same port of the same address or prefix.
    Twice {
        /// The address or prefix, or `None` for all.
        address: Option<LocalPrefix>,
        /// The port.
        port: u16,
    },
    /// The address isn't ours, or nothing of the prefix is.
    NotLocal(LocalPrefix),
    /// More than 65,535 listeners, those that were closed included.
    TooMany,
}

impl fmt::Display for ListenersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortZero => write!(f, "port 0 can't be listened on; give 1 to 65535"),
            Self::Twice {
                address: Some(address),
                port,
            } => {
                write!(f, "two listeners on {address} port {port}; remove one")
            }
            Self::Twice {
                address: None,
                port,
            } => write!(f, "two listeners on port {port}; remove one"),
            Self::NotLocal(address) => {
                write!(
                    f,
                    "can't listen on {address}: it is not one of our addresses; add it with --ip or --prefix"
                )
            }
            Self::TooMany => write!(f, "more than 65535 listeners in one run; give fewer"),
        }
    }
}

impl core::error::Error for ListenersError {}

/// A run of addresses of ours on which a port is open.
#[derive(Debug, Clone, Copy)]
struct Place {
    port: u16,
    first: LocalId,
    last: LocalId,
    /// Length of the prefix, -1 for all addresses: the longer one wins.
    prefix_len: i16,
    listener: ListenerId,
}

/// All listeners of an endpoint. A listener on one address wins over one on a prefix, a longer prefix over a shorter one,
/// and one on all addresses comes last.
#[derive(Debug, Clone)]
pub struct Listeners {
    /// By number; `None` for one that was closed.
    configs: Vec<Option<ListenerConfig>>,
    /// One bit per port: there is a listener on it on some address. 8 KiB, so the test of random ports stays in L1.
    open_ports: Box<[u64; 1024]>,
    /// For an open port, where its listeners start in `by_port`; only read for open ports.
    first_of_port: Box<[u16; 65_536]>,
    /// Sorted by port, then by length of the prefix, longest first.
    by_port: Vec<Place>,
    /// Ids of each VLAN: a place holds those of the first, and its port is open in all.
    ids_per_vlan: u16,
}

impl Listeners {
    /// Listeners as configured.
    ///
    /// # Errors
    /// [`ListenersError`] names the first that can't be.
    pub fn new(configs: &[ListenerConfig], locals: &LocalAddrs) -> Result<Self, ListenersError> {
        let mut listeners = Self {
            configs: Vec::with_capacity(configs.len()),
            open_ports: Box::new([0; 1024]),
            first_of_port: Box::new([0; 65_536]),
            by_port: Vec::with_capacity(configs.len()),
            // With 65,536 addresses there is but one VLAN.
            ids_per_vlan: u16::try_from(locals.len()).unwrap_or(0),
        };
        for config in configs {
            listeners.add(*config, locals)?;
        }
        listeners.index()?;
        Ok(listeners)
    }

    /// Opens a port.
    ///
    /// # Errors
    /// [`ListenersError`]; nothing has changed then.
    pub fn listen(
        &mut self,
        config: ListenerConfig,
        locals: &LocalAddrs,
    ) -> Result<ListenerId, ListenersError> {
        let id = self.add(config, locals)?;
        if let Err(error) = self.index() {
            self.configs.pop();
            self.by_port.retain(|place| place.listener != id);
            self.index()?;
            return Err(error);
        }
        Ok(id)
    }

    /// Closes a listener. False when there is none of this number.
    pub fn unlisten(&mut self, id: ListenerId) -> bool {
        let config = self.configs.get_mut(usize::from(id.0));
        if config.and_then(Option::take).is_none() {
            return false;
        }
        self.by_port.retain(|place| place.listener != id);
        // Those that are left differ as before.
        self.index().is_ok()
    }

    /// Adds a listener that no port leads to yet.
    fn add(
        &mut self,
        config: ListenerConfig,
        locals: &LocalAddrs,
    ) -> Result<ListenerId, ListenersError> {
        let number = u16::try_from(self.configs.len());
        let listener = ListenerId(number.map_err(|_| ListenersError::TooMany)?);
        let port = config.port;
        if port == 0 {
            return Err(ListenersError::PortZero);
        }
        let prefix_len = match &config.address {
            Some(prefix) => i16::from(prefix.prefix_len()),
            None => -1,
        };
        let places = ids(&config, locals)?.into_iter();
        self.by_port.extend(places.map(|(first, last)| Place {
            port,
            first,
            last,
            prefix_len,
            listener,
        }));
        self.configs.push(Some(config));
        Ok(listener)
    }

    /// Sorts the places and lets each open port lead to its own.
    fn index(&mut self) -> Result<(), ListenersError> {
        let by_port = &mut self.by_port;
        by_port.sort_by_key(|place| (place.port, -place.prefix_len, place.first));
        let is_same = |pair: &[Place]| {
            let key = |place: &Place| (place.port, place.prefix_len, place.first);
            key(&pair[0]) == key(&pair[1])
        };
        if let Some(pair) = by_port.windows(2).find(|pair| is_same(pair)) {
            let config = self.configs[usize::from(pair[1].listener.0)];
            return Err(ListenersError::Twice {
                address: config.and_then(|config| config.address),
                port: pair[1].port,
            });
        }
        if by_port.len() > usize::from(u16::MAX) {
            return Err(ListenersError::TooMany);
        }
        self.open_ports.fill(0);
        for (index, Place { port, .. }) in by_port.iter().enumerate().rev() {
            // At most 65,535 places, checked above.
            self.first_of_port[usize::from(*port)] = index as u16;
            self.open_ports[usize::from(port >> 6)] |= 1 << (port & 63);
        }
        Ok(())
    }

    /// The listener for a segment to `port` of `local`.
    #[must_use]
    #[inline]
    pub fn find(&self, local: LocalId, port: u16) -> Option<ListenerId> {
        if self.open_ports[usize::from(port >> 6)] >> (port & 63) & 1 == 0 {
            return None;
        }
        self.find_open(local, port)
    }

    #[inline]
    fn find_open(&self, local: LocalId, port: u16) -> Option<ListenerId> {
        let start = usize::from(self.first_of_port[usize::from(port)]);
        // Mostly a port has one listener, on all addresses: the first place is its. An id of another VLAN than the first
        // is beyond all others.
        match self.by_port.get(start) {
            Some(first) if first.first <= local && local <= first.last => Some(first.listener),
            _ => self.search(local, port, start),
        }
    }

    #[inline(never)]
    fn search(&self, local: LocalId, port: u16, start: usize) -> Option<ListenerId> {
        //~ A listener's address is one in every VLAN:
        //~   `LocalId(local.0.checked_rem(self.ids_per_vlan).unwrap_or(local.0))` -> `local`;
        //~   a_port_is_open_in_every_vlan
        let local = LocalId(local.0.checked_rem(self.ids_per_vlan).unwrap_or(local.0));
        self.by_port[start..]
            .iter()
            .take_while(|place| place.port == port)
            .find(|place| (place.first..=place.last).contains(&local))
            .map(|place| place.listener)
    }

    /// The configuration of a listener; `None` when it was closed, or there never was one of this number.
    #[must_use]
    #[inline]
    pub fn config(&self, id: ListenerId) -> Option<&ListenerConfig> {
        self.configs.get(usize::from(id.0))?.as_ref()
    }

    /// All open listeners, by number.
    pub fn open(&self) -> impl Iterator<Item = (ListenerId, &ListenerConfig)> {
        // No more listeners than numbers for them.
        let numbered = self.configs.iter().enumerate();
        numbered.filter_map(|(index, config)| Some((ListenerId(index as u16), config.as_ref()?)))
    }
}

/// The addresses of a listener, as runs of ids.
fn ids(
    config: &ListenerConfig,
    locals: &LocalAddrs,
) -> Result<Vec<(LocalId, LocalId)>, ListenersError> {
    let Some(prefix) = &config.address else {
        return Ok(vec![(LocalId(0), LocalId(u16::MAX))]);
    };
    let ids = locals.ids_within(prefix);
    if ids.is_empty() {
        return Err(ListenersError::NotLocal(*prefix));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::local::addresses::LocalPrefix;
    use crate::wire::vlan::VlanId;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 3));

    fn locals() -> LocalAddrs {
        let hosts = [A, B].map(host);
        LocalAddrs::new(&hosts).expect("two hosts")
    }

    fn host(address: IpAddr) -> LocalPrefix {
        LocalPrefix::host(address).expect("a host")
    }

    fn listener(address: Option<IpAddr>, port: u16) -> ListenerConfig {
        ListenerConfig {
            address: address.map(host),
            port,
            policy: SynPolicy::default(),
            backlog: 1,
            abort_on_overflow: false,
            profile: ProfileId::DEFAULT,
        }
    }

    #[test]
    fn the_exact_address_wins_over_all_addresses_whatever_the_order() {
        let locals = locals();
        let [a, b] = [A, B].map(|address| locals.find(VlanId::UNTAGGED, address).expect("ours"));
        for swap in [false, true] {
            let mut configs = vec![
                listener(None, 80),
                listener(Some(A), 80),
                listener(Some(B), 81),
            ];
            if swap {
                configs.reverse();
            }
            let listeners = Listeners::new(&configs, &locals).expect("no conflict");
            let find = |local, port| {
                listeners
                    .find(local, port)
                    .and_then(|id| listeners.config(id).copied())
            };
            assert_eq!(find(a, 80), Some(listener(Some(A), 80)));
            assert_eq!(find(b, 80), Some(listener(None, 80)));
            assert_eq!(find(b, 81), Some(listener(Some(B), 81)));
            assert_eq!(find(a, 81), None);
            for port in (0..=u16::MAX).filter(|port| !(80..=81).contains(port)) {
                assert_eq!(find(a, port), None);
            }
        }
    }

    #[test]
    fn a_longer_prefix_wins_and_addresses_outside_of_all_get_nothing() {
        let prefix = |text: &str, len| {
            LocalPrefix::new(text.parse().expect("an address"), len).expect("a prefix")
        };
        let locals = LocalAddrs::new(&[host(A), prefix("198.18.64.0", 24)]).expect("apart");
        let of_prefix = |text, len| ListenerConfig {
            address: Some(prefix(text, len)),
            ..listener(None, 80)
        };
        // The second covers part of the first, the third both, and `A` too.
        let configs = vec![
            of_prefix("198.18.64.0", 24),
            of_prefix("198.18.64.128", 25),
            of_prefix("198.18.0.0", 16),
            listener(Some(A), 81),
        ];
        let listeners = Listeners::new(&configs, &locals).expect("no conflict");
        for (address, port, id) in [
            ("198.18.64.127", 80, Some(0)),
            ("198.18.64.128", 80, Some(1)),
            ("198.18.0.2", 80, Some(2)),
            ("198.18.0.2", 81, Some(3)),
            ("198.18.64.1", 81, None),
        ] {
            let local = locals.find(VlanId::UNTAGGED, address.parse().expect("an address"));
            let found = listeners.find(local.expect("ours"), port);
            assert_eq!(found, id.map(ListenerId), "{address} {port}");
        }
    }

    #[test]
    fn a_port_is_open_in_every_vlan() {
        let vlans = [6, 0, 5].map(VlanId);
        let locals = LocalAddrs::in_vlans(&[host(A), host(B)], &vlans).expect("two hosts");
        let configs = vec![listener(Some(B), 80), listener(None, 81)];
        let listeners = Listeners::new(&configs, &locals).expect("no conflict");
        for vlan in vlans {
            let [a, b] = [A, B].map(|address| locals.find(vlan, address).expect("ours"));
            assert_eq!(listeners.find(a, 80), None, "{vlan}");
            assert_eq!(listeners.find(b, 80), Some(ListenerId(0)), "{vlan}");
            assert_eq!(listeners.find(a, 81), Some(ListenerId(1)), "{vlan}");
        }
    }

    #[test]
    fn ports_open_and_close_at_run_time_and_no_number_comes_twice() {
        let locals = locals();
        let a = locals.find(VlanId::UNTAGGED, A).expect("ours");
        let configs = [listener(None, 80), listener(None, 81)];
        let mut listeners = Listeners::new(&configs, &locals).expect("no conflict");
        let added = listeners.listen(listener(Some(A), 80), &locals);
        assert_eq!(added, Ok(ListenerId(2)));
        assert_eq!(listeners.find(a, 80), Some(ListenerId(2)), "the address");
        assert!(listeners.unlisten(ListenerId(2)));
        assert_eq!(listeners.find(a, 80), Some(ListenerId(0)), "all addresses");
        assert!(!listeners.unlisten(ListenerId(2)), "once");
        assert!(!listeners.unlisten(ListenerId(3)), "never there");
        assert!(listeners.unlisten(ListenerId(0)));
        assert_eq!(listeners.find(a, 80), None);
        assert_eq!(listeners.find(a, 81), Some(ListenerId(1)));
        let twice = listeners.listen(listener(None, 81), &locals);
        let address = None;
        let port = 81;
        assert_eq!(twice, Err(ListenersError::Twice { address, port }));
        assert_eq!(listeners.find(a, 81), Some(ListenerId(1)), "as before");
        assert_eq!(
            listeners.listen(listener(None, 80), &locals),
            Ok(ListenerId(3))
        );
        let open: Vec<u16> = listeners.open().map(|(id, _)| id.0).collect();
        assert_eq!(open, [1, 3]);
        assert_eq!(listeners.config(ListenerId(0)), None);
    }

    #[test]
    fn conflicts_and_strangers_are_refused() {
        let stranger = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 9));
        let error = |configs: Vec<ListenerConfig>| {
            Listeners::new(&configs, &locals()).expect_err("refused")
        };
        assert_eq!(error(vec![listener(None, 0)]), ListenersError::PortZero);
        assert_eq!(
            error(vec![listener(Some(stranger), 1)]),
            ListenersError::NotLocal(host(stranger))
        );
        assert_eq!(
            error(vec![listener(Some(A), 80), listener(Some(A), 80)]),
            ListenersError::Twice {
                address: Some(host(A)),
                port: 80
            }
        );
        assert_eq!(
            error(vec![listener(None, 80), listener(None, 80)]),
            ListenersError::Twice {
                address: None,
                port: 80
            }
        );
    }
}
