//! [`Columns`]: what each frame of a burst has of its own (source, numbers, checksums), a kind of field in an array. So the compiler
//! computes several frames in one vector.
//!
//! It must never give a frame other bytes than [`AimedTemplate::write`] does: a test compares both.

use stack::nic::{BURST_FRAMES, Frame};

use super::template::{AimedTemplate, Base, IP, Offsets, TSVAL, template_index};
use super::tuples::TupleSpace;

/// The fields of up to [`BURST_FRAMES`] IPv4 frames. What is written into frames is in network byte order.
#[derive(Debug)]
pub(super) struct Columns {
    address: [u32; BURST_FRAMES],
    port: [u16; BURST_FRAMES],
    seq: [u32; BURST_FRAMES],
    /// 0 where the segment has no ACK set.
    ack: [u32; BURST_FRAMES],
    tsval: [u32; BURST_FRAMES],
    ident: [u16; BURST_FRAMES],
    ip_checksum: [u16; BURST_FRAMES],
    tcp_checksum: [u16; BURST_FRAMES],
    /// Which of the templates each frame is made from.
    template: [u16; BURST_FRAMES],
}

impl Columns {
    /// No field of any frame.
    pub(super) const EMPTY: Self = Self {
        address: [0; BURST_FRAMES],
        port: [0; BURST_FRAMES],
        seq: [0; BURST_FRAMES],
        ack: [0; BURST_FRAMES],
        tsval: [0; BURST_FRAMES],
        ident: [0; BURST_FRAMES],
        ip_checksum: [0; BURST_FRAMES],
        tcp_checksum: [0; BURST_FRAMES],
        template: [0; BURST_FRAMES],
    };

    /// Computes the fields of a frame of each tuple in `indices`, made at its time (µs) in `times`. `aimed` has the templates for each
    /// target, of which there are `sets`.
    #[inline]
    pub(super) fn compute(
        &mut self,
        space: &TupleSpace,
        indices: &[u64; BURST_FRAMES],
        times: &[u32; BURST_FRAMES],
        (aimed, sets): (&[AimedTemplate], usize),
    ) {
        // The halves of the indices stand apart, because a vector takes twice as many of 32 bits.
        let (mut low, mut high) = ([0; BURST_FRAMES], [0; BURST_FRAMES]);
        for i in 0..BURST_FRAMES {
            (low[i], high[i]) = (indices[i] as u32, (indices[i] >> 32) as u32);
        }
        for i in 0..BURST_FRAMES {
            let numbers = space.numbers_of(low[i], high[i], times[i]);
            self.seq[i] = numbers.seq;
            self.ack[i] = numbers.ack;
            self.tsval[i] = numbers.tsval;
            self.ident[i] = numbers.ident;
        }
        if let [only] = aimed {
            space.sources(indices, &mut self.address, &mut self.port);
            let base = only.base();
            self.sum(|_| base);
        } else {
            for (i, &index) in indices.iter().enumerate() {
                let tuple = space.get(index);
                self.address[i] = tuple.source.address as u32;
                self.port[i] = tuple.source.port;
                let template = tuple.target * sets + template_index(self.ident[i], sets);
                self.template[i] = template as u16;
            }
            let of = self.template;
            self.sum(|i| aimed[usize::from(of[i])].base());
        }
    }

    /// Computes the checksums (RFC 1071), and brings all fields into network byte order.
    #[inline(always)]
    fn sum(&mut self, base: impl Fn(usize) -> Base) {
        for i in 0..BURST_FRAMES {
            let base = base(i);
            self.ack[i] &= base.ack_mask;
            let address = halves(self.address[i]);
            let ip_sum = base.ip_sum + address + u32::from(self.ident[i]);
            let tcp_sum = base.tcp_sum
                + address
                + u32::from(self.port[i])
                + halves(self.seq[i])
                + halves(self.ack[i])
                + halves(self.tsval[i] & base.tsval_mask);
            self.ip_checksum[i] = complement(ip_sum).to_be();
            self.tcp_checksum[i] = complement(tcp_sum).to_be();
            self.address[i] = self.address[i].to_be();
            self.port[i] = self.port[i].to_be();
            self.seq[i] = self.seq[i].to_be();
            self.ack[i] = self.ack[i].to_be();
            self.tsval[i] = self.tsval[i].to_be();
            self.ident[i] = self.ident[i].to_be();
        }
    }

    /// Writes the frames, which are empty, from their templates.
    #[inline]
    pub(super) fn write<F: Frame>(&self, frames: &mut [F], aimed: &[AimedTemplate]) {
        if let [only] = aimed {
            self.write_rows(only, frames, 0);
            return;
        }
        for (row, frame) in frames.iter_mut().take(BURST_FRAMES).enumerate() {
            let template = &aimed[usize::from(self.template[row])];
            self.write_rows(template, core::slice::from_mut(frame), row);
        }
    }

    /// Writes frames of one template, with the fields that stand from `row` on.
    #[inline(always)]
    fn write_rows<F: Frame>(&self, template: &AimedTemplate, frames: &mut [F], row: usize) {
        // Constant lengths: the copy becomes two vector moves.
        if template.offers_options() {
            self.write_rows_sized::<74, true, F>(template, frames, row);
        } else {
            self.write_rows_sized::<60, false, F>(template, frames, row);
        }
    }

