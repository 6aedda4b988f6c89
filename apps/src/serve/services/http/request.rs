//! The request: the head of HTTP/1.0 and 1.1 (RFC 9112), judged as a whole.
//!
//! It must never keep a byte of them, and never believe a request whose end two readers could see in two places (RFC
//! 9112 §11.2): such a connection ends with its answer.

use core::mem::MaybeUninit;

use httparse::{Error, Header, Request as Head};
use workload::body::Body;

use super::HEAD_MAX;
use super::host;
use super::response::Status;

/// Fields of one head at most.
const FIELDS_MAX: usize = 96;

/// The meaning of the bytes at the front of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The beginning of a head.
    Partial,
    /// A request.
    Request(Request),
    /// Nothing that can be answered but with this, and the end.
    Malformed(Status),
}

/// The requested resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// Bytes of the head, its empty line included.
    pub(super) head_len: usize,
    /// The answer.
    pub(super) status: Status,
    /// No body in the answer, whatever its head says (RFC 9110 §9.3.2).
    pub(super) is_head: bool,
    /// The peer speaks HTTP/1.0, and needs a header when the connection goes on.
    pub(super) is_1_0: bool,
    /// The peer wants no more of this connection.
    pub(super) peer_closes: bool,
    /// The body behind the head, to be read and discarded.
    pub(super) body: Body,
    /// The peer waits for 100 Continue before it sends that body (RFC 9110 §10.1.1).
    pub(super) expects: bool,
}

/// Judges the bytes at the front of a connection. A later minor version is served as the latest that we know (RFC 9110
/// §2.5), on a copy of the head whose version says so.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let Some(at) = later_minor(bytes) else {
        return parse_known(bytes);
    };
    let mut copy = [0; HEAD_MAX];
    let len = bytes.len().min(HEAD_MAX);
    copy[..len].copy_from_slice(&bytes[..len]);
    copy[at] = b'1';
    parse_known(&copy[..len])
}

/// Where the minor version of the request line stands, if it is one of HTTP/1 beyond 1.1.
fn later_minor(bytes: &[u8]) -> Option<usize> {
    let start = bytes.iter().position(|byte| !b"\r\n".contains(byte))?;
    let line = bytes[start..].split(|&byte| byte == b'\n').next()?;
    let version_at = line.iter().rposition(|&byte| byte == b' ')? + 1;
    let minor = line[version_at..]
        .trim_ascii_end()
        .strip_prefix(b"HTTP/1.")?;
    matches!(minor, [b'2'..=b'9']).then(|| start + version_at + b"HTTP/1.".len())
}

fn parse_known(bytes: &[u8]) -> Parsed {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut head = Head::new(&mut []);
    match head.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(head_len)) => judge(&head, head_len),
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Err(Error::TooManyHeaders) => Parsed::Malformed(Status::HeadTooLarge),
        Err(Error::Version) => Parsed::Malformed(Status::VersionNotSupported),
        Err(_) => Parsed::Malformed(Status::BadRequest),
    }
}

/// The fields of a head that concern the connection and the body.
#[derive(Default)]
struct Fields {
    hosts: u32,
    is_host_valid: bool,
    close: bool,
    keep_alive: bool,
    expects: Option<ExpectHeader>,
    content_length: Option<u64>,
    /// There is a Transfer-Encoding field.
    has_coding_field: bool,
    transfer_encoding: Option<Coding>,
    malformed: bool,
}

#[derive(PartialEq)]
enum Coding {
    Chunked,
    Unknown,
}

#[derive(PartialEq)]
enum ExpectHeader {
    Continue,
    Unknown,
}

