//! [`Steering`]: which RX queue a NIC chooses for a flow (receive-side scaling), computed in software.
//!
//! The hash is Toeplitz's as Microsoft specifies it ("RSS hashing types", "Verifying the RSS hash calculation", Windows
//! driver documentation), which NICs implement. It must never be trusted with correctness: a NIC that steers otherwise
//! costs hand-overs and nothing else.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// Bytes that are hashed of an IPv6 segment: two addresses and two ports.
const INPUT_BYTES: usize = 36;
/// Bytes of a key: each bit of the input shifts a window of 32 bits by one.
pub const KEY_BYTES: usize = INPUT_BYTES + 4;

/// Slots of the table of [`Steering::even`]: as many as most NICs have.
const EVEN_SLOTS: u16 = 128;

/// A key whose hash is the same both ways: source and destination may change places (S. Woo, K. Park, "Scalable TCP Session
/// Monitoring with Symmetric Receive-side Scaling", KAIST 2012). Everybody knows it.
pub const SYMMETRIC_KEY: [u8; KEY_BYTES] = {
    let mut key = [0x5a; KEY_BYTES];
    let mut at = 0;
    while at < KEY_BYTES {
        key[at] = 0x6d;
        at += 2;
    }
    key
};

/// The header fields of a TCP segment that go into the hash, for one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fields {
    /// Both addresses and both ports.
    AddressesAndPorts,
    /// Both addresses.
    Addresses,
    /// The NIC doesn't hash this family.
    Nothing,
}

/// Toeplitz's hash under one key, by table: one look-up a byte.
#[derive(PartialEq, Eq)]
struct Toeplitz {
    tables: Box<[[u32; 256]; INPUT_BYTES]>,
}

impl Toeplitz {
    fn new(key: &[u8; KEY_BYTES]) -> Self {
        let mut tables = Box::new([[0; 256]; INPUT_BYTES]);
        for (byte, table) in tables.iter_mut().enumerate() {
            // The 40 bits of the key that the eight bits of this byte see.
            let seen = key[byte..byte + 5]
                .iter()
                .fold(0u64, |seen, &byte| seen << 8 | u64::from(byte));
            for (value, hash) in table.iter_mut().enumerate() {
                for bit in (0..8).filter(|bit| value >> (7 - bit) & 1 == 1) {
                    *hash ^= (seen >> (8 - bit)) as u32;
                }
            }
        }
        Self { tables }
    }

    /// The hash of `N` bytes, at most [`INPUT_BYTES`]. The length is known when it is compiled: no loop and no check remains.
    #[inline(always)]
    fn hash<const N: usize>(&self, input: &[u8; N]) -> u32 {
        const { assert!(N <= INPUT_BYTES) };
        let mut hash = 0;
        for (table, &byte) in self.tables[..N].iter().zip(input) {
            hash ^= table[usize::from(byte)];
        }
        hash
    }
}

/// Two addresses side by side, and two ports behind them.
#[inline(always)]
fn with_ports<const ADDRESS: usize, const N: usize>(
    (remote, local): ([u8; ADDRESS], [u8; ADDRESS]),
    ports: (u16, u16),
) -> [u8; N] {
    const { assert!(N == 2 * ADDRESS + 4) };
    let mut input = [0; N];
    input[..ADDRESS].copy_from_slice(&remote);
    input[ADDRESS..2 * ADDRESS].copy_from_slice(&local);
    input[2 * ADDRESS..2 * ADDRESS + 2].copy_from_slice(&ports.0.to_be_bytes());
    input[2 * ADDRESS + 2..].copy_from_slice(&ports.1.to_be_bytes());
    input
}

/// How a NIC steers: its key, its indirection table, and what it hashes.
#[derive(PartialEq, Eq)]
pub struct Steering {
    toeplitz: Toeplitz,
    table: Box<[u16]>,
    v4: Fields,
    v6: Fields,
}

impl Steering {
    /// A NIC with this key and this indirection table (queues by the low bits of the hash; its length is a power of two).
    /// `None` when the table isn't one.
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES], table: &[u16], v4: Fields, v6: Fields) -> Option<Self> {
        table.len().is_power_of_two().then(|| Self {
            toeplitz: Toeplitz::new(key),
            table: table.into(),
            v4,
            v6,
        })
    }

    /// A sender that hashes all of both families with this key and shares the hashes out evenly to this many queues; `None` for
    /// none.
    #[must_use]
    pub fn even(key: &[u8; KEY_BYTES], queues: u16) -> Option<Self> {
        let table: Vec<u16> = (0..EVEN_SLOTS)
            .map(|slot| slot.checked_rem(queues))
            .collect::<Option<_>>()?;
        Self::new(
            key,
            &table,
            Fields::AddressesAndPorts,
            Fields::AddressesAndPorts,
        )
    }

    /// The queue that gets what `remote` sends to `local`; `None` where the NIC doesn't hash the family.
    #[must_use]
    pub fn queue(&self, remote: SocketAddr, local: SocketAddr) -> Option<u16> {
        let ports = (remote.port(), local.port());
        let hash = match (remote.ip(), local.ip()) {
            (IpAddr::V4(remote), IpAddr::V4(local)) => {
                let input: [u8; 12] = with_ports((remote.octets(), local.octets()), ports);
                match self.v4 {
                    Fields::AddressesAndPorts => self.toeplitz.hash(&input),
                    Fields::Addresses => self.toeplitz.hash(input.first_chunk::<8>()?),
                    Fields::Nothing => return None,
                }
            }
            (IpAddr::V6(remote), IpAddr::V6(local)) => {
                let input: [u8; 36] = with_ports((remote.octets(), local.octets()), ports);
                match self.v6 {
                    Fields::AddressesAndPorts => self.toeplitz.hash(&input),
                    Fields::Addresses => self.toeplitz.hash(input.first_chunk::<32>()?),
                    Fields::Nothing => return None,
                }
            }
            _ => return None,
        };
        self.table
            .get(hash as usize & (self.table.len() - 1))
            .copied()
    }

    /// Queues that it may choose: one more than the last that its table names.
    #[must_use]
    pub fn queues(&self) -> u16 {
        let last = self.table.iter().max().copied().unwrap_or(0);
        last.saturating_add(1)
    }

    /// Slots of the indirection table.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.table.len()
    }
}

