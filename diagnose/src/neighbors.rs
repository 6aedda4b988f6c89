//! [`Neighbors`]: which addresses were asked for by ARP or NDP, and whether they gave a sign of life.
//!
//! It must never hold more addresses than its limit: a scan asks for thousands.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use crate::dissect::NeighborFrame;

/// Addresses at most.
const MAX_ADDRESSES: usize = 4_096;

/// Questions for one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Questions {
    /// By whom, the latest.
    pub asker: IpAddr,
    /// When the first of those was sent that are unanswered, in ns since 1970.
    pub first_ns: u64,
    /// The last of them.
    pub last_ns: u64,
    /// How many since the address last gave a sign of life.
    pub unanswered: u32,
    /// All of them.
    pub(crate) count: u32,
}

/// Questions by address.
#[derive(Debug, Default)]
pub struct Neighbors {
    by_target: HashMap<IpAddr, Questions, RandomState>,
    /// Questions for addresses beyond the limit.
    pub(crate) left_out: u64,
}

impl Neighbors {
    /// Takes a question or an answer.
    pub(crate) fn take(&mut self, at_ns: u64, frame: &NeighborFrame) {
        if !frame.is_request {
            self.is_alive(frame.target);
            return;
        }
        self.is_alive(frame.sender);
        // An announcement, or a probe for duplicates: no host is to answer.
        if frame.sender == frame.target || frame.sender.is_unspecified() {
            return;
        }
        if self.by_target.len() >= MAX_ADDRESSES && !self.by_target.contains_key(&frame.target) {
            self.left_out += 1;
            return;
        }
        let questions = self.by_target.entry(frame.target).or_insert(Questions {
            asker: frame.sender,
            first_ns: at_ns,
            last_ns: at_ns,
            unanswered: 0,
            count: 0,
        });
        if questions.unanswered == 0 {
            questions.first_ns = at_ns;
        }
        questions.asker = frame.sender;
        questions.last_ns = at_ns;
        questions.unanswered += 1;
        questions.count += 1;
    }

    /// The address sent something.
    pub(crate) fn is_alive(&mut self, address: IpAddr) {
        if self.by_target.is_empty() {
            return;
        }
        if let Some(questions) = self.by_target.get_mut(&address) {
            questions.unanswered = 0;
        }
    }

    /// The questions for an address that went unanswered, at least `least` of them.
    #[must_use]
    pub(crate) fn unanswered(&self, address: IpAddr, least: u32) -> Option<Questions> {
        let questions = self.by_target.get(&address)?;
        (questions.unanswered >= least).then_some(*questions)
    }

    /// All addresses that didn't answer at least `least` questions, in order.
    #[must_use]
    pub fn silent(&self, least: u32) -> Vec<(IpAddr, Questions)> {
        let mut silent: Vec<(IpAddr, Questions)> = self
            .by_target
            .iter()
            .filter(|(_, questions)| questions.unanswered >= least)
            .map(|(address, questions)| (*address, *questions))
            .collect();
        silent.sort_by_key(|(address, _)| *address);
        silent
    }
}
