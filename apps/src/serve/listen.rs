//! The syntax of `--listen`: `80`, `7=echo`, `198.18.0.2:80=http,size=1k`, `198.18.64.0/24:8000-8010=discard`.
//!
//! It must never look at the machine, nor guess what was meant: a word that it does not know is refused with the words
//! that it knows.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use stack::local::addresses::LocalPrefix;
use stack::local::listener::SynPolicy;
use workload::proxy::Versions;

use crate::units;

/// Largest body of a response, in bytes: what a Content-Length can say with room to spare.
const BODY_MAX: u64 = 1 << 40;
/// The body of a response unless `size=` says otherwise, in bytes.
const BODY_DEFAULT: u64 = 1000;
/// How long a connection of http may be silent unless `idle=` says otherwise: what nginx allows.
const IDLE_DEFAULT: Duration = Duration::from_secs(75);
/// The shortest and longest time that `idle=` takes.
const IDLE_MIN: Duration = Duration::from_millis(1);
pub(super) const IDLE_MAX: Duration = Duration::from_secs(24 * 3600);

/// One value of `--listen`: at least one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenGroup(pub(crate) Vec<Listen>);

/// One place, what is there, and how its handshakes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    /// An address, or all of ours within a prefix; `None` for all of ours.
    pub(crate) address: Option<LocalPrefix>,
    /// The ports, 1 to 65535.
    pub(crate) ports: RangeInclusive<u16>,
    /// The service there.
    pub(crate) service: Service,
    /// Half-open connections, and those that wait to be accepted; `None` for what `--backlog` says.
    pub(crate) backlog: Option<u32>,
    /// The answer to a SYN; `None` for that of `--syn`.
    pub(crate) policy: Option<SynPolicy>,
    /// Reset connections that find the accept queue full.
    pub(crate) abort_on_overflow: bool,
    /// Every connection begins with a header of the PROXY protocol; `None` where none does.
    pub(crate) proxy: Option<Versions>,
}

/// A service, with its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Completes the handshake, and resets at the first data or FIN.
    Reset,
    /// RFC 862: sends back what comes.
    Echo,
    /// RFC 863: reads and forgets.
    Discard,
    /// RFC 864: sends its pattern for ever.
    Chargen,
    /// RFC 867: sends a line with the time, and closes first.
    Daytime,
    /// RFC 9112: every path is a body of this size.
    Http(HttpOptions),
    /// Accepts, never reads, never closes.
    NoRead,
    /// Never accepts.
    NoAccept,
}

/// Options of the HTTP service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HttpOptions {
    /// Bytes of the body, 0 to 2^40.
    pub(crate) body_len: u64,
    /// Close after each response.
    pub(crate) close: bool,
    /// How long a peer may be silent, up to [`IDLE_MAX`]; `None` for ever.
    pub(crate) idle: Option<Duration>,
}

impl Service {
    /// All services, as on the command line.
    const NAMES: [&str; 8] = [
        "reset", "echo", "discard", "chargen", "daytime", "http", "noread", "noaccept",
    ];

    /// As on the command line.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Echo => "echo",
            Self::Discard => "discard",
            Self::Chargen => "chargen",
            Self::Daytime => "daytime",
            Self::Http(_) => "http",
            Self::NoRead => "noread",
            Self::NoAccept => "noaccept",
        }
    }

    /// Whether it reads what comes: others could never find a header in front of it.
    const fn reads(&self) -> bool {
        !matches!(self, Self::Reset | Self::NoRead | Self::NoAccept)
    }

    fn named(name: &str) -> Result<Self, String> {
        Ok(match name {
            "reset" => Self::Reset,
            "echo" => Self::Echo,
            "discard" => Self::Discard,
            "chargen" => Self::Chargen,
            "daytime" => Self::Daytime,
            "http" => Self::Http(HttpOptions {
                body_len: BODY_DEFAULT,
                close: false,
                idle: Some(IDLE_DEFAULT),
            }),
            "noread" => Self::NoRead,
            "noaccept" => Self::NoAccept,
            _ => {
                return Err(format!(
                    "unknown service `{name}`: expected {}",
                    Self::NAMES.join(", ")
                ));
            }
        })
    }
}

impl Listen {
    /// `[ADDR[/LEN]:]PORT[-PORT][=SERVICE]`.
    fn at(text: &str) -> Result<Self, String> {
        let (place, service) = match text.split_once('=') {
            None => (text, Service::Reset),
            Some((place, name)) => (place, Service::named(name)?),
        };
        let (address, ports) = match place.rsplit_once(':') {
            None => (None, place),
            Some((address, ports)) => (Some(address_part(address, text)?), ports),
        };
        Ok(Self {
            address,
            ports: port_range(ports).ok_or_else(|| wrong_place(text))?,
            service,
            backlog: None,
            policy: None,
            abort_on_overflow: false,
            proxy: None,
        })
    }