impl fmt::Debug for Steering {
    /// Without the tables that follow from the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steering")
            .field("table", &self.table)
            .field("v4", &self.v4)
            .field("v6", &self.v6)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the examples of Microsoft's "Verifying the RSS hash calculation".
    const KEY: [u8; KEY_BYTES] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];
    /// Remote, local, hash of the addresses, hash with the ports.
    const EXAMPLES: [(&str, &str, u32, u32); 8] = [
        (
            "66.9.149.187:2794",
            "161.142.100.80:1766",
            0x323e_8fc2,
            0x51cc_c178,
        ),
        (
            "199.92.111.2:14230",
            "65.69.140.83:4739",
            0xd718_262a,
            0xc626_b0ea,
        ),
        (
            "24.19.198.95:12898",
            "12.22.207.184:38024",
            0xd2d0_a5de,
            0x5c2b_394a,
        ),
        (
            "38.27.205.30:48228",
            "209.142.163.6:2217",
            0x8298_9176,
            0xafc7_327f,
        ),
        (
            "153.39.163.191:44251",
            "202.188.127.2:1303",
            0x5d18_09c5,
            0x10e8_28a2,
        ),
        (
            "[3ffe:2501:200:1fff::7]:2794",
            "[3ffe:2501:200:3::1]:1766",
            0x2cc1_8cd5,
            0x4020_7d3d,
        ),
        (
            "[3ffe:501:8::260:97ff:fe40:efab]:14230",
            "[ff02::1]:4739",
            0x0f0c_461c,
            0xdde5_1bbf,
        ),
        (
            "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251",
            "[fe80::200:f8ff:fe21:67cf]:38024",
            0x4b61_e985,
            0x02d1_feef,
        ),
    ];

    /// A table that shows `bits` bits of the hash from `shift` on can't be had, so its low bits are compared.
    fn low_bits(fields: Fields, remote: &str, local: &str) -> Option<u16> {
        let table: Vec<u16> = (0..=u16::MAX).collect();
        let steering = Steering::new(&KEY, &table, fields, fields).expect("a power of two");
        steering.queue(remote.parse().unwrap(), local.parse().unwrap())
    }

    #[test]
    fn the_hash_is_that_of_the_specification() {
        for (remote, local, addresses, ports) in EXAMPLES {
            let of = |fields| low_bits(fields, remote, local);
            assert_eq!(of(Fields::Addresses), Some(addresses as u16), "{remote}");
            assert_eq!(
                of(Fields::AddressesAndPorts),
                Some(ports as u16),
                "{remote}"
            );
            assert_eq!(of(Fields::Nothing), None);
            // The other half, which tables of NICs don't reach.
            let toeplitz = Toeplitz::new(&KEY);
            let mut input = Vec::new();
            for end in [remote, local] {
                match end.parse::<SocketAddr>().unwrap().ip() {
                    IpAddr::V4(ip) => input.extend(ip.octets()),
                    IpAddr::V6(ip) => input.extend(ip.octets()),
                }
            }
            let hash = match input.first_chunk::<32>() {
                Some(v6) => toeplitz.hash(v6),
                None => toeplitz.hash(input.first_chunk::<8>().expect("two addresses")),
            };
            assert_eq!(hash, addresses, "{remote}");
        }
    }

    #[test]
    fn a_table_of_another_length_is_refused() {
        for (slots, fits) in [(0, false), (1, true), (127, false), (128, true)] {
            let table = vec![0; slots];
            let steering = Steering::new(&KEY, &table, Fields::Addresses, Fields::Addresses);
            assert_eq!(steering.is_some(), fits, "{slots}");
        }
    }

    #[test]
    fn the_symmetric_key_brings_both_directions_to_one_queue() {
        let steering = Steering::even(&SYMMETRIC_KEY, 3).expect("three queues");
        let mut used = [0; 3];
        for port in 1000..1300 {
            for (here, there) in [
                ("198.18.0.1:80", "198.18.7.9"),
                ("[2001:db8::1]:443", "2001:db8::77"),
            ] {
                let here: SocketAddr = here.parse().expect("an end");
                let there = SocketAddr::new(there.parse().expect("an address"), port);
                let queue = steering.queue(here, there).expect("both are hashed");
                assert_eq!(steering.queue(there, here), Some(queue));
                used[usize::from(queue)] += 1;
            }
        }
        assert!(used.iter().all(|&flows| flows > 100), "{used:?}");
        assert!(Steering::even(&SYMMETRIC_KEY, 0).is_none());
    }
}
