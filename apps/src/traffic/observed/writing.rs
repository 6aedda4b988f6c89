//! The frames of a flood: each from the template of its control bits, to its target or into the sink.
//!
//! It must never write a frame that its tuple and its time would not give again: replies are judged by what was sent.

use stack::nic::{BURST_FRAMES, Frame};

use super::{ObservedExchange, SINK_MAC};
use crate::traffic::columns::Columns;
use crate::traffic::template;
use crate::traffic::tuples::{Numbers, Tuple};

impl<B> ObservedExchange<B> {
    /// Frames like those of the flood, to an address that no host has.
    pub(super) fn fill_for_sink<F: Frame>(&mut self, frames: &mut [F], now_us: u32) {
        let mut tuples = [0; BURST_FRAMES];
        // A place of its own: that of the book stands for the frame that is made next.
        self.sink_place = self.run(self.sink_place, frames, &mut tuples);
        self.write_run(frames, &tuples, true, &[now_us; BURST_FRAMES]);
    }

    /// Writes a frame of each tuple, made at its time in `times_us`.
    #[inline]
    pub(super) fn write_run<F: Frame>(
        &self,
        frames: &mut [F],
        tuples: &[u64; BURST_FRAMES],
        to_sink: bool,
        times_us: &[u32; BURST_FRAMES],
    ) {
        let space = &self.plan.space;
        let aimed = &self.aimed[usize::from(to_sink)][..];
        if !aimed.is_empty() && !space.is_ipv6() {
            let templates = (aimed, self.templates.len());
            let mut columns = Columns::EMPTY;
            columns.compute(space, tuples, times_us, templates);
            columns.write(frames, aimed);
            return;
        }
        for ((frame, &index), &time_us) in frames.iter_mut().zip(tuples).zip(times_us) {
            self.write_one(frame, space.get(index), to_sink, time_us);
        }
    }

    /// Writes one frame, made at `time_us`.
    #[inline]
    pub(super) fn write_one<F: Frame>(
        &self,
        frame: &mut F,
        tuple: Tuple,
        to_sink: bool,
        time_us: u32,
    ) {
        let numbers = self.plan.space.numbers(tuple.index, time_us);
        let n = tuple.target * self.templates.len() + self.template_index(numbers);
        if let Some(template) = self.aimed[usize::from(to_sink)].get(n) {
            if let Ok(bytes) = frame.grow(template.len()) {
                template.write(bytes, tuple.source, numbers);
            }
        } else {
            self.write_to_one_of_many(frame, tuple, to_sink, numbers);
        }
    }

    /// Where there are too many targets for a template of each.
    #[inline(never)]
    fn write_to_one_of_many<F: Frame>(
        &self,
        frame: &mut F,
        tuple: Tuple,
        to_sink: bool,
        numbers: Numbers,
    ) {
        let template = self.template(numbers);
        let mut target = self.plan.space.targets()[tuple.target];
        if to_sink {
            target.mac = SINK_MAC;
        }
        if let Ok(bytes) = frame.grow(template.len()) {
            template.write(bytes, tuple.source, &target, numbers);
        }
    }

    /// Which of the templates frames with these numbers are made from.
    #[inline]
    pub(super) fn template_index(&self, numbers: Numbers) -> usize {
        template::template_index(numbers.ident, self.templates.len())
    }
}
