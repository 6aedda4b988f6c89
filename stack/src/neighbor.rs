//! Which host answers at which link-layer address: the neighbour unreachability machine of RFC 4861 §7.3, for NDP and ARP
//! alike.
//!
//! It must never send (it returns what is to be asked), never read a clock, never grow: its capacity is fixed at
//! creation, and what strangers send can only displace what is unused.
//!
//! The order of calls for an outgoing frame: [`NeighborTable::resolve`]; when that has no answer yet, send the
//! solicitation that it names, if any, and leave the frame with [`NeighborTable::queue`]. Received ARP and NDP go to
//! [`NeighborTable::on_solicitation`] and [`NeighborTable::on_advertisement`], which give the frames back; every turn
//! of the loop calls [`NeighborTable::poll`]. Groups need no neighbour.

pub mod config;
mod entry;

pub use config::{MAX_NEIGHBORS, MAX_PENDING_FRAMES, NeighborConfig, NeighborConfigError};
pub use entry::NeighborState;

use core::net::IpAddr;
use core::time::Duration;

use arrayvec::ArrayVec;

use crate::time::Instant;
use crate::wire::MacAddr;
use crate::wire::vlan::VlanId;
use entry::{Entry, NEVER};

/// The key of a neighbour. The same address in another VLAN is on another link, so another neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Neighbor {
    /// Where it is.
    pub vlan: VlanId,
    /// Its address there.
    pub addr: IpAddr,
}

/// An ARP request or neighbour solicitation that the caller shall send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Solicit {
    /// Whom to ask about.
    pub neighbor: Neighbor,
    /// The known address to ask at; `None`: everybody (ARP broadcast, solicited-node group).
    pub to: Option<MacAddr>,
}

/// The answer of [`NeighborTable::resolve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Send to this address.
    Resolved(MacAddr),
    /// Send this solicitation; frames may wait ([`NeighborTable::queue`]).
    Solicit(Solicit),
    /// A solicitation is under way; frames may wait.
    Waiting,
    /// The table is full of neighbours in use. Nothing was asked.
    NoRoom,
}

/// Frames that waited for a neighbour, oldest first.
pub type Pending<F> = ArrayVec<F, MAX_PENDING_FRAMES>;

/// A neighbour has just become known: send what waited for it.
#[derive(Debug)]
pub struct ResolvedNeighbor<F> {
    /// Its IP address.
    pub neighbor: Neighbor,
    /// Its link-layer address.
    pub mac: MacAddr,
    /// The frames that waited for it.
    pub frames: Pending<F>,
}

/// A neighbour was found at another link-layer address than the one that it had: the old one was asked and kept silent, the
/// new one has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Its IP address.
    pub neighbor: Neighbor,
    /// Where a neighbour no longer answers.
    pub from: MacAddr,
    /// Where it is.
    pub to: MacAddr,
}

/// An action that [`NeighborTable::poll`] asks for.
#[derive(Debug)]
pub enum Action<F> {
    /// Send a solicitation.
    Solicit(Solicit),
    /// The neighbour doesn't answer (EHOSTUNREACH); the frames that waited for it can't be sent.
    Unreachable {
        /// Its IP address.
        neighbor: Neighbor,
        /// The frames that waited for it: to be dropped and counted.
        frames: Pending<F>,
    },
}

/// The contents of a neighbour advertisement or an ARP reply (RFC 4861 §4.4).
///
/// An ARP reply that was sent to our own link-layer address counts as solicited and overriding; any other ARP packet
/// that is not a request for us (gratuitous ARP, a broadcast reply) as unsolicited and overriding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertisement {
    /// The sender.
    pub neighbor: Neighbor,
    /// Its link-layer address, when it says it.
    pub mac: Option<MacAddr>,
    /// It answers us: a proof that it hears us.
    pub solicited: bool,
    /// A different address replaces the known one.
    pub overriding: bool,
}

