//! Requests as bytes: heads and bodies of HTTP, and what `--send` and `--expect` say.
//!
//! It must never send what it can't verify the reply to.

use workload::load::{BodyChecksum, ReplyPlan, RequestPlan, Template};

use crate::failure::Failure;
use crate::load::args::{Close, LoadArgs, Workload};
use crate::load::arms::TUPLE_HEADER;
use crate::load::target::{Scheme, TargetUrl};

/// A body of a request at most, in bytes: it lies in the NIC's memory.
const BODY_MAX: usize = 1 << 20;

/// The requests of all targets.
///
/// # Errors
/// [`Failure::Usage`] for what can't be read or is no request.
pub(super) fn all(args: &LoadArgs, targets: &[TargetUrl]) -> Result<Vec<RequestPlan>, Failure> {
    let body = match &args.body {
        None => None,
        Some(path) => {
            let bytes = std::fs::read(path)
                .map_err(|error| Failure::Usage(format!("--body {}: {error}", path.display())))?;
            if bytes.len() > BODY_MAX {
                return Err(Failure::Usage(format!(
                    "--body {}: {} bytes exceed the {BODY_MAX} bytes that a request may have",
                    path.display(),
                    bytes.len()
                )));
            }
            Some(bytes)
        }
    };
    let checksums = checksums(args, targets.len())?;
    let mut plans = Vec::new();
    for (index, target) in (0..).zip(targets) {
        let (bytes, reply) = match target.scheme {
            Scheme::Http => http_request(args, target, body.as_deref())?,
            Scheme::Tcp => match &args.send {
                None => continue,
                Some(text) => {
                    let reply = args.expect.as_deref().map(unescaped).transpose()?;
                    let exact = ReplyPlan::Exact(reply.unwrap_or_default().into());
                    (unescaped(text)?, exact)
                }
            },
        };
        let bytes = Template::new(&bytes).map_err(|error| Failure::Usage(error.to_string()))?;
        plans.push(RequestPlan {
            target: index,
            weight: target.weight,
            bytes,
            reply,
            checksum: checksums.get(usize::from(index)).copied(),
        });
    }
    Ok(plans)
}

/// The expected checksum of the body of each target's response; none where it is not checked.
fn checksums(args: &LoadArgs, targets: usize) -> Result<Vec<BodyChecksum>, Failure> {
    let usage = |text: String| Err(Failure::Usage(text));
    if args.method.as_deref() == Some("HEAD") && !args.expect_body.is_empty() {
        return usage(
            "--expect-body: a response to HEAD has no body; leave one of both out".into(),
        );
    }
    match args.expect_body.as_slice() {
        [one] => Ok(vec![*one; targets]),
        all if all.is_empty() || all.len() == targets => Ok(all.to_vec()),
        all => usage(format!(
            "--expect-body is given {} times for {targets} URLs: give it once for all, or once for each in their order",
            all.len()
        )),
    }
}

fn http_request(
    args: &LoadArgs,
    target: &TargetUrl,
    body: Option<&[u8]>,
) -> Result<(Vec<u8>, ReplyPlan), Failure> {
    let method = args.method.as_deref().unwrap_or(match body {
        Some(_) => "POST",
        None => "GET",
    });
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    if !is_token(method) {
        return Err(Failure::Usage(format!(
            "invalid --method `{method}`: expected a method of HTTP, such as GET"
        )));
    }
    let mut head = format!("{method} {} HTTP/1.1\r\n", target.path);
    let mut names = Vec::new();
    for header in &args.header {
        let named = header.split_once(':').filter(|(name, value)| {
            is_token(name) && !value.bytes().any(|byte| byte.is_ascii_control())
        });
        let Some((name, value)) = named else {
            return Err(Failure::Usage(format!(
                "--header `{header}`: write it like `Accept: text/html`"
            )));
        };
        names.push(name.to_ascii_lowercase());
        head += &format!("{name}: {}\r\n", value.trim());
    }
    let has = |name: &str| names.iter().any(|other| other == name);
    if !has("host") {
        head += &format!("Host: {}\r\n", target.authority);
    }
    if !has("user-agent") {
        head += concat!("User-Agent: syncline/", env!("CARGO_PKG_VERSION"), "\r\n");
    }
    let closes = match args.workload {
        Some(Workload::Connect) => args.close == Close::Peer,
        Some(Workload::Stream) => true,
        _ => false,
    };
    // The token that ties connections of both arms together.
    let tuple_header = TUPLE_HEADER.to_ascii_lowercase();
    if args.server.server_nic.is_some() && !has(&tuple_header) {
        head += &format!("{TUPLE_HEADER}: {{tuple}}\r\n");
    }
    if closes && !has("connection") {
        head += "Connection: close\r\n";
    }
    if let Some(body) = body
        && !has("content-length")
        && !has("transfer-encoding")
    {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    head += "\r\n";
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body.unwrap_or_default());
    let to_head = method == "HEAD";
    Ok((bytes, ReplyPlan::Http { to_head }))
}

/// `\r`, `\n`, `\t`, `\\` and `\xHH` as bytes.
fn unescaped(text: &str) -> Result<Vec<u8>, Failure> {
    let wrong = || {
        Failure::Usage(format!(
            "`{text}`: behind a backslash stands r, n, t, 0, another backslash, or x and two hexadecimal digits"
        ))
    };
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (&kind, behind) = rest.split_first().ok_or_else(wrong)?;
        rest = behind;
        bytes.push(match kind {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digits = rest
                    .get(..2)
                    .and_then(|digits| std::str::from_utf8(digits).ok());
                let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                rest = rest.get(2..).unwrap_or_default();
                value.ok_or_else(wrong)?
            }
            _ => return Err(wrong()),
        });
    }
    Ok(bytes)
}
