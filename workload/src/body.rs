//! [`Body`]: where the body of a request or a response ends, so that what follows it can be found.
//!
//! It must never keep a byte, and never guess: framing that two readers could see in two ways ends the connection (RFC
//! 9112 §7.1, §11.2).

/// Bytes of a chunk's line at most, extensions included.
const LINE_MAX: u16 = 256;
/// Bytes of all trailer fields at most.
const TRAILERS_MAX: u16 = 8192;

/// Why bytes are no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// The framing of a chunk is wrong, or can be read in two ways.
    Malformed,
    /// It is longer than 2^32 - 1 bytes, framing included.
    TooLarge,
    /// A chunk's line or the trailers are too long.
    LineTooLong,
}

/// The rest of a body, from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// This many bytes (RFC 9112 §6.2).
    Length(u32),
    /// Chunks, and trailers (RFC 9112 §7.1).
    Chunked(Chunks),
}

/// Where the reading of chunks stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    /// Bytes of this chunk that are to come; within its line the size as far as it has been read.
    left: u32,
    /// Bytes that the body may still have, framing included.
    room: u32,
    /// Bytes of this line, or of the trailers so far.
    line: u16,
    at: At,
}

/// The next part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// A digit of a chunk's size, or what ends it.
    Size,
    /// The chunk's extensions, up to the end of the line.
    Extension,
    /// The line feed of a chunk's line.
    LineEnd,
    /// Bytes of the chunk.
    Data,
    /// The carriage return behind them.
    DataCr,
    /// The line feed behind that.
    DataLf,
    /// The first byte of a line of trailers.
    Trailer,
    /// The rest of one.
    TrailerRest,
    /// The line feed of one.
    TrailerLf,
    /// The line feed of the empty line.
    LastLf,
    /// Nothing: the body is over.
    Over,
}

impl Body {
    /// The beginning of a body in chunks. As a whole it may be as long as one of a known length: 2^32 - 1 bytes.
    pub const CHUNKED: Self = Self::Chunked(Chunks {
        left: 0,
        room: u32::MAX,
        line: 0,
        at: At::Size,
    });

