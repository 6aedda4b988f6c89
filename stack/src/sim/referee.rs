//! [`Referee`]: an observer at the wires that rebuilds both byte streams of every connection between two hosts of ours and holds
//! every segment against what TCP promises.
//!
//! It must never share code with the stack's `tcp` and `wire`, where a mistake would forgive itself, and never influence what
//! happens.
//!
//! It sees less than an endpoint does (frames are dropped behind the wire, too) and more (what is on its way). So each rule is a
//! bound that a correct endpoint keeps whatever happened to it in between. A connection is judged while both of its ends are
//! hosts of ours. Forged segments count as delivered, and end the rules that they make meaningless ([`Rule::outlasts_forgery`]);
//! what a host says in a connection that it lost its memory of, by a loss of power, isn't judged before its next SYN.

mod acknowledgment;
mod answers;
mod congestion;
mod content;
mod ranges;
mod recovery;
mod segment;
mod stream;
mod timer;
mod timing;
mod windows;

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use self::answers::Answers;
use self::segment::{ACK, FlowName, RST, SYN, Segment};
use self::stream::Streams;
use super::host_id::HostId;
use crate::time::Instant;

/// How long a segment waits for its neighbour's address, at most.
const HELD_MAX: Duration = Duration::from_secs(3);

/// TSvals that are remembered at least; a TSecr older than those is no longer looked for.
const TSVALS_KEPT: usize = 4096;

/// The rules that every endpoint of ours keeps, one for each way to break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing beyond the offered right edge.
    BeyondEdge,
    /// The right edge never retreats.
    EdgeRetreats,
    /// The same bytes on every repetition.
    OtherBytes,
    /// A FIN is last.
    TextBeyondFin,
    /// Nothing but resets after a reset.
    AfterReset,
    /// An ACK never beyond what was delivered to its sender.
    AckOfUndelivered,
    /// SACK blocks within what was delivered.
    SackOfUndelivered,
    /// TSecr was heard.
    UnheardTsecr,
    /// Timestamps in every segment once both sides have said so.
    TimestampsMissing,
    /// At most the initial window before the first ACK.
    InitialWindow,
    /// At most the initial window and what was acknowledged on its way.
    Flight,
    /// No segment beyond the MSS.
    SegmentSize,
    /// Nothing is sent again that was SACKed.
    ResentSacked,
    /// No timeout below the floor.
    RtoFloor,
    /// Each timeout is twice the one before.
    Backoff,
    /// One segment after a timeout.
    LossWindow,
    /// Answers to what can't be accepted have a limit.
    AnswerLimit,
}

impl Rule {
    /// Whether it holds in a connection with forged segments.
    const fn outlasts_forgery(self) -> bool {
        // A forged segment draws a reset from an endpoint whose connection goes on.
        //~ A forged segment ends one rule only: -> `!matches!(self, Self::AfterReset | Self::AckOfUndelivered)`;
        //~   a_forged_reset_and_its_answer_leave_the_other_rules_alone
        !matches!(self, Self::AfterReset)
    }
}

impl Rule {
    /// Whether it holds once a frame was too large for a link: what an endpoint finds out about a path, from an error or from
    /// timeouts, lets all its connections over that path send again at once.
    const fn outlasts_narrow_links(self) -> bool {
        //~ A narrow link ends the rules on timers only: -> `true`;
        //~   once_a_link_was_too_narrow_no_timer_is_judged_and_all_else_is
        !matches!(self, Self::RtoFloor | Self::Backoff | Self::LossWindow)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeyondEdge => "text beyond the offered right edge",
            Self::EdgeRetreats => "the offered right edge retreats",
            Self::OtherBytes => "other bytes in a repetition",
            Self::TextBeyondFin => "a FIN that isn't the last",
            Self::AfterReset => "more than a reset after a reset",
            Self::AckOfUndelivered => "an ACK of what wasn't delivered",
            Self::SackOfUndelivered => "a SACK block of what wasn't delivered",
            Self::UnheardTsecr => "a TSecr that was never a TSval",
            Self::TimestampsMissing => "no timestamps where they were negotiated",
            Self::InitialWindow => "more than the initial window",
            Self::Flight => "more on its way than slow start allows",
            Self::SegmentSize => "a segment beyond the MSS",
            Self::ResentSacked => "sent again what was SACKed",
            Self::RtoFloor => "a timeout below the floor",
            Self::Backoff => "a timeout that didn't double",
            Self::LossWindow => "more than one segment after a timeout",
            Self::AnswerLimit => "more answers than the limit",
        })
    }
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) rule: Rule,
    flow: FlowName,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "broke a rule: {}: {} ({})",
            self.rule, self.what, self.flow
        )
    }
}

