//! [`Story`]: a recording, read: one [`Row`] for each thing that a ladder shows, with what both ends were in then.
//!
//! It must never judge or print.

// The meaning of a segment beyond its flags.
mod marks;

use std::collections::BTreeMap;

use stack::neighbor;
use stack::seq::SeqNum;
use stack::tcp::lang::Base;
use stack::tcp::segment::{Segment, SegmentOptions};
use stack::tcp::state::State;
use stack::wire::{self, Network, Transport, arp, icmp, icmpv6, ndp};

use super::network::IcmpCode;
use super::recording::{Event, Fate, RecordedEvent, Recording};
use super::scenario::{CLIENT_PORT, Cast, Client, End, Observation, Server};
use marks::Marks;

/// A scene as it is printed.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    /// The TCPs that played.
    pub(crate) cast: Cast,
    /// The events, in order of time.
    pub(crate) rows: Vec<Row>,
    /// Whether there was more than one connection, so that each must be named.
    pub(crate) has_several_connections: bool,
}

/// One thing that happened, with the state of the connection that it is about at both ends afterwards.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// When, in ns from the start of the scene.
    pub(crate) at_ns: u64,
    /// What.
    pub(crate) what: StoryEvent,
    /// The connection that it is about; 0 before there is one.
    pub(crate) conn: u16,
    /// At the client.
    pub(crate) client: &'static str,
    /// At the server.
    pub(crate) server: &'static str,
}

/// The content of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StoryEvent {
    /// A TCP segment.
    Segment(SegmentInFlight),
    /// Another frame: ARP, NDP, ICMP.
    Packet {
        /// By whom.
        from: End,
        /// In words.
        text: String,
        /// It asks for a link address, by ARP or NDP.
        is_solicitation: bool,
        /// Why it didn't arrive.
        lost: Option<&'static str>,
    },
    /// A call of an application.
    Calls(End, String),
    /// An event that an application saw.
    Sees(End, Observation),
    /// A neighbour entry for the other end.
    Neighbor(End, Option<neighbor::NeighborState>),
    /// A host without power.
    PoweredOff(End),
    /// A host with power again.
    PoweredOn(End),
    /// A cable that was pulled, or plugged in again.
    Cable {
        /// Whose.
        side: End,
        /// Whether it is plugged in now.
        plugged: bool,
    },
    /// A machine that stands still, or goes on.
    Frozen(End, bool),
    /// The action of the network from now on.
    Network(String),
    /// So many rows that aren't shown.
    LeftOut(u64),
}

/// The mark of a segment that its sender never sent.
pub(crate) const FORGED: &str = "forged";

/// A TCP segment on its way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SegmentInFlight {
    /// By whom.
    pub(crate) from: End,
    /// Its numbers.
    pub(crate) segment: Segment,
    /// The numbers that they are relative to.
    pub(crate) base: Base,
    /// The same numbers were sent before.
    pub(crate) is_again: bool,
    /// Its meaning beyond its flags: forged, a probe, a window update, a delayed or duplicate ACK.
    pub(crate) mark: Option<&'static str>,
    /// The sender's neighbour entry for the other end.
    pub(crate) neighbor: Option<neighbor::NeighborState>,
    /// When it arrives, where that is much later than it left.
    pub(crate) arrives_at_ns: Option<u64>,
    /// Why it didn't arrive.
    pub(crate) lost: Option<&'static str>,
}

/// The state while a recording is read.
struct Reader<'a> {
    recording: &'a Recording,
    conn: u16,
    neighbors: [Option<neighbor::NeighborState>; 2],
    /// The ISS of client and server, by connection.
    iss: BTreeMap<u16, [SeqNum; 2]>,
    /// The sent segments, by side and connection.
    sent: BTreeMap<(u8, u16), Sent>,
    marks: Marks,
    /// Until when each end's states were printed: they never go back.
    told_until: [u64; 2],
}

/// Numbers that an end sent on a connection.
#[derive(Default)]
struct Sent {
    /// Of its last SYN, and whether that acknowledged.
    syn: Option<(SeqNum, bool)>,
    /// Behind the last one.
    next: Option<SeqNum>,
}

