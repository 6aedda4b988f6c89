//! [`Actor`]: the application of the simulated tests, client and server in one, that does what plans say and checks
//! every byte it gets.
//!
//! It must never forgive: what it can't explain goes into [`Actor::complaints`]. It is no puppet, because its plans say when it acts.

use std::sync::Arc;
use std::time::Duration;

use stack::app::{App, Chunk, Connect, Cx, StaticId, TxItem};
use stack::conn::ConnId;
use stack::local::listener::ListenerId;
use stack::nic::{Frame, Nic};
use stack::tcp::profile::{Profile, ProfileId};
use stack::tcp::verdict::CloseReason;
use stack::time::Instant;

use crate::plan::{Content, End, FIRST_PORT, Plan, STATIC_LEN, Side};

/// How long a side that reads slowly waits between two looks.
const SLOW: Duration = Duration::from_millis(1);

/// How long a side hears nothing before it aborts, where no keepalive finds out for it: longer than some timeouts at their
/// ceiling of 120 s, since the bytes that it has queued move without it.
const PATIENCE: Duration = Duration::from_secs(1200);

/// The state kept with the connection: plan and side, one more than them, so that 0 is none.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag(u16);

impl Tag {
    const fn of(n: usize, side: usize) -> Self {
        Self((2 * n + side + 1) as u16)
    }
}

/// One side of one connection, alive or over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub(crate) id: Option<ConnId>,
    pub(crate) opened: bool,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) peer_closed: bool,
    pub(crate) closing: bool,
    pub(crate) over: Option<CloseReason>,
    /// The last callback, or the open.
    heard_at: Option<Instant>,
    paused_until: Option<Instant>,
    paused: bool,
}

/// The application of one worker.
pub(crate) struct Actor {
    plans: Arc<Vec<Plan>>,
    host: u16,
    worker: u16,
    started_at: Option<Instant>,
    statics: Vec<StaticId>,
    /// By plan, then client and server.
    pub(crate) progress: Vec<[Progress; 2]>,
    /// The faults.
    pub(crate) complaints: Vec<String>,
    /// Connections that a delayed duplicate made (a cookie's ACK), which was unwanted.
    pub(crate) ghosts: u32,
    /// Opens that had to be tried again.
    pub(crate) refusals: u32,
    /// Options of all connections.
    pub(crate) keepalive: bool,
    /// Its host was rebooted: it opens nothing, and its peers are refused.
    pub(crate) is_reborn: bool,
    /// How long data may stay unacknowledged.
    pub(crate) r2: Duration,
}

impl Actor {
    pub(crate) fn new(plans: &Arc<Vec<Plan>>, host: u16, worker: u16) -> Self {
        Self {
            plans: Arc::clone(plans),
            host,
            worker,
            started_at: None,
            statics: Vec::new(),
            progress: vec![<[Progress; 2]>::default(); plans.len()],
            complaints: Vec::new(),
            ghosts: 0,
            refusals: 0,
            keepalive: false,
            is_reborn: false,
            r2: Duration::from_secs(100),
        }
    }

    /// Whether this worker is to open plan `n`, and has not.
    fn is_to_open(&self, n: usize) -> bool {
        let plan = &self.plans[n];
        !self.is_reborn
            && plan.client_at == (self.host, self.worker)
            && self.progress[n][0].id.is_none()
    }

    /// Until when something here waits for time to pass, not for a frame, if anything does.
    pub(crate) fn next_at(&self, now: Instant) -> Option<Instant> {
        let Some(started_at) = self.started_at else {
            return Some(now);
        };
        let plans = self.plans.iter().enumerate();
        let waits = plans.flat_map(|(n, plan)| {
            let opens = self.is_to_open(n).then(|| started_at + plan.starts_after);
            let accepts = started_at + plan.accepts_after;
            let accepts = (plan.server_host == self.host && accepts >= now).then_some(accepts);
            let pauses = self.progress[n].iter();
            let pauses = pauses.filter(|side| side.over.is_none());
            pauses
                .filter_map(|side| side.paused_until)
                .chain(opens)
                .chain(accepts)
        });
        waits.min()
    }

