//! [`Head`]: the head of an HTTP response (RFC 9112), as far as a client has to know it to find its end.
//!
//! It must never keep a byte, and never believe a response whose end two readers could see in two places.

use core::mem::MaybeUninit;

use httparse::{Header, Response, Status};

use crate::body::Body;

/// Fields of one head at most.
const FIELDS_MAX: usize = 96;
/// Bytes of a head at most.
pub const HEAD_MAX: usize = 64 * 1024;

/// Where a response ends (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked(Body),
    /// Where the server closes.
    UntilClose,
}

/// The facts in the head of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the head.
    pub(super) len: usize,
    /// The status code.
    pub(super) status: u16,
    /// Where the response ends.
    pub(super) framing: Framing,
    /// The server closes the connection behind it.
    pub(super) closes: bool,
}

/// The meaning of the bytes at the front of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The head of a response.
    Head(Head),
    /// The beginning of one.
    Partial,
    /// None.
    Malformed,
}

/// Reads a head. `to_head` says that the request was a HEAD, whose response has no body.
#[must_use]
pub(super) fn parse(bytes: &[u8], to_head: bool) -> Parsed {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; FIELDS_MAX];
    let mut response = Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields) {
        Ok(Status::Complete(len)) => judge(&response, len, to_head),
        Ok(Status::Partial) => Parsed::Partial,
        Err(_) => Parsed::Malformed,
    }
}

fn judge(response: &Response<'_, '_>, len: usize, to_head: bool) -> Parsed {
    let status = response.code.unwrap_or_default();
    let (mut close, mut keep_alive, mut chunked) = (false, false, false);
    let mut length: Option<u64> = None;
    for field in response.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        match field.name.len() {
            10 if is("connection") => {
                for token in field
                    .value
                    .split(|&byte| byte == b',')
                    .map(<[u8]>::trim_ascii)
                {
                    close |= token.eq_ignore_ascii_case(b"close");
                    keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if is("content-length") => {
                let Some(value) = decimal(field.value.trim_ascii()) else {
                    return Parsed::Malformed;
                };
                if length.is_some_and(|other| other != value) {
                    return Parsed::Malformed;
                }
                length = Some(value);
            }
            17 if is("transfer-encoding") => {
                if !field.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Parsed::Malformed;
                }
                chunked = true;
            }
            _ => {}
        }
    }
    if chunked && length.is_some() {
        return Parsed::Malformed;
    }
    let has_none = to_head || matches!(status, 100..=199 | 204 | 304);
    let framing = match length {
        _ if has_none => Framing::Length(0),
        Some(length) => Framing::Length(length),
        None if chunked => Framing::Chunked(Body::CHUNKED),
        None => Framing::UntilClose,
    };
    let is_1_0 = response.version == Some(0);
    Parsed::Head(Head {
        len,
        status,
        framing,
        closes: close || (is_1_0 && !keep_alive) || framing == Framing::UntilClose,
    })
}

/// Digits only.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit < 10)?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str, to_head: bool) -> Head {
        match parse(text.as_bytes(), to_head) {
            Parsed::Head(head) => head,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn the_end_of_a_response_is_where_its_head_says() {
        for (fields, framing, closes) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
                Framing::Length(5),
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length:  5 \r\nConnection: close\r\n",
                Framing::Length(5),
                true,
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n",
                Framing::Length(5),
                true,
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\n",
                Framing::Length(5),
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
                Framing::Chunked(Body::CHUNKED),
                false,
            ),
            ("HTTP/1.1 200 OK\r\n", Framing::UntilClose, true),
            ("HTTP/1.1 204 No Content\r\n", Framing::Length(0), false),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n",
                Framing::Length(0),
                false,
            ),
            ("HTTP/1.1 100 Continue\r\n", Framing::Length(0), false),
        ] {
            let text = format!("{fields}\r\n");
            let head = head(&text, false);
            assert_eq!(
                (head.framing, head.closes, head.len),
                (framing, closes, text.len()),
                "{text}"
            );
            for len in 0..text.len() {
                assert_eq!(
                    parse(&text.as_bytes()[..len], false),
                    Parsed::Partial,
                    "{text} {len}"
                );
            }
        }
        assert_eq!(
            head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true).framing,
            Framing::Length(0)
        );
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_refused() {
        for fields in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: gzip\r\n",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            assert_eq!(parse(text.as_bytes(), false), Parsed::Malformed, "{text}");
        }
        assert_eq!(parse(b"SSH-2.0-OpenSSH\r\n", false), Parsed::Malformed);
    }
}
