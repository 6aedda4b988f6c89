//! The character generator's endless pattern, as a pure function of the offset (RFC 864).
//!
//! It must never depend on anything but the offset: a retransmission is made again, not remembered.
//!
//! Lines of 72 printable characters and CRLF; each line starts one character later than the one before, and after 95
//! lines (one for each printable ASCII character) the pattern repeats.

/// Printable characters of a line.
const LINE_CHARS: usize = 72;
/// Bytes of a line: characters, CR and LF.
pub const LINE_LEN: usize = LINE_CHARS + 2;
/// Printable ASCII characters, space to tilde, and so lines before the pattern repeats.
pub const LINES: usize = 95;
/// Bytes before the pattern repeats.
pub const PERIOD_LEN: usize = LINE_LEN * LINES;

/// One period.
static PERIOD: [u8; PERIOD_LEN] = period();

const fn period() -> [u8; PERIOD_LEN] {
    let mut bytes = [0; PERIOD_LEN];
    let mut at = 0;
    while at < PERIOD_LEN {
        let (line, column) = (at / LINE_LEN, at % LINE_LEN);
        bytes[at] = if column < LINE_CHARS {
            b' ' + ((line + column) % LINES) as u8
        } else if column == LINE_CHARS {
            b'\r'
        } else {
            b'\n'
        };
        at += 1;
    }
    bytes
}

/// Place of an offset within the period.
#[inline]
const fn place(offset: u64) -> usize {
    // Below PERIOD_LEN, so it fits.
    (offset % PERIOD_LEN as u64) as usize
}

/// The byte at `offset`.
#[must_use]
#[inline]
pub fn byte_at(offset: u64) -> u8 {
    PERIOD[place(offset)]
}

/// Writes the pattern from `offset` on over all of `into`.
#[inline]
pub fn fill(offset: u64, into: &mut [u8]) {
    let mut from = place(offset);
    let mut rest = into;
    while !rest.is_empty() {
        let len = rest.len().min(PERIOD_LEN - from);
        let (now, later) = rest.split_at_mut(len);
        now.copy_from_slice(&PERIOD[from..from + len]);
        rest = later;
        from = 0;
    }
}

/// Whether `bytes` are those of the pattern from `offset` on.
#[must_use]
#[inline]
pub fn matches(offset: u64, bytes: &[u8]) -> bool {
    let mut from = place(offset);
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = rest.len().min(PERIOD_LEN - from);
        let (now, later) = rest.split_at(len);
        if now != &PERIOD[from..from + len] {
            return false;
        }
        rest = later;
        from = 0;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first two lines as RFC 864 prints them.
    const FIRST: &str = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n\
         !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh\r\n";

    #[test]
    fn it_starts_as_the_rfc_prints_it_and_wraps_after_the_tilde() {
        let mut bytes = [0; 2 * LINE_LEN];
        fill(0, &mut bytes);
        assert_eq!(core::str::from_utf8(&bytes), Ok(FIRST));
        // Line 24 ends with the first character that lies behind the tilde: the space.
        let last_of_line_24 = (24 * LINE_LEN + LINE_CHARS - 1) as u64;
        assert_eq!(byte_at(last_of_line_24 - 1), b'~');
        assert_eq!(byte_at(last_of_line_24), b' ');
    }

    proptest! {
        #[test]
        fn filling_matching_and_single_bytes_agree(
            offset in prop_oneof![0u64..20_000, any::<u64>()],
            len in 0usize..20_000,
            wrong: prop::sample::Index,
        ) {
            let offset = offset.min(u64::MAX - 20_000);
            let mut bytes = vec![0; len];
            fill(offset, &mut bytes);
            prop_assert!(matches(offset, &bytes));
            for (i, &byte) in bytes.iter().enumerate() {
                prop_assert_eq!(byte, byte_at(offset + i as u64));
            }
            if len > 0 {
                bytes[wrong.index(len)] ^= 1;
                prop_assert!(!matches(offset, &bytes));
            }
        }
    }
}
