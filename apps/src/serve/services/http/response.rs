//! Heads of responses, written once at start: only the date is written again, once a second.
//!
//! It must never format on the path of a request.

use stack::app::{Cx, StaticId};
use stack::nic::Nic;
use stack::queue::pattern;
use workload::body::BodyError;

use super::registered::Registered;
use crate::serve::wall::{HTTP_DATE_LEN, Wall, http_date_of};

/// Status codes that we answer with (RFC 9110 §15, RFC 6585 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Status {
    Ok,
    BadRequest,
    MethodNotAllowed,
    ContentTooLarge,
    UriTooLong,
    ExpectationFailed,
    HeadTooLarge,
    NotImplemented,
    VersionNotSupported,
}

impl From<BodyError> for Status {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::ContentTooLarge,
            BodyError::LineTooLong => Self::HeadTooLarge,
            // Malformed.
            _ => Self::BadRequest,
        }
    }
}

impl Status {
    const ALL: [Self; 9] = [
        Self::Ok,
        Self::BadRequest,
        Self::MethodNotAllowed,
        Self::ContentTooLarge,
        Self::UriTooLong,
        Self::ExpectationFailed,
        Self::HeadTooLarge,
        Self::NotImplemented,
        Self::VersionNotSupported,
    ];

    const fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::UriTooLong => "414 URI Too Long",
            Self::ExpectationFailed => "417 Expectation Failed",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::NotImplemented => "501 Not Implemented",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// The interim response to a peer that waits for it before it sends a body (RFC 9110 §15.2.1).
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The `Connection` field of a response (RFC 9112 §9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Persistence {
    /// It goes on, which HTTP/1.1 assumes.
    Implied,
    /// It goes on, which an HTTP/1.0 header says.
    KeepAlive,
    /// It ends.
    Close,
}

impl Persistence {
    const ALL: [Self; 3] = [Self::Implied, Self::KeepAlive, Self::Close];

    const fn field(self) -> &'static str {
        match self {
            Self::Implied => "",
            Self::KeepAlive => "Connection: keep-alive\r\n",
            Self::Close => "Connection: close\r\n",
        }
    }
}

/// Bodies up to this length follow their heads in the template, in bytes: the response is one piece then.
const WITH_HEAD_MAX: u64 = 1024;

/// One head, with the place of its date, and a short body behind it.
#[derive(Debug)]
struct Template {
    bytes: Box<[u8]>,
    head_len: usize,
    date_at: usize,
    /// The second whose date it has.
    second: u64,
    registered: Registered,
}

impl Template {
    fn new(status: Status, persistence: Persistence, body_len: u64) -> Self {
        let start = format!("HTTP/1.1 {}\r\nServer: syncline\r\nDate: ", status.line());
        let allow = match status {
            // RFC 9110 §15.5.6.
            Status::MethodNotAllowed => "Allow: GET, HEAD\r\n",
            Status::Ok if body_len > 0 => "Content-Type: text/plain; charset=us-ascii\r\n",
            _ => "",
        };
        let text = format!(
            "{start}{}\r\n{allow}Content-Length: {body_len}\r\n{}\r\n",
            "0".repeat(HTTP_DATE_LEN),
            persistence.field()
        );
        let head_len = text.len();
        let mut bytes = text.into_bytes();
        if body_len <= WITH_HEAD_MAX {
            // At most WITH_HEAD_MAX.
            bytes.resize(head_len + body_len as usize, 0);
            pattern::fill(0, &mut bytes[head_len..]);
        }
        Self {
            bytes: bytes.into_boxed_slice(),
            head_len,
            date_at: start.len(),
            second: u64::MAX,
            registered: Registered::default(),
        }
    }

    #[inline]
    fn head_and_body(&self) -> HeadAndBody<'_> {
        HeadAndBody {
            bytes: &self.bytes,
            head_len: self.head_len,
        }
    }
}

/// The bytes of a response.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadAndBody<'a> {
    bytes: &'a [u8],
    head_len: usize,
}

impl<'a> HeadAndBody<'a> {
    /// The head alone.
    pub(super) fn head(self) -> &'a [u8] {
        &self.bytes[..self.head_len]
    }

    /// Both, where the body is short enough to follow the head; `None` where it must be sent by itself.
    pub(super) fn both(self) -> Option<&'a [u8]> {
        (self.bytes.len() > self.head_len).then_some(self.bytes)
    }
}

/// All heads of one place.
#[derive(Debug)]
pub(super) struct Heads {
    templates: Vec<Template>,
}