/// The promises of a host's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) rto_initial: Duration,
    pub(super) rto_min: Duration,
    pub(super) rto_max: Duration,
    pub(super) syn_ack_rto: Duration,
    pub(super) challenge_interval: Duration,
    /// The initial window is that of RFC 6928, and not that of RFC 5681.
    pub(super) has_large_initial_window: bool,
    /// No MSS counts as less.
    pub(super) mss_min: u16,
}

impl Bounds {
    /// In bytes (RFC 6928 §2, RFC 5681 §3.1).
    fn initial_window(&self, mss: u32) -> u32 {
        match (self.has_large_initial_window, mss) {
            (true, _) => (10 * mss).min(14_600.max(2 * mss)),
            (false, 2_191..) => 2 * mss,
            (false, 1_096..) => 3 * mss,
            (false, _) => 4 * mss,
        }
    }
}

/// A segment as it is sent, and what a rule needs besides the streams.
struct Sent<'a> {
    now: Instant,
    /// When it was built at the earliest.
    built_at: Instant,
    segment: &'a Segment<'a>,
    /// The place of SEG.SEQ in its stream.
    at: u32,
    /// The announcements of the receiver's SYN.
    mss: u32,
    bounds: &'a Bounds,
}

/// The violations found in one segment.
#[derive(Default)]
struct Found {
    broken: Vec<(Rule, String)>,
    /// It is less than what was sent first from there: its sender takes the path for a smaller one.
    is_cut: bool,
}

impl Found {
    fn add(&mut self, rule: Rule, what: impl FnOnce() -> String) {
        self.broken.push((rule, what()));
    }
}

/// One end of a connection.
#[derive(Debug, Default)]
struct Half {
    /// The host of ours that has sent from here.
    host: Option<HostId>,
    /// It has lost its power since its last SYN.
    is_rebooted: bool,
    streams: Streams,
    /// SYNs that were delivered to it since it sent one.
    syns_heard: u32,
    /// TSvals that were delivered to it.
    heard: Vec<u32>,
    answers: Answers,
}

#[derive(Debug, Default)]
struct Flow {
    halves: [Half; 2],
    is_forged: bool,
}

impl Flow {
    /// The half that a segment is from, and the other.
    fn sides(&mut self, sender: usize) -> (&mut Half, &mut Half) {
        let [low, high] = &mut self.halves;
        if sender == 0 {
            (low, high)
        } else {
            (high, low)
        }
    }
}

/// The observer.
#[derive(Debug, Default)]
pub(super) struct Referee {
    flows: BTreeMap<FlowName, Flow>,
    /// By host.
    bounds: Vec<Option<Bounds>>,
    /// When a host last sent something that isn't TCP, by host: it may have asked for a neighbour's address.
    asked_at: Vec<Option<Instant>>,
    /// A frame was too large for a link, or a host believes so after silence.
    is_narrow: bool,
}

impl Referee {
    /// A host is switched on.
    pub(super) fn on_power_on(&mut self, host: HostId, bounds: Bounds) {
        let at = usize::from(host.0);
        self.bounds.resize(self.bounds.len().max(at + 1), None);
        self.bounds[at] = Some(bounds);
        self.asked_at.resize(self.bounds.len(), None);
    }

    /// A frame was too large for a link.
    pub(super) fn on_too_big(&mut self) {
        self.is_narrow = true;
    }

    /// A host loses its power, and with it all that it knows.
    pub(super) fn on_power_off(&mut self, host: HostId) {
        let halves = self.flows.values_mut().flat_map(|flow| &mut flow.halves);
        for half in halves.filter(|half| half.host == Some(host)) {
            //~ A host that lost its memory is not judged by it;
            //~   a_host_that_lost_its_power_is_judged_again_from_its_next_syn_on
            half.is_rebooted = true;
            half.answers = Answers::default();
        }
    }

