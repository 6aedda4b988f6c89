//! The cache of paths to destinations: the path's MTU, and the link address that frames to it went to last and were
//! answered from. A bounded cache per worker.
//!
//! It must never grow, never believe more than its callers have checked, and never raise an MTU before its time.

use core::net::IpAddr;
use core::time::Duration;

use arrayvec::ArrayVec;

use crate::conn::connections::LinkPeer;
use crate::conn::{FlowHasher, FlowKey, TickMs};
use crate::local::addresses::LocalId;
use crate::neighbor::{Move, Neighbor};
use crate::time::Instant;
use crate::wire::ethernet::MacAddr;
use crate::wire::vlan::VlanId;

/// The least MTU that IPv4 paths are believed to have: what every host must be able to receive (RFC 791 §3.2). A router that
/// asks for less is not followed further, as in Linux (`min_pmtu`, 552 there).
pub const FLOOR_MTU_V4: u16 = 576;

/// The least MTU of an IPv6 path (RFC 8200 §5). An error that names less is discarded (RFC 8201 §4).
pub const FLOOR_MTU_V6: u16 = 1280;

/// How long a lowered MTU is believed before the larger one is tried again (RFC 1191 §6.3, RFC 8201 §5.3).
pub const MTU_LIFETIME: Duration = Duration::from_secs(600);

/// A neighbour that was heard from within this time, in ms, is believed to be there still (RFC 4861 §7.3.1: progress of a
/// connection confirms reachability; REACHABLE_TIME of §10).
pub const CONFIRMED_MS: u32 = 30_000;

/// MTUs that links had when RFC 1191 was written (§7), down to our floor: for routers that say none.
const PLATEAUS: [u16; 8] = [
    32_000,
    17_914,
    8_166,
    4_352,
    2_002,
    1_492,
    1_006,
    FLOOR_MTU_V4,
];

/// Places in which one destination may stand.
const WAYS: usize = 4;

/// A destination as the link sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// The VLAN in which the next hop is.
    pub vlan: VlanId,
    /// The address.
    pub address: IpAddr,
}

/// The fate of a link address that a connection has kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkMove {
    /// This is where its frames go.
    Known(MacAddr),
    /// More neighbours moved since than are remembered: it has to be resolved anew.
    Forgotten,
}

/// Moves of neighbours that are remembered for connections that have not asked since.
const MOVES_MAX: usize = 16;

/// The MTU that a "fragmentation needed" or "packet too big" leaves a path to `destination` that carried `known` bytes until
/// now. `claimed` is what the error names, 0 when nothing (routers older than RFC 1191); `quoted_len` is the length of the
/// packet that it quotes. `None` when the error is not to be believed: it raises, it names what the packet didn't exceed, or
/// what no path of the family has.
#[must_use]
pub fn lowered_mtu(destination: IpAddr, claimed: u32, quoted_len: u32, known: u16) -> Option<u16> {
    let mtu = match destination {
        //~ A router that names no MTU means the next plateau: -> `IpAddr::V4(_) if false => {`;
        //~   a_router_that_names_no_mtu_gets_the_next_plateau
        IpAddr::V4(_) if claimed == 0 => {
            let below = quoted_len.min(known.into());
            let plateau = PLATEAUS.into_iter().find(|&mtu| u32::from(mtu) < below);
            plateau.unwrap_or(FLOOR_MTU_V4)
        }
        //~ An error names less than the packet had; an_error_lowers_and_never_raises_and_no_further_than_the_floor
        _ if claimed >= quoted_len => return None,
        //~ The MTU of an IPv4 path falls no further than 576: `.max(FLOOR_MTU_V4)` -> nothing;
        //~   an_error_lowers_and_never_raises_and_no_further_than_the_floor
        IpAddr::V4(_) => u16::try_from(claimed).ok()?.max(FLOOR_MTU_V4),
        //~ An ICMPv6 error that names less than 1280 is discarded;
        //~   an_error_lowers_and_never_raises_and_no_further_than_the_floor
        IpAddr::V6(_) if claimed < FLOOR_MTU_V6.into() => return None,
        IpAddr::V6(_) => u16::try_from(claimed).ok()?,
    };
    //~ No error raises an MTU: -> `Some(mtu)`; an_error_lowers_and_never_raises_and_no_further_than_the_floor
    (mtu < known).then_some(mtu)
}

