//! `syncline diagnose TARGET:PORT`: finds out by connecting what a peer does on a port.
//!
//! It must never do more than ordinary clients do: a few connections, one after the other, without data.

// One connection by the kernel's sockets.
mod attempt;
// One connection by our own stack on a NIC.
#[cfg(feature = "dpdk")]
mod nic;
// The meaning of the attempts.
mod judge;
// The same as text and as JSON.
mod text;

use std::net::{SocketAddr, ToSocketAddrs as _};

use super::args::DiagnoseArgs;
use crate::console;
use crate::failure::Failure;
use crate::stop::Stop;
use attempt::Attempt;
use text::Probed;

/// Does what `args` say about `target`, `HOST:PORT`.
///
/// # Errors
/// [`Failure`]: no such name, or a socket that the system refuses.
pub(super) fn run(args: &DiagnoseArgs, target: &str) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    let addresses = resolve(target)?;
    let found = find_out(args, &addresses, &stop)?;
    if args.json {
        return console::result(format_args!("{:#}", text::json(target, &found)));
    }
    console::result(text::whole(target, &found).trim_end())
}

/// Its needs, for `doctor`.
///
/// # Errors
/// [`Failure::Usage`]: no target, no NIC, or flags that would be refused whatever the machine.
#[cfg(feature = "dpdk")]
pub(crate) fn needs(args: &DiagnoseArgs) -> Result<crate::rig::Needs, Failure> {
    match &args.target {
        Some(target) if args.link.nic.is_some() => nic::needs(args, &resolve(target)?),
        _ => Err(Failure::Usage(
            "`diagnose` needs something of the machine only with HOST:PORT and --nic: captures are read, and targets reached by the kernel's \
             sockets, anywhere"
                .into(),
        )),
    }
}

#[cfg(feature = "dpdk")]
fn find_out(
    args: &DiagnoseArgs,
    addresses: &[SocketAddr],
    stop: &Stop,
) -> Result<Vec<Probed>, Failure> {
    if args.link.nic.is_none() {
        return by_kernel(args, addresses, stop);
    }
    let mut prober = nic::NicProber::open(args, addresses, stop)?;
    let found = each(args, addresses, stop, |address| {
        Ok(prober.make(address, args.wait, stop))
    })?;
    prober.close()?;
    Ok(found)
}

#[cfg(not(feature = "dpdk"))]
fn find_out(
    args: &DiagnoseArgs,
    addresses: &[SocketAddr],
    stop: &Stop,
) -> Result<Vec<Probed>, Failure> {
    by_kernel(args, addresses, stop)
}

fn by_kernel(
    args: &DiagnoseArgs,
    addresses: &[SocketAddr],
    stop: &Stop,
) -> Result<Vec<Probed>, Failure> {
    each(args, addresses, stop, |address| {
        attempt::make(address, args.wait, stop)
    })
}

/// Connects to each address as often as asked, one attempt after the other, until a signal comes.
fn each(
    args: &DiagnoseArgs,
    addresses: &[SocketAddr],
    stop: &Stop,
    mut make: impl FnMut(SocketAddr) -> Result<Attempt, Failure>,
) -> Result<Vec<Probed>, Failure> {
    let mut found = Vec::new();
    for &address in addresses {
        let mut attempts = Vec::new();
        for _ in 0..args.attempts.max(1) {
            if stop.is_asked() {
                break;
            }
            attempts.push(make(address)?);
        }
        if !attempts.is_empty() {
            let verdict = judge::verdict(&attempts);
            found.push(Probed {
                address,
                attempts,
                verdict,
            });
        }
    }
    Ok(found)
}

/// All addresses of a name, each once.
fn resolve(target: &str) -> Result<Vec<SocketAddr>, Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::Usage(format!(
            "{target}: {why}; give a host and a port, such as 192.0.2.1:443 or [2001:db8::1]:443, or a capture with -r FILE"
        ))
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in target.to_socket_addrs().map_err(|error| wrong(&error))? {
        if address.port() == 0 {
            return Err(wrong(&"no host listens on port 0"));
        }
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(wrong(&"the name has no address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_host_and_a_port() {
        let one = resolve("192.0.2.1:81").expect("a right one");
        assert_eq!(one, [SocketAddr::from(([192, 0, 2, 1], 81))]);
        for wrong in ["192.0.2.1", "192.0.2.1:0", "192.0.2.1:99999", ""] {
            let error = resolve(wrong).expect_err(wrong).to_string();
            assert!(error.contains("give a host and a port"), "{error}");
        }
    }
}