impl Fields {
    fn read(headers: &[Header<'_>]) -> Self {
        let mut fields = Self::default();
        for header in headers {
            // Few names have one of these lengths; the others aren't compared at all.
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            match header.name.len() {
                4 if is("host") => {
                    fields.hosts += 1;
                    fields.is_host_valid = host::is_valid(header.value);
                }
                10 if is("connection") => fields.connection(header.value),
                6 if is("expect") => fields.expect(header.value),
                14 if is("content-length") => fields.content_length(header.value),
                17 if is("transfer-encoding") => fields.transfer_encoding(header.value),
                _ => {}
            }
        }
        fields
    }

    fn connection(&mut self, value: &[u8]) {
        for token in members(value) {
            self.close |= token.eq_ignore_ascii_case(b"close");
            self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// RFC 9110 §10.1.1: the only one that there is, in any case.
    fn expect(&mut self, value: &[u8]) {
        for token in members(value) {
            let is_known = token.eq_ignore_ascii_case(b"100-continue");
            if !is_known || self.expects.is_none() {
                self.expects = Some(if is_known {
                    ExpectHeader::Continue
                } else {
                    ExpectHeader::Unknown
                });
            }
        }
    }

    /// RFC 9110 §8.6: digits only; RFC 9112 §6.3: the same value again is one value. It is no list, so an empty value
    /// between commas is an error.
    fn content_length(&mut self, value: &[u8]) {
        for token in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            let is_digits = !token.is_empty() && token.iter().all(u8::is_ascii_digit);
            let text = core::str::from_utf8(token).unwrap_or_default();
            let Some(len) = text.parse::<u64>().ok().filter(|_| is_digits) else {
                self.malformed = true;
                return;
            };
            self.malformed |= self.content_length.is_some_and(|other| other != len);
            self.content_length = Some(len);
        }
    }

    /// RFC 9112 §6.1: all fields of this name are one list, of which we know `chunked` alone.
    fn transfer_encoding(&mut self, value: &[u8]) {
        self.has_coding_field = true;
        for token in members(value) {
            let is_first = self.transfer_encoding.is_none();
            let is_chunked = token.eq_ignore_ascii_case(b"chunked");
            self.transfer_encoding = Some(if is_chunked && is_first {
                Coding::Chunked
            } else {
                Coding::Unknown
            });
        }
    }
}

/// The members of a list; empty ones don't count (RFC 9110 §5.6.1.2).
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let members = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty())
}

fn judge(head: &Head<'_, '_>, head_len: usize) -> Parsed {
    let is_1_0 = head.version == Some(0);
    let fields = Fields::read(head.headers);
    // RFC 9112 §3.2: one Host, and a valid one; §6.1: 1.0 has no transfer codings, and two lengths are an attack.
    let has_coding = fields.transfer_encoding.is_some();
    let bad_host = match fields.hosts {
        0 => !is_1_0,
        1 => !fields.is_host_valid,
        _ => true,
    };
    // A field without a coding frames nothing, and another reader may take it for one.
    let bad_coding = fields.has_coding_field && !has_coding;
    let bad_length = bad_coding || has_coding && (is_1_0 || fields.content_length.is_some());
    if fields.malformed || bad_host || bad_length {
        return Parsed::Malformed(Status::BadRequest);
    }
    if fields.transfer_encoding == Some(Coding::Unknown) {
        return Parsed::Malformed(Status::NotImplemented);
    }
    if fields.expects == Some(ExpectHeader::Unknown) && !is_1_0 {
        return Parsed::Malformed(Status::ExpectationFailed);
    }
    let body = if has_coding {
        Body::CHUNKED
    } else if let Ok(len) = u32::try_from(fields.content_length.unwrap_or(0)) {
        Body::Length(len)
    } else {
        return Parsed::Malformed(Status::ContentTooLarge);
    };
    let method = head.method.unwrap_or_default();
    let peer_closes = fields.close || (is_1_0 && !fields.keep_alive);
    Parsed::Request(Request {
        head_len,
        status: status_of(method),
        is_head: method == "HEAD",
        is_1_0,
        peer_closes,
        body,
        expects: fields.expects.is_some() && !is_1_0 && !body.is_over(),
    })
}

