//! TCP's own counters, by name.
//!
//! It must never list what did not happen.

use std::collections::BTreeMap;

use stack::tcp::env::TcpCounters;

use crate::serve::worker::Progress;

/// The counters of TCP on all workers together.
pub(super) fn non_zero(workers: &[Progress]) -> BTreeMap<&'static str, u64> {
    let mut sum = BTreeMap::new();
    for (name, n) in workers.iter().flat_map(|worker| named(&worker.tcp)) {
        *sum.entry(name).or_insert(0) += n;
    }
    sum.retain(|_, n| *n > 0);
    sum
}

fn named(counters: &TcpCounters) -> impl Iterator<Item = (&'static str, u64)> {
    counters.named()
}
