//! [`Template`]: the bytes of a request, with places for its number (`{n}`) and for random text (`{rand:16}`).
//!
//! It must never format or allocate when it is written: numbers and letters are put where they belong, into room that was
//! taken at start.

use core::net::SocketAddr;
use std::io::Write as _;

use stack::rng::Random;

/// Random characters of one place at most.
pub const RANDOM_MAX: usize = 64;
/// Bytes of a written request with placeholders at most.
pub const WRITTEN_MAX: usize = 16 * 1024;
/// Digits of the largest number.
const DIGITS_MAX: usize = 20;
/// Characters of a tuple at most: two IPv6 addresses with scopes and ports, and what stands between.
const TUPLE_MAX: usize = 128;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Bytes(Box<[u8]>),
    Number,
    Random(usize),
    /// Both ends of the connection.
    Tuple,
}

/// Why a text is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateError {
    /// `{rand:…}` without a number from 1 to [`RANDOM_MAX`].
    RandomLen,
    /// Longer than [`WRITTEN_MAX`] with placeholders.
    TooLong,
}

impl core::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::RandomLen => write!(
                f,
                "a random text has 1 to {RANDOM_MAX} characters; write it like {{rand:16}}"
            ),
            Self::TooLong => write!(
                f,
                "a request with placeholders has at most {WRITTEN_MAX} bytes"
            ),
        }
    }
}

impl core::error::Error for TemplateError {}

/// The bytes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Reads the placeholders; every other brace stands for itself.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn new(bytes: &[u8]) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut rest = bytes;
        while let Some((&first, behind)) = rest.split_first() {
            let placeholder = if rest.starts_with(b"{n}") {
                Some((Piece::Number, 3))
            } else if rest.starts_with(b"{tuple}") {
                Some((Piece::Tuple, 7))
            } else if let Some(len) = rest.strip_prefix(b"{rand:") {
                let (len, used) = random_len(len)?;
                Some((Piece::Random(len), 6 + used))
            } else {
                None
            };
            match placeholder {
                Some((piece, used)) => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Bytes(core::mem::take(&mut plain).into()));
                    }
                    pieces.push(piece);
                    rest = &rest[used..];
                }
                None => {
                    plain.push(first);
                    rest = behind;
                }
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Bytes(plain.into()));
        }
        let template = Self(pieces);
        if template.constant().is_none() && template.len_max() > WRITTEN_MAX {
            return Err(TemplateError::TooLong);
        }
        Ok(template)
    }

    /// These bytes and nothing else.
    #[must_use]
    pub fn fixed(bytes: &[u8]) -> Self {
        Self(vec![Piece::Bytes(bytes.into())])
    }

    /// The bytes, when they are always the same.
    #[must_use]
    pub fn constant(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [] => Some(&[]),
            [Piece::Bytes(bytes)] => Some(bytes),
            _ => None,
        }
    }

    /// Bytes that it can have at most.
    fn len_max(&self) -> usize {
        let len = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Number => DIGITS_MAX,
            Piece::Random(len) => *len,
            Piece::Tuple => TUPLE_MAX,
        };
        self.0.iter().map(len).sum()
    }

    /// Writes the request with this number, on a connection from the first of `ends` to the second one, behind what `into` holds;
    /// `into` has room for [`WRITTEN_MAX`] bytes more.
    pub(crate) fn write(
        &self,
        (number, ends): (u64, (SocketAddr, SocketAddr)),
        random: &mut Random,
        into: &mut Vec<u8>,
    ) {
        for piece in &self.0 {
            match piece {
                Piece::Bytes(bytes) => into.extend_from_slice(bytes),
                Piece::Number => write_decimal(number, into),
                Piece::Tuple => {
                    // A vector takes all that there is room for.
                    let _ = write!(into, "{}>{}", ends.0, ends.1);
                }
                Piece::Random(len) => {
                    let (mut bits, mut left) = (0, 0);
                    for _ in 0..*len {
                        if left == 0 {
                            (bits, left) = (random.next_u64(), 12);
                        }
                        into.push(ALPHABET[(bits & 31) as usize]);
                        bits >>= 5;
                        left -= 1;
                    }
                }
            }
        }
    }
}

/// The number in front of `}` and the bytes that it takes, brace included.
fn random_len(text: &[u8]) -> Result<(usize, usize), TemplateError> {
    let end = text
        .iter()
        .position(|&byte| byte == b'}')
        .ok_or(TemplateError::RandomLen)?;
    let len = core::str::from_utf8(&text[..end])
        .ok()
        .and_then(|digits| digits.parse().ok());
    match len {
        Some(len) if (1..=RANDOM_MAX).contains(&len) => Ok((len, end + 1)),
        _ => Err(TemplateError::RandomLen),
    }
}

fn write_decimal(mut number: u64, into: &mut Vec<u8>) {
    let mut digits = [0; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    into.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, number: u64) -> String {
        let template = Template::new(text.as_bytes()).expect(text);
        let mut into = Vec::with_capacity(WRITTEN_MAX);
        let ends = ("198.18.0.2:1024", "[2001:db8::1]:80");
        let ends = (ends.0.parse(), ends.1.parse());
        let ends = (ends.0.expect("an address"), ends.1.expect("an address"));
        template.write((number, ends), &mut Random::new(1), &mut into);
        String::from_utf8(into).expect("text")
    }

    #[test]
    fn placeholders_are_filled_and_other_braces_stay() {
        assert_eq!(written("GET /?id={n} {x}{", 0), "GET /?id=0 {x}{");
        assert_eq!(
            written("{n}{n}", u64::MAX),
            "1844674407370955161518446744073709551615"
        );
        assert_eq!(written("{tuple}", 0), "198.18.0.2:1024>[2001:db8::1]:80");
        let random = written("a{rand:17}b", 3);
        assert_eq!(random.len(), 19);
        assert!(
            random
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
        assert_ne!(
            written("{rand:16}{rand:16}", 0)[..16],
            written("{rand:16}{rand:16}", 0)[16..]
        );
    }

    #[test]
    fn constant_requests_are_known_as_such() {
        let template = |text: &str| Template::new(text.as_bytes());
        assert_eq!(
            template("GET /").expect("a template").constant(),
            Some(&b"GET /"[..])
        );
        assert_eq!(template("GET /{n}").expect("a template").constant(), None);
        for text in ["{rand:}", "{rand:0}", "{rand:65}", "{rand:x}", "{rand:5"] {
            assert_eq!(template(text), Err(TemplateError::RandomLen), "{text}");
        }
        let long = format!("{{n}}{}", "x".repeat(WRITTEN_MAX));
        assert_eq!(template(&long), Err(TemplateError::TooLong));
        assert!(template(&"x".repeat(WRITTEN_MAX * 2)).is_ok());
    }
}