/// The neighbours of one port, by VLAN and IP address of either family.
///
/// A new neighbour takes a free place. In a full table it takes the place of another one: a FAILED one; for a frame of ours
/// an INCOMPLETE one that was asked twice; the STALE one that was used least recently; for a frame of ours any INCOMPLETE
/// one, and at last the REACHABLE one that was used least recently. Neighbours in DELAY and PROBE keep their place, and so do
/// the gateways ([`NeighborTable::keep`]) once they were asked.
///
/// At most half of the places are INCOMPLETE, gateways not counted: addresses without anybody behind them can't crowd out those that answer (RFC
/// 6583 §6). When one more is to be asked, the one that was asked longest ago without an answer becomes FAILED at once.
#[derive(Debug)]
pub struct NeighborTable<F> {
    config: NeighborConfig,
    /// Neighbours that never give their place away.
    kept: Vec<Neighbor>,
    /// Neighbours that gave their place away, or were given up early, since [`NeighborTable::take_evictions`].
    evictions: u64,
    entries: Vec<Entry<F>>,
    /// The neighbour that was found elsewhere last, until [`NeighborTable::take_move`].
    moved: Option<Move>,
    /// Indices into `entries`, sorted by name. A peer that picks addresses can't make lookups slower.
    order: Vec<(Neighbor, u32)>,
    /// No deadline is earlier; it may be too early, never too late.
    next_deadline: Instant,
    random: u64,
}

impl<F> NeighborTable<F> {
    /// An empty table; all its memory is allocated here. `seed` randomises reachable times.
    ///
    /// # Errors
    /// [`NeighborConfigError`] names the value that is out of range.
    pub fn new(config: NeighborConfig, seed: u64) -> Result<Self, NeighborConfigError> {
        config.validate()?;
        Ok(Self {
            config,
            kept: Vec::new(),
            evictions: 0,
            moved: None,
            entries: Vec::with_capacity(config.capacity),
            order: Vec::with_capacity(config.capacity),
            next_deadline: NEVER,
            random: seed,
        })
    }

    /// Lets a neighbour keep its place whatever happens: for gateways, before the first frame. At most half of the places;
    /// more are ignored.
    pub fn keep(&mut self, neighbor: Neighbor) {
        //~ Gateways keep half of the places at most: -> `if true {`; half_of_the_places_are_kept_at_most
        if self.kept.len() < self.config.capacity / 2 {
            self.kept.push(neighbor);
        }
    }

    /// The address to send to, or what must happen first. Using a stale address starts the clock after which it is
    /// asked whether it still lives (RFC 4861 §7.3.3). Frames that waited for a neighbour that has to give way go to
    /// `displaced`: they are to be dropped and counted.
    pub fn resolve(
        &mut self,
        neighbor: Neighbor,
        now: Instant,
        mut displaced: impl FnMut(F),
    ) -> Resolution {
        self.expire_reachable(neighbor, now);
        let delay_first_probe = self.config.delay_first_probe;
        let Some(entry) = self.entry_mut(neighbor) else {
            return self.ask(neighbor, now, displaced);
        };
        entry.used = now;
        match entry.state {
            NeighborState::Reachable | NeighborState::Delay | NeighborState::Probe => {
                Resolution::Resolved(entry.mac)
            }
            NeighborState::Stale => {
                entry.enter(NeighborState::Delay, now + delay_first_probe);
                let mac = entry.mac;
                self.arm(now + delay_first_probe);
                Resolution::Resolved(mac)
            }
            NeighborState::Incomplete => Resolution::Waiting,
            NeighborState::Failed => self.ask(neighbor, now, &mut displaced),
        }
    }

