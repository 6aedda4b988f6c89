//! [`Analysis`]: a capture as it is read: frames go to their connections, connections into the table, and what doesn't fit into
//! it into sums.
//!
//! It must never hold more connections than its limit, whatever the capture holds.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;

use foldhash::fast::RandomState;

use crate::capture::Frame;
use crate::connection::Connection;
use crate::dissect::{Content, Endpoint, IcmpError, NeighborFrame, TcpFrame, dissect};
use crate::link_type::LinkType;
use crate::neighbors::Neighbors;
use crate::rows::{RowEvent, Rows};
use crate::servers::Servers;
use crate::side::End;
use crate::situation::Situation;
use crate::verdict::{Surroundings, Verdict, judge};

/// ARP and NDP frames that are remembered for connections that begin behind them.
const RECENT_NEIGHBORS: usize = 64;
/// SYNs that are remembered for ICMP errors whose quote was cut off.
const RECENT_SYNS: usize = 64;
/// Connections up to which each ladder shows ARP and NDP.
const NEIGHBOR_ROWS_UP_TO: usize = 256;

/// Of which connections ladders are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ladders {
    /// Of none.
    None,
    /// Of the one with this number.
    One(u64),
    /// Of each, up to this number of connections.
    Each(u64),
}

/// The limits of an analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections in the table, about 1.5 KB each.
    pub connections: usize,
    /// Ladders.
    pub ladders: Ladders,
    /// Lines of a ladder at its beginning, and again at its end.
    pub rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 65_536,
            ladders: Ladders::None,
            rows: 100,
        }
    }
}

/// Which connection a segment belongs to, in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    vlan: u16,
    low: Endpoint,
    high: Endpoint,
}

impl Key {
    fn new(vlan: u16, a: Endpoint, b: Endpoint) -> Self {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        Self { vlan, low, high }
    }
}

/// Frames by what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FrameCounts {
    /// All of them.
    pub all: u64,
    /// TCP segments.
    pub tcp: u64,
    /// ARP and NDP.
    pub neighbor: u64,
    /// ICMP errors about TCP.
    pub icmp: u64,
    /// Fragments of IP packets.
    pub fragments: u64,
    /// Of other protocols, or of link types that aren't read.
    pub other: u64,
    /// Too short, or with lengths that contradict each other.
    pub unreadable: u64,
}

/// A capture as it is read.
#[derive(Debug)]
pub struct Analysis {
    limits: Limits,
    by_key: HashMap<Key, usize, RandomState>,
    /// Connections; the places of those that left the table are empty.
    slots: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    /// Connections whose ports another one uses by now.
    ended: Vec<Connection>,
    summed: BTreeMap<Situation, u64>,
    neighbors: Neighbors,
    recent_neighbors: VecDeque<(u64, NeighborFrame)>,
    recent_syns: VecDeque<(Key, IpAddr)>,
    servers: Servers,
    frames: FrameCounts,
    connections: u64,
    first_ns: Option<u64>,
    last_ns: u64,
    link: Option<LinkType>,
}

/// A connection with what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// The connection.
    pub connection: &'a Connection,
    /// Its verdict.
    pub verdict: Verdict,
}