    /// Whether nothing of it is to come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.at == At::Over,
        }
    }

    /// How many of `bytes` belong to it: fewer than all only at its end.
    ///
    /// # Errors
    /// [`BodyError`] when they are no such body, or one that is too long.
    pub fn read(&mut self, bytes: &[u8]) -> Result<usize, BodyError> {
        self.read_data(bytes, |_| {})
    }

    /// The same, and shows what of them is data, without the framing of chunks.
    ///
    /// # Errors
    /// As [`Body::read`]; what was shown before it stays shown.
    pub(crate) fn read_data(
        &mut self,
        bytes: &[u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<usize, BodyError> {
        match self {
            Self::Length(left) => {
                let len = bytes.len().min(*left as usize);
                // At most `left`.
                *left -= len as u32;
                data(&bytes[..len]);
                Ok(len)
            }
            Self::Chunked(chunks) => chunks.read(bytes, data),
        }
    }
}

impl Chunks {
    fn read(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> Result<usize, BodyError> {
        let mut read = 0;
        while self.at != At::Over
            && let Some(&byte) = bytes.get(read)
        {
            let len = if self.at == At::Data {
                let len = self.data(bytes.len() - read);
                data(&bytes[read..read + len]);
                len
            } else {
                self.at = self.framing(byte)?;
                1
            };
            let room = u32::try_from(len)
                .ok()
                .and_then(|len| self.room.checked_sub(len));
            self.room = room.ok_or(BodyError::TooLarge)?;
            read += len;
        }
        Ok(read)
    }

    /// Takes up to `waiting` bytes of the chunk, and says how many.
    fn data(&mut self, waiting: usize) -> usize {
        let len = waiting.min(self.left as usize);
        // At most `left`.
        self.left -= len as u32;
        if self.left == 0 {
            self.at = At::DataCr;
        }
        len
    }

    /// Takes one byte between chunks. Every line ends in both characters: a reader that takes one for the end sees other
    /// chunks than one that doesn't.
    fn framing(&mut self, byte: u8) -> Result<At, BodyError> {
        Ok(match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte)?,
            (At::Size, b';' | b' ' | b'\t') if self.line > 0 => {
                self.longer(LINE_MAX, At::Extension)?
            }
            (At::Size, b'\r') if self.line > 0 => At::LineEnd,
            (At::Extension, b'\r') => At::LineEnd,
            (At::LineEnd, b'\n') => {
                self.line = 0;
                if self.left > 0 { At::Data } else { At::Trailer }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::Trailer, b'\r') => At::LastLf,
            (At::TrailerRest, b'\r') => At::TrailerLf,
            (At::TrailerLf, b'\n') => At::Trailer,
            (At::LastLf, b'\n') => At::Over,
            (At::Extension, byte) if byte != b'\n' => self.longer(LINE_MAX, At::Extension)?,
            (At::Trailer | At::TrailerRest, byte) if byte != b'\n' => {
                self.longer(TRAILERS_MAX, At::TrailerRest)?
            }
            _ => return Err(BodyError::Malformed),
        })
    }

    fn digit(&mut self, byte: u8) -> Result<At, BodyError> {
        let digit = char::from(byte).to_digit(16).unwrap_or(0);
        let size = self
            .left
            .checked_mul(16)
            .and_then(|high| high.checked_add(digit));
        self.left = size.ok_or(BodyError::TooLarge)?;
        self.longer(LINE_MAX, At::Size)
    }

    /// One more byte of a line, which may not have more than `max`.
    fn longer(&mut self, max: u16, next: At) -> Result<At, BodyError> {
        self.line += 1;
        if self.line > max {
            return Err(BodyError::LineTooLong);
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `bytes` in pieces of `step` to the end of the body: how many it took.
    fn read(bytes: &[u8], step: usize) -> Result<usize, BodyError> {
        let (mut body, mut len) = (Body::CHUNKED, 0);
        for piece in bytes.chunks(step) {
            len += body.read(piece)?;
            if body.is_over() {
                return Ok(len);
            }
        }
        Ok(usize::MAX)
    }

    #[test]
    fn a_length_is_read_to_its_end_and_no_further() {
        let mut body = Body::Length(5);
        assert_eq!(body.read(b"abc"), Ok(3));
        assert!(!body.is_over());
        assert_eq!((body.read(b"deGET"), body.is_over()), (Ok(2), true));
        assert!(Body::Length(0).is_over());
    }

    #[test]
    fn chunks_end_where_they_end_however_they_are_cut() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "00005\r\nhel\r\n\r\n000\r\n\r\n",
            "a;name=value\r\n0123456789\r\nF ; x=\"y\"\r\n0123456789abcde\r\n0;last\r\n\r\n",
            "1\r\n\n\r\n0\r\nTrailer: a\r\nOther: b\r\n\r\n",
        ] {
            let whole = format!("{body}GET / HTTP/1.1\r\n");
            for step in 1..=whole.len() {
                assert_eq!(
                    read(whole.as_bytes(), step),
                    Ok(body.len()),
                    "{body} {step}"
                );
            }
            for len in 0..body.len() {
                assert_eq!(
                    read(&body.as_bytes()[..len], 7),
                    Ok(usize::MAX),
                    "{body} {len}"
                );
            }
        }
    }

    #[test]
    fn framing_that_could_be_read_in_two_ways_is_refused() {
        for body in [
            "\r\n",
            ";x\r\n",
            " 5\r\n",
            "5\nhello\n",
            "5\r\rhello",
            "-1\r\n",
            "0x5\r\n",
            "5\r\nhello!\r\n",
            "5\r\nhello\n0\r\n",
            "5;x\ny\r\n",
            "0\r\n\n",
            "0\r\nA: b\n",
            "0\r\nA: b\r\r",
            "0\r\n\rX",
        ] {
            assert_eq!(
                read(body.as_bytes(), 3),
                Err(BodyError::Malformed),
                "{body:?}"
            );
        }
    }

    #[test]
    fn lines_trailers_and_bodies_have_limits() {
        let line = |len: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "y".repeat(len - 2));
        assert!(read(line(LINE_MAX.into()).as_bytes(), 100).is_ok_and(|len| len < usize::MAX));
        let too_long = line(usize::from(LINE_MAX) + 1);
        assert_eq!(read(too_long.as_bytes(), 100), Err(BodyError::LineTooLong));
        let zeros = "0".repeat(usize::from(LINE_MAX) + 1);
        assert_eq!(read(zeros.as_bytes(), 100), Err(BodyError::LineTooLong));
        let trailers = |n: usize| format!("0\r\n{}\r\n", "a: b\r\n".repeat(n));
        assert!(read(trailers(2048).as_bytes(), 100).is_ok_and(|len| len < usize::MAX));
        assert_eq!(
            read(trailers(2049).as_bytes(), 100),
            Err(BodyError::LineTooLong)
        );
        assert_eq!(read(b"100000000\r\n", 100), Err(BodyError::TooLarge));
        // Each chunk could be the last one, and together they are more than a length could say.
        let (mut body, piece) = (Body::CHUNKED, vec![b'x'; 1 << 20]);
        assert_eq!(body.read(b"ffffffff\r\n"), Ok(10));
        let mut outcome = Ok(0);
        for _ in 0..1 << 12 {
            outcome = body.read(&piece);
        }
        assert_eq!(outcome, Err(BodyError::TooLarge));
    }
}
