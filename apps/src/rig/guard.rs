//! Guard rails: to whom, from whom and how fast a run may send on links that it has not made itself.
//!
//! It must never let a command line reach a stranger by a mistake: elsewhere than on its own links a run sends to addresses
//! that are set aside for tests or that were allowed by name, from addresses that are, and slowly by default.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dpdk::NicSpec;
use stack::config::Interface;
use stack::local::addresses::LocalPrefix;

use crate::addresses::routed_prefix;
use crate::failure::Failure;

/// Frames a second on links that the run did not make, unless a flag says otherwise.
pub(crate) const DEFAULT_RATE: u64 = 10_000;

/// Networks without inhabitants: RFC 2544, RFC 5737, RFC 5180, RFC 3849.
const TEST_NETWORKS: [Interface; 4] = [
    network(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 0)), 15),
    network(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 0)), 24),
    network(IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0)), 48),
    network(
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)),
        32,
    ),
];

const fn network(address: IpAddr, prefix_len: u8) -> Interface {
    Interface {
        address,
        prefix_len,
    }
}

/// The permissions that the user gave.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct GuardArgs {
    /// Where this run may send to on a link that it has not made itself (ring, memif and tap are its own); may be given
    /// several times
    #[arg(long, value_name = "ADDR/LEN", value_delimiter = ',', value_parser = routed_prefix)]
    pub(crate) allow_target: Vec<LocalPrefix>,

    /// Which source addresses it may use there, beside --ip and those that are set aside for tests; may be given several times
    #[arg(long, value_name = "ADDR/LEN", value_delimiter = ',', value_parser = routed_prefix)]
    pub(crate) allow_source: Vec<LocalPrefix>,
}

/// Whom frames of a NIC can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The other end of a link that this run has made, and whatever the user has put behind it.
    OwnLink,
    /// Others.
    Elsewhere,
}

impl Reach {
    /// Of that NIC.
    pub(crate) fn of(spec: &NicSpec) -> Self {
        match spec {
            NicSpec::Ring | NicSpec::Memif { .. } => Self::OwnLink,
            // With `remote` a tap mirrors an interface that was there before.
            NicSpec::Tap { options, .. } if !options.contains("remote=") => Self::OwnLink,
            NicSpec::Tap { .. }
            | NicSpec::AfXdp { .. }
            | NicSpec::Pci { .. }
            | NicSpec::Vdev { .. } => Self::Elsewhere,
        }
    }
}

/// The permissions of a run on its NIC.
#[derive(Debug, Clone)]
pub(crate) struct Allowed {
    reach: Reach,
    guard: GuardArgs,
    /// Whether addresses that are set aside for tests may be targets without being named: not for floods, behind which a
    /// laboratory's own machines may stand.
    test_targets: bool,
}

impl Allowed {
    /// For real connections from our own addresses.
    pub(crate) fn for_connections(spec: &NicSpec, guard: &GuardArgs) -> Self {
        Self {
            reach: Reach::of(spec),
            guard: guard.clone(),
            test_targets: true,
        }
    }

    /// For floods and the like: targets are named, or on a link of our own.
    pub(crate) fn for_floods(spec: &NicSpec, guard: &GuardArgs) -> Self {
        Self {
            test_targets: false,
            ..Self::for_connections(spec, guard)
        }
    }

    /// Whom the NIC reaches.
    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    /// Whether frames may go to `target`.
    ///
    /// # Errors
    /// [`Failure::Usage`] with the flag that would allow it.
    pub(crate) fn target(&self, target: IpAddr) -> Result<(), Failure> {
        let is_named = self.guard.allow_target.iter().any(|p| p.contains(target));
        let is_test = self.test_targets && is_for_tests(target);
        if self.reach == Reach::OwnLink || is_named || is_test {
            return Ok(());
        }
        let bits = if target.is_ipv4() { 32 } else { 128 };
        Err(Failure::Usage(format!(
            "{target} is not on a link that this run makes: if it is yours to load, give --allow-target {target}/{bits}"
        )))
    }

    /// Whether frames may come from all of `sources`, which are not among `--ip`.
    ///
    /// # Errors
    /// [`Failure::Usage`] with the flag that would allow it.
    pub(crate) fn sources(&self, sources: &LocalPrefix) -> Result<(), Failure> {
        let within =
            |p: &LocalPrefix| p.prefix_len() <= sources.prefix_len() && p.contains(sources.first());
        let is_test = TEST_NETWORKS.iter().any(|network| {
            network.prefix_len <= sources.prefix_len() && network.on_link(sources.first())
        });
        let is_named = self.guard.allow_source.iter().any(within);
        if self.reach == Reach::OwnLink || is_named || is_test {
            return Ok(());
        }
        Err(Failure::Usage(format!(
            "sources {sources} are not set aside for tests: if they are yours to use on this network, give --allow-source {sources}"
        )))
    }