    /// Takes one option.
    fn set(&mut self, option: &str) -> Result<(), String> {
        let (name, value) = match option.split_once('=') {
            None => (option, None),
            Some((name, value)) => (name, Some(value)),
        };
        match (name, value, &mut self.service) {
            ("backlog", Some(value), _) => self.backlog = Some(units::count_u32(value)?),
            ("cookies", Some(value), _) => self.policy = Some(cookies(value)?),
            ("abort-on-overflow", None, _) => self.abort_on_overflow = true,
            ("proxy", Some(value), service) if service.reads() => {
                self.proxy = Some(versions(value)?);
            }
            ("size", Some(value), Service::Http(http)) => {
                http.body_len = units::count(value)?;
                if http.body_len > BODY_MAX {
                    return Err(format!("`{option}`: expected at most {BODY_MAX} bytes"));
                }
            }
            ("close", None, Service::Http(http)) => http.close = true,
            ("idle", Some("never"), Service::Http(http)) => http.idle = None,
            ("idle", Some(value), Service::Http(http)) => {
                let idle = units::duration(value)?;
                if !(IDLE_MIN..=IDLE_MAX).contains(&idle) {
                    return Err(format!("`{option}`: expected 1ms to 24h, or never"));
                }
                http.idle = Some(idle);
            }
            _ => {
                return Err(format!(
                    "unknown option `{option}` of {}: expected backlog=N, cookies=always|full|never, abort-on-overflow, \
                     proxy=v1|v2|any (services that read), or size=BYTES, close, idle=TIME|never (http)",
                    self.service.name()
                ));
            }
        }
        Ok(())
    }

    /// How many ports there are.
    pub(crate) fn port_count(&self) -> usize {
        self.ports.len()
    }
}

/// As users write it, without options.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            None => {}
            Some(prefix) if prefix.first().is_ipv6() => write!(f, "[{prefix}]:")?,
            Some(prefix) => write!(f, "{prefix}:")?,
        }
        write!(f, "{}", self.ports.start())?;
        if self.port_count() > 1 {
            write!(f, "-{}", self.ports.end())?;
        }
        write!(f, "={}", self.service.name())
    }
}

/// Places with their options, separated by commas: a word that begins like a place begins the next one.
///
/// # Errors
/// One line that says what is wrong and what a right one looks like.
pub(crate) fn listens(text: &str) -> Result<ListenGroup, String> {
    let mut places: Vec<Listen> = Vec::new();
    for word in text.split(',') {
        let is_option = word.starts_with(|c: char| c.is_ascii_alphabetic());
        match places.last_mut() {
            Some(place) if is_option => place.set(word)?,
            _ => places.push(Listen::at(word)?),
        }
    }
    Ok(ListenGroup(places))
}

fn wrong_place(text: &str) -> String {
    format!(
        "invalid place to listen `{text}`: expected one such as 80, 7=echo, 8000-8010=http,size=1k, 198.18.0.2:80, \
         198.18.64.0/24:80 or [2001:db8::2]:80 (ports 1 to 65535)"
    )
}

/// `ADDR[/LEN]`; of IPv6 in brackets, the length inside or behind them.
fn address_part(address: &str, text: &str) -> Result<LocalPrefix, String> {
    let wrong = || wrong_place(text);
    let bare = match address.strip_prefix('[') {
        Some(rest) => {
            let (inside, behind) = rest.split_once(']').ok_or_else(wrong)?;
            format!("{inside}{behind}")
        }
        // Without brackets the last group of an IPv6 address would pass for a port.
        None if address.contains(':') => return Err(wrong()),
        None => address.to_owned(),
    };
    let (address, len) = match bare.split_once('/') {
        None => (bare.as_str(), None),
        Some((address, len)) => (address, Some(len)),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    match len {
        None => LocalPrefix::host(address),
        Some(len) => LocalPrefix::new(address, len.parse().map_err(|_| wrong())?),
    }
    .map_err(|error| error.to_string())
}

fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let port = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|&port: &u16| port > 0 && is_plain)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = port(first)?..=port(last)?;
    (!range.is_empty()).then_some(range)
}

