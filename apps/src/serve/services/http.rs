//! HTTP/1.1 and 1.0 (RFC 9110, RFC 9112): every path is a body of one size, for GET and HEAD.
//!
//! It must never answer two requests in another order than they came, and never hold a body: those of responses are
//! registered once, or made by the pattern; those of requests are read over.
//!
//! A connection is in one of five steps: between requests, within a head that comes in pieces, about to ask for a body,
//! within a body, or within a response that waits for room. Requests that wait behind each other (pipelining) are answered
//! one after the other, as far as there is room.

mod host;
mod idle;
mod partial;
mod registered;
mod request;
mod response;

use stack::app::{Cx, StaticId, TxItem};
use stack::conn::ConnId;
use stack::nic::Nic;
use stack::queue::pattern;
use stack::time::Instant;
use workload::body::Body;
use workload::proxy::Origin;
use workload::remembered_head::RememberedHead;

use self::idle::{Look, Silence};
use self::partial::{HEAD_MAX, PartialId, Partials};
use self::request::{Parsed, Request};
use self::response::{CONTINUE, Heads, Persistence, Status};
use super::Conn;
use super::linger;
use super::proxy;
use super::stats::SiteStats;
use crate::serve::listen::{HttpOptions, IDLE_MAX};
use crate::serve::wall::Wall;

/// Bodies up to this length lie ready in the NIC's memory, in bytes; longer ones are made when they are sent.
const STATIC_MAX: u64 = 64 * 1024;

/// The state of one connection.
#[derive(Debug, Default)]
pub(super) struct HttpConn {
    step: Step,
    silence: Silence,
}

#[derive(Debug, Default, Clone, Copy)]
enum Step {
    #[default]
    Between,
    Head(PartialId),
    /// The peer waits for our word before it sends the body; so many bytes of that are sent.
    Continue(Answer, Body, u8),
    Body(Answer, Body),
    Response(Response),
}

// Every connection has one, those of other services and parked ones too.
const _: () = assert!(size_of::<HttpConn>() <= 32);

/// The answer to a request, once all of it has arrived.
#[derive(Debug, Clone, Copy)]
struct Answer {
    status: Status,
    persistence: Persistence,
    with_body: bool,
    /// Nothing more is to come from the peer, as it said itself.
    peer_closes: bool,
}

/// A response that is not wholly queued yet.
#[derive(Debug, Clone, Copy)]
struct Response {
    answer: Answer,
    head_sent: u16,
    /// The second of its date.
    second: u32,
}

impl HttpConn {
    /// Whether nothing of a request or of a response is under way.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.step, Step::Between)
    }
}

/// The content of a place.
#[derive(Debug)]
pub(super) struct HttpSite {
    options: HttpOptions,
    heads: Heads,
    body: Option<StaticId>,
}

impl HttpSite {
    pub(super) fn new(options: HttpOptions) -> Self {
        Self {
            options,
            heads: Heads::new(options.body_len),
            body: None,
        }
    }

    /// Puts short responses, and a short body, into the NIC's memory. Where that is full, they are copied or made when they are sent.
    pub(super) fn register<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>) {
        self.heads.register(cx);
        if (1..=STATIC_MAX).contains(&self.options.body_len) {
            // At most STATIC_MAX.
            let mut body = vec![0; self.options.body_len as usize];
            pattern::fill(0, &mut body);
            self.body = cx.register_static(&body);
        }
    }

    fn body<F>(&self) -> TxItem<F> {
        match self.body {
            Some(id) => TxItem::Static {
                id,
                start: 0,
                // At most STATIC_MAX.
                len: self.options.body_len as u32,
            },
            None => TxItem::Pattern {
                start: 0,
                len: self.options.body_len,
            },
        }
    }
}

/// Data shared by all HTTP connections of a worker.
#[derive(Debug)]
pub(super) struct HttpShared {
    partials: Partials<ConnId>,
    last_head: RememberedHead<Request>,
}

impl HttpShared {
    pub(super) fn new() -> Self {
        Self {
            partials: Partials::new(),
            last_head: RememberedHead::default(),
        }
    }