    /// As [`Allowed::sources`], for prefixes of any length.
    ///
    /// # Errors
    /// [`Failure::Usage`] with the flag that would allow it.
    pub(crate) fn source_prefix(&self, sources: &Interface) -> Result<(), Failure> {
        let is_test = TEST_NETWORKS.iter().any(|network| {
            network.prefix_len <= sources.prefix_len && network.on_link(sources.address)
        });
        let is_named = self.guard.allow_source.iter().any(|allowed| {
            allowed.prefix_len() <= sources.prefix_len && allowed.contains(sources.address)
        });
        if self.reach == Reach::OwnLink || is_named || is_test {
            return Ok(());
        }
        let sources = format!("{}/{}", sources.address, sources.prefix_len);
        Err(Failure::Usage(format!(
            "sources {sources} are not set aside for tests: if they are yours to use on this network, give --allow-source {sources}"
        )))
    }

    /// Frames a second: as asked for, without limit on a link of our own, else [`DEFAULT_RATE`].
    pub(crate) fn rate(&self, asked: Option<u64>) -> Option<u64> {
        match self.reach {
            Reach::OwnLink => asked,
            Reach::Elsewhere => Some(asked.unwrap_or(DEFAULT_RATE)),
        }
    }
}

/// Whether an address is set aside for tests.
fn is_for_tests(address: IpAddr) -> bool {
    TEST_NETWORKS.iter().any(|network| network.on_link(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(nic: &str, targets: &[&str]) -> Allowed {
        let guard = GuardArgs {
            allow_target: targets
                .iter()
                .map(|text| routed_prefix(text).expect(text))
                .collect(),
            allow_source: Vec::new(),
        };
        Allowed::for_connections(&nic.parse().expect(nic), &guard)
    }

    const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

    #[test]
    fn own_links_are_free_and_others_need_a_name() {
        for nic in ["ring", "memif:/run/a", "tap:t0"] {
            assert_eq!(allowed(nic, &[]).target(STRANGER), Ok(()), "{nic}");
            assert_eq!(allowed(nic, &[]).rate(None), None);
        }
        for nic in [
            "pci:0000:3b:00.0",
            "af_xdp:veth0",
            "net_af_packet0,iface=veth0",
            "tap:t0,remote=veth0",
        ] {
            let error = allowed(nic, &[]).target(STRANGER).expect_err(nic);
            assert!(
                error.to_string().contains("--allow-target 203.0.113.9/32"),
                "{error}"
            );
            assert_eq!(allowed(nic, &["203.0.113.0/24"]).target(STRANGER), Ok(()));
            assert_eq!(allowed(nic, &[]).rate(None), Some(DEFAULT_RATE));
            assert_eq!(allowed(nic, &[]).rate(Some(7)), Some(7));
        }
    }

    #[test]
    fn addresses_for_tests_are_free_for_connections_and_not_for_floods() {
        let target: IpAddr = "198.19.0.9".parse().expect("an address");
        let guard = GuardArgs::default();
        let spec: NicSpec = "pci:0000:3b:00.0".parse().expect("a NIC");
        assert_eq!(
            Allowed::for_connections(&spec, &guard).target(target),
            Ok(())
        );
        let error = Allowed::for_floods(&spec, &guard).target(target);
        assert!(error.is_err());
    }

    #[test]
    fn sources_are_whole_prefixes_for_tests_or_named() {
        let floods = allowed("pci:0000:3b:00.0", &[]);
        let prefix = |text| routed_prefix(text).expect(text);
        assert_eq!(floods.sources(&prefix("198.18.64.0/18")), Ok(()));
        assert!(floods.sources(&prefix("198.16.0.0/16")).is_err());
        assert!(floods.sources(&prefix("10.0.0.0/24")).is_err());
        let named = Allowed {
            guard: GuardArgs {
                allow_source: vec![prefix("10.0.0.0/24")],
                ..GuardArgs::default()
            },
            ..floods
        };
        assert_eq!(named.sources(&prefix("10.0.0.128/25")), Ok(()));
        assert!(named.sources(&prefix("10.0.0.0/20")).is_err());
    }

    #[test]
    fn only_networks_for_tests_are_for_tests() {
        let is = |text: &str| is_for_tests(text.parse().expect("an address"));
        for text in [
            "198.18.0.2",
            "198.19.255.255",
            "192.0.2.7",
            "2001:2::1",
            "2001:db8:ffff::1",
        ] {
            assert!(is(text), "{text}");
        }
        for text in [
            "198.20.0.1",
            "198.17.255.255",
            "10.0.0.1",
            "8.8.8.8",
            "2001:2:1::1",
            "fe80::1",
            "::1",
        ] {
            assert!(!is(text), "{text}");
        }
    }
}