impl Analysis {
    /// Nothing read yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: Limits {
                connections: limits.connections.max(16),
                ..limits
            },
            by_key: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            ended: Vec::new(),
            summed: BTreeMap::new(),
            neighbors: Neighbors::default(),
            recent_neighbors: VecDeque::new(),
            recent_syns: VecDeque::new(),
            servers: Servers::default(),
            frames: FrameCounts::default(),
            connections: 0,
            first_ns: None,
            last_ns: 0,
            link: None,
        }
    }

    /// Takes the next frame.
    pub fn take(&mut self, frame: &Frame<'_>) {
        self.frames.all += 1;
        self.link = self.link.or(frame.link);
        self.first_ns.get_or_insert(frame.at_ns);
        self.last_ns = self.last_ns.max(frame.at_ns);
        match dissect(frame) {
            Content::Tcp(segment) => {
                self.frames.tcp += 1;
                self.take_segment(frame.at_ns, &segment);
            }
            Content::Neighbor(neighbor) => {
                self.frames.neighbor += 1;
                self.take_neighbor(frame.at_ns, &neighbor);
            }
            Content::Icmp(error) => {
                self.frames.icmp += 1;
                self.take_icmp(frame.at_ns, &error);
            }
            Content::Fragment => self.frames.fragments += 1,
            Content::Other => self.frames.other += 1,
            Content::Unreadable => self.frames.unreadable += 1,
        }
    }

    fn take_segment(&mut self, at_ns: u64, segment: &TcpFrame) {
        self.neighbors.is_alive(segment.src.ip);
        let key = Key::new(segment.vlan, segment.src, segment.dst);
        if segment.segment.flags.syn() {
            if self.recent_syns.len() == RECENT_SYNS {
                self.recent_syns.pop_front();
            }
            self.recent_syns.push_back((key, segment.src.ip));
        }
        let known = self.by_key.get(&key).copied();
        let slot = match known {
            Some(slot) if self.is_succeeded(slot, segment) => {
                if let Some(ended) = self.slots[slot].take() {
                    self.ended.push(*ended);
                }
                self.free.push(slot);
                self.begin(at_ns, key, segment)
            }
            Some(slot) => slot,
            None => self.begin(at_ns, key, segment),
        };
        if let Some(connection) = &mut self.slots[slot] {
            let was_open = connection.established_ns.is_some();
            connection.take(at_ns, segment);
            if !was_open && connection.established_ns.is_some() {
                self.servers
                    .established(connection.ends[End::Server as usize], at_ns);
            }
        }
    }

    fn is_succeeded(&self, slot: usize, segment: &TcpFrame) -> bool {
        self.slots[slot]
            .as_ref()
            .is_some_and(|connection| connection.is_succeeded_by(segment))
    }

    fn begin(&mut self, at_ns: u64, key: Key, segment: &TcpFrame) -> usize {
        if self.by_key.len() + self.ended.len() >= self.limits.connections {
            self.make_room();
        }
        self.connections += 1;
        let number = self.connections;
        let keeps_rows = match self.limits.ladders {
            Ladders::None => false,
            Ladders::One(chosen) => number == chosen,
            Ladders::Each(up_to) => number <= up_to,
        };
        let rows = Rows::keeping(if keeps_rows { self.limits.rows } else { 0 });
        let mut connection = Connection::beginning_with(number, at_ns, segment, rows);
        if segment.segment.flags.syn() {
            self.servers
                .attempted(connection.ends[End::Server as usize]);
        }
        if keeps_rows {
            for (at_ns, neighbor) in &self.recent_neighbors {
                push_neighbor(&mut connection, *at_ns, neighbor);
            }
        }
        let connection = Some(Box::new(connection));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = connection;
                slot
            }
            None => {
                self.slots.push(connection);
                self.slots.len() - 1
            }
        };
        self.by_key.insert(key, slot);
        slot
    }

    /// Judges the half of the connections that says least, and keeps only sums of them: half-open ones first, then those that
    /// ended well, the oldest of each first.
    fn make_room(&mut self) {
        let ended = std::mem::take(&mut self.ended);
        for connection in ended {
            self.sum(&connection);
        }
        let mut ranks: Vec<(u8, u64, usize)> = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(slot, connection)| {
                let connection = connection.as_ref()?;
                Some((interest(connection), connection.last_ns, slot))
            })
            .collect();
        let half = ranks.len() / 2;
        if half == 0 {
            return;
        }
        ranks.select_nth_unstable(half);
        for (_, _, slot) in &ranks[..half] {
            if let Some(connection) = self.slots[*slot].take() {
                let [client, server] = connection.ends;
                self.by_key
                    .remove(&Key::new(connection.vlan, client, server));
                self.sum(&connection);
                self.free.push(*slot);
            }
        }
    }

    fn sum(&mut self, connection: &Connection) {
        let verdict = judge(connection, self.surroundings());
        *self.summed.entry(verdict.situation).or_default() += 1;
    }

    fn take_neighbor(&mut self, at_ns: u64, neighbor: &NeighborFrame) {
        self.neighbors.take(at_ns, neighbor);
        if self.limits.ladders == Ladders::None {
            return;
        }
        if self.recent_neighbors.len() == RECENT_NEIGHBORS {
            self.recent_neighbors.pop_front();
        }
        self.recent_neighbors.push_back((at_ns, *neighbor));
        if self.by_key.len() <= NEIGHBOR_ROWS_UP_TO {
            for connection in self.slots.iter_mut().flatten() {
                push_neighbor(connection, at_ns, neighbor);
            }
        }
    }

    fn take_icmp(&mut self, at_ns: u64, error: &IcmpError) {
        self.neighbors.is_alive(error.reporter);
        let key = match error.ends {
            Some((src, dst)) => Some(Key::new(error.vlan, src, dst)),
            // It follows the segment that it quotes: the latest SYN of that host that has no other answer.
            None => self.latest_unanswered(error),
        };
        if let Some(slot) = key.and_then(|key| self.by_key.get(&key))
            && let Some(connection) = &mut self.slots[*slot]
        {
            connection.take_icmp(at_ns, error);
        }
    }

    fn latest_unanswered(&self, error: &IcmpError) -> Option<Key> {
        let is_waiting = |(key, src): &&(Key, IpAddr)| {
            let slot = self.by_key.get(key);
            let connection = slot.and_then(|slot| self.slots[*slot].as_ref());
            *src == error.receiver
                && key.vlan == error.vlan
                && connection.is_some_and(|connection| {
                    connection.side(End::Server).frames == 0 && connection.icmp.is_none()
                })
        };
        let latest = self.recent_syns.iter().rev().find(is_waiting);
        latest.map(|(key, _)| *key)
    }

    /// The surroundings that a verdict takes into account.
    #[must_use]
    pub const fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            end_ns: self.last_ns,
            neighbors: &self.neighbors,
            servers: &self.servers,
        }
    }

    /// The connections in the table with what became of them, in the order of their numbers.
    #[must_use]
    pub fn judged(&self) -> Vec<Judged<'_>> {
        let around = self.surroundings();
        let all = self.slots.iter().flatten().map(|slot| &**slot);
        let mut judged: Vec<Judged<'_>> = all
            .chain(&self.ended)
            .map(|connection| Judged {
                connection,
                verdict: judge(connection, around),
            })
            .collect();
        judged.sort_by_key(|judged| judged.connection.number);
        judged
    }

    /// Connections that left the table, by what became of them as far as was seen then.
    #[must_use]
    pub const fn summed(&self) -> &BTreeMap<Situation, u64> {
        &self.summed
    }

    /// Connections that began, all of them.
    #[must_use]
    pub const fn connections(&self) -> u64 {
        self.connections
    }

    /// Frames by what they were.
    #[must_use]
    pub const fn frames(&self) -> FrameCounts {
        self.frames
    }

    /// The time of the first frame, in ns since 1970.
    #[must_use]
    pub fn first_ns(&self) -> u64 {
        self.first_ns.unwrap_or_default()
    }

    /// The time of the last frame, in ns since 1970.
    #[must_use]
    pub const fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// The link type of the first frame, when it can be read.
    #[must_use]
    pub const fn link(&self) -> Option<LinkType> {
        self.link
    }

    /// Hosts that ARP and NDP asked for.
    #[must_use]
    pub const fn neighbors(&self) -> &Neighbors {
        &self.neighbors
    }

    /// The connections to each server, taken together.
    #[must_use]
    pub const fn servers(&self) -> &Servers {
        &self.servers
    }
}

/// How much a connection says: what is open or went wrong stays longest.
fn interest(connection: &Connection) -> u8 {
    if connection.rows.are_kept() {
        return 4;
    }
    match connection.reset {
        _ if connection.established_ns.is_none() && connection.saw_handshake => 0,
        None if connection.is_over() => 1,
        Some(_) => 2,
        None => 3,
    }
}

/// ARP and NDP for one of the ends.
fn push_neighbor(connection: &mut Connection, at_ns: u64, neighbor: &NeighborFrame) {
    if !connection.rows.are_kept() {
        return;
    }
    let [client, server] = connection.ends;
    // A question for the other end, or an answer of it.
    let from = if neighbor.is_request {
        match neighbor.target {
            target if target == server.ip => End::Client,
            target if target == client.ip => End::Server,
            _ => return,
        }
    } else {
        match neighbor.target {
            target if target == client.ip => End::Client,
            target if target == server.ip => End::Server,
            _ => return,
        }
    };
    connection.push_row(at_ns, from, RowEvent::Neighbor(*neighbor));
}
