//! TCP options: the walk over them ([`Options`]), what a connection goes by ([`SegmentOptions`]), and the builder
//! ([`OptionBytes`]). RFC 9293 §3.2, 7323, 2018, 5482, 5925, 8684, 7413.
//!
//! It must never trust a length (MUST-7), and never decide whether an option is allowed in this segment: it doesn't know
//! the segment.

/// Bytes of options that fit into a header of 15 words.
pub const MAX_LEN: usize = 40;

/// The largest shift that may be used (RFC 7323 §2.3).
pub const MAX_WINDOW_SCALE: u8 = 14;

/// Option kinds (IANA "TCP Option Kind Numbers").
pub mod kind {
    /// End of the option list.
    pub const EOL: u8 = 0;
    /// Padding between options.
    pub const NOP: u8 = 1;
    /// Maximum segment size (RFC 9293 §3.2).
    pub const MSS: u8 = 2;
    /// Window scale (RFC 7323 §2).
    pub const WINDOW_SCALE: u8 = 3;
    /// SACK permitted (RFC 2018 §2).
    pub const SACK_PERMITTED: u8 = 4;
    /// SACK blocks (RFC 2018 §3).
    pub const SACK: u8 = 5;
    /// Timestamps (RFC 7323 §3).
    pub const TIMESTAMPS: u8 = 8;
    /// TCP MD5 signature (RFC 2385).
    pub const MD5: u8 = 19;
    /// User timeout (RFC 5482).
    pub const USER_TIMEOUT: u8 = 28;
    /// TCP authentication option (RFC 5925).
    pub const AUTHENTICATION: u8 = 29;
    /// Multipath TCP (RFC 8684).
    pub const MULTIPATH: u8 = 30;
    /// Fast Open cookie (RFC 7413).
    pub const FAST_OPEN: u8 = 34;
}

/// The timestamps option (RFC 7323 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamps {
    /// The sender's clock.
    pub tsval: u32,
    /// The latest clock value of ours that it saw; means something only with ACK.
    pub tsecr: u32,
}

/// One option, as it stands in the segment. NOP and EOL are not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// Maximum segment size, in bytes.
    Mss(u16),
    /// The shift as sent; values above [`MAX_WINDOW_SCALE`] count as that.
    WindowScale(u8),
    /// The sender understands SACK.
    SackPermitted,
    /// One to four blocks of 8 bytes.
    Sack(&'a [u8]),
    /// Timestamps.
    Timestamps(Timestamps),
    /// An MD5 signature of 16 bytes.
    Md5(&'a [u8]),
    /// The user timeout: the granularity bit (minutes when set), then 15 bits of time.
    UserTimeout(u16),
    /// A TCP-AO with key ids and MAC.
    Authentication(&'a [u8]),
    /// A Multipath TCP suboption.
    Multipath(&'a [u8]),
    /// A Fast Open cookie of 4 to 16 bytes, or nothing: a request for one.
    FastOpen(&'a [u8]),
    /// A known kind with a length that it can't have: skipped.
    WrongLength {
        /// Its kind.
        kind: u8,
    },
    /// A kind that we don't know: ignored (MUST-6).
    Unknown {
        /// Its kind.
        kind: u8,
        /// Its bytes behind kind and length.
        data: &'a [u8],
    },
}

/// A length that can't be: 0, 1, missing, or past the end of the header. What follows can't be found (MUST-7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Walks over the options of a segment, up to EOL, the end, or the first illegal length, which it reports once.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Options<'a> {
    /// A walk over the option bytes of a header.
    #[must_use]
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<TcpOption<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.rest;
            let (kind, after) = match rest {
                [] | [kind::EOL, ..] => {
                    self.rest = &[];
                    return None;
                }
                [kind::NOP, after @ ..] => {
                    self.rest = after;
                    continue;
                }
                [kind, after @ ..] => (*kind, after),
            };
            // The length counts kind and length themselves.
            let data = match after {
                [len, ..] if *len >= 2 => after.get(1..usize::from(*len) - 1),
                _ => None,
            };
            let Some(data) = data else {
                self.rest = &[];
                return Some(Err(Malformed));
            };
            self.rest = after.get(1 + data.len()..).unwrap_or(&[]);
            return Some(Ok(option(kind, data)));
        }
    }
}

#[inline]
fn option(kind: u8, data: &[u8]) -> TcpOption<'_> {
    match (kind, data) {
        (kind::MSS, &[a, b]) => TcpOption::Mss(u16::from_be_bytes([a, b])),
        (kind::WINDOW_SCALE, &[shift]) => TcpOption::WindowScale(shift),
        (kind::SACK_PERMITTED, []) => TcpOption::SackPermitted,
        (kind::SACK, blocks) if matches!(blocks.len(), 8 | 16 | 24 | 32) => TcpOption::Sack(blocks),
        (kind::TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => TcpOption::Timestamps(Timestamps {
            tsval: u32::from_be_bytes([a, b, c, d]),
            tsecr: u32::from_be_bytes([e, f, g, h]),
        }),
        (kind::MD5, signature) if signature.len() == 16 => TcpOption::Md5(signature),
        (kind::USER_TIMEOUT, &[a, b]) => TcpOption::UserTimeout(u16::from_be_bytes([a, b])),
        (kind::AUTHENTICATION, [_, _, ..]) => TcpOption::Authentication(data),
        (kind::MULTIPATH, [_, ..]) => TcpOption::Multipath(data),
        // RFC 7413 §2: 4 to 16 bytes and an even number, or none.
        (kind::FAST_OPEN, cookie) if is_fast_open_len(cookie.len()) => TcpOption::FastOpen(cookie),
        (
            kind::MSS
            | kind::WINDOW_SCALE
            | kind::SACK_PERMITTED
            | kind::SACK
            | kind::TIMESTAMPS
            | kind::MD5
            | kind::USER_TIMEOUT
            | kind::AUTHENTICATION
            | kind::MULTIPATH
            | kind::FAST_OPEN,
            _,
        ) => TcpOption::WrongLength { kind },
        _ => TcpOption::Unknown { kind, data },
    }
}

const fn is_fast_open_len(len: usize) -> bool {
    len == 0 || (len >= 4 && len <= 16 && len.is_multiple_of(2))
}

/// The bytes before TSval and TSecr where timestamps are the only option (RFC 7323 appendix A).
pub const USUAL_TIMESTAMPS: [u8; 4] = [kind::NOP, kind::NOP, kind::TIMESTAMPS, 10];

/// Bytes of timestamps that are the only option.
pub const USUAL_TIMESTAMPS_LEN: usize = 12;

/// The timestamps of nearly every segment of an open connection: NOP, NOP, timestamps and nothing else (RFC 7323
/// appendix A). `None` says only that the layout is another: [`SegmentOptions::parse`] reads them all.
#[must_use]
#[inline(always)]
pub fn only_timestamps(bytes: &[u8]) -> Option<Timestamps> {
    match bytes.as_chunks::<4>() {
        ([USUAL_TIMESTAMPS, tsval, tsecr], []) => Some(Timestamps {
            tsval: u32::from_be_bytes(*tsval),
            tsecr: u32::from_be_bytes(*tsecr),
        }),
        _ => None,
    }
}

/// Options being built: at most 40 bytes, read out padded to whole words.
///
/// Whatever lies behind the last option is zero: EOL and then padding (MUST-69).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionBytes {
    bytes: [u8; MAX_LEN],
    len: u8,
}

