//! The interface of the default route stays the kernel's: a driver that took it would cut this machine off.
//!
//! It must never let an interface through because something could not be read, and never rely on knowing all drivers and
//! their options: whatever word of a device string names an interface counts as taking it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};

use super::interface_exists;
use crate::Error;

/// The kernel's main tables, proc(5), of the network namespace that this thread is in.
const ROUTES: &str = "/proc/thread-self/net/route";
const ROUTES6: &str = "/proc/thread-self/net/ipv6_route";
/// Flag of a route that is there to refuse (RTF_REJECT). A host without IPv6 has such a default route on lo.
const REJECT: u32 = 0x0200;
/// Longest prefixes that count as a default route: its two halves stand in for it (VPNs set them), and all global unicast
/// of IPv6 (2000::/3).
const DEFAULT_MAX_BITS: u32 = 1;
const DEFAULT_MAX_BITS6: u32 = 3;

/// What stands between the words of a device string (devices within devices are in parentheses), and in no usual name.
const BETWEEN_WORDS: &[char] = &[
    ',', '=', '(', ')', '[', ']', '{', '}', ';', '|', '/', '"', '\'',
];

/// Refuses `devargs` (names and options of a device, or one name) when a word of them is an interface of the default route,
/// or one that such an interface is built on.
///
/// # Errors
/// [`Error::DefaultRoute`], or [`Error::RoutesUnreadable`] when a word is an interface and the routes can't be read.
pub(super) fn refuse(devargs: &str) -> Result<(), Error> {
    let words = devargs.split(BETWEEN_WORDS);
    let interfaces: BTreeSet<&str> = words
        .filter(|word| !word.is_empty() && interface_exists(word))
        .collect();
    let Some(first) = interfaces.first() else {
        return Ok(());
    };
    let tables = read_tables().map_err(|(path, error)| Error::RoutesUnreadable {
        interface: (*first).to_owned(),
        reason: format!("{path}: {error}"),
    })?;
    for interface in interfaces {
        let above = built_on(interface);
        let carriers = || std::iter::once(interface).chain(above.iter().map(String::as_str));
        if carriers().any(|name| is_default_route(name, &tables)) {
            return Err(Error::DefaultRoute {
                interface: interface.to_owned(),
            });
        }
    }
    Ok(())
}

/// Both tables as text; the path and the error of the one that can't be read.
fn read_tables() -> Result<(String, String), (&'static str, io::Error)> {
    let routes = fs::read_to_string(ROUTES).map_err(|error| (ROUTES, error))?;
    match fs::read_to_string(ROUTES6) {
        Ok(routes6) => Ok((routes, routes6)),
        // A kernel without IPv6: the other table was there.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok((routes, String::new())),
        Err(error) => Err((ROUTES6, error)),
    }
}

/// Bonds, bridges, VLANs and the like on top of an interface, and what is on top of those.
fn built_on(interface: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next = vec![interface.to_owned()];
    while let Some(name) = next.pop() {
        let entries = fs::read_dir(format!("/sys/class/net/{name}"));
        for entry in entries.into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            if let Some(upper) = file.strip_prefix("upper_")
                && found.insert(upper.to_owned())
            {
                next.push(upper.to_owned());
            }
        }
    }
    found
}

/// Looks for a default route through `name` in the kernel's two tables (the second one has no header).
fn is_default_route(name: &str, (routes, routes6): &(String, String)) -> bool {
    let number = |hex: &str| u32::from_str_radix(hex, 16).unwrap_or(0);
    let v4 = routes.lines().skip(1).any(|line| {
        // Interface, destination, gateway, flags, reference count, use, metric, mask.
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() >= 8
            && fields[0] == name
            && number(fields[7]).count_ones() <= DEFAULT_MAX_BITS
            && number(fields[3]) & REJECT == 0
    });
    let v6 = routes6.lines().any(|line| {
        // Destination, its prefix length, four more, reference count, use, flags, interface.
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() == 10
            && fields[9] == name
            && number(fields[1]) <= DEFAULT_MAX_BITS6
            && number(fields[8]) & REJECT == 0
    });
    v4 || v6
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                          eth7\t00000000\t010212C6\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                          eth8\t000012C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                          tun0\t00000080\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n\
                          *\t00000000\t00000000\t0200\t0\t0\t0\t00000000\t0\t0\t0\n";
    const ROUTES6: &str = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                           20010db8000000000000000000000001 00000400 00000001 00000000 00000003 eth9\n\
                           fe800000000000000000000000000000 40 00000000000000000000000000000000 00 \
                           00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth8\n\
                           00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                           00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo\n";

    fn is_default(name: &str, routes: &str, routes6: &str) -> bool {
        is_default_route(name, &(routes.to_owned(), routes6.to_owned()))
    }

    #[test]
    fn the_interface_of_the_default_route_is_found_in_both_families() {
        assert!(is_default("eth7", ROUTES, ""));
        assert!(!is_default("eth8", ROUTES, ROUTES6));
        assert!(is_default("eth9", ROUTES, ROUTES6));
        assert!(!is_default("eth7", "", ROUTES6));
        assert!(is_default("tun0", ROUTES, ""), "half of all addresses");
    }

    #[test]
    fn a_route_that_only_refuses_is_none() {
        assert!(!is_default("lo", ROUTES, ROUTES6));
        assert!(!is_default("*", ROUTES, ROUTES6));
    }
}
