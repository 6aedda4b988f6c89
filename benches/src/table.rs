//! Connection tables full of random flows, and [`bare_probe`]: what looking up costs at least.
//!
//! It must draw flows uniformly: neighbours in arrival order that are neighbours in memory would flatter every table.

use std::net::Ipv4Addr;

use stack::conn::{Capacity, ConnTable, Entry, FlowHash, FlowHasher, FlowKey, Parked, Records};
use stack::local::addresses::LocalId;
use stack::memory::{MemoryError, PageOptions};
use stack::nic::BURST_FRAMES;

/// SplitMix64 (Steele et al., OOPSLA 2014): each index has its own number, without a table of them.
#[must_use]
#[inline]
pub fn scramble(index: u64) -> u64 {
    let z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The `index`th of 2^47 different IPv4 flows to port 80 of local address 0. Those of different `set` differ too.
#[must_use]
#[inline]
pub fn flow(index: u64, set: bool) -> FlowKey {
    // An odd factor modulo 2^48 never maps two indices to one tuple.
    let tuple =
        (index << 1 | u64::from(set)).wrapping_mul(0x9e37_79b9_7f4a_7c15 | 1) & ((1 << 48) - 1);
    FlowKey::v4(
        LocalId(0),
        80,
        Ipv4Addr::from_bits((tuple >> 16) as u32),
        tuple as u16,
    )
}

/// A table with exactly `connections` parked IPv4 connections, at its capacity: the flows 0.. of set `false`.
///
/// # Errors
/// [`MemoryError`] when the system hasn't got that much.
pub fn full_table(connections: u32, hasher: &FlowHasher) -> Result<ConnTable, MemoryError> {
    let parked = Records {
        v4: connections,
        v6: 0,
    };
    let capacity = Capacity {
        parked,
        ..Capacity::default()
    };
    let mut table = ConnTable::new(&capacity, PageOptions::default())?;
    for index in 0..u64::from(connections) {
        let key = flow(index, false);
        let inserted = table.insert_parked(&key, hasher.hash(&key), &Parked::default());
        debug_assert!(inserted.is_ok());
    }
    Ok(table)
}

/// The least that finding `hashes` in this table's memory can cost: load each home bucket, compare its tags, load the
/// first record that matches, and read it. No keys, no overflow, no second candidate. Says how many records it saw.
#[must_use]
pub fn bare_probe(table: &ConnTable, hashes: &[FlowHash]) -> usize {
    let buckets = table.index().buckets();
    let count = buckets.len() as u32;
    let mut seen = 0;
    for hashes in hashes.chunks(BURST_FRAMES) {
        for hash in hashes {
            stack::memory::prefetch_read(&buckets[hash.bucket(count) as usize]);
        }
        let mut entries = [Entry::from_bits(0); BURST_FRAMES];
        let mut matched = 0;
        for hash in hashes {
            let bucket = &buckets[hash.bucket(count) as usize];
            let matches = bucket.matches(hash.tag());
            if matches != 0 {
                let entry = Entry::from_bits(bucket.entry(matches.trailing_zeros() as usize));
                table.prefetch_record(entry);
                entries[matched] = entry;
                matched += 1;
            }
        }
        seen += entries[..matched]
            .iter()
            .filter(|&&entry| table.found(entry).is_some())
            .count();
    }
    seen
}