    fn complain(&mut self, n: usize, side: usize, what: &str) {
        let name = ["client", "server"][side];
        self.complaints.push(format!("plan {n}, {name}: {what}"));
    }

    /// The host's profile, with this side's choices.
    fn profile<N: Nic>(&self, cx: &mut Cx<'_, N, Tag>, nagle: bool) -> ProfileId {
        let profile = Profile {
            nagle,
            keepalive: self.keepalive,
            r2: self.r2,
            ..*cx.profile_of(ProfileId::DEFAULT)
        };
        cx.profile(profile).expect("four different ones at most")
    }

    fn open<N: Nic>(&mut self, cx: &mut Cx<'_, N, Tag>, n: usize) {
        let plan = &self.plans[n];
        let how = Connect {
            vlan: Some(plan.vlan),
            local: Some(plan.client_address),
            local_port: plan.client_port,
            profile: self.profile(cx, plan.sides[0].nagle),
        };
        match cx.connect(plan.server, &how, Tag::of(n, 0)) {
            Ok(id) => {
                self.progress[n][0].id = Some(id);
                self.progress[n][0].heard_at = Some(cx.now());
            }
            Err(_) => self.refusals += 1,
        }
    }

    fn tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, Tag>) {
        let now = cx.now();
        if self.started_at.is_none() {
            self.started_at = Some(now);
            let bytes = Content::Static.bytes(0, STATIC_LEN as usize);
            match cx.register_static(&bytes) {
                Some(id) => self.statics.push(id),
                // There may be a drought now, and it has nothing to send.
                None if self.is_reborn => {}
                None => self.complaints.push("no memory for static bytes".into()),
            }
        }
        let started_at = self.started_at.unwrap_or(now);
        for n in 0..self.plans.len() {
            if self.is_to_open(n) && now >= started_at + self.plans[n].starts_after {
                self.open(cx, n);
            }
            if self.plans[n].server_host == self.host
                && now >= started_at + self.plans[n].accepts_after
            {
                while cx.accept(ListenerId(n as u16)).is_some() {}
            }
            for side in 0..2 {
                self.lose_patience(cx, n, side);
                let progress = &mut self.progress[n][side];
                if progress.over.is_none()
                    && progress.paused_until.is_some_and(|until| now >= until)
                {
                    progress.paused_until = None;
                    if let Some(id) = progress.id {
                        self.run(cx, id, n, side);
                    }
                }
            }
        }
    }

    /// Aborts a connection on which nothing has happened for too long.
    fn lose_patience<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, n: usize, side: usize) {
        let progress = &mut self.progress[n][side];
        if self.keepalive || progress.over.is_some() {
            return;
        }
        if let (Some(id), Some(at)) = (progress.id, progress.heard_at)
            && cx.now() > at + PATIENCE
        {
            progress.heard_at = None;
            cx.abort(id);
        }
    }

    /// Everything that this side can do now.
    fn run<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, id: ConnId, n: usize, side: usize) {
        self.progress[n][side].heard_at = Some(cx.now());
        if self.progress[n][side].closing {
            return;
        }
        let plans = Arc::clone(&self.plans);
        let mine = &plans[n].sides[side];
        if mine.content == Content::Echo {
            self.echo(cx, id, n, side);
        } else {
            self.read(cx, id, n, side, mine);
            self.write(cx, id, n, side, mine);
        }
        self.end(cx, id, n, side);
    }

    fn read<N: Nic, S>(
        &mut self,
        cx: &mut Cx<'_, N, S>,
        id: ConnId,
        n: usize,
        side: usize,
        mine: &Side,
    ) {
        let mut left = mine.read_len;
        loop {
            if self.rests(cx.now(), n, side, mine) {
                return;
            }
            let wanted = match mine.end {
                End::CloseUnread(at) => at.saturating_sub(self.progress[n][side].received),
                _ => u64::from(left),
            };
            let wanted = wanted.min(u64::from(left)) as usize;
            if wanted == 0 {
                break;
            }
            let len = if mine.takes {
                let Some(chunk) = cx.take(id) else { return };
                let bytes = bytes_of(&chunk);
                self.verify(n, side, &bytes);
                bytes.len()
            } else {
                let bytes = cx.peek(id);
                let bytes = bytes[..bytes.len().min(wanted)].to_vec();
                self.verify(n, side, &bytes);
                cx.consume(id, bytes.len() as u32);
                bytes.len()
            };
            if len == 0 {
                return;
            }
            left = left.saturating_sub(len as u32);
        }
        if left == 0 && cx.unread_len(id) > 0 {
            self.progress[n][side].paused_until = Some(cx.now() + SLOW);
        }
    }

    /// Whether this side doesn't read now, which begins a pause where the plan has one.
    fn rests(&mut self, now: Instant, n: usize, side: usize, mine: &Side) -> bool {
        let progress = &mut self.progress[n][side];
        if let Some((at, time)) = mine.pause
            && !progress.paused
            && progress.received >= at
        {
            progress.paused = true;
            progress.paused_until = Some(now + time);
        }
        progress.paused_until.is_some_and(|until| now < until)
    }

    fn verify(&mut self, n: usize, side: usize, bytes: &[u8]) {
        let (content, expected_len) = self.plans[n].expected(side);
        let offset = self.progress[n][side].received;
        let wrong = (offset..)
            .zip(bytes)
            .find(|&(at, &byte)| byte != content.byte_at(at));
        if let Some((at, byte)) = wrong {
            let due = content.byte_at(at);
            self.complain(
                n,
                side,
                &format!("byte {at} is {byte:#04x}, not {due:#04x}"),
            );
        }
        self.progress[n][side].received += bytes.len() as u64;
        if self.progress[n][side].received > expected_len {
            self.complain(n, side, &format!("more than {expected_len} bytes"));
        }
    }

    fn write<N: Nic, S>(
        &mut self,
        cx: &mut Cx<'_, N, S>,
        id: ConnId,
        n: usize,
        side: usize,
        mine: &Side,
    ) {
        while self.progress[n][side].sent < mine.len {
            let start = self.progress[n][side].sent;
            let left = mine.len - start;
            let len = left.min(u64::from(mine.chunk_len));
            let sent = match mine.content {
                Content::Bytes(_) => {
                    let bytes = mine.content.bytes(start, len as usize);
                    cx.send_bytes(id, &bytes).unwrap_or(0) as u64
                }
                // All at once: that is what it is for.
                Content::Chargen => match cx.send(id, TxItem::Pattern { start, len: left }) {
                    Ok(()) => left,
                    Err(_) => 0,
                },
                Content::Static => {
                    let at = start % STATIC_LEN;
                    let len = len.min(STATIC_LEN - at);
                    let item = TxItem::Static {
                        id: self.statics[0],
                        start: at as u32,
                        len: len as u32,
                    };
                    if cx.send(id, item).is_ok() { len } else { 0 }
                }
                Content::Echo => 0,
            };
            if sent == 0 {
                return;
            }
            self.progress[n][side].sent += sent;
        }
    }

    fn echo<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, id: ConnId, n: usize, side: usize) {
        while cx.has_room(id) {
            let Some(Chunk { frame, start, len }) = cx.take(id) else {
                return;
            };
            let bytes = frame.bytes()[start as usize..][..len as usize].to_vec();
            self.verify(n, side, &bytes);
            if cx.send(id, TxItem::Owned { frame, start, len }).is_err() {
                return self.complain(n, side, "no room after all");
            }
            self.progress[n][side].sent += u64::from(len);
        }
    }

    /// Ends the connection when it is time.
    fn end<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>, id: ConnId, n: usize, side: usize) {
        let plan = &self.plans[n];
        let (due_in, due_out) = (plan.expected(side).1, plan.sends(side));
        let progress = &mut self.progress[n][side];
        let all_sent = progress.sent >= due_out;
        let all_read = progress.received >= due_in;
        let closes = match plan.sides[side].end {
            End::Shutdown if all_sent => {
                cx.shutdown(id);
                progress.peer_closed && all_read
            }
            End::Shutdown => false,
            End::Close => all_sent && all_read,
            End::AfterPeer => progress.peer_closed && all_sent && all_read,
            End::Abort(at) => {
                if progress.sent + progress.received >= at {
                    progress.closing = true;
                    cx.abort(id);
                }
                false
            }
            End::CloseUnread(at) => progress.received >= at && cx.unread_len(id) > 0,
        };
        // A connection meant to end in disorder ends anyway when there is nothing left to wait for.
        if closes || progress.peer_closed && cx.unread_len(id) == 0 && all_sent {
            self.progress[n][side].closing = true;
            cx.close(id);
        }
    }

    /// Plan and side of a connection that we have heard of.
    fn place(&mut self, tag: Tag) -> Option<(usize, usize)> {
        let index = usize::from(tag.0.checked_sub(1)?);
        Some((index / 2, index % 2))
    }
}

