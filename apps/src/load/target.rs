//! [`TargetUrl`]: what to load, as users write it: `http://198.18.0.1:8080/path=3`, `tcp://198.18.0.1:7`.
//!
//! It must never take a scheme that it can't speak.

use std::net::{SocketAddr, ToSocketAddrs as _};

use http::Uri;

use crate::failure::Failure;

/// The port of `http`.
const HTTP_PORT: u16 = 80;

/// How the target is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Tcp,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetUrl {
    pub(super) scheme: Scheme,
    pub(super) address: SocketAddr,
    /// As it stands in `Host`.
    pub(super) authority: String,
    /// Path and query.
    pub(super) path: String,
    /// How often it is chosen, beside others.
    pub(super) weight: u32,
}

impl TargetUrl {
    /// Reads a URL with its weight. Names are looked up.
    ///
    /// # Errors
    /// [`Failure::Usage`] for what is no URL, [`Failure::Run`] for a name without an address.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::Usage(format!(
                "`{text}`: {why}; write it like http://198.18.0.1:8080/ or tcp://198.18.0.1:7"
            ))
        };
        let (url, weight) = split_weight(text);
        let uri: Uri = url.parse().map_err(|_| wrong("not a URL"))?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("tcp") => Scheme::Tcp,
            Some("https") => {
                return Err(Failure::Usage(format!(
                    "`{text}`: TLS is not supported; load the same server's http:// port, or its TCP with tcp://"
                )));
            }
            Some(_) => return Err(wrong("unknown scheme")),
            None => return Err(wrong("the scheme is missing")),
        };
        if weight == 0 {
            return Err(wrong("a weight must be at least 1"));
        }
        let authority = uri
            .authority()
            .ok_or_else(|| wrong("the address is missing"))?;
        if authority.as_str().contains('@') {
            return Err(wrong(
                "user names are not sent; give a header with --header",
            ));
        }
        let port = match (uri.port_u16(), scheme) {
            (Some(port), _) => port,
            (None, Scheme::Http) => HTTP_PORT,
            (None, Scheme::Tcp) => return Err(wrong("the port is missing")),
        };
        let host = uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses = (bare, port).to_socket_addrs().map_err(|error| {
            Failure::Run(format!("`{text}`: no address for `{host}` ({error})"))
        })?;
        let address = addresses
            .next()
            .ok_or_else(|| Failure::Run(format!("`{text}`: no address for `{host}`")))?;
        Ok(Self {
            scheme,
            address,
            authority: authority.as_str().to_owned(),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
            weight,
        })
    }
}

/// `URL=WEIGHT`: a weight is a number behind the last `=`, unless that is part of a query.
fn split_weight(text: &str) -> (&str, u32) {
    match text.rsplit_once('=') {
        Some((url, digits)) if !url.contains('?') => match digits.parse() {
            Ok(weight) => (url, weight),
            Err(_) => (text, 1),
        },
        _ => (text, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_both_families_with_and_without_weight() {
        for (text, address, path, weight) in [
            ("http://198.18.0.1/", "198.18.0.1:80", "/", 1),
            ("http://198.18.0.1:8080", "198.18.0.1:8080", "/", 1),
            (
                "http://[2001:db8::1]:81/a?b=3",
                "[2001:db8::1]:81",
                "/a?b=3",
                1,
            ),
            ("http://198.18.0.1/a=5", "198.18.0.1:80", "/a", 5),
            ("http://198.18.0.1/?id={n}", "198.18.0.1:80", "/?id={n}", 1),
            ("tcp://198.18.0.1:7", "198.18.0.1:7", "/", 1),
        ] {
            let url = TargetUrl::parse(text).expect(text);
            assert_eq!(url.address.to_string(), address);
            assert_eq!((url.path.as_str(), url.weight), (path, weight), "{text}");
        }
    }

    #[test]
    fn what_can_not_be_loaded_is_refused_with_its_reason() {
        for (text, part) in [
            ("https://198.18.0.1/", "TLS is not supported"),
            ("ftp://198.18.0.1/", "unknown scheme"),
            ("198.18.0.1:80", "scheme is missing"),
            ("tcp://198.18.0.1", "port is missing"),
            ("http://", "not a URL"),
            ("http://198.18.0.1/=0", "at least 1"),
            ("http://user@198.18.0.1/", "user names"),
        ] {
            let error = TargetUrl::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
