//! Addresses as users write them: `198.18.0.2/24`, `198.18.64.0/24`, VLAN `5`. Parsers for the command line.
//!
//! It must never look at the machine, and never guess a prefix length.

use std::net::IpAddr;

use stack::config::Interface;
use stack::config::LocalPrefix;
use stack::config::VlanId;

/// `ADDR/LEN` of either family: a host, and how much of its address the link shares.
///
/// # Errors
/// One line that says what is wrong and what a right one looks like.
pub fn host_prefix(text: &str) -> Result<Interface, String> {
    let wrong = |what: &str| {
        format!(
            "invalid address `{text}`: it {what}; write it like 198.18.0.2/24 or 2001:db8::2/64"
        )
    };
    let (address, len) = text
        .split_once('/')
        .ok_or_else(|| wrong("has no prefix length"))?;
    let address: IpAddr = address
        .parse()
        .map_err(|_| wrong("doesn't begin with an IP address"))?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    match len.parse() {
        Ok(prefix_len) if prefix_len <= bits => Ok(Interface {
            address,
            prefix_len,
        }),
        _ => Err(wrong(&format!(
            "has a prefix length that is not 0 to {bits}"
        ))),
    }
}

/// `ADDR/LEN` of either family, as a prefix: no bits behind it.
///
/// # Errors
/// One line that says what is wrong and what a right one looks like.
pub fn routed_prefix(text: &str) -> Result<LocalPrefix, String> {
    let Interface {
        address,
        prefix_len,
    } = host_prefix(text)?;
    LocalPrefix::new(address, prefix_len).map_err(|error| error.to_string())
}

/// `ADDR`, or `ADDR/LEN` without bits behind the prefix.
///
/// # Errors
/// One line that says what is wrong and what a right one looks like.
pub fn address_or_prefix(text: &str) -> Result<LocalPrefix, String> {
    match text.parse() {
        Ok(address) => LocalPrefix::host(address).map_err(|error| error.to_string()),
        Err(_) => routed_prefix(text),
    }
}

/// The number of a VLAN, or 0 for untagged frames.
///
/// # Errors
/// One line that says what is wrong and what a right one looks like.
pub fn vlan_id(text: &str) -> Result<VlanId, String> {
    match text.parse().map(VlanId) {
        Ok(id) if id <= VlanId::LAST => Ok(id),
        _ => Err(format!(
            "invalid VLAN `{text}`: expected 1 to 4094, or 0 for untagged frames"
        )),
    }
}

/// An interface as users write it: `198.18.0.2/24`.
pub fn written(interface: &Interface) -> String {
    format!("{}/{}", interface.address, interface.prefix_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_both_families() {
        for text in ["198.18.0.2/24", "198.18.0.2/0", "2001:db8::2/128"] {
            let interface = host_prefix(text).expect(text);
            assert_eq!(
                format!("{}/{}", interface.address, interface.prefix_len),
                text
            );
        }
        for text in [
            "",
            "198.18.0.2",
            "198.18.0.2/",
            "198.18.0.2/33",
            "2001:db8::2/129",
            "host/24",
            "198.18.0.2/-1",
        ] {
            let error = host_prefix(text).expect_err(text);
            assert!(error.contains("198.18.0.2/24"), "{error}");
        }
    }

    #[test]
    fn vlans_are_0_to_4094() {
        assert_eq!(vlan_id("0"), Ok(VlanId::UNTAGGED));
        assert_eq!(vlan_id("4094"), Ok(VlanId(4094)));
        for text in ["4095", "-1", "65536", "", "5-6", "any"] {
            let error = vlan_id(text).expect_err(text);
            assert!(error.contains("1 to 4094"), "{error}");
        }
    }

    #[test]
    fn a_prefix_has_no_bits_behind_it() {
        let prefix = routed_prefix("198.18.64.0/24").expect("a prefix");
        assert_eq!(prefix.to_string(), "198.18.64.0/24");
        for (text, part) in [
            ("198.18.64.1/24", "bits behind"),
            ("198.18.0.0/15", "longer prefixes"),
            ("198.18.64.0", "no prefix length"),
        ] {
            let error = routed_prefix(text).expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }
}