/// The least MTU of the family: what is left of a path that swallows more in silence.
#[must_use]
pub const fn floor_mtu(destination: IpAddr) -> u16 {
    match destination {
        IpAddr::V4(_) => FLOOR_MTU_V4,
        IpAddr::V6(_) => FLOOR_MTU_V6,
    }
}

/// The path to one destination.
#[derive(Debug, Clone, Copy)]
struct Entry {
    destination: Destination,
    /// 0 when nothing is known but the link's.
    mtu: u16,
    mtu_until: Instant,
    confirmed: Option<LinkPeer>,
}

impl Entry {
    const fn is_free(&self) -> bool {
        self.mtu == 0 && self.confirmed.is_none()
    }
}

const FREE: Entry = Entry {
    destination: Destination {
        vlan: VlanId::UNTAGGED,
        address: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
    },
    mtu: 0,
    mtu_until: Instant::ZERO,
    confirmed: None,
};

/// Nothing expires.
const NEVER: Instant = Instant::from_ns(u64::MAX);

/// The destination cache of one worker.
///
/// A destination stands in one of four places that its keyed hash chooses: no peer can push out the entry of another on
/// purpose. A newcomer takes a free place, else that of the destination without an MTU that was confirmed least recently,
/// else that of the MTU that ends first.
#[derive(Debug)]
pub struct Paths {
    sets: Box<[[Entry; WAYS]]>,
    hasher: FlowHasher,
    link_mtu: u16,
    epoch: u32,
    /// Entries with an MTU.
    mtus: u32,
    next_expiry: Instant,
    /// Neighbours that moved, the last ones, each with the epoch that it began.
    moves: ArrayVec<(u32, Move), MOVES_MAX>,
    /// There were more.
    has_forgotten: bool,
}

impl Paths {
    /// An empty cache for about `capacity` destinations on a link with this MTU; all its memory is taken here.
    #[must_use]
    pub fn new(capacity: u16, link_mtu: u16, hasher: FlowHasher) -> Self {
        let sets = usize::from(capacity).div_ceil(WAYS).max(1);
        Self {
            sets: vec![[FREE; WAYS]; sets].into_boxed_slice(),
            hasher,
            link_mtu,
            epoch: 0,
            mtus: 0,
            next_expiry: NEVER,
            moves: ArrayVec::new_const(),
            has_forgotten: false,
        }
    }

    /// Changes whenever something is learned or forgotten that connections may have asked for.
    #[must_use]
    #[inline]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether any path is known to carry less than the link.
    #[must_use]
    #[inline]
    pub const fn knows_mtus(&self) -> bool {
        self.mtus != 0
    }

    /// The largest IP packet that the path to this destination carries, as far as is known.
    #[must_use]
    pub fn mtu(&self, destination: Destination) -> u16 {
        match self.find(destination) {
            Some(entry) if entry.mtu != 0 => entry.mtu,
            _ => self.link_mtu,
        }
    }