    /// A worker of a host of ours sends a frame. Gives the rules that it breaks.
    pub(super) fn on_sent(&mut self, now: Instant, host: HostId, frame: &[u8]) -> Vec<Violation> {
        let asked_at = self.asked_at.get_mut(usize::from(host.0));
        let Some((name, sender, segment)) = Segment::read(frame) else {
            asked_at.into_iter().for_each(|at| *at = Some(now));
            return Vec::new();
        };
        let held_since = asked_at.and_then(|at| at.filter(|at| now - *at < HELD_MAX));
        let opens = segment.has(SYN) && !segment.has(ACK) && !segment.has(RST);
        let flow = match self.flows.entry(name) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(place) if opens => place.insert(Flow::default()),
            Entry::Vacant(_) => return Vec::new(),
        };
        let Some(Some(bounds)) = self.bounds.get(usize::from(host.0)) else {
            return Vec::new();
        };
        let is_forged = flow.is_forged;
        let (own, peer) = flow.sides(sender);
        own.host = Some(host);
        if segment.has(RST) {
            own.streams.reset(&segment, now);
            return Vec::new();
        }
        let mut found = Found::default();
        let times = [held_since.unwrap_or(now), now];
        judge(times, &segment, bounds, own, peer, &mut found);
        self.is_narrow |= found.is_cut;
        let is_narrow = self.is_narrow;
        let is_judged = peer.host.is_some() && !own.is_rebooted;
        let holds = |rule: &Rule| {
            let is_void = (is_forged && !rule.outlasts_forgery())
                || (is_narrow && !rule.outlasts_narrow_links());
            is_judged && !is_void
        };
        let broken = found.broken.into_iter().filter(|(rule, _)| holds(rule));
        broken
            .map(|(rule, what)| Violation {
                rule,
                flow: name,
                what,
            })
            .collect()
    }

    /// A whole frame reaches a host; `is_forged` when no worker has sent it.
    pub(super) fn on_delivered(&mut self, now: Instant, frame: &[u8], is_forged: bool) {
        let Some((name, sender, segment)) = Segment::read(frame) else {
            return;
        };
        let Some(flow) = self.flows.get_mut(&name) else {
            return;
        };
        flow.is_forged |= is_forged;
        if segment.has(RST) {
            return;
        }
        let (from, to) = flow.sides(sender);
        if segment.has(SYN) {
            if is_forged {
                from.streams.forge(&segment, now);
            }
            to.streams.excuse_syns();
            to.syns_heard += 1;
        }
        let Some(stream) = from.streams.of_delivered(&segment) else {
            return;
        };
        let (at, before) = (stream.place(segment.seq), stream.delivered.gapless());
        let end = at.saturating_add(segment.len());
        stream.delivered.insert(at..end);
        if segment.len() > 0 && end > before {
            to.answers.earn();
        }
        if segment.has(ACK)
            && let Some(acked) = to.streams.of_ack(segment.ack)
        {
            let shift = windows::shift(stream, acked, segment.has(SYN));
            acked.on_ack(&segment, shift, now);
        }
        if let Some([tsval, _]) = segment.options.timestamps
            && to.heard.last() != Some(&tsval)
        {
            to.heard.push(tsval);
            if to.heard.len() > 2 * TSVALS_KEPT {
                to.heard.drain(..TSVALS_KEPT);
            }
        }
    }
}

/// Holds a segment that isn't a reset against all rules, and notes it. It was built at the first of these times at the earliest, and
/// is sent at the second.
fn judge(
    [built_at, now]: [Instant; 2],
    segment: &Segment<'_>,
    bounds: &Bounds,
    own: &mut Half,
    peer: &mut Half,
    found: &mut Found,
) {
    let Some(stream) = own.streams.of_sent(segment, now) else {
        return;
    };
    let is_first = stream.next == 0;
    own.is_rebooted &= !is_first;
    // A SYN cookie, which is the same for a minute, may open the connection anew; a SYN may have waited for a neighbour's address.
    let opens_again = segment.has(SYN) && stream.timing.left > 0;
    stream.is_reset &= !segment.has(SYN);
    let mut other = match segment.has(ACK) {
        true => peer.streams.of_ack(segment.ack),
        false => None,
    };
    if let Some(other) = &mut other
        && opens_again
    {
        other.offered = None;
    }
    // Without the option it is less (RFC 9293 MUST-15), but hosts of ours always have it.
    let announced = other.as_ref().and_then(|other| other.mss);
    let sent = Sent {
        now,
        built_at,
        segment,
        at: stream.place(segment.seq),
        mss: announced.unwrap_or(u16::MAX).max(bounds.mss_min).into(),
        bounds,
    };
    content::reset_is_last(&sent, stream, found);
    content::fin_is_last(&sent, stream, found);
    content::bytes_stay(&sent, stream, found);
    windows::within_the_edge(&sent, stream, found);
    congestion::flight_is_earned(&sent, stream, found);
    congestion::segment_fits(&sent, found);
    if timing::judge(&sent, stream, found) {
        //~ A timeout forgets what was SACKed; what_was_sacked_is_sent_again_before_a_timeout_only
        stream.sacked.clear();
    }
    congestion::sacked_stays(&sent, stream, found);
    if let Some(other) = other {
        acknowledgment::ack_was_delivered(&sent, other, found);
        acknowledgment::sack_was_delivered(&sent, other, found);
        acknowledgment::timestamps_were_heard(&sent, stream, other, &own.heard, found);
        windows::edge_stays(&sent, stream, other, found);
        let shift = windows::shift(stream, other, segment.has(SYN));
        let window = u32::from(segment.window) << shift;
        own.answers.judge(&sent, stream, window, found);
    } else if segment.has(ACK) {
        acknowledgment::ack_is_of_a_stream(&sent, &peer.streams, found);
    }
    stream::note(stream, segment);
    if segment.has(SYN) {
        // It may have had no buffer for its answers to some of them.
        let more = own.syns_heard.saturating_sub(1);
        stream
            .timing
            .excuse(if is_first || opens_again { more } else { 0 });
        own.syns_heard = 0;
    }
}

#[cfg(test)]
mod tests;