    /// The address to send a frame to that is sent again for want of an answer, and whom to ask first. It was sent to `mac`
    /// before, where its connection has heard from not long ago; it never waits.
    ///
    /// Missing progress makes a neighbour doubtful (RFC 4861 §7.3.1): the known address is asked, then everybody.
    pub fn resolve_doubtful(
        &mut self,
        neighbor: Neighbor,
        mac: MacAddr,
        now: Instant,
        displaced: impl FnMut(F),
    ) -> (MacAddr, Option<Solicit>) {
        if self.entry_mut(neighbor).is_none()
            && let Some(entry) = self.create(neighbor, Purpose::OurFrame, now, displaced)
        {
            entry.mac = mac;
            entry.doubt(now);
            self.arm(now);
            return (mac, None);
        }
        self.expire_reachable(neighbor, now);
        let retransmit = self.config.retransmit;
        let Some(entry) = self.entry_mut(neighbor) else {
            return (mac, None);
        };
        entry.used = now;
        match entry.state {
            NeighborState::Incomplete => (mac, None),
            NeighborState::Failed => {
                let solicit = entry.ask_everybody(now + retransmit);
                self.arm(now + retransmit);
                (mac, Some(solicit))
            }
            // It has answered since from elsewhere.
            //~ A frame that is sent again goes where the neighbour answers:
            //~   `State::Reachable if entry.mac != mac => (entry.mac, None),`
            //~   -> `State::Reachable if entry.mac != mac => (mac, None),`;
            //~   a_frame_that_is_sent_again_asks_for_its_neighbour
            NeighborState::Reachable if entry.mac != mac => (entry.mac, None),
            _ => {
                let known = entry.mac;
                //~ A frame that is sent again goes at once, and asks: -> `if { let _ = retransmit; false } {`;
                //~   a_frame_that_is_sent_again_asks_for_its_neighbour
                if entry.may_be_doubted(retransmit, now) {
                    entry.doubt(now);
                    self.arm(now);
                }
                (known, None)
            }
        }
    }

    /// What was sent to `neighbor` was not answered: its known address is asked, then everybody (RFC 4861 §7.3.1), once a second at
    /// most. One without a known address is being asked for, or will be.
    pub fn doubt(&mut self, neighbor: Neighbor, now: Instant) {
        self.expire_reachable(neighbor, now);
        let retransmit = self.config.retransmit;
        let is_known = |entry: &&mut Entry<F>| {
            !matches!(
                entry.state,
                NeighborState::Incomplete | NeighborState::Failed
            )
        };
        if let Some(entry) = self.entry_mut(neighbor).filter(is_known)
            && entry.may_be_doubted(retransmit, now)
        {
            entry.doubt(now);
            self.arm(now);
        }
    }

    /// Asks everybody about a neighbour that is not known or FAILED.
    fn ask(
        &mut self,
        neighbor: Neighbor,
        now: Instant,
        mut displaced: impl FnMut(F),
    ) -> Resolution {
        self.bound_asked(&mut displaced);
        let deadline = now + self.config.retransmit;
        let entry = match self.find(neighbor) {
            Ok((_, index)) => self.entries.get_mut(index),
            Err(_) => self.create(neighbor, Purpose::OurFrame, now, displaced),
        };
        let Some(entry) = entry else {
            return Resolution::NoRoom;
        };
        let solicit = entry.ask_everybody(deadline);
        self.arm(deadline);
        Resolution::Solicit(solicit)
    }

    /// Leaves room for one more INCOMPLETE neighbour within their share.
    fn bound_asked(&mut self, displaced: impl FnMut(F)) {
        //~ Half of the neighbours are asked for at most: `(self.config.capacity / 2).max(1)` -> `usize::MAX`;
        //~   addresses_without_anybody_take_half_of_the_places_and_displace_each_other
        let share = (self.config.capacity / 2).max(1);
        let is_asked =
            |entry: &&Entry<F>| entry.state == NeighborState::Incomplete && !entry.is_kept;
        if self.entries.iter().filter(is_asked).count() < share {
            return;
        }
        let rank = |entry: &Entry<F>| match entry.state {
            NeighborState::Incomplete => rank_for_our_frame(entry),
            _ => None,
        };
        if let Some(index) = self.first_to_go(rank)
            && let Some(entry) = self.entries.get_mut(index)
        {
            entry.enter(NeighborState::Failed, NEVER);
            core::mem::take(&mut entry.pending)
                .into_iter()
                .for_each(displaced);
            self.evictions += 1;
        }
    }

