//! The reply that is expected, in one step: it lies in one piece, and its head is the one that was read last.
//!
//! It must never take a reply that the general way ([`super::reading`]) would judge in another way: on any difference it takes none.

use stack::app::ConnId;
use stack::app::Cx;
use stack::nic::Nic;

use super::LoadConn;
use super::client::LoadClient;
use super::plan::ReplyPlan;
use super::response::Framing;
use super::under_way::{Reading, Stage};
use crate::tally::Fault;

/// A whole reply at the front of what has come.
struct WholeReply {
    len: usize,
    /// 0 for a reply that isn't HTTP.
    status: u16,
    closes: bool,
    is_right: bool,
}

impl LoadClient {
    /// Reads the whole reply of the oldest operation, if it is as expected, and says how many bytes wait behind it; `None` when
    /// nothing was read.
    #[inline]
    pub(super) fn read_expected<N: Nic>(
        &mut self,
        cx: &mut Cx<'_, N, LoadConn>,
        id: ConnId,
        index: u32,
    ) -> Option<u32> {
        let conn = self.connections.get(index)?;
        let place = conn.first;
        let operation = self.operations.get(place)?;
        if conn.stage == Stage::Closing || operation.sent_ns == 0 || operation.has_begun_reply {
            return None;
        }
        let (request, reading) = (usize::from(operation.request), operation.reading);
        let timing = operation.timing();
        let bytes = cx.peek(id);
        let whole = match reading {
            Reading::Head => self.whole_response(request, bytes)?,
            Reading::Exact(0) => self.whole_reply(request, bytes)?,
            Reading::Exact(_) | Reading::Body(_) | Reading::Over => return None,
        };
        let left = cx.consume(id, whole.len as u32);
        self.counts.bytes_in += whole.len as u64;
        let mut wrong = (!whole.is_right).then_some(Fault::WrongContent);
        if whole.status != 0 {
            let class = usize::from(whole.status / 100).min(5);
            self.counts.status_classes[class] += 1;
            if !self.plan.accepted.contains(&whole.status) {
                wrong = Some(Fault::WrongStatus);
            }
        }
        self.record_first_byte(cx.now().as_ns(), &timing);
        self.on_judged(cx, (id, index), (place, &timing, whole.closes), wrong);
        Some(left)
    }

    /// The HTTP response at the front of `bytes`, if it is whole and its head the last one again.
    #[inline]
    fn whole_response(&mut self, request: usize, bytes: &[u8]) -> Option<WholeReply> {
        let head = self.last_heads.get(request)?.recall(bytes)?;
        let Framing::Length(body_len) = head.framing else {
            return None;
        };
        // By which server it was is read from its bytes. An interim response, or one after which HTTP ends, is none.
        if self.plan.count_by.is_some() || head.status < 200 {
            return None;
        }
        let body = bytes
            .get(head.len..)?
            .get(..usize::try_from(body_len).ok()?)?;
        Some(WholeReply {
            len: head.len + body.len(),
            status: head.status,
            closes: head.closes,
            is_right: self.is_right(request, body),
        })
    }

    /// The exact reply at the front of `bytes`.
    #[inline]
    fn whole_reply(&self, request: usize, bytes: &[u8]) -> Option<WholeReply> {
        let ReplyPlan::Exact(wanted) = &self.plan.requests.get(request)?.reply else {
            return None;
        };
        // An empty one is no sign of a first byte.
        (!wanted.is_empty() && bytes.starts_with(wanted)).then_some(WholeReply {
            len: wanted.len(),
            status: 0,
            closes: false,
            is_right: true,
        })
    }

    /// Whether a body has the checksum of its request, if there is one.
    #[inline]
    fn is_right(&mut self, request: usize, body: &[u8]) -> bool {
        let plan = self.plan.requests.get(request);
        let checksum = plan.and_then(|plan| plan.checksum.as_ref());
        match (checksum, self.last_bodies.get_mut(request)) {
            (Some(wanted), Some(last)) => last.is_right(body, wanted),
            _ => true,
        }
    }
}
