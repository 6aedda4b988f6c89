//! [`read`]: a pcap or pcapng file, or a pipe, as a row of frames.
//!
//! It must never hold more than one buffer of the file, and never lose the frames before a damaged place.

use std::fmt;
use std::io::{Cursor, Read};
use std::ops::ControlFlow;

use pcap_parser::pcapng::Block;
use pcap_parser::traits::{PcapNGPacketBlock as _, PcapReaderIterator};
use pcap_parser::{PcapBlockOwned, PcapError, create_reader};

use crate::link_type::LinkType;

/// Bytes of the buffer that the file passes through.
const BUFFER_LEN: usize = 1 << 20;
/// Bytes of the largest block that is read; a longer one is taken for damage.
const MAX_BLOCK_LEN: usize = 1 << 24;
/// Interfaces of a pcapng section at most.
const MAX_INTERFACES: usize = 65_536;
/// Bytes of a pcap file header (draft-ietf-opsawg-pcap §4).
const PCAP_HEADER_LEN: usize = 24;
/// The first four bytes of pcapng, the same in both byte orders.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const NS_PER_S: u128 = 1_000_000_000;

/// A frame as the capture holds it.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// When, in ns since 1970.
    pub at_ns: u64,
    /// The link header of the bytes; `None`: a link type that isn't read.
    pub link: Option<LinkType>,
    /// As much as was captured.
    pub bytes: &'a [u8],
    /// Bytes that the frame had on the wire.
    pub original_len: u32,
}

/// How a capture is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One header, then records.
    Pcap,
    /// Blocks.
    PcapNg,
}

impl Format {
    /// As people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcap => "pcap",
            Self::PcapNg => "pcapng",
        }
    }
}

/// A capture that was read: its format and its damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How it is written.
    pub format: Format,
    /// Where and why reading ended before the end of the file.
    pub damage: Option<String>,
}