    /// Leaves a frame to wait for `neighbor`. Gives back the frame that has no place: the oldest one when too many wait,
    /// or this one when no question was asked about `neighbor`.
    #[must_use = "the frame that has no place must be dropped and counted"]
    pub fn queue(&mut self, neighbor: Neighbor, frame: F) -> Option<F> {
        let limit = self.config.pending_frames;
        match self.entry_mut(neighbor) {
            Some(entry) if entry.state == NeighborState::Incomplete => {
                let oldest = if entry.pending.len() >= limit {
                    entry.pending.pop_at(0)
                } else {
                    None
                };
                match entry.pending.try_push(frame) {
                    Ok(()) => oldest,
                    // Can't be: there was room or room was made, and the limit is at most the capacity.
                    Err(refused) => Some(refused.element()),
                }
            }
            _ => Some(frame),
        }
    }

    /// An ARP request or neighbour solicitation from `neighbor` at `mac` was received. A neighbour that we don't know
    /// becomes one only when the request was `for_us` (RFC 826 "Packet Reception"; RFC 4861 §7.2.3): what it asks is
    /// about to be answered. A changed address makes the known one doubtful: anybody can send a request. An unchanged one
    /// proves nothing.
    pub fn on_solicitation(
        &mut self,
        neighbor: Neighbor,
        mac: MacAddr,
        for_us: bool,
        now: Instant,
    ) -> Option<ResolvedNeighbor<F>> {
        if !mac.is_unicast() {
            return None;
        }
        let entry = match self.entry_mut(neighbor) {
            Some(entry) => entry,
            None if for_us => {
                let entry = self.create(neighbor, Purpose::Stranger, now, drop)?;
                entry.mac = mac;
                entry.enter(NeighborState::Stale, NEVER);
                return None;
            }
            None => return None,
        };
        match entry.state {
            NeighborState::Incomplete | NeighborState::Failed => Some(entry.learn(mac)),
            _ if entry.mac == mac => None,
            _ => {
                self.on_claim(neighbor, now);
                None
            }
        }
    }

    /// Another host claims the address of a known neighbour. That alone proves nothing: it makes the known address doubtful,
    /// at most once in the time between two solicitations.
    fn on_claim(&mut self, neighbor: Neighbor, now: Instant) {
        let retransmit = self.config.retransmit;
        if let Some(entry) = self.entry_mut(neighbor)
            && entry.may_be_doubted(retransmit, now)
        {
            //~ A claim makes a neighbour doubtful; a_claim_is_checked_and_who_answers_from_the_known_address_stays
            entry.doubt(now);
            self.arm(now);
        }
    }

    /// A neighbour advertisement or an ARP reply was received (RFC 4861 §7.2.5). It never creates a neighbour.
    ///
    /// Where the RFC lets an overriding one replace the known address at once, here it has to be an answer to a question
    /// that the known address left unanswered: anything else only makes that address doubtful. [`NeighborTable::take_move`]
    /// says when a neighbour was found elsewhere.
    pub fn on_advertisement(
        &mut self,
        advertisement: Advertisement,
        now: Instant,
    ) -> Option<ResolvedNeighbor<F>> {
        let Advertisement {
            neighbor,
            mac,
            solicited,
            overriding,
        } = advertisement;
        let mac = mac.filter(|mac| mac.is_unicast());
        let reachable_until = now + self.random_reachable();
        let entry = self.entry_mut(neighbor)?;
        let from = entry.mac;
        let is_asked = matches!(
            entry.state,
            NeighborState::Incomplete | NeighborState::Failed
        );
        if is_asked {
            let (to, resolved) = (mac?, entry.learn(mac?));
            if solicited {
                entry.prove(reachable_until, now);
                self.arm(reachable_until);
                self.moved(neighbor, from, to);
            }
            return Some(resolved);
        }
        match mac.filter(|mac| *mac != from) {
            //~ A claim alone replaces no address: `&& entry.asks_everybody()` -> nothing;
            //~   a_claim_alone_redirects_no_connection
            Some(to) if overriding && solicited && entry.asks_everybody() => {
                entry.mac = to;
                entry.prove(reachable_until, now);
                self.arm(reachable_until);
                self.moved(neighbor, from, to);
            }
            Some(_) if overriding => self.on_claim(neighbor, now),
            // Another host claims the address: believe neither for long (RFC 4861 §7.2.5, case I).
            Some(_) if entry.state == NeighborState::Reachable => {
                entry.enter(NeighborState::Stale, NEVER);
            }
            Some(_) => {}
            None if solicited => {
                entry.prove(reachable_until, now);
                self.arm(reachable_until);
            }
            None => {}
        }
        None
    }