    /// A connection to `site` has begun.
    pub(super) fn begin<N: Nic, S>(
        &mut self,
        cx: &mut Cx<'_, N, S>,
        conn: ConnId,
        http: &mut HttpConn,
        site: &HttpSite,
    ) {
        http.silence.hear(cx.now());
        if let Some(idle) = site.options.idle {
            let at = cx.now() + idle;
            cx.set_timer(conn, at);
        }
    }

    /// When a connection, which was heard of at `now`, is to be looked at.
    fn next_look(&self, site: &HttpSite, http: &HttpConn, now: Instant) -> Instant {
        let idle_ends = now + site.options.idle.unwrap_or(IDLE_MAX);
        match http.step {
            Step::Head(id) => self
                .partials
                .deadline(id)
                .map_or(idle_ends, |at| at.min(idle_ends)),
            _ => idle_ends,
        }
    }

    /// The timer of a connection has fired: it ends when its head has taken too long, or when it was silent for too long.
    pub(super) fn look<N: Nic, S>(
        &mut self,
        cx: &mut Cx<'_, N, S>,
        conn: ConnId,
        http: &mut HttpConn,
        site: &HttpSite,
    ) {
        let now = cx.now();
        let mut next = None;
        if let Step::Head(id) = http.step
            && let Some(at) = self.partials.deadline(id)
        {
            if at <= now {
                self.partials.end(id);
                cx.close(conn);
            } else {
                next = Some(at);
            }
        }
        if let Some(idle) = site.options.idle {
            let (look, at) = http.silence.look(idle, cx.unacked_len(conn), now);
            match look {
                Look::Wait => {}
                Look::Close => cx.close(conn),
                Look::Abort => cx.abort(conn),
            }
            next = Some(next.map_or(at, |next| at.min(next)));
        }
        if let Some(at) = next {
            cx.set_timer(conn, at);
        }
    }

    /// A connection has ended. Whether that was because it was silent.
    pub(super) fn forget(&mut self, http: &HttpConn) -> bool {
        if let Step::Head(id) = http.step {
            self.partials.end(id);
        }
        http.silence.has_ended()
    }
}

/// One call's view of everything that a connection needs.
pub(super) struct Server<'a, 'c, N: Nic, S> {
    pub(super) cx: &'a mut Cx<'c, N, S>,
    pub(super) conn: ConnId,
    pub(super) site: &'a mut HttpSite,
    pub(super) stats: &'a mut SiteStats,
    pub(super) shared: &'a mut HttpShared,
    pub(super) wall: &'a mut Wall,
    /// Where the connection came from, if a header in front of it said so.
    pub(super) origin: Option<&'a Origin>,
    /// No connection goes on after its next response.
    pub(super) draining: bool,
}

impl<N: Nic, S> Server<'_, '_, N, S> {
    /// Goes on as far as bytes and room go.
    pub(super) fn run(&mut self, state: &mut Conn) {
        state.http.silence.hear(self.cx.now());
        while !state.finished {
            match state.http.step {
                Step::Between | Step::Head(_) => match self.next_request(&mut state.http) {
                    None | Some(Parsed::Partial) => return self.end_of_input(state),
                    Some(Parsed::Request(request)) => state.http.step = self.begin(&request),
                    Some(Parsed::Malformed(status)) => {
                        state.http.step = Step::Response(self.respond(Answer::refusal(status)));
                    }
                },
                Step::Continue(answer, body, sent) => {
                    let left = &CONTINUE[usize::from(sent)..];
                    // As many as there are left at most.
                    let now_sent = self.cx.send_bytes(self.conn, left).unwrap_or(0) as u8;
                    self.stats.bytes_out += u64::from(now_sent);
                    if usize::from(now_sent) < left.len() {
                        state.http.step = Step::Continue(answer, body, sent + now_sent);
                        return;
                    }
                    state.http.step = Step::Body(answer, body);
                }
                Step::Body(answer, mut body) => {
                    let outcome = self.read_over(&mut body);
                    if outcome.is_ok() && !body.is_over() {
                        state.http.step = Step::Body(answer, body);
                        return self.end_of_input(state);
                    }
                    let answer = outcome.map_or_else(Answer::refusal, |()| answer);
                    state.http.step = Step::Response(self.respond(answer));
                }
                Step::Response(mut response) => {
                    let is_sent = self.send(&mut response);
                    state.http.step = Step::Response(response);
                    if !is_sent {
                        return;
                    }
                    state.http.step = Step::Between;
                    if response.answer.persistence == Persistence::Close {
                        return self.finish(state, response.answer.peer_closes);
                    }
                }
            }
        }
    }

