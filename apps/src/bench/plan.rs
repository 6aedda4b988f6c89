//! The endpoint of a run: its addresses, its open port, the room in its table, and what fills it.
//!
//! It must never ask the machine for anything.

use diagnose::counted;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use stack::config::{Config, ConfigError, ConfigSpec, Interface};
use stack::conn::{Capacity, FlowKey, Parked, Records};
use stack::local::addresses::LocalId;
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::seq::SeqNum;
use stack::tcp::profile::ProfileId;
use stack::wire::vlan::VlanId;

use super::args::{BenchArgs, Mode};
use crate::traffic::FIRST_PORT;

/// The endpoint's addresses, outside of what the generator sends from.
const ADDRESS_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const ADDRESS_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 2);
/// Prefix lengths under which all sources are on the link.
const PREFIX_LEN_V4: u8 = 15;
const PREFIX_LEN_V6: u8 = 48;
/// The open port, and a closed one.
const OPEN_PORT: u16 = 80;
const CLOSED_PORT: u16 = 81;
/// Embryos of a stateful run. Each lives until its reset arrives, a few link lengths later, so this is room for 16 times
/// what two rings of 1024 frames and two bursts can hold.
const EMBRYOS: u32 = 65_536;
/// Embryos where none are made; a table can't have none.
const EMBRYOS_UNUSED: u32 = 64;
/// Connections where none are asked for.
const CONNECTIONS_UNUSED: u32 = 64;
/// Remote addresses of the flows that fill the table: 198.18.1.0 to 198.19.254.255.
const FILL_ADDRESSES: u32 = (1 << 17) - 2 * 256;
const FILL_BASE: u32 = Ipv4Addr::new(198, 18, 1, 0).to_bits();

/// Where the SYNs of this run go.
pub(super) fn target(args: &BenchArgs) -> (IpAddr, u16) {
    let address = if args.ipv6 {
        IpAddr::V6(ADDRESS_V6)
    } else {
        IpAddr::V4(ADDRESS_V4)
    };
    let port = match args.mode {
        Mode::Rst => CLOSED_PORT,
        _ => OPEN_PORT,
    };
    (address, port)
}

/// The endpoint's configuration.
///
/// # Errors
/// [`ConfigError`], when `stack` refuses what stands here.
pub(super) fn config(args: &BenchArgs) -> Result<Config, ConfigError> {
    let mut spec = ConfigSpec::new(vec![
        Interface {
            address: ADDRESS_V4.into(),
            prefix_len: PREFIX_LEN_V4,
        },
        Interface {
            address: ADDRESS_V6.into(),
            prefix_len: PREFIX_LEN_V6,
        },
    ]);
    spec.limits.records = capacity(args);
    if args.mode == Mode::Syn {
        // Not the default policy: a cookie in place of an embryo would hide that the embryos are used up.
        let policy = if args.cookies {
            SynPolicy::CookieAlways
        } else {
            SynPolicy::Embryo
        };
        spec.listeners = vec![ListenerConfig {
            address: None,
            port: OPEN_PORT,
            policy,
            backlog: EMBRYOS,
            abort_on_overflow: false,
            profile: ProfileId::DEFAULT,
        }];
    }
    spec.validate()
}

/// Room in the table for what this run needs, and no more: unused room would count as memory of connections.
fn capacity(args: &BenchArgs) -> Capacity {
    let of_family = |records| {
        if args.ipv6 {
            Records { v4: 0, v6: records }
        } else {
            Records { v4: records, v6: 0 }
        }
    };
    Capacity {
        embryos: of_family(if args.is_stateful() {
            EMBRYOS
        } else {
            EMBRYOS_UNUSED
        }),
        parked: Records {
            v4: args.fill.max(CONNECTIONS_UNUSED),
            v6: 0,
        },
        open: Records::default(),
        time_wait: Records::default(),
    }
}

/// The room in the table, in words.
pub(super) fn room(args: &BenchArgs) -> String {
    let Capacity {
        embryos, parked, ..
    } = capacity(args);
    format!(
        "room for {} and {}",
        counted(embryos.total(), "embryo"),
        counted(parked.total(), "connection")
    )
}

/// Established connections to fill the table with: as many as there are, no two the same, none of a flow that the
/// generator uses (their ports lie below its ports).
pub(super) fn connections(config: &Config) -> impl Iterator<Item = (FlowKey, Parked)> {
    let local = config
        .locals
        .find(VlanId::UNTAGGED, ADDRESS_V4.into())
        .unwrap_or(LocalId(0));
    (1..FIRST_PORT).flat_map(move |port| {
        (0..FILL_ADDRESSES).map(move |offset| {
            let remote = Ipv4Addr::from_bits(FILL_BASE + offset);
            let parked = Parked {
                snd_nxt: SeqNum(offset),
                rcv_nxt: SeqNum(!offset),
                rcv_wnd: 65_535,
                peer_window: 65_535,
                mss: 1460,
                ..Parked::default()
            };
            (FlowKey::v4(local, OPEN_PORT, remote, port), parked)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::bench::args::tests::args;

    #[test]
    fn connections_are_all_different_and_none_is_the_generators() {
        let config = config(&args("rst --fill 300k")).expect("valid");
        let mut seen = HashSet::new();
        for (key, _) in connections(&config).take(300_000) {
            assert!(key.remote_port() < FIRST_PORT && key.local_port() == OPEN_PORT);
            assert!(seen.insert((key.remote(), key.remote_port())));
        }
        assert_eq!(seen.len(), 300_000);
    }

    #[test]
    fn the_table_has_room_for_what_the_run_needs() {
        let capacity = |line| capacity(&args(line));
        assert_eq!(capacity("syn").embryos.v4, EMBRYOS);
        assert_eq!(
            capacity("syn --ipv6").embryos,
            Records { v4: 0, v6: EMBRYOS }
        );
        assert_eq!(capacity("syn --cookies").embryos.v4, EMBRYOS_UNUSED);
        assert_eq!(capacity("rst --fill 1m").parked.v4, 1_000_000);
    }

    #[test]
    fn modes_differ_in_port_and_policy() {
        let policy = |line| {
            let config = config(&args(line)).expect("valid");
            let mut open = config.listeners.open();
            open.next().map(|(_, listener)| listener.policy)
        };
        assert_eq!(policy("rst"), None);
        assert_eq!(policy("syn"), Some(SynPolicy::Embryo));
        assert_eq!(policy("syn --cookies"), Some(SynPolicy::CookieAlways));
        assert_eq!(target(&args("rst")).1, CLOSED_PORT);
        assert_eq!(target(&args("syn --ipv6")), (ADDRESS_V6.into(), OPEN_PORT));
    }
}