fn cookies(value: &str) -> Result<SynPolicy, String> {
    match value {
        "always" => Ok(SynPolicy::CookieAlways),
        "full" => Ok(SynPolicy::CookieWhenFull),
        "never" => Ok(SynPolicy::Embryo),
        _ => Err(format!(
            "`cookies={value}`: expected always, full (when the backlog is full) or never"
        )),
    }
}

fn versions(value: &str) -> Result<Versions, String> {
    match value {
        "v1" => Ok(Versions::V1),
        "v2" => Ok(Versions::V2),
        "any" => Ok(Versions::Any),
        _ => Err(format!(
            "`proxy={value}`: expected v1, v2 or any (either of them)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Listen {
        let mut all = listens(text).unwrap_or_else(|error| panic!("{error}")).0;
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0)
    }

    #[test]
    fn places_are_ports_addresses_prefixes_and_ranges() {
        for (text, shown, ports) in [
            ("80", "80=reset", 1),
            ("7=echo", "7=echo", 1),
            ("8000-8010=http", "8000-8010=http", 11),
            ("198.18.0.2:80=http", "198.18.0.2:80=http", 1),
            ("198.18.64.0/24:80", "198.18.64.0/24:80=reset", 1),
            ("[2001:db8::2]:443=discard", "[2001:db8::2]:443=discard", 1),
            ("[2001:db8::/120]:9", "[2001:db8::/120]:9=reset", 1),
            ("[2001:db8::]/120:9", "[2001:db8::/120]:9=reset", 1),
            ("1-65535=noread", "1-65535=noread", 65_535),
        ] {
            let listen = one(text);
            assert_eq!(listen.to_string(), shown);
            assert_eq!(listen.port_count(), ports);
        }
    }

    #[test]
    fn options_belong_to_the_place_before_them() {
        let all = listens(
            "80=http,size=1k,close,idle=2m,backlog=5,7=echo,cookies=never,abort-on-overflow,9",
        )
        .expect("three places")
        .0;
        let http = HttpOptions {
            body_len: 1000,
            close: true,
            idle: Some(Duration::from_secs(120)),
        };
        assert_eq!(all[0].service, Service::Http(http));
        assert_eq!((all[0].backlog, all[0].policy), (Some(5), None));
        assert_eq!(
            (all[1].policy, all[1].abort_on_overflow),
            (Some(SynPolicy::Embryo), true)
        );
        assert_eq!(all[2].service, Service::Reset);
        let idle = |text| match one(text).service {
            Service::Http(http) => http.idle,
            other => panic!("{other:?}"),
        };
        assert_eq!(idle("80=http"), Some(Duration::from_secs(75)));
        assert_eq!(idle("80=http,idle=never"), None);
        assert_eq!(one("80=http,proxy=v2").proxy, Some(Versions::V2));
        assert_eq!(one("7=echo,proxy=any").proxy, Some(Versions::Any));
        assert_eq!(one("7=echo").proxy, None);
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn what_is_no_place_is_refused_with_places() {
        for text in [
            "",
            "0",
            "65536",
            "+80",
            "80-",
            "-80",
            "81-80",
            "http",
            "2001:db8::2:80",
            "[2001:db8::2]",
            "[2001:db8::2:80",
            "198.18.0.2:",
            ":80",
            "1.2.3:80",
            "198.18.0.2/x:80",
        ] {
            let error = listens(text).expect_err(text);
            assert!(error.contains("[2001:db8::2]:80"), "{text}: {error}");
        }
    }

    #[test]
    fn services_and_options_are_refused_by_name() {
        for (text, part) in [
            ("80=web", "unknown service `web`: expected reset, echo"),
            ("80=", "unknown service ``"),
            ("7=echo,size=1k", "unknown option `size=1k` of echo"),
            ("80=http,size", "unknown option `size` of http"),
            ("80=http,size=2t", "at most"),
            ("80=http,idle=0", "1ms to 24h, or never"),
            ("80=http,idle=25h", "1ms to 24h, or never"),
            ("80=http,idle=soon", "invalid time"),
            ("7=echo,idle=1s", "unknown option `idle=1s` of echo"),
            ("80=http,cookies=maybe", "expected always, full"),
            ("80=http,backlog=5g", "more than"),
            ("80=http,proxy=v3", "expected v1, v2 or any"),
            ("80=http,proxy", "unknown option `proxy` of http"),
            ("80=noread,proxy=v1", "unknown option `proxy=v1` of noread"),
            ("80=reset,proxy=v1", "unknown option `proxy=v1` of reset"),
            ("198.18.64.1/24:80", "bits behind the prefix"),
            ("198.0.0.0/8:80", "longer prefixes"),
        ] {
            let error = listens(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