fn bytes_of<F: Frame>(chunk: &Chunk<F>) -> Vec<u8> {
    let (start, len) = (chunk.start as usize, chunk.len as usize);
    chunk.frame.bytes()[start..start + len].to_vec()
}

impl App for Actor {
    type Conn = Tag;

    fn on_accept_ready<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, listener: ListenerId) {
        let accepts_after = self.plans[usize::from(listener.0)].accepts_after;
        let started_at = self.started_at.unwrap_or(cx.now());
        if cx.now() >= started_at + accepts_after {
            while cx.accept(listener).is_some() {}
        }
    }

    fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, tag: &mut Tag) {
        let (n, side) = match self.place(*tag) {
            Some((n, side)) => {
                if side != 0 || self.progress[n][0].id != Some(conn) {
                    self.complain(n, side, "opens with the state of another connection");
                }
                (n, side)
            }
            None => {
                let Some(info) = cx.info(conn) else {
                    return self.complaints.push("a connection without info".into());
                };
                let n = usize::from(info.local.port() - FIRST_PORT);
                if self.is_reborn || self.progress[n][1].id.is_some() {
                    self.ghosts += 1;
                    return cx.abort(conn);
                }
                self.progress[n][1].id = Some(conn);
                let profile = self.profile(cx, self.plans[n].sides[1].nagle);
                cx.set_profile(conn, profile);
                (n, 1)
            }
        };
        *tag = Tag::of(n, side);
        if self.progress[n][side].opened {
            self.complain(n, side, "opened twice");
        }
        self.progress[n][side].opened = true;
        self.run(cx, conn, n, side);
    }

    fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, tag: &mut Tag) {
        if let Some((n, side)) = self.place(*tag) {
            self.run(cx, conn, n, side);
        }
    }

    fn on_peer_closed<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        tag: &mut Tag,
    ) {
        if let Some((n, side)) = self.place(*tag) {
            if core::mem::replace(&mut self.progress[n][side].peer_closed, true) {
                self.complain(n, side, "the peer closed twice");
            }
            self.run(cx, conn, n, side);
        }
    }

    fn on_writable<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>, conn: ConnId, tag: &mut Tag) {
        if let Some((n, side)) = self.place(*tag) {
            self.run(cx, conn, n, side);
        }
    }

    fn on_close<N: Nic>(
        &mut self,
        _cx: &mut Cx<'_, N, Self::Conn>,
        conn: ConnId,
        tag: &mut Tag,
        reason: CloseReason,
    ) {
        // A client that was refused was never opened, so it has no tag.
        let client = |n: &usize| self.progress[*n][0].id == Some(conn);
        let unopened = || (0..self.plans.len()).find(client).map(|n| (n, 0));
        let tagged = tag.0.checked_sub(1).map(usize::from);
        match tagged.map(|i| (i / 2, i % 2)).or_else(unopened) {
            Some((n, side)) => {
                if self.progress[n][side].over.replace(reason).is_some() {
                    self.complain(n, side, "over twice");
                }
            }
            None => self.ghosts += 1,
        }
    }

    fn on_tick<N: Nic>(&mut self, cx: &mut Cx<'_, N, Self::Conn>) {
        self.tick(cx);
    }
}