    /// The path to this destination carries no more than `mtu` bytes, for ten minutes. What is known to be less stays.
    pub fn lower_mtu(&mut self, destination: Destination, mtu: u16, now: Instant) {
        if mtu >= self.mtu(destination) {
            return;
        }
        let until = now + MTU_LIFETIME;
        let entry = self.entry(destination);
        let is_first = entry.mtu == 0;
        (entry.mtu, entry.mtu_until) = (mtu, until);
        self.mtus += u32::from(is_first);
        self.next_expiry = self.next_expiry.min(until);
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Where frames to this destination go, if it was confirmed lately.
    #[must_use]
    pub fn link(&self, destination: Destination, now: Instant) -> Option<LinkPeer> {
        let confirmed = self.find(destination)?.confirmed?;
        let age_ms = TickMs::at(now).since(confirmed.heard_at);
        //~ A link address is believed for 30 s: -> `{ let _ = age_ms; Some(confirmed) }`;
        //~   a_link_address_is_believed_for_30_s
        (age_ms < CONFIRMED_MS).then_some(confirmed)
    }

    /// A connection made progress on the way over this link address (RFC 4861 §7.3.1).
    pub fn confirm(&mut self, destination: Destination, confirmed: LinkPeer) {
        self.entry(destination).confirmed = Some(confirmed);
    }

    /// A neighbour was found at another link-layer address. `next_hop` says over whom a destination is reached.
    pub fn on_move(&mut self, moved: Move, next_hop: impl Fn(Destination) -> Option<Neighbor>) {
        for entry in self.sets.as_flattened_mut() {
            if let Some(confirmed) = &mut entry.confirmed
                && confirmed.mac == moved.from
                && next_hop(entry.destination) == Some(moved.neighbor)
            {
                confirmed.mac = moved.to;
            }
        }
        self.epoch = self.epoch.wrapping_add(1);
        if self.moves.is_full() {
            self.moves.remove(0);
            self.has_forgotten = true;
        }
        self.moves.push((self.epoch, moved));
    }

    /// Where frames go now that went over `next_hop` at `mac` when the epoch was `since`.
    #[must_use]
    pub fn moves(&self, since: u32, mac: MacAddr, next_hop: Option<Neighbor>) -> LinkMove {
        let is_later = |epoch: u32| epoch.wrapping_sub(since).cast_signed() > 0;
        let oldest = self.moves.first();
        if self.has_forgotten && oldest.is_some_and(|(epoch, _)| is_later(*epoch)) {
            //~ After more moves than are remembered connections resolve anew;
            //~   more_moves_than_are_remembered_send_everybody_to_the_table
            return LinkMove::Forgotten;
        }
        let mut mac = mac;
        for (epoch, moved) in &self.moves {
            //~ Only connections over that neighbour at that address move:
            //~   `&& moved.from == mac && Some(moved.neighbor) == next_hop` -> nothing;
            //~   who_goes_over_a_neighbour_that_moved_goes_where_it_is_and_nobody_else
            if is_later(*epoch) && moved.from == mac && Some(moved.neighbor) == next_hop {
                mac = moved.to;
            }
        }
        LinkMove::Known(mac)
    }

    /// Lets lowered MTUs end whose time is over, and says how many did. One comparison when none has.
    #[inline]
    pub fn expire(&mut self, now: Instant) -> u64 {
        if now < self.next_expiry {
            return 0;
        }
        self.expire_due(now)
    }

    #[cold]
    fn expire_due(&mut self, now: Instant) -> u64 {
        self.next_expiry = NEVER;
        let mut ended = 0;
        for entry in self.sets.as_flattened_mut() {
            if entry.mtu == 0 {
                continue;
            }
            //~ A lowered MTU ends after ten minutes: -> `if true {`; an_mtu_ends_after_ten_minutes_and_the_epoch_tells
            if entry.mtu_until <= now {
                entry.mtu = 0;
                ended += 1;
            } else {
                self.next_expiry = self.next_expiry.min(entry.mtu_until);
            }
        }
        self.mtus -= ended;
        self.epoch = self.epoch.wrapping_add(1);
        ended.into()
    }

    /// When [`Paths::expire`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        (self.next_expiry != NEVER).then_some(self.next_expiry)
    }

    /// Destinations of which something is known.
    #[must_use]
    pub fn len(&self) -> usize {
        let known = |entry: &&Entry| !entry.is_free();
        self.sets.as_flattened().iter().filter(known).count()
    }

    /// Whether nothing is known of any destination.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn set(&self, destination: Destination) -> usize {
        // A key that no connection has: no port is 0. The VLAN stands where the local port would.
        let key = FlowKey::new(LocalId(0), destination.vlan.0, destination.address, 0);
        self.hasher.hash(&key).bucket(self.sets.len() as u32) as usize
    }

    fn find(&self, destination: Destination) -> Option<&Entry> {
        let set = self.sets.get(self.set(destination))?;
        let is_it = |entry: &&Entry| entry.destination == destination && !entry.is_free();
        set.iter().find(is_it)
    }

    /// The entry of this destination, or one that is made for it.
    fn entry(&mut self, destination: Destination) -> &mut Entry {
        let set = self.set(destination);
        let set = &mut self.sets[set];
        let known = set
            .iter()
            .position(|entry| entry.destination == destination && !entry.is_free());
        let place = known.unwrap_or_else(|| victim(set));
        let entry = &mut set[place];
        if known.is_none() {
            if entry.mtu != 0 {
                // Connections that it was true for find out again.
                self.mtus -= 1;
                self.epoch = self.epoch.wrapping_add(1);
            }
            *entry = Entry {
                destination,
                ..FREE
            };
        }
        entry
    }
}