impl Story {
    /// Reads a recording that is in order.
    pub(crate) fn read(recording: &Recording) -> Self {
        let mut reader = Reader {
            recording,
            conn: 0,
            neighbors: [None; 2],
            iss: BTreeMap::new(),
            sent: BTreeMap::new(),
            marks: Marks::default(),
            told_until: [0; 2],
        };
        let rows: Vec<Row> = told(&recording.events)
            .filter_map(|event| reader.row(event))
            .collect();
        Self {
            cast: recording.cast,
            rows,
            has_several_connections: reader.iss.len() > 1,
        }
    }
}

/// Without what says the same as the next event: bytes that were received in several parts at the same time.
fn told(events: &[Event]) -> impl Iterator<Item = &Event> {
    let received = |event: &Event| match event.what {
        RecordedEvent::Sees {
            side,
            conn,
            seen: Observation::Received(_),
        } => Some((event.at_ns, side, conn)),
        _ => None,
    };
    let is_part = move |(n, event): &(usize, &Event)| {
        let next = events.get(n + 1).and_then(received);
        received(event).is_some_and(|this| next == Some(this))
    };
    let all = events.iter().enumerate();
    all.filter(move |numbered| !is_part(numbered))
        .map(|(_, event)| event)
}

impl Reader<'_> {
    fn row(&mut self, event: &Event) -> Option<Row> {
        // Until when the state of each end counts: a frame changes its receiver's when it arrives.
        let (mut until, mut from) = (event.at_ns, Client);
        let what = match &event.what {
            RecordedEvent::State { .. } | RecordedEvent::Listening(_) => return None,
            RecordedEvent::Frozen(side, is_frozen) => StoryEvent::Frozen(*side, *is_frozen),
            RecordedEvent::Network(what) => StoryEvent::Network(what.clone()),
            RecordedEvent::PoweredOff(side) => StoryEvent::PoweredOff(*side),
            RecordedEvent::PoweredOn(side) => StoryEvent::PoweredOn(*side),
            RecordedEvent::Cable { side, plugged } => StoryEvent::Cable {
                side: *side,
                plugged: *plugged,
            },
            // The server only answers: whom it knows decides nothing here.
            RecordedEvent::Neighbor(Server, _) => return None,
            RecordedEvent::Frame { bytes, .. } if is_group_report(bytes) => return None,
            RecordedEvent::Neighbor(side, state) => {
                self.neighbors[*side as usize] = *state;
                StoryEvent::Neighbor(*side, *state)
            }
            RecordedEvent::Calls { side, conn, call } => {
                // A call for no connection in particular, accept(), is about none of them.
                self.conn = *conn;
                StoryEvent::Calls(*side, call.clone())
            }
            RecordedEvent::Sees { side, conn, seen } => {
                self.conn = if *conn == 0 { self.conn } else { *conn };
                StoryEvent::Sees(*side, *seen)
            }
            RecordedEvent::Frame {
                from: sender,
                bytes,
                fate,
                is_forged,
            } => {
                from = *sender;
                if let Fate::Arrived(at_ns) = fate
                    && !is_late(event.at_ns, *fate)
                {
                    until = *at_ns;
                }
                self.frame(event.at_ns, *sender, bytes, (*fate, *is_forged))
            }
        };
        for side in [Client, Server] {
            let at = if side == from { event.at_ns } else { until };
            let told = &mut self.told_until[side as usize];
            *told = at.max(*told);
        }
        Some(Row {
            at_ns: event.at_ns,
            what,
            conn: self.conn,
            client: self.margin(Client),
            server: self.margin(Server),
        })
    }

    fn frame(
        &mut self,
        at_ns: u64,
        from: End,
        bytes: &[u8],
        (fate, is_forged): (Fate, bool),
    ) -> StoryEvent {
        let lost = match fate {
            Fate::Arrived(_) => None,
            Fate::Lost(why) => Some(why),
        };
        let packet = |text: String, is_solicitation| StoryEvent::Packet {
            from,
            text,
            is_solicitation,
            lost,
        };
        let parsed = match wire::parse(bytes) {
            Ok(parsed) => parsed,
            Err(defect) => {
                return packet(
                    format!("a frame that can't be read: {}", defect.name()),
                    false,
                );
            }
        };
        if let Some(tcp) = parsed.tcp() {
            let header = tcp.header;
            let client_port = match from {
                Client => header.src_port.get(),
                Server => header.dst_port.get(),
            };
            self.conn = client_port.saturating_sub(CLIENT_PORT);
            let segment = Segment {
                seq: SeqNum(header.seq.get()),
                ack: SeqNum(header.ack.get()),
                flags: header.flags,
                window: header.window.get(),
                urgent: header.urgent.get(),
                payload_len: tcp.payload.len() as u32,
                options: SegmentOptions::parse(tcp.options),
                is_stripped: false,
            };
            let named = (&segment, tcp.options);
            let mark = self.mark(from, named, at_ns, (fate, is_forged));
            return StoryEvent::Segment(SegmentInFlight {
                arrives_at_ns: arrival(fate).filter(|_| is_late(at_ns, fate)),
                mark,
                ..self.segment(from, segment, lost, is_forged)
            });
        }
        match parsed.network {
            Network::Arp(arp) => packet(arp_text(arp), arp.is_request()),
            Network::Ipv6 {
                packet: ip,
                transport: Transport::Icmpv6(icmp),
            } => match ndp::parse(ip.header, icmp) {
                Ok(message) => packet(
                    ndp_text(&message),
                    matches!(message, ndp::Message::NeighborSolicitation { .. }),
                ),
                Err(_) => packet(transport_text(Transport::Icmpv6(icmp)), false),
            },
            Network::Ipv4 { transport, .. } | Network::Ipv6 { transport, .. } => {
                packet(transport_text(transport), false)
            }
        }
    }

    /// The meaning of a segment beyond its flags.
    fn mark(
        &mut self,
        from: End,
        segment: (&Segment, &[u8]),
        at_ns: u64,
        (fate, is_forged): (Fate, bool),
    ) -> Option<&'static str> {
        if is_forged {
            return Some(FORGED);
        }
        let conn = self.conn;
        self.marks.of((from, conn), segment, at_ns, arrival(fate))
    }

    fn segment(
        &mut self,
        from: End,
        segment: Segment,
        lost: Option<&'static str>,
        is_forged: bool,
    ) -> SegmentInFlight {
        let iss = self.iss.entry(self.conn).or_default();
        if segment.flags.syn() && !is_forged {
            iss[from as usize] = segment.seq;
        }
        let base = Base {
            sender_iss: iss[from as usize],
            receiver_iss: iss[from.other() as usize],
        };
        let is_own = !segment.is_empty() && !segment.flags.rst() && !is_forged;
        let is_again = is_own && self.sends_again(from, &segment);
        SegmentInFlight {
            from,
            segment,
            base,
            is_again,
            mark: None,
            neighbor: self.neighbors[from as usize],
            arrives_at_ns: None,
            lost,
        }
    }

    /// Whether these numbers were sent before, in the same segment or in another; a SYN,ACK behind a SYN is new.
    fn sends_again(&mut self, from: End, segment: &Segment) -> bool {
        let (iss, end) = (segment.seq, segment.end());
        let is_syn_ack = segment.flags.syn() && segment.flags.ack();
        let sent = self.sent.entry((from as u8, self.conn)).or_default();
        if segment.flags.syn() {
            let is_again = sent.syn == Some((iss, is_syn_ack));
            if !is_again {
                *sent = Sent {
                    syn: Some((iss, is_syn_ack)),
                    next: Some(end),
                };
            }
            return is_again;
        }
        let is_again = sent.next.is_some_and(|next| segment.seq.before(next));
        if sent.next.is_none_or(|next| next.before(end)) {
            sent.next = Some(end);
        }
        is_again
    }

    /// The state of the current connection at one end.
    fn margin(&self, side: End) -> &'static str {
        let until_ns = self.told_until[side as usize];
        let before = self
            .recording
            .events
            .iter()
            .take_while(|event| event.at_ns <= until_ns);
        let (mut state, mut is_off, mut is_frozen) = (State::Closed, false, false);
        let mut listens = self.recording.listens;
        for event in before {
            match event.what {
                RecordedEvent::PoweredOff(whose) if whose == side => is_off = true,
                RecordedEvent::PoweredOn(whose) if whose == side => {
                    (state, is_off) = (State::Closed, false);
                }
                RecordedEvent::Frozen(whose, frozen) if whose == side => is_frozen = frozen,
                RecordedEvent::Listening(now) => listens = now,
                RecordedEvent::State {
                    side: whose,
                    conn,
                    state: now,
                } if (whose, conn) == (side, self.conn) => state = now,
                _ => {}
            }
        }
        match state {
            _ if is_off => "(off)",
            _ if is_frozen => "(frozen)",
            State::Closed if side == Client && self.conn == 0 => "",
            State::Closed if side == Server && listens => "LISTEN",
            State::SynReceivedPassive | State::SynReceivedActive => "SYN-RECEIVED",
            other => other.name(),
        }
    }
}