    /// All that has come is dealt with. When nothing more can come, the connection is over.
    fn end_of_input(&mut self, state: &mut Conn) {
        if state.peer_closed {
            self.cx.close(self.conn);
            state.finished = true;
        }
    }

    /// The whole response as registered bytes, where nothing else is to be sent. Pipelined responses are copied: each goes behind the
    /// last one in its frame.
    #[inline]
    fn registered(&mut self, response: &Response) -> Option<TxItem<N::Frame>> {
        let (answer, second) = (response.answer, u64::from(response.second));
        let is_usual = answer.status == Status::Ok
            && response.head_sent == 0
            && self.origin.is_none()
            && self.wall.is_at(second)
            && self.cx.unacked_len(self.conn) == 0;
        if !is_usual {
            return None;
        }
        let heads = &mut self.site.heads;
        let (persistence, with_body) = (answer.persistence, answer.with_body);
        let (id, len) = heads.registered(self.cx, persistence, with_body, second, self.wall)?;
        Some(TxItem::Static { id, start: 0, len })
    }

    /// Queues what is left of a response. False when there is no room for all of it.
    fn send(&mut self, response: &mut Response) -> bool {
        if let Some(item) = self.registered(response) {
            return self.send_item(item);
        }
        let second = u64::from(response.second);
        let heads = &mut self.site.heads;
        let Answer {
            status,
            persistence,
            with_body,
            ..
        } = response.answer;
        let ready = heads.get(status, persistence, second, self.wall);
        let mut with_fields;
        let (bytes, has_body) = match (self.origin, ready.both()) {
            (Some(origin), _) => {
                with_fields = [0; proxy::HEAD_MAX];
                let len = proxy::with_fields(origin, ready.head(), &mut with_fields);
                (&with_fields[..len], false)
            }
            (None, Some(both)) if with_body => (both, true),
            (None, _) => (ready.head(), false),
        };
        let left = &bytes[usize::from(response.head_sent)..];
        if !left.is_empty() {
            let sent = self.cx.send_bytes(self.conn, left).unwrap_or(0);
            self.stats.bytes_out += sent as u64;
            // Heads have some hundred bytes, and what follows them there 1,024 at most.
            response.head_sent += sent as u16;
            if sent < left.len() {
                return false;
            }
        }
        let has_all = has_body || !with_body;
        has_all || self.send_item(self.site.body())
    }

    /// Queues an item. False when there is no room for it.
    fn send_item(&mut self, item: TxItem<N::Frame>) -> bool {
        let len = item.byte_len();
        let is_queued = self.cx.send(self.conn, item).is_ok();
        if is_queued {
            self.stats.bytes_out += len;
        }
        is_queued
    }

    /// Reads on in the body of a request, as far as it has come.
    ///
    /// # Errors
    /// The answer, when it is none.
    fn read_over(&mut self, body: &mut Body) -> Result<(), Status> {
        while !body.is_over() {
            let bytes = self.cx.peek(self.conn);
            if bytes.is_empty() {
                break;
            }
            let len = body.read(bytes)?;
            self.read(len);
        }
        Ok(())
    }

    fn read(&mut self, len: usize) {
        // At most what one frame holds.
        self.cx.consume(self.conn, len as u32);
        self.stats.bytes_in += len as u64;
    }

    /// The request at the front of the received bytes; `None` when they hold only the beginning of a head, or nothing.
    fn next_request(&mut self, http: &mut HttpConn) -> Option<Parsed> {
        if let Step::Head(id) = http.step {
            return self.go_on_with_head(http, id);
        }
        let bytes = self.cx.peek(self.conn);
        if bytes.is_empty() {
            return None;
        }
        if let Some(request) = self.shared.last_head.recall(bytes) {
            self.read(request.head_len);
            return Some(Parsed::Request(request));
        }
        let parsed = request::parse(bytes);
        match parsed {
            Parsed::Request(request) => {
                let head = &bytes[..request.head_len];
                self.shared.last_head.remember(head, request);
                self.read(request.head_len);
            }
            Parsed::Malformed(_) => {}
            Parsed::Partial => {
                let now = self.cx.now();
                if let Some(oldest) = self.shared.partials.make_room() {
                    self.cx.close(oldest);
                }
                // There is a slot: either one was free or the oldest has just been.
                let id = self.shared.partials.start(self.conn, now)?;
                http.step = Step::Head(id);
                let at = self.shared.next_look(self.site, http, now);
                self.cx.set_timer(self.conn, at);
                return self.go_on_with_head(http, id);
            }
        }
        Some(parsed)
    }

