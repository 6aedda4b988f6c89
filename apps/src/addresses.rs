//! Addresses as users write them: `198.18.0.2/24`, `80`, `198.18.0.2:80`, `[2001:db8::2]:80`. Parsers for the command line.
//!
//! Called by: the flags of commands. It must never look at the machine, and never guess a prefix length.

use std::net::IpAddr;

use stack::config::Interface;

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenAt {
    /// The address; `None` for all of ours.
    pub(crate) address: Option<IpAddr>,
    /// The port, 1 to 65535.
    pub(crate) port: u16,
}

/// `ADDR/LEN` of either family: a host, and how much of its address the link shares.
///
/// # Errors
/// One line that says what is wrong and what a right one looks like.
pub(crate) fn host_prefix(text: &str) -> Result<Interface, String> {
    let wrong =
        |what: &str| format!("`{text}` {what}; write it like 198.18.0.2/24 or 2001:db8::2/64");
    let (address, len) = text
        .split_once('/')
        .ok_or_else(|| wrong("has no prefix length"))?;
    let address: IpAddr = address.parse().map_err(|_| wrong("is no address"))?;
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

/// `[ADDR:]PORT`, IPv6 addresses in brackets.
///
/// # Errors
/// One line that says what is wrong and what a right one looks like.
pub(crate) fn listen_at(text: &str) -> Result<ListenAt, String> {
    let wrong = || {
        format!(
            "`{text}` is no place to listen; write it like 80, 198.18.0.2:80 or [2001:db8::2]:80 (ports 1 to 65535)"
        )
    };
    let (address, port) = match text.rsplit_once(':') {
        None => (None, text),
        Some((address, port)) => {
            let bare = match address.strip_prefix('[') {
                Some(bracketed) => bracketed.strip_suffix(']').ok_or_else(wrong)?,
                // Without brackets the last group of an IPv6 address would pass for a port.
                None if address.contains(':') => return Err(wrong()),
                None => address,
            };
            (Some(bare.parse().map_err(|_| wrong())?), port)
        }
    };
    let is_plain = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if port > 0 && is_plain => Ok(ListenAt { address, port }),
        _ => Err(wrong()),
    }
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
    fn ports_with_and_without_addresses() {
        let at = |address: Option<&str>, port| ListenAt {
            address: address.map(|text| text.parse().expect("an address")),
            port,
        };
        assert_eq!(listen_at("80"), Ok(at(None, 80)));
        assert_eq!(listen_at("198.18.0.2:80"), Ok(at(Some("198.18.0.2"), 80)));
        assert_eq!(
            listen_at("[2001:db8::2]:443"),
            Ok(at(Some("2001:db8::2"), 443))
        );
        for text in [
            "",
            "0",
            "65536",
            "+80",
            "http",
            "2001:db8::2:80",
            "[2001:db8::2]",
            "[2001:db8::2:80",
            "198.18.0.2:",
            ":80",
            "1.2.3:80",
        ] {
            let error = listen_at(text).expect_err(text);
            assert!(error.contains("[2001:db8::2]:80"), "{error}");
        }
    }
}