/// Why a capture can't be read at all.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaptureError {
    /// Nothing in it.
    Empty,
    /// Neither pcap nor pcapng.
    Unknown,
    /// It ends inside its header.
    Short,
    /// The system refused a read; its words.
    Io(String),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty: check that the capturing program wrote to it"),
            Self::Unknown => {
                f.write_str("it is neither pcap nor pcapng: write it with `tcpdump -w FILE`")
            }
            Self::Short => f.write_str("it ends inside its header: it was cut off"),
            Self::Io(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for CaptureError {}

/// An interface of a pcapng section.
struct Interface {
    link: Option<LinkType>,
    units_per_s: u128,
    offset_s: i64,
}

/// The state that the blocks so far set for those to come.
struct Headers {
    format: Format,
    interfaces: Vec<Interface>,
    link: Option<LinkType>,
    is_ns: bool,
}

/// Reads all frames, one after the other, until the end, a damaged place, or `each` breaks off.
///
/// # Errors
/// [`CaptureError`] when not even the header can be read. Damage behind the header is no error: what was read before counts,
/// and the [`Summary`] says where the rest was given up.
pub fn read(
    input: impl Read + Send,
    mut each: impl FnMut(Frame<'_>) -> ControlFlow<()>,
) -> Result<Summary, CaptureError> {
    let (start, rest) = header_of(input)?;
    let mut reader = create_reader(BUFFER_LEN, Cursor::new(start).chain(rest))
        .map_err(|error| refusal(&error))?;
    let mut headers = Headers {
        format: Format::Pcap,
        interfaces: Vec::new(),
        link: None,
        is_ns: false,
    };
    let mut may_grow = true;
    let damage = loop {
        let used = match reader.next() {
            Ok((used, block)) => {
                if let Some(frame) = headers.frame(&block)
                    && each(frame).is_break()
                {
                    break None;
                }
                used
            }
            Err(PcapError::Eof) => break None,
            Err(PcapError::Incomplete(_)) => match reader.refill() {
                Ok(()) => continue,
                Err(_) => break Some(damaged(&*reader, "the system refused to read on")),
            },
            Err(PcapError::BufferTooSmall) if may_grow => {
                may_grow = false;
                reader.grow(MAX_BLOCK_LEN);
                if reader.refill().is_err() {
                    break Some(damaged(&*reader, "the system refused to read on"));
                }
                continue;
            }
            Err(PcapError::UnexpectedEof) => {
                break Some(damaged(&*reader, "the file ends inside a record"));
            }
            Err(_) => break Some(damaged(&*reader, "what follows is not a record")),
        };
        reader.consume(used);
    };
    Ok(Summary {
        format: headers.format,
        damage,
    })
}

/// Reads until the first header is whole: a pipe gives it in parts, and the reader behind takes the first part for all of it.
fn header_of<R: Read>(mut input: R) -> Result<(Vec<u8>, R), CaptureError> {
    let mut start = Vec::new();
    take(&mut input, &mut start, PCAP_HEADER_LEN)?;
    if start.is_empty() {
        return Err(CaptureError::Empty);
    }
    if let [a, b, c, d, l0, l1, l2, l3, m0, ..] = start[..]
        && [a, b, c, d] == SECTION_HEADER
    {
        // The byte-order magic behind the length says in which order that is.
        let len = if m0 == 0x1a {
            u32::from_be_bytes([l0, l1, l2, l3])
        } else {
            u32::from_le_bytes([l0, l1, l2, l3])
        };
        take(&mut input, &mut start, (len as usize).min(BUFFER_LEN / 2))?;
    }
    Ok((start, input))
}

fn take(input: &mut impl Read, into: &mut Vec<u8>, len: usize) -> Result<(), CaptureError> {
    let missing = len.saturating_sub(into.len()) as u64;
    input
        .take(missing)
        .read_to_end(into)
        .map(drop)
        .map_err(|error| CaptureError::Io(error.to_string()))
}

fn refusal(error: &PcapError<&'static [u8]>) -> CaptureError {
    match error {
        PcapError::Eof => CaptureError::Empty,
        PcapError::Incomplete(_) | PcapError::UnexpectedEof => CaptureError::Short,
        PcapError::ReadError => CaptureError::Io("the system refused to read it".into()),
        _ => CaptureError::Unknown,
    }
}

fn damaged(reader: &dyn PcapReaderIterator, why: &str) -> String {
    format!("{why}, at byte {}", reader.consumed())
}

impl Headers {
    /// The frame in a block, if there is one; other blocks are remembered or passed over.
    fn frame<'a>(&mut self, block: &'a PcapBlockOwned<'_>) -> Option<Frame<'a>> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.link = LinkType::from_number(header.network.0);
                self.is_ns = header.is_nanosecond_precision();
                None
            }
            PcapBlockOwned::Legacy(record) => {
                let part_ns = u64::from(record.ts_usec) * if self.is_ns { 1 } else { 1_000 };
                Some(Frame {
                    at_ns: u64::from(record.ts_sec) * NS_PER_S as u64 + part_ns,
                    link: self.link,
                    bytes: record.data,
                    original_len: record.origlen,
                })
            }
            PcapBlockOwned::NG(block) => self.frame_of_block(block),
        }
    }

    fn frame_of_block<'a>(&mut self, block: &'a Block<'_>) -> Option<Frame<'a>> {
        self.format = Format::PcapNg;
        match block {
            Block::SectionHeader(_) => self.interfaces.clear(),
            Block::InterfaceDescription(interface) if self.interfaces.len() < MAX_INTERFACES => {
                self.interfaces.push(Interface {
                    link: LinkType::from_number(interface.linktype.0),
                    units_per_s: units_per_s(interface.if_tsresol),
                    offset_s: interface.if_tsoffset,
                });
            }
            Block::EnhancedPacket(packet) => {
                let interface = self.interfaces.get(packet.if_id as usize)?;
                let units = u128::from(packet.ts_high) << 32 | u128::from(packet.ts_low);
                return Some(Frame {
                    at_ns: interface.ns(units),
                    link: interface.link,
                    bytes: packet.packet_data(),
                    original_len: packet.origlen,
                });
            }
            Block::SimplePacket(packet) => {
                // It has no time of its own (draft-ietf-opsawg-pcapng §4.4).
                let interface = self.interfaces.first()?;
                return Some(Frame {
                    at_ns: 0,
                    link: interface.link,
                    bytes: packet.packet_data(),
                    original_len: packet.origlen,
                });
            }
            _ => {}
        }
        None
    }
}

impl Interface {
    /// A timestamp in the interface's units as ns since 1970; one that no clock shows becomes 0.
    fn ns(&self, units: u128) -> u64 {
        let ns = units * NS_PER_S / self.units_per_s;
        let ns = i128::try_from(ns).unwrap_or(0) + i128::from(self.offset_s) * NS_PER_S as i128;
        u64::try_from(ns).unwrap_or(0)
    }
}

/// Units of a second by if_tsresol: a power of ten, or of two with the highest bit set. What can't be counts as µs.
fn units_per_s(resolution: u8) -> u128 {
    match resolution {
        0..=18 => 10u128.pow(resolution.into()),
        0x80..=0xbf => 1 << (resolution & 0x7f),
        _ => 1_000_000,
    }
}