/// Whose place a newcomer takes.
fn victim(set: &[Entry; WAYS]) -> usize {
    let rank = |entry: &Entry| match (entry.mtu, entry.confirmed) {
        (0, None) => (0, 0),
        (0, Some(confirmed)) => (1, u64::from(confirmed.heard_at.0)),
        _ => (2, entry.mtu_until.as_ns()),
    };
    let places = set.iter().enumerate();
    places
        .min_by_key(|(_, entry)| rank(entry))
        .map_or(0, |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    const T0: Instant = Instant::from_ms(1_000_000);
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn paths(capacity: u16) -> Paths {
        Paths::new(capacity, 1500, FlowHasher::new([1, 2]))
    }

    fn to(n: u32) -> Destination {
        Destination {
            vlan: VlanId::UNTAGGED,
            address: Ipv4Addr::from_bits(0xc612_0000 + n).into(),
        }
    }

    fn confirmed_at(now: Instant) -> LinkPeer {
        LinkPeer::new(MAC, TickMs::at(now))
    }

    #[test]
    fn an_error_lowers_and_never_raises_and_no_further_than_the_floor() {
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let lowered = |claimed, known| lowered_mtu(v4, claimed, 1500, known);
        assert_eq!(lowered(1400, 1500), Some(1400));
        assert_eq!(lowered(1400, 1400), None);
        assert_eq!(lowered(1401, 1400), None);
        assert_eq!(lowered(1500, 9000), None, "that packet would have fitted");
        assert_eq!(lowered(70_000, 9000), None);
        assert_eq!(lowered(577, 1500), Some(577));
        for below in [575, 68, 1] {
            assert_eq!(lowered(below, 1500), Some(FLOOR_MTU_V4));
            assert_eq!(lowered(below, FLOOR_MTU_V4), None);
        }
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let lowered = |claimed, known| lowered_mtu(v6, claimed, 1500, known);
        assert_eq!(lowered(1400, 1500), Some(1400));
        assert_eq!(lowered(1280, 1500), Some(1280));
        for below in [1279, 576, 0] {
            assert_eq!(lowered(below, 1500), None, "RFC 8201 §4: discard");
        }
        assert_eq!(lowered(1400, 1300), None);
    }

    /// RFC 1191 §5 and §7.1: routers of old say nothing, and the next plateau below the packet is tried.
    #[test]
    fn a_router_that_names_no_mtu_gets_the_next_plateau() {
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let lowered = |quoted_len, known| lowered_mtu(v4, 0, quoted_len, known);
        assert_eq!(lowered(9000, 9000), Some(8166));
        assert_eq!(lowered(1500, 9000), Some(1492));
        assert_eq!(lowered(1492, 1492), Some(1006));
        assert_eq!(lowered(1006, 1006), Some(FLOOR_MTU_V4));
        assert_eq!(lowered(FLOOR_MTU_V4.into(), FLOOR_MTU_V4), None);
        assert_eq!(lowered(70_000, 1492), Some(1006), "no more than is known");
        assert_eq!(lowered(20, 1500), Some(FLOOR_MTU_V4));
    }

    #[test]
    fn an_mtu_ends_after_ten_minutes_and_the_epoch_tells() {
        let mut paths = paths(64);
        assert_eq!((paths.mtu(to(1)), paths.next_deadline()), (1500, None));
        let epoch = paths.epoch();
        paths.lower_mtu(to(1), 1400, T0);
        assert_ne!(paths.epoch(), epoch);
        assert_eq!((paths.mtu(to(1)), paths.mtu(to(2))), (1400, 1500));
        let tagged = Destination {
            vlan: VlanId(5),
            ..to(1)
        };
        assert_eq!(paths.mtu(tagged), 1500, "another VLAN is another path");
        let epoch = paths.epoch();
        paths.lower_mtu(to(1), 1450, T0);
        assert_eq!((paths.mtu(to(1)), paths.epoch()), (1400, epoch));
        paths.lower_mtu(to(3), 1400, T0 + Duration::from_secs(5));
        let epoch = paths.epoch();
        let end = T0 + MTU_LIFETIME;
        assert_eq!(paths.next_deadline(), Some(end));
        assert_eq!(
            paths.expire(T0 + (MTU_LIFETIME - Duration::from_nanos(1))),
            0
        );
        assert_eq!((paths.mtu(to(1)), paths.epoch()), (1400, epoch));
        assert_eq!(paths.expire(end), 1);
        assert_eq!((paths.mtu(to(1)), paths.mtu(to(3))), (1500, 1400));
        assert_eq!(paths.next_deadline(), Some(end + Duration::from_secs(5)));
        assert_ne!(paths.epoch(), epoch);
        assert_eq!(paths.expire(end + Duration::from_secs(5)), 1);
        assert_eq!(paths.next_deadline(), None);
        assert!(paths.is_empty() && !paths.knows_mtus());
    }

    #[test]
    fn a_link_address_is_believed_for_30_s() {
        let mut paths = paths(64);
        paths.confirm(to(1), confirmed_at(T0));
        let later = T0 + Duration::from_millis(29_999);
        assert_eq!(paths.link(to(1), later), Some(confirmed_at(T0)));
        assert_eq!(paths.link(to(2), later), None);
        assert_eq!(paths.link(to(1), T0 + Duration::from_secs(30)), None);
    }

    fn neighbor(n: u32) -> Neighbor {
        Neighbor {
            vlan: VlanId::UNTAGGED,
            addr: to(n).address,
        }
    }

    #[test]
    fn who_goes_over_a_neighbour_that_moved_goes_where_it_is_and_nobody_else() {
        let elsewhere = MacAddr([2; 6]);
        let mut paths = paths(64);
        let (before, gateway) = (paths.epoch(), neighbor(9));
        paths.confirm(to(1), confirmed_at(T0));
        paths.confirm(to(2), confirmed_at(T0));
        let moved = Move {
            neighbor: gateway,
            from: MAC,
            to: elsewhere,
        };
        paths.on_move(moved, |to| {
            (to.address == neighbor(1).addr).then_some(gateway)
        });
        assert_eq!(paths.link(to(1), T0).map(|link| link.mac), Some(elsewhere));
        assert_eq!(paths.link(to(2), T0), Some(confirmed_at(T0)));
        let now_at = |since, mac, over| paths.moves(since, mac, over);
        assert_eq!(
            now_at(before, MAC, Some(gateway)),
            LinkMove::Known(elsewhere)
        );
        assert_eq!(
            now_at(paths.epoch(), MAC, Some(gateway)),
            LinkMove::Known(MAC)
        );
        assert_eq!(now_at(before, MAC, Some(neighbor(2))), LinkMove::Known(MAC));
        let other = MacAddr([6; 6]);
        assert_eq!(now_at(before, other, Some(gateway)), LinkMove::Known(other));
    }

    #[test]
    fn more_moves_than_are_remembered_send_everybody_to_the_table() {
        let mut paths = paths(64);
        let before = paths.epoch();
        for n in 0..=MOVES_MAX as u32 {
            assert_eq!(paths.moves(before, MAC, None), LinkMove::Known(MAC), "{n}");
            let moved = Move {
                neighbor: neighbor(n),
                from: MacAddr([2; 6]),
                to: MacAddr([4; 6]),
            };
            paths.on_move(moved, |_| None);
        }
        assert_eq!(paths.moves(before, MAC, None), LinkMove::Forgotten);
        assert_eq!(paths.moves(paths.epoch(), MAC, None), LinkMove::Known(MAC));
    }

    /// It never grows; and of what it has to forget, MTUs go last.
    #[test]
    fn a_full_cache_forgets_link_addresses_first_and_the_oldest_of_them() {
        let mut paths = paths(4);
        paths.lower_mtu(to(0), 1400, T0);
        for n in 1..100u64 {
            paths.confirm(to(n as u32), confirmed_at(T0 + Duration::from_millis(n)));
        }
        assert_eq!(paths.len(), 4);
        assert_eq!(paths.mtu(to(0)), 1400);
        let later = T0 + Duration::from_millis(100);
        let known: Vec<u32> = (1..100)
            .filter(|&n| paths.link(to(n), later).is_some())
            .collect();
        assert_eq!(known, [97, 98, 99]);
        for n in 1..5u64 {
            paths.lower_mtu(to(200 + n as u32), 1300, T0 + Duration::from_millis(n));
        }
        assert_eq!(paths.len(), 4);
        assert_eq!(
            paths.mtu(to(0)),
            1500,
            "the one that would have ended first"
        );
        assert_eq!(paths.mtu(to(204)), 1300);
        assert_eq!(
            paths.expire(T0 + MTU_LIFETIME + Duration::from_millis(4)),
            4
        );
        assert_eq!((paths.mtu(to(204)), paths.next_deadline()), (1500, None));
    }
}
