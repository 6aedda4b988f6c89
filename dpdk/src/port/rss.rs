//! Receive-side scaling of a port: the key that we ask for, and how the NIC steers as far as its driver says.
//!
//! It must never pass on what the driver did not say: without an indirection table or a key there is no steering.

use dpdk_sys as sys;
use nic::rss::{Fields, KEY_BYTES, Steering};

use crate::drivers::Driver;
use crate::port::config::PortConfig;

/// The longest key of a NIC (i40e and ice want 52 bytes).
pub(crate) const LONGEST_KEY_BYTES: usize = 64;

/// The key in the length that the device wants: ours, and then ours again, which no hash of TCP reaches. `None` where the device
/// takes no key, or one that is shorter than what an IPv6 segment needs.
pub(crate) fn key_for(
    device_bytes: u8,
    key: &[u8; KEY_BYTES],
) -> Option<([u8; LONGEST_KEY_BYTES], u8)> {
    let wanted = usize::from(device_bytes);
    (KEY_BYTES..=LONGEST_KEY_BYTES)
        .contains(&wanted)
        .then(|| (core::array::from_fn(|at| key[at % KEY_BYTES]), device_bytes))
}

/// How frames come to the queues of the started port: as its driver says, or as the other end of a software link steers. `None`
/// where neither is known, or can't be computed.
pub(crate) fn steering(port: u16, driver: &Driver, config: &PortConfig) -> Option<Steering> {
    if config.queues < 2 || !config.offloads.rss {
        return None;
    }
    if driver.keeps_queues {
        let steers = config
            .peer_steers
            .then(|| Steering::even(&config.rss_key, config.queues));
        return steers.flatten();
    }
    // SAFETY: integers and arrays of integers, for which zero is valid.
    let mut rss: sys::sl_rss = unsafe { core::mem::zeroed() };
    // SAFETY: the port is started, and `rss` is writable.
    if unsafe { sys::sl_rss_get(port, &raw mut rss) } != 0 {
        return None;
    }
    of(&rss, config.queues)
}

fn of(rss: &sys::sl_rss, queues: u16) -> Option<Steering> {
    let key = rss.key.first_chunk()?;
    let table = rss.table.get(..usize::from(rss.table_size))?;
    if usize::from(rss.key_size) < KEY_BYTES || table.iter().any(|&queue| queue >= queues) {
        return None;
    }
    let fields = |code| match code {
        sys::SL_RSS_FIELDS_PORTS => Fields::AddressesAndPorts,
        sys::SL_RSS_FIELDS_ADDRESSES => Fields::Addresses,
        _ => Fields::Nothing,
    };
    let (v4, v6) = (fields(rss.fields_v4.into()), fields(rss.fields_v6.into()));
    if (v4, v6) == (Fields::Nothing, Fields::Nothing) {
        return None;
    }
    Steering::new(key, table, v4, v6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(key_size: u8, table: &[u16]) -> sys::sl_rss {
        // SAFETY: integers and arrays of integers, for which zero is valid.
        let mut rss: sys::sl_rss = unsafe { core::mem::zeroed() };
        rss.key_size = key_size;
        rss.table_size = table.len() as u16;
        rss.table[..table.len()].copy_from_slice(table);
        rss.fields_v4 = sys::SL_RSS_FIELDS_PORTS as u8;
        rss
    }

    #[test]
    fn only_what_can_be_computed_is_a_steering() {
        assert!(of(&said(40, &[0, 1]), 2).is_some());
        assert!(of(&said(52, &[0, 1, 0, 1]), 2).is_some());
        assert!(of(&said(0, &[0, 1]), 2).is_none(), "no key");
        assert!(of(&said(40, &[]), 2).is_none(), "no table");
        assert!(of(&said(40, &[0, 1, 0]), 2).is_none(), "an odd table");
        assert!(of(&said(40, &[0, 2]), 2).is_none(), "a queue of no worker");
        let mut none = said(40, &[0, 1]);
        none.fields_v4 = 0;
        assert!(of(&none, 2).is_none(), "no hash");
    }

    #[test]
    fn a_key_has_the_length_of_the_device() {
        let key = core::array::from_fn(|at| at as u8);
        assert!(key_for(0, &key).is_none());
        assert!(key_for(39, &key).is_none());
        let (long, bytes) = key_for(52, &key).expect("52 bytes");
        assert_eq!((bytes, long[39], long[40], long[51]), (52, 39, 0, 11));
    }
}
