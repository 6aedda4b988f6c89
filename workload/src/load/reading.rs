//! Reading replies: each to its end, across segments, behind each other.
//!
//! It must never copy a body, and never take bytes for a reply that were not asked for.

use stack::app::ConnId;
use stack::app::Cx;
use stack::nic::Nic;

use super::LoadConn;
use super::backends::header;
use super::checksum::BodyHash;
use super::client::LoadClient;
use super::plan::ReplyPlan;
use super::response::{Framing, HEAD_MAX, Head, Parsed, parse};
use super::under_way::{Operation, Reading, Stage};
use crate::tally::Fault;

/// The consequence of the bytes that were read.
enum Next {
    /// There may be more to read.
    Again,
    /// Nothing more has come.
    Wait,
    /// The reply is whole.
    Whole,
}

impl LoadClient {
    /// Reads what has come.
    #[inline]
    pub(super) fn read<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, id: ConnId, index: u32) {
        loop {
            match self.read_expected(cx, id, index) {
                Some(0) => return,
                Some(_) => {}
                None => return self.read_any(cx, id, index),
            }
        }
    }

    /// Reads what has come, whatever it is.
    fn read_any<N: Nic>(&mut self, cx: &mut Cx<'_, N, LoadConn>, id: ConnId, index: u32) {
        loop {
            let Some(&conn) = self.connections.get(index) else {
                return;
            };
            if conn.stage == Stage::Closing {
                return discard(cx, id);
            }
            let Some(&operation) = self.operations.get(conn.first) else {
                // Nothing was asked.
                if cx.unread_len(id) > 0 {
                    self.counts.unasked += 1;
                    self.fail(cx, index, Fault::WrongConnection);
                }
                return;
            };
            match self.step(cx, id, (index, conn.first), operation) {
                Ok(Next::Again) => {}
                Ok(Next::Wait) => return,
                Ok(Next::Whole) => self.on_reply(cx, index),
                Err(fault) => return self.fail(cx, index, fault),
            }
        }
    }

    /// Reads what has come, and ends the reply that ends where the server closes.
    pub(super) fn read_to_end<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        id: ConnId,
        index: u32,
    ) {
        self.read(cx, id, index);
        let first = self.connections.get(index).map(|conn| conn.first);
        let operation = first.and_then(|first| self.operations.get(first));
        if operation.is_some_and(|o| o.reading == Reading::Body(Framing::UntilClose)) {
            self.on_reply(cx, index);
        }
    }

    fn step<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        id: ConnId,
        (index, place): (u32, u32),
        operation: Operation,
    ) -> Result<Next, Fault> {
        let bytes = cx.peek(id);
        if bytes.is_empty() {
            let is_whole = matches!(operation.reading, Reading::Body(Framing::Length(0)));
            return Ok(if is_whole { Next::Whole } else { Next::Wait });
        }
        if operation.sent_ns == 0 {
            return Err(Fault::WrongConnection);
        }
        if !operation.has_begun_reply {
            self.on_first_byte(cx.now().as_ns(), place, &operation);
        }
        match operation.reading {
            Reading::Head => self.head(cx, id, (index, place), operation.request),
            Reading::Body(framing) => self.body(cx, id, place, framing),
            Reading::Exact(done) => self.exact(cx, id, place, (operation.request, done)),
            Reading::Over => Err(Fault::WrongLength),
        }
    }

    fn on_first_byte(&mut self, now_ns: u64, place: u32, operation: &Operation) {
        if let Some(operation) = self.operations.get_mut(place) {
            operation.has_begun_reply = true;
        }
        self.record_first_byte(now_ns, &operation.timing());
    }

    fn head<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        id: ConnId,
        (index, place): (u32, u32),
        request: u16,
    ) -> Result<Next, Fault> {
        let Some(head) = self.parse_head(cx, id, usize::from(request))? else {
            return Ok(Next::Wait);
        };
        if self.plan.count_by.is_some() && head.status >= 200 {
            self.note_backend(cx, id, (index, head.len));
        }
        cx.consume(id, head.len as u32);
        self.counts.bytes_in += head.len as u64;
        if head.status == 101 {
            return Err(Fault::Malformed);
        }
        // An interim response: the one that counts follows.
        if (100..200).contains(&head.status) {
            return Ok(Next::Again);
        }
        let class = usize::from(head.status / 100).min(5);
        self.counts.status_classes[class] += 1;
        let Some(operation) = self.operations.get_mut(place) else {
            return Ok(Next::Wait);
        };
        operation.status = head.status;
        operation.closes = head.closes;
        let wanted = self.plan.requests.get(usize::from(request));
        if let Some(wanted) = wanted.and_then(|request| request.checksum.as_ref())
            && let Some(hash) = self.hashes.get_mut(place as usize)
        {
            *hash = Some(BodyHash::new(wanted));
        }
        operation.reading = Reading::Body(head.framing);
        if head.framing == Framing::Length(0) {
            return Ok(Next::Whole);
        }
        Ok(Next::Again)
    }

    /// Counts a response whose head is the first `head_len` bytes that wait, by the server that sent it.
    fn note_backend<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        id: ConnId,
        (index, head_len): (u32, usize),
    ) {
        let Some(name) = self.plan.count_by.as_deref() else {
            return;
        };
        let is_first = self
            .connections
            .get_mut(index)
            .is_some_and(|conn| !core::mem::replace(&mut conn.has_received, true));
        // A head of one frame lies in one piece.
        let is_whole = cx.peek(id).len() >= head_len;
        let head = if is_whole {
            &cx.peek(id)[..head_len]
        } else {
            let len = cx.peek_into(id, &mut self.scratch);
            &self.scratch[..len.min(head_len)]
        };
        self.backends.note(header(head, name.as_bytes()), is_first);
    }

    /// The head at the front of what has come; `None` when that is only the beginning of one.
    fn parse_head<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        id: ConnId,
        request: usize,
    ) -> Result<Option<Head>, Fault> {
        let first = cx.peek(id);
        let last = self.last_heads.get_mut(request);
        if let Some(head) = last.as_ref().and_then(|last| last.recall(first)) {
            return Ok(Some(head));
        }
        let reply = self.plan.requests.get(request);
        let to_head = matches!(
            reply.map(|request| &request.reply),
            Some(ReplyPlan::Http { to_head: true })
        );
        let first_len = first.len();
        let mut parsed = parse(first, to_head);
        if let (Parsed::Head(head), Some(last)) = (parsed, last) {
            last.remember(&first[..head.len], head);
        }
        if parsed == Parsed::Partial && cx.unread_len(id) as usize > first_len {
            let len = cx.peek_into(id, &mut self.scratch);
            parsed = parse(&self.scratch[..len], to_head);
        }
        match parsed {
            Parsed::Head(head) => Ok(Some(head)),
            Parsed::Partial if (cx.unread_len(id) as usize) < HEAD_MAX => Ok(None),
            Parsed::Partial | Parsed::Malformed => Err(Fault::Malformed),
        }
    }

    fn body<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        id: ConnId,
        place: u32,
        framing: Framing,
    ) -> Result<Next, Fault> {
        let bytes = cx.peek(id);
        let mut hash = self.hashes.get_mut(place as usize).and_then(Option::as_mut);
        let mut sum_up = |data: &[u8]| {
            if let Some(hash) = &mut hash {
                hash.update(data);
            }
        };
        let (len, framing) = match framing {
            Framing::Length(left) => {
                let len = left.min(bytes.len() as u64);
                sum_up(&bytes[..len as usize]);
                (len as usize, Framing::Length(left - len))
            }
            Framing::Chunked(mut body) => {
                let read = body.read_data(bytes, sum_up);
                (read.map_err(|_| Fault::Malformed)?, Framing::Chunked(body))
            }
            Framing::UntilClose => {
                sum_up(bytes);
                (bytes.len(), Framing::UntilClose)
            }
        };
        cx.consume(id, len as u32);
        self.counts.bytes_in += len as u64;
        let Some(operation) = self.operations.get_mut(place) else {
            return Ok(Next::Wait);
        };
        operation.reading = Reading::Body(framing);
        let is_over = match framing {
            Framing::Length(left) => left == 0,
            Framing::Chunked(body) => body.is_over(),
            Framing::UntilClose => false,
        };
        Ok(if is_over { Next::Whole } else { Next::Again })
    }

    fn exact<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        id: ConnId,
        place: u32,
        (request, done): (u16, u32),
    ) -> Result<Next, Fault> {
        let plan = self.plan.requests.get(usize::from(request));
        let Some(ReplyPlan::Exact(wanted)) = plan.map(|request| &request.reply) else {
            return Err(Fault::Malformed);
        };
        let left = wanted.get(done as usize..).unwrap_or_default();
        let bytes = cx.peek(id);
        let len = bytes.len().min(left.len());
        if bytes[..len] != left[..len] {
            return Err(Fault::WrongContent);
        }
        let is_whole = len == left.len();
        cx.consume(id, len as u32);
        self.counts.bytes_in += len as u64;
        if let Some(operation) = self.operations.get_mut(place) {
            operation.reading = Reading::Exact(done + len as u32);
        }
        Ok(if is_whole { Next::Whole } else { Next::Again })
    }
}

/// Reads and forgets what comes after the connection has done its work.
fn discard<N: Nic>(cx: &mut Cx<'_, N, LoadConn>, id: ConnId) {
    let len = cx.unread_len(id);
    if len > 0 {
        cx.consume(id, len);
    }
}