impl Default for OptionBytes {
    fn default() -> Self {
        Self::new()
    }
}

impl OptionBytes {
    /// No options.
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self {
            bytes: [0; MAX_LEN],
            len: 0,
        }
    }

    /// The options of a SYN or SYN-ACK, laid out as [`SegmentOptions::each_word`] says.
    #[must_use]
    pub fn syn(
        mss: Option<u16>,
        window_scale: Option<u8>,
        sack_permitted: bool,
        timestamps: Option<Timestamps>,
    ) -> Self {
        let options = SegmentOptions {
            timestamps,
            mss,
            window_scale,
            sack_permitted,
        };
        options.to_bytes()
    }

    /// NOP, NOP, timestamps: the recommended layout (RFC 7323 appendix A).
    #[must_use]
    #[inline]
    pub fn timestamps(timestamps: Timestamps) -> Self {
        let options = SegmentOptions {
            timestamps: Some(timestamps),
            ..SegmentOptions::default()
        };
        options.to_bytes()
    }

    /// The options, padded with zeros to whole 32-bit words: 0 to 40 bytes.
    #[must_use]
    #[inline]
    pub fn as_padded(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).next_multiple_of(4)]
    }

    /// Bytes up to the last option, without padding.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends what the caller knows to fit; what doesn't is left out.
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let start = usize::from(self.len);
        if let Some(place) = self.bytes.get_mut(start..start + bytes.len()) {
            place.copy_from_slice(bytes);
            self.len += bytes.len() as u8;
        }
    }
}

/// The options of a segment that change what a connection does; small and Copy, for the path of a SYN flood. Unknown ones are
/// skipped (MUST-6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SegmentOptions {
    /// Timestamps, RFC 7323 §3.
    pub timestamps: Option<Timestamps>,
    /// Maximum segment size in bytes of payload plus options, as sent, RFC 9293 §3.7.1. Only on SYN (MUST-65).
    pub mss: Option<u16>,
    /// Window scale, RFC 7323 §2. Only on SYN. At most 14 where it was read (§2.3).
    pub window_scale: Option<u8>,
    /// SACK-permitted, RFC 2018. Only on SYN.
    pub sack_permitted: bool,
}