impl Heads {
    /// Heads for a body of `body_len` bytes; what is not 200 has none.
    pub(super) fn new(body_len: u64) -> Self {
        let with_status = |status: Status| {
            let len = if status == Status::Ok { body_len } else { 0 };
            Persistence::ALL.map(|persistence| Template::new(status, persistence, len))
        };
        Self {
            templates: Status::ALL.into_iter().flat_map(with_status).collect(),
        }
    }

    /// Registers the responses with status 200.
    pub(super) fn register<N: Nic, S>(&mut self, cx: &mut Cx<'_, N, S>) {
        for persistence in Persistence::ALL {
            let template = &mut self.templates[index(Status::Ok, persistence)];
            template.registered = Registered::new(cx, &template.bytes);
        }
    }

    /// The registered bytes of a whole response with status 200 and the date of `second`, from their beginning, and how many they are.
    /// `None` when its body doesn't follow its head, or connections keep all copies.
    #[inline]
    pub(super) fn registered<N: Nic, S>(
        &mut self,
        cx: &mut Cx<'_, N, S>,
        persistence: Persistence,
        with_body: bool,
        second: u64,
        wall: &Wall,
    ) -> Option<(StaticId, u32)> {
        let template = self.dated(Status::Ok, persistence, second, wall);
        let ready = template.head_and_body();
        let len = if with_body {
            ready.both()?.len()
        } else {
            ready.head().len()
        };
        let id = template.registered.at(cx, second, &template.bytes)?;
        // A head and WITH_HEAD_MAX at most.
        Some((id, len as u32))
    }

    /// A head with the date of `second`, as [`Wall::second`] gave it, and the body behind it, which is empty where it is too long
    /// for that.
    #[inline]
    pub(super) fn get(
        &mut self,
        status: Status,
        persistence: Persistence,
        second: u64,
        wall: &Wall,
    ) -> HeadAndBody<'_> {
        self.dated(status, persistence, second, wall)
            .head_and_body()
    }

    /// A template with the date of `second`.
    #[inline]
    fn dated(
        &mut self,
        status: Status,
        persistence: Persistence,
        second: u64,
        wall: &Wall,
    ) -> &mut Template {
        let template = &mut self.templates[index(status, persistence)];
        if template.second != second {
            template.second = second;
            // A head that had to wait for room is sent on with the date that it began with.
            let date = if wall.is_at(second) {
                *wall.http_date()
            } else {
                http_date_of(second)
            };
            template.bytes[template.date_at..][..HTTP_DATE_LEN].copy_from_slice(&date);
        }
        template
    }
}

/// Where the template of a head stands.
const fn index(status: Status, persistence: Persistence) -> usize {
    status as usize * Persistence::ALL.len() + persistence as usize
}

#[cfg(test)]
mod tests {
    use stack::time::Instant;

    use super::*;
    use crate::serve::wall::WallClock;

    #[test]
    fn heads_say_what_they_should() {
        let mut wall = Wall::new(WallClock::default());
        let second = wall.second(Instant::from_ns(1));
        let mut heads = Heads::new(1000);
        let mut text = |status, persistence| {
            let head = heads.get(status, persistence, second, &wall);
            String::from_utf8(head.head().to_vec()).expect("text")
        };
        assert_eq!(
            text(Status::Ok, Persistence::KeepAlive),
            "HTTP/1.1 200 OK\r\nServer: syncline\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
             Content-Type: text/plain; charset=us-ascii\r\nContent-Length: 1000\r\nConnection: keep-alive\r\n\r\n"
        );
        assert_eq!(
            text(Status::MethodNotAllowed, Persistence::Close),
            "HTTP/1.1 405 Method Not Allowed\r\nServer: syncline\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
             Allow: GET, HEAD\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        for status in Status::ALL {
            let text = text(status, Persistence::Implied);
            assert!(
                text.starts_with(&format!("HTTP/1.1 {}\r\n", status.line())),
                "{text}"
            );
        }
    }

    #[test]
    fn the_date_follows_the_second_and_can_go_back() {
        let mut wall = Wall::new(WallClock::default());
        let mut heads = Heads::new(0);
        for (now_s, second, date) in [(0, 0, "00:00:00"), (7, 7, "00:00:07"), (7, 5, "00:00:05")] {
            wall.second(Instant::from_ns(now_s * 1_000_000_000));
            let head = heads.get(Status::Ok, Persistence::Implied, second, &wall);
            let text = String::from_utf8_lossy(head.head());
            assert!(text.contains(date), "{text}");
        }
    }
}