    #[inline(always)]
    fn write_rows_sized<const LEN: usize, const TIMESTAMPS: bool, F: Frame>(
        &self,
        template: &AimedTemplate,
        frames: &mut [F],
        row: usize,
    ) {
        let Some(template) = template.bytes().first_chunk::<LEN>() else {
            return;
        };
        let Offsets { source, tcp, .. } = const { Offsets::of(false) };
        for (frame, row) in frames.iter_mut().zip(row..BURST_FRAMES) {
            let Ok(frame) = frame.grow(LEN).map(<&mut [u8; LEN]>::try_from) else {
                continue;
            };
            let Ok(frame) = frame else { continue };
            *frame = *template;
            frame[IP + 4..IP + 6].copy_from_slice(&self.ident[row].to_ne_bytes());
            frame[IP + 10..IP + 12].copy_from_slice(&self.ip_checksum[row].to_ne_bytes());
            frame[source..source + 4].copy_from_slice(&self.address[row].to_ne_bytes());
            frame[tcp..tcp + 2].copy_from_slice(&self.port[row].to_ne_bytes());
            frame[tcp + 4..tcp + 8].copy_from_slice(&self.seq[row].to_ne_bytes());
            frame[tcp + 8..tcp + 12].copy_from_slice(&self.ack[row].to_ne_bytes());
            frame[tcp + 16..tcp + 18].copy_from_slice(&self.tcp_checksum[row].to_ne_bytes());
            if TIMESTAMPS {
                let at = tcp + 20 + TSVAL;
                frame[at..at + 4].copy_from_slice(&self.tsval[row].to_ne_bytes());
            }
        }
    }
}

/// Both halves of a word, added.
#[inline(always)]
const fn halves(word: u32) -> u32 {
    (word >> 16) + (word & 0xffff)
}

/// The one's complement of a sum of at most 65,536 words of 16 bits (RFC 1071 §1).
#[inline(always)]
const fn complement(sum: u32) -> u16 {
    !(halves(halves(sum)) as u16)
}

#[cfg(test)]
mod tests {
    use workload::pools::{PortRange, SourcePool};

    use super::*;
    use crate::traffic::template::{
        FLAG_ACK, FLAG_PSH, FLAG_RST, FLAG_SYN, Headers, SynOptions, Template,
    };
    use crate::traffic::testing::Heap;
    use crate::traffic::tuples::Target;

    /// `count` targets, and a pool whose port ranges are one or several.
    fn space(count: u8, port_ranges: u16) -> TupleSpace {
        let prefix = ("198.18.64.0".parse().expect("an address"), 20);
        let ranges = (0..port_ranges).map(|n| PortRange {
            first: 1024 + 20_000 * n,
            last: 1033 + 20_000 * n + n,
        });
        let ranges: Vec<_> = ranges.collect();
        let pool = SourcePool::new(&[prefix], &ranges).expect("a pool");
        let targets = (0..count).map(|n| Target {
            mac: [2, 0, 0, 0, 0, n],
            address: [198, 18, 0, n].into(),
            port: 80 + u16::from(n),
        });
        TupleSpace::new(pool, targets.collect(), [0x1234_5678_9abc_def0, 77])
    }

    /// Frames by columns and one by one, for these control bits.
    fn compare(space: &TupleSpace, options: SynOptions, sets: &[u8]) {
        let headers = Headers::linux([4; 6], options);
        let templates: Vec<_> = sets
            .iter()
            .map(|&flags| Template::new(false, flags, &headers))
            .collect();
        let aimed: Vec<_> = space
            .targets()
            .iter()
            .flat_map(|target| templates.iter().map(|template| template.aimed(target)))
            .collect();
        let indices = core::array::from_fn(|i| (i as u64 * 4_999 + 1) % space.len());
        let times = core::array::from_fn(|i| 0xffff_fff0 + i as u32 / 8);
        let mut columns = Columns::EMPTY;
        columns.compute(space, &indices, &times, (&aimed, sets.len()));
        let mut frames: Vec<_> = indices.iter().map(|_| Heap(Vec::new())).collect();
        columns.write(&mut frames, &aimed);
        let mut used = std::collections::HashSet::new();
        for ((frame, &index), &time) in frames.iter().zip(&indices).zip(&times) {
            let (tuple, numbers) = (space.get(index), space.numbers(index, time));
            let set = (usize::from(numbers.ident) * sets.len()) >> 16;
            used.insert((tuple.target, set));
            let template = &aimed[tuple.target * sets.len() + set];
            let mut expected = vec![0; template.len()];
            template.write(&mut expected, tuple.source, numbers);
            assert_eq!(frame.0, expected, "{sets:?} {options:?} {tuple:?}");
        }
        assert_eq!(used.len(), aimed.len(), "each template is used");
    }

    #[test]
    fn a_burst_is_written_as_frame_by_frame() {
        for (targets, port_ranges) in [(1, 1), (1, 2), (3, 1)] {
            let space = space(targets, port_ranges);
            for options in [SynOptions::Bare, SynOptions::Linux] {
                compare(&space, options, &[FLAG_SYN]);
                compare(&space, options, &[FLAG_ACK]);
                compare(&space, options, &[FLAG_SYN, FLAG_RST, FLAG_PSH | FLAG_ACK]);
            }
        }
    }

    #[test]
    fn frames_beyond_a_burst_stay_empty() {
        let space = space(1, 1);
        let template = Template::new(false, FLAG_SYN, &Headers::linux([4; 6], SynOptions::Bare));
        let aimed = [template.aimed(&space.targets()[0])];
        let mut columns = Columns::EMPTY;
        columns.compute(&space, &[3; BURST_FRAMES], &[9; BURST_FRAMES], (&aimed, 1));
        let mut frames: Vec<_> = (0..BURST_FRAMES + 1).map(|_| Heap(Vec::new())).collect();
        columns.write(&mut frames, &aimed);
        let (last, burst) = frames.split_last().expect("some");
        assert!(last.0.is_empty() && burst.iter().all(|frame| frame.0.len() == 60));
    }
}