impl SegmentOptions {
    /// Reads the option bytes of a segment. When a kind stands twice, the last one counts, as in Linux; an illegal length ends the
    /// walk, and what came before it counts (MUST-7). Segments after the handshake hold timestamps or nothing, nearly always.
    #[must_use]
    #[inline]
    pub fn parse(bytes: &[u8]) -> Self {
        match only_timestamps(bytes) {
            Some(timestamps) => Self {
                timestamps: Some(timestamps),
                ..Self::default()
            },
            None if bytes.is_empty() => Self::default(),
            None => Self::parse_rare(bytes),
        }
    }

    /// The same for a SYN.
    #[must_use]
    #[inline]
    pub fn parse_syn(bytes: &[u8]) -> Self {
        usual_syn(bytes).unwrap_or_else(|| Self::parse_any(bytes))
    }

    #[cold]
    fn parse_rare(bytes: &[u8]) -> Self {
        Self::parse_any(bytes)
    }

    /// The same without a test for the usual layout first: for options that are known to have another.
    #[must_use]
    pub fn parse_any(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        for option in Options::new(bytes).flatten() {
            match option {
                TcpOption::Mss(mss) => found.mss = Some(mss),
                TcpOption::WindowScale(shift) => {
                    found.window_scale = Some(shift.min(MAX_WINDOW_SCALE));
                }
                TcpOption::SackPermitted => found.sack_permitted = true,
                TcpOption::Timestamps(timestamps) => found.timestamps = Some(timestamps),
                _ => {}
            }
        }
        found
    }

    /// The option bytes of a segment with these options.
    #[must_use]
    #[inline]
    pub fn to_bytes(&self) -> OptionBytes {
        let mut bytes = OptionBytes::new();
        // Five words at most: there is room.
        let _ = self.each_word(|word| {
            bytes.put(&word);
            Some(())
        });
        bytes
    }

    /// Bytes of these options in a header: whole words.
    #[must_use]
    #[inline(always)]
    pub fn padded_len(&self) -> usize {
        let mut len = 0;
        let _ = self.each_word(|word| {
            len += word.len();
            Some(())
        });
        len
    }

    /// Calls `put` with each word of the option bytes, in the layout that Linux sends, which middleboxes know: MSS;
    /// SACK-permitted and timestamps sharing three words (or NOP, NOP before either alone, RFC 7323 appendix A); NOP and window
    /// scale. `None` as soon as `put` says so.
    #[inline(always)]
    pub fn each_word(&self, mut put: impl FnMut([u8; 4]) -> Option<()>) -> Option<()> {
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            put([kind::MSS, 4, high, low])?;
        }
        if let Some(timestamps) = self.timestamps {
            put(if self.sack_permitted {
                [kind::SACK_PERMITTED, 2, kind::TIMESTAMPS, 10]
            } else {
                [kind::NOP, kind::NOP, kind::TIMESTAMPS, 10]
            })?;
            put(timestamps.tsval.to_be_bytes())?;
            put(timestamps.tsecr.to_be_bytes())?;
        } else if self.sack_permitted {
            put([kind::NOP, kind::NOP, kind::SACK_PERMITTED, 2])?;
        }
        if let Some(shift) = self.window_scale {
            put([kind::NOP, kind::WINDOW_SCALE, 3, shift])?;
        }
        Some(())
    }
}

/// The options of a SYN laid out as Linux does, which is most of the internet's: MSS, SACK-permitted, timestamps, NOP, window
/// scale; or with two NOPs for SACK-permitted, as we send it. `None` says only that the layout is another.
#[must_use]
#[inline(always)]
pub fn usual_syn(bytes: &[u8]) -> Option<SegmentOptions> {
    let (words, []) = bytes.as_chunks::<4>() else {
        return None;
    };
    let &[mss, sack_timestamps, tsval, tsecr, window_scale] = words else {
        return None;
    };
    let [mss, sack_timestamps, window_scale] =
        [mss, sack_timestamps, window_scale].map(u32::from_be_bytes);
    // Compared as words: three tests instead of ten.
    let sack_permitted = sack_timestamps == 0x0402_080a;
    let fits = mss >> 16 == 0x0204
        && (sack_permitted || sack_timestamps == 0x0101_080a)
        && window_scale >> 8 == 0x01_0303;
    fits.then(|| SegmentOptions {
        mss: Some(mss as u16),
        window_scale: Some((window_scale as u8).min(MAX_WINDOW_SCALE)),
        sack_permitted,
        timestamps: Some(Timestamps {
            tsval: u32::from_be_bytes(tsval),
            tsecr: u32::from_be_bytes(tsecr),
        }),
    })
}

#[cfg(test)]
mod tests;