/// Whether so much happens before a frame arrives that its receiver's state afterwards belongs to later rows.
fn is_late(sent_at_ns: u64, fate: Fate) -> bool {
    const LATE_NS: u64 = 5_000_000;
    arrival(fate).is_some_and(|at_ns| at_ns > sent_at_ns + LATE_NS)
}

fn arrival(fate: Fate) -> Option<u64> {
    match fate {
        Fate::Arrived(at_ns) => Some(at_ns),
        Fate::Lost(_) => None,
    }
}

/// Multicast listener reports (RFC 3810): a host with IPv6 sends them now and then, about no connection.
fn is_group_report(bytes: &[u8]) -> bool {
    const REPORT_V2: u8 = 143;
    let parsed = wire::parse(bytes);
    let transport = parsed.ok().and_then(|parsed| parsed.transport());
    matches!(transport, Some(Transport::Icmpv6(icmp)) if icmp.header.kind == REPORT_V2)
}

fn arp_text(packet: &arp::Packet) -> String {
    let [sender, target] = [packet.sender_ip, packet.target_ip].map(std::net::Ipv4Addr::from);
    if packet.is_announcement() {
        format!("ARP {sender} is here")
    } else if packet.is_request() {
        format!("ARP who has {target}? tell {sender}")
    } else {
        format!("ARP {sender} is at {}", packet.sender_mac)
    }
}

