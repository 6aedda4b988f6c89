//! The interface of the default route stays the kernel's: a driver that took it would cut this machine off.
//!
//! It must never let an interface through because something could not be read, and never rely on knowing all drivers and
//! their options: whatever word of a device string names an interface counts as taking it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};

use super::{interface_exists, interface_number, routes};
use crate::Error;

/// IPv6's routes of all tables, proc(5), of the network namespace that this thread is in. IPv4's file has those of the main
/// table only.
const ROUTES6: &str = "/proc/thread-self/net/ipv6_route";
/// There whenever /proc is mounted.
const PROC: &str = "/proc/thread-self/net/dev";
/// Flag of a route that is there to refuse (RTF_REJECT). A host without IPv6 has such a default route on lo.
const REJECT: u32 = 0x0200;
/// Longest prefixes that count as a default route: its two halves stand in for it (VPNs set them), and all global unicast
/// (2000::/3).
const DEFAULT_MAX_BITS6: u32 = 3;

/// The separator between the words of a device string (devices within devices are in parentheses), and in no usual name.
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
    let tables = Tables::read().map_err(|(source, error)| Error::RoutesUnreadable {
        interface: (*first).to_owned(),
        reason: format!("{source}: {error}"),
    })?;
    for interface in interfaces {
        let above = built_on(interface);
        let carriers = || std::iter::once(interface).chain(above.iter().map(String::as_str));
        if carriers().any(|name| tables.lead_over(name)) {
            return Err(Error::DefaultRoute {
                interface: interface.to_owned(),
            });
        }
    }
    Ok(())
}

/// The default route.
struct Tables {
    /// Numbers of interfaces that carry IPv4's default route.
    carriers: BTreeSet<u32>,
    /// IPv6's routes, as text.
    routes6: String,
}

impl Tables {
    /// Reads them; where from and the error of what can't be read.
    fn read() -> Result<Self, (&'static str, io::Error)> {
        let carriers = routes::default_carriers().map_err(|error| ("rtnetlink", error))?;
        let routes6 = match fs::read_to_string(ROUTES6) {
            Ok(routes6) => routes6,
            // A kernel without IPv6, if /proc is there at all.
            Err(error)
                if error.kind() == ErrorKind::NotFound && fs::exists(PROC).is_ok_and(|is| is) =>
            {
                String::new()
            }
            Err(error) => return Err((ROUTES6, error)),
        };
        Ok(Self { carriers, routes6 })
    }

    /// Whether a default route of either family goes over this interface.
    fn lead_over(&self, name: &str) -> bool {
        let number = interface_number(name);
        number.is_some_and(|number| self.carriers.contains(&number))
            || is_default_route6(name, &self.routes6)
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

/// Looks for a default route through `name` in the kernel's table of IPv6 (it has no header).
fn is_default_route6(name: &str, routes6: &str) -> bool {
    let number = |hex: &str| u32::from_str_radix(hex, 16).unwrap_or(0);
    routes6.lines().any(|line| {
        // Destination, its prefix length, four more, reference count, use, flags, interface.
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() == 10
            && fields[9] == name
            && number(fields[1]) <= DEFAULT_MAX_BITS6
            && number(fields[8]) & REJECT == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES6: &str = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                           20010db8000000000000000000000001 00000400 00000001 00000000 00000003 eth9\n\
                           fe800000000000000000000000000000 40 00000000000000000000000000000000 00 \
                           00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth8\n\
                           00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                           00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo\n";

    #[test]
    fn the_interface_of_the_default_route_is_found_and_a_route_that_only_refuses_is_none() {
        assert!(is_default_route6("eth9", ROUTES6));
        assert!(!is_default_route6("eth8", ROUTES6));
        assert!(!is_default_route6("lo", ROUTES6));
    }
}
