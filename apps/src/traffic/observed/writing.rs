//! The frames of a flood: each from the template of its control bits, to its target or into the sink.
//!
//! It must never write a frame that its tuple and its time would not give again: replies are judged by what was sent.

use stack::nic::{BURST_FRAMES, Frame};

use super::{ObservedExchange, SINK_MAC};
use crate::traffic::tuples::{Numbers, Tuple};

impl<B> ObservedExchange<B> {
    /// Frames like those of the flood, to an address that no host has.
    pub(super) fn fill_for_sink<F: Frame>(&mut self, frames: &mut [F], now_us: u32) {
        let mut tuples = [0; BURST_FRAMES];
        // A place of its own: that of the book stands for the frame that is made next.
        self.sink_place = self.run(self.sink_place, frames, &mut tuples);
        for (frame, index) in frames.iter_mut().zip(tuples) {
            self.write(frame, self.plan.space.get(index), true, now_us);
        }
    }

    /// Writes the frame of a tuple that is made at `time`.
    #[inline]
    pub(super) fn write<F: Frame>(&self, frame: &mut F, tuple: Tuple, to_sink: bool, time: u32) {
        let numbers = self.plan.space.numbers(tuple.index, time);
        let n = self.template_index(numbers);
        let aimed = if to_sink {
            &self.to_sink
        } else {
            &self.to_target
        };
        if let Some(template) = aimed.get(tuple.target * self.templates.len() + n) {
            if let Ok(bytes) = frame.grow(template.len()) {
                template.write(bytes, tuple.source, numbers);
            }
            return;
        }
        let (template, mut target) = (&self.templates[n], self.plan.space.targets()[tuple.target]);
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
        (usize::from(numbers.ident) * self.templates.len()) >> 16
    }
}
