//! Whether the value of a Host field is one: `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2).
//!
//! It must never look a name up, and never keep a byte of it.

use core::net::Ipv6Addr;

/// Whether this is a host with or without a port. Empty is valid: the request's target may have no authority.
pub(super) fn is_valid(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let (host_is_valid, rest) = match value.strip_prefix(b"[") {
        Some(literal) => {
            let Some(end) = literal.iter().position(|&byte| byte == b']') else {
                return false;
            };
            (is_ip_literal(&literal[..end]), &literal[end + 1..])
        }
        None => {
            let end = value.iter().position(|&byte| byte == b':');
            let end = end.unwrap_or(value.len());
            (is_reg_name(&value[..end]), &value[end..])
        }
    };
    let port_is_valid = match rest {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    host_is_valid && port_is_valid
}

/// IPv6address or IPvFuture, without the brackets.
fn is_ip_literal(literal: &[u8]) -> bool {
    let Some(future) = literal.strip_prefix(b"v") else {
        let text = core::str::from_utf8(literal).unwrap_or_default();
        return text.parse::<Ipv6Addr>().is_ok();
    };
    let Some(dot) = future.iter().position(|&byte| byte == b'.') else {
        return false;
    };
    let (version, address) = (&future[..dot], &future[dot + 1..]);
    !version.is_empty()
        && version.iter().all(u8::is_ascii_hexdigit)
        && !address.is_empty()
        && address.iter().all(|&byte| is_plain(byte) || byte == b':')
}

/// IPv4address or reg-name; the first is a case of the second.
fn is_reg_name(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        let is_encoded = byte == b'%'
            && bytes.next().is_some_and(u8::is_ascii_hexdigit)
            && bytes.next().is_some_and(u8::is_ascii_hexdigit);
        if !is_encoded && !is_plain(byte) {
            return false;
        }
    }
    true
}

/// `unreserved` or `sub-delims`.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for host in [
            "",
            "a",
            "198.18.0.2",
            "example.org:80",
            "a:",
            "[2001:db8::2]",
            "[2001:db8::2]:8080",
            "[v1.fe:1]",
            "%41b",
            "x_y~z",
            " a ",
        ] {
            assert!(is_valid(host.as_bytes()), "{host}");
        }
        for host in [
            "a b",
            "a/b",
            "a@b",
            "a:b",
            "a:80:80",
            "[2001:db8::2",
            "[a]",
            "[]",
            "[v.a]",
            "[v1.]",
            "[2001:db8::2]80",
            "%4",
            "%zz",
            "a\u{e4}",
            "a\tb",
            "<a>",
        ] {
            assert!(!is_valid(host.as_bytes()), "{host}");
        }
    }
}
