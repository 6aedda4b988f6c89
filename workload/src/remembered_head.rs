//! [`RememberedHead`]: the head of an HTTP message that was read last, and what came of it, so that the same bytes again need not be
//! parsed again.
//!
//! It must never answer for other bytes than those that it was given, and never for a head that was not whole.

/// A longer head is parsed each time.
const LEN_MAX: usize = 512;

/// The head that was read last, and what came of it. Parsing must depend on the bytes of the head alone, not on those behind it.
#[derive(Debug, Clone)]
pub struct RememberedHead<T> {
    bytes: Vec<u8>,
    outcome: Option<T>,
}

impl<T> Default for RememberedHead<T> {
    fn default() -> Self {
        Self {
            bytes: Vec::with_capacity(LEN_MAX),
            outcome: None,
        }
    }
}

impl<T: Copy> RememberedHead<T> {
    /// The outcome of the head at the front of `bytes`, if that is the one that was read last.
    #[inline]
    #[must_use]
    pub fn recall(&self, bytes: &[u8]) -> Option<T> {
        self.outcome.filter(|_| bytes.starts_with(&self.bytes))
    }

    /// Remembers a whole head and what came of it. A head of more than 512 bytes is not remembered.
    #[inline]
    pub fn remember(&mut self, head: &[u8], outcome: T) {
        self.bytes.clear();
        self.outcome = None;
        if head.len() <= LEN_MAX {
            self.bytes.extend_from_slice(head);
            self.outcome = Some(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_recalled_by_all_of_its_bytes() {
        let mut last = RememberedHead::default();
        assert_eq!(last.recall(b""), None);
        assert_eq!(last.recall(b"GET / HTTP/1.1\r\n\r\n"), None);
        last.remember(b"GET / HTTP/1.1\r\n\r\n", 7);
        assert_eq!(last.recall(b"GET / HTTP/1.1\r\n\r\n"), Some(7));
        assert_eq!(last.recall(b"GET / HTTP/1.1\r\n\r\nGET /"), Some(7));
        assert_eq!(last.recall(b"GET / HTTP/1.1\r\n\r"), None);
        assert_eq!(last.recall(b"GET / HTTP/1.0\r\n\r\n"), None);
        last.remember(&[b'x'; LEN_MAX + 1], 8);
        assert_eq!(last.recall(&[b'x'; LEN_MAX + 1]), None);
        assert_eq!(last.recall(b"GET / HTTP/1.1\r\n\r\n"), None);
    }
}