    /// A head in pieces: appends them one by one until it is whole.
    fn go_on_with_head(&mut self, http: &mut HttpConn, id: PartialId) -> Option<Parsed> {
        loop {
            let before = self.shared.partials.bytes(id).len();
            let piece = self.cx.peek(self.conn);
            if piece.is_empty() {
                return None;
            }
            // The end of a head is the end of a line: no need to look before there is one.
            let has_line_end = piece.contains(&b'\n');
            // Without its slot the connection was closed: no client waits for an answer.
            let taken = self.shared.partials.append(id, piece)?;
            let bytes = self.shared.partials.bytes(id);
            let is_full = bytes.len() == HEAD_MAX;
            let parsed = if has_line_end || is_full {
                request::parse(bytes)
            } else {
                Parsed::Partial
            };
            let parsed = match parsed {
                Parsed::Partial if is_full => Parsed::Malformed(too_large(bytes)),
                parsed => parsed,
            };
            match parsed {
                Parsed::Partial => self.read(taken),
                Parsed::Request(Request { head_len, .. }) => self.read(head_len - before),
                Parsed::Malformed(_) => {}
            }
            if parsed != Parsed::Partial {
                self.shared.partials.end(id);
                http.step = Step::Between;
                return Some(parsed);
            }
        }
    }

    /// Decides on the answer, and on what comes before it.
    fn begin(&mut self, request: &Request) -> Step {
        let has_body = request.status == Status::Ok && self.site.options.body_len > 0;
        let answer = Answer {
            status: request.status,
            persistence: if request.peer_closes || self.site.options.close {
                Persistence::Close
            } else if request.is_1_0 {
                Persistence::KeepAlive
            } else {
                Persistence::Implied
            },
            with_body: has_body && !request.is_head,
            peer_closes: request.peer_closes,
        };
        if request.expects {
            Step::Continue(answer, request.body, 0)
        } else if request.body.is_over() {
            Step::Response(self.respond(answer))
        } else {
            Step::Body(answer, request.body)
        }
    }

    /// The request has been read: this is the beginning of its response.
    fn respond(&mut self, mut answer: Answer) -> Response {
        self.stats.requests += 1;
        self.stats.refused_requests += u64::from(answer.status != Status::Ok);
        if self.draining {
            answer.persistence = Persistence::Close;
        }
        Response {
            answer,
            head_sent: 0,
            // Good until 2106.
            second: self.wall.second(self.cx.now()) as u32,
        }
    }

    /// The last response is queued. A peer that asked for the end and sent nothing behind it gets it at once; another one
    /// may still be sending, and a reset would take the response away from it (RFC 9112 §9.6).
    fn finish(&mut self, state: &mut Conn, peer_closes: bool) {
        state.finished = true;
        let sends_on = !(state.peer_closed || peer_closes);
        if sends_on || !self.cx.peek(self.conn).is_empty() {
            linger::finish(self.cx, self.conn);
            self.stats.bytes_in += super::discard::run(self.cx, self.conn);
            if state.peer_closed {
                self.cx.close(self.conn);
            }
        } else {
            self.cx.close(self.conn);
        }
    }
}

impl Answer {
    /// Errors that only the end of the connection can follow: where the next request would begin isn't known.
    const fn refusal(status: Status) -> Self {
        Self {
            status,
            persistence: Persistence::Close,
            with_body: false,
            peer_closes: false,
        }
    }
}

/// Which part of a head that doesn't fit is too large: its first line, or its fields.
fn too_large(bytes: &[u8]) -> Status {
    let text = bytes.trim_ascii_start();
    if text.contains(&b'\n') {
        Status::HeadTooLarge
    } else {
        Status::UriTooLong
    }
}