/// Every path is there, for GET and HEAD; the other methods of RFC 9110 and PATCH (RFC 5789) we know and don't allow.
fn status_of(method: &str) -> Status {
    match method {
        "GET" | "HEAD" => Status::Ok,
        "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH" => {
            Status::MethodNotAllowed
        }
        _ => Status::NotImplemented,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request {
        match parse(text.as_bytes()) {
            Parsed::Request(request) => {
                assert_eq!(request.head_len, text.len(), "{text}");
                request
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n";

    #[test]
    fn every_beginning_of_a_head_is_partial_and_the_whole_is_a_request() {
        let text = "\r\nGET /x?y HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
        for len in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..len]), Parsed::Partial, "{len}");
        }
        assert_eq!(
            request(text),
            Request {
                head_len: text.len(),
                status: Status::Ok,
                is_head: false,
                is_1_0: false,
                peer_closes: false,
                body: Body::Length(0),
                expects: false
            }
        );
        let two = format!("{text}{text}");
        assert!(
            matches!(parse(two.as_bytes()), Parsed::Request(first) if first.head_len == text.len())
        );
    }

    #[test]
    fn a_later_minor_version_is_served_as_1_1() {
        for minor in 2..=9 {
            let text = format!("\r\nGET /x HTTP/1.{minor}\r\nHost: a\r\n\r\n");
            let served = request(&text);
            assert!(!served.is_1_0 && !served.peer_closes);
            for len in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..len]), Parsed::Partial, "{len}");
            }
        }
    }

    #[test]
    fn persistence_is_as_the_version_and_the_field_say() {
        for (head, peer_closes) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n", true),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: x , close\r\n",
                true,
            ),
            ("GET / HTTP/1.0\r\n", true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n", true),
        ] {
            let request = request(&format!("{head}\r\n"));
            assert_eq!(request.peer_closes, peer_closes, "{head}");
        }
    }

    #[test]
    fn methods_have_their_answers() {
        for (method, status) in [
            ("GET", Status::Ok),
            ("HEAD", Status::Ok),
            ("POST", Status::MethodNotAllowed),
            ("get", Status::NotImplemented),
            ("BREW", Status::NotImplemented),
        ] {
            let request = request(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(request.status, status, "{method}");
            assert_eq!(request.is_head, method == "HEAD");
        }
    }

    #[test]
    fn bodies_are_known_by_their_length_or_their_coding() {
        for (fields, body, expects) in [
            ("", Body::Length(0), false),
            ("Content-Length: 5\r\n", Body::Length(5), false),
            (
                "Content-Length: 5, 5\r\nContent-Length: 5\r\n",
                Body::Length(5),
                false,
            ),
            (
                "Content-Length: 4294967295\r\n",
                Body::Length(u32::MAX),
                false,
            ),
            ("Transfer-Encoding: Chunked\r\n", Body::CHUNKED, false),
            ("Transfer-Encoding: , chunked ,\r\n", Body::CHUNKED, false),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: \r\n",
                Body::CHUNKED,
                false,
            ),
            (
                "Transfer-Encoding: chunked\r\nExpect: 100-Continue\r\n",
                Body::CHUNKED,
                true,
            ),
            (
                "Content-Length: 5\r\nExpect: 100-continue\r\n",
                Body::Length(5),
                true,
            ),
            (
                "Content-Length: 0\r\nExpect: 100-continue\r\n",
                Body::Length(0),
                false,
            ),
        ] {
            let request = request(&format!("{GET}{fields}\r\n"));
            assert_eq!((request.body, request.expects), (body, expects), "{fields}");
        }
        let old = request("GET / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        assert!(!old.expects, "nobody tells HTTP/1.0 to go on");
    }

    #[test]
    fn what_cant_be_understood_has_one_answer() {
        for (text, status) in [
            (
                format!("{GET}Content-Length: 5\r\nContent-Length: 6\r\n"),
                Status::BadRequest,
            ),
            (format!("{GET}Content-Length: +5\r\n"), Status::BadRequest),
            (format!("{GET}Content-Length: \r\n"), Status::BadRequest),
            (
                format!("{GET}Content-Length: 99999999999999999999999\r\n"),
                Status::BadRequest,
            ),
            (
                format!("{GET}Content-Length: 5000000000\r\n"),
                Status::ContentTooLarge,
            ),
            (
                format!("{GET}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
                Status::BadRequest,
            ),
            (
                format!("{GET}Transfer-Encoding: gzip\r\n"),
                Status::NotImplemented,
            ),
            (
                format!("{GET}Transfer-Encoding: gzip, chunked\r\n"),
                Status::NotImplemented,
            ),
            (
                format!("{GET}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
                Status::NotImplemented,
            ),
            (
                format!("{GET}Content-Length: 5\r\nExpect: 200-ok\r\nExpect: 100-continue\r\n"),
                Status::ExpectationFailed,
            ),
            (format!("{GET}Host: b\r\n"), Status::BadRequest),
            (
                format!("{GET}Transfer-Encoding: , ,\r\n"),
                Status::BadRequest,
            ),
            (
                format!("{GET}Transfer-Encoding: chunked,,chunked\r\n"),
                Status::NotImplemented,
            ),
            ("GET / HTTP/1.1\r\nHost: a b\r\n".into(), Status::BadRequest),
            ("GET / HTTP/1.0\r\nHost: a b\r\n".into(), Status::BadRequest),
            ("GET / HTTP/1.10\r\nHost: a\r\n".into(), Status::BadRequest),
            ("GET / HTTP/1.1\r\n".into(), Status::BadRequest),
            (
                "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n".into(),
                Status::BadRequest,
            ),
            ("GET / HTTP/2.0\r\n".into(), Status::VersionNotSupported),
            ("GET /\r\n".into(), Status::BadRequest),
            ("\x16\x03\x01\x02\r\n".into(), Status::BadRequest),
            (
                format!("{GET}{}", "a: b\r\n".repeat(FIELDS_MAX)),
                Status::HeadTooLarge,
            ),
        ] {
            let parsed = parse(format!("{text}\r\n").as_bytes());
            assert_eq!(parsed, Parsed::Malformed(status), "{text}");
        }
    }
}