fn ndp_text(message: &ndp::Message) -> String {
    match message {
        ndp::Message::NeighborSolicitation { target, .. } => format!("NDP who has {target}?"),
        ndp::Message::NeighborAdvertisement {
            target,
            target_lladdr: Some(mac),
            ..
        } => format!("NDP {target} is at {mac}"),
        ndp::Message::NeighborAdvertisement { target, .. } => format!("NDP {target} is here"),
        ndp::Message::RouterSolicitation { .. } => "NDP looks for routers".into(),
        ndp::Message::RouterAdvertisement { .. } => "NDP a router speaks".into(),
    }
}

fn icmp_text(protocol: &str, kind: u8, code: u8, is_v4: bool) -> String {
    let (unreachable, too_big) = if is_v4 {
        (
            icmp::UNREACHABLE,
            (icmp::UNREACHABLE, icmp::CODE_FRAGMENTATION_NEEDED),
        )
    } else {
        (icmpv6::UNREACHABLE, (icmpv6::PACKET_TOO_BIG, 0))
    };
    if (kind, code) == too_big {
        return format!("{protocol} packet too big");
    }
    match IcmpCode::words(code, is_v4).filter(|_| kind == unreachable) {
        Some(words) => format!("{protocol} {words}"),
        None => format!("{protocol} type {kind} code {code}"),
    }
}

fn transport_text(transport: Transport<'_>) -> String {
    match transport {
        Transport::Icmp(icmp) => icmp_text("ICMP", icmp.header.kind, icmp.header.code, true),
        Transport::Icmpv6(icmp) => icmp_text("ICMPv6", icmp.header.kind, icmp.header.code, false),
        Transport::Udp(_) => "UDP".into(),
        Transport::Other(number) => format!("IP protocol {number}"),
        Transport::Tcp(_) => "TCP".into(),
    }
}