    fn moved(&mut self, neighbor: Neighbor, from: MacAddr, to: MacAddr) {
        if from != MacAddr::ZERO && from != to {
            self.moved = Some(Move { neighbor, from, to });
        }
    }

    /// The neighbour that was found elsewhere, if the last call found one.
    pub fn take_move(&mut self) -> Option<Move> {
        self.moved.take()
    }

    /// Lets deadlines pass and hands out what they ask for. One comparison when none has passed; otherwise one pass
    /// over the table, so at most one action a neighbour.
    pub fn poll(&mut self, now: Instant, mut act: impl FnMut(Action<F>)) {
        if now < self.next_deadline {
            return;
        }
        self.next_deadline = NEVER;
        for entry in &mut self.entries {
            if entry.deadline <= now
                && let Some(action) = entry.expire(&self.config, now)
            {
                act(action);
            }
            self.next_deadline = self.next_deadline.min(entry.deadline);
        }
    }

    /// When [`NeighborTable::poll`] has something to do at the earliest; `None` while no clock runs. It may be early.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.next_deadline == NEVER {
            None
        } else {
            Some(self.next_deadline)
        }
    }

    /// Neighbours that gave way to others before their time (FAILED ones have had theirs), since this was last called.
    pub fn take_evictions(&mut self) -> u64 {
        core::mem::take(&mut self.evictions)
    }

    /// Neighbours known, FAILED ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no neighbour is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Frames that wait, over all neighbours.
    #[must_use]
    pub fn pending_frames(&self) -> usize {
        self.entries.iter().map(|entry| entry.pending.len()).sum()
    }

    /// The entry of `neighbor`: its state, and its address where the state has one. For reports.
    #[must_use]
    pub fn get(&self, neighbor: Neighbor) -> Option<(NeighborState, Option<MacAddr>)> {
        let entry = self.entries.get(self.find(neighbor).ok()?.1)?;
        let has_mac = !matches!(
            entry.state,
            NeighborState::Incomplete | NeighborState::Failed
        );
        Some((entry.state, if has_mac { Some(entry.mac) } else { None }))
    }

    /// Place in `order` and in `entries`, or the place in `order` where it belongs.
    fn find(&self, neighbor: Neighbor) -> Result<(usize, usize), usize> {
        let place = self
            .order
            .binary_search_by(|(known, _)| known.cmp(&neighbor))?;
        self.order
            .get(place)
            .map(|(_, index)| (place, *index as usize))
            .ok_or(place)
    }

    fn entry_mut(&mut self, neighbor: Neighbor) -> Option<&mut Entry<F>> {
        let (_, index) = self.find(neighbor).ok()?;
        self.entries.get_mut(index)
    }

    /// A reachable neighbour whose time is over is stale at once, even when `poll` comes late.
    fn expire_reachable(&mut self, neighbor: Neighbor, now: Instant) {
        if let Some(entry) = self.entry_mut(neighbor)
            && entry.state == NeighborState::Reachable
            && entry.deadline <= now
        {
            entry.enter(NeighborState::Stale, NEVER);
        }
    }

    fn arm(&mut self, deadline: Instant) {
        self.next_deadline = self.next_deadline.min(deadline);
    }

    /// A new entry for an address that is not known, in a free place or in that of another one, whose frames go to `displaced`.
    fn create(
        &mut self,
        neighbor: Neighbor,
        purpose: Purpose,
        now: Instant,
        displaced: impl FnMut(F),
    ) -> Option<&mut Entry<F>> {
        let entry = Entry {
            neighbor,
            is_kept: self.kept.contains(&neighbor),
            mac: MacAddr::ZERO,
            state: NeighborState::Incomplete,
            deadline: NEVER,
            used: now,
            solicitations: 0,
            is_doubted: false,
            judged_at: Instant::ZERO,
            pending: Pending::new_const(),
        };
        let index = if self.entries.len() < self.config.capacity {
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            let index = match purpose {
                Purpose::OurFrame => self.first_to_go(rank_for_our_frame)?,
                Purpose::Stranger => self.first_to_go(rank_for_stranger)?,
            };
            let old = core::mem::replace(self.entries.get_mut(index)?, entry);
            if let Ok((place, _)) = self.find(old.neighbor) {
                self.order.remove(place);
            }
            self.evictions += u64::from(old.state != NeighborState::Failed);
            old.pending.into_iter().for_each(displaced);
            index
        };
        let Err(place) = self.find(neighbor) else {
            return self.entries.get_mut(index);
        };
        // At most MAX_NEIGHBORS, so it fits.
        self.order.insert(place, (neighbor, index as u32));
        self.entries.get_mut(index)
    }

    /// The neighbour with the least rank, and of those with the same the one that was used or asked least recently. Never one
    /// that is kept.
    fn first_to_go(&self, rank: impl Fn(&Entry<F>) -> Option<u8>) -> Option<usize> {
        let candidates = self.entries.iter().enumerate();
        //~ A gateway keeps its place: `!entry.is_kept` -> `true`;
        //~   addresses_without_anybody_take_half_of_the_places_and_displace_each_other
        candidates
            .filter(|(_, entry)| !entry.is_kept)
            .filter_map(|(index, entry)| {
                let since = match entry.state {
                    NeighborState::Incomplete => entry.deadline,
                    _ => entry.used,
                };
                Some((rank(entry)?, since, index))
            })
            .min()
            .map(|(_, _, index)| index)
    }

    /// Uniform between half and one and a half of the base (RFC 4861 §6.3.2), from a SplitMix64 step.
    fn random_reachable(&mut self) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.random;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let fraction = ((x ^ (x >> 31)) >> 40) as u32; // 24 bits
        let base = self.config.base_reachable;
        base / 2 + base.mul_f64(f64::from(fraction) / f64::from(1 << 24))
    }
}

/// For whom a place is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// We have a frame to send.
    OurFrame,
    /// A host spoke to us.
    Stranger,
}

/// Which neighbours give way to a frame of ours, the least first. A live neighbour answers within the first second.
fn rank_for_our_frame<F>(entry: &Entry<F>) -> Option<u8> {
    match entry.state {
        NeighborState::Failed => Some(0),
        //~ Silent neighbours go before stale ones;
        //~   the_silent_go_before_the_stale_and_the_stale_before_who_was_just_asked
        NeighborState::Incomplete if entry.solicitations > 1 => Some(1),
        NeighborState::Stale => Some(2),
        NeighborState::Incomplete => Some(3),
        NeighborState::Reachable => Some(4),
        NeighborState::Delay | NeighborState::Probe => None,
    }
}

/// Which neighbours give way to a stranger: the unused ones.
fn rank_for_stranger<F>(entry: &Entry<F>) -> Option<u8> {
    match entry.state {
        NeighborState::Failed => Some(0),
        NeighborState::Stale => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
