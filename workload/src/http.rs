//! The request of a benchmark's client and the response of [`crate::connect`], as bytes that both sides make for themselves.
//!
//! It must never depend on anything but its arguments: what one side sends is what the other compares with.

/// Largest body in bytes: with its header it stays below 65,536, which is what a connection's state can count.
pub const BODY_MAX: u32 = 60_000;

/// The request of every client.
#[must_use]
pub(crate) fn request() -> Vec<u8> {
    b"GET / HTTP/1.1\r\nHost: syncline\r\nConnection: close\r\n\r\n".to_vec()
}

/// The response of every server: a header and `body_len` bytes (at most [`BODY_MAX`]), none of which repeats its neighbour.
#[must_use]
pub(crate) fn response(body_len: u32) -> Vec<u8> {
    let body_len = body_len.min(BODY_MAX);
    let header = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {body_len}\r\nConnection: close\r\n\r\n"
    );
    header
        .into_bytes()
        .into_iter()
        .chain(body(body_len))
        .collect()
}

/// The body of that response, of at most [`BODY_MAX`] bytes.
#[must_use]
pub fn body(len: u32) -> Vec<u8> {
    // A prime number of values, so that a shift by a segment or a page shows.
    (0..len.min(BODY_MAX)).map(|i| (i % 251) as u8).collect()
}
