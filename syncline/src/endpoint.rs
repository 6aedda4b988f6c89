//! [`Endpoint`]: what an endpoint is going to be, said in one chain, and the worker of a program that has frames of its own.
//!
//! It must never touch the machine: [`Endpoint::run`] does.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use stack::app::App;
use stack::config::LocalPrefix;
use stack::config::PageOptions;
use stack::config::{Capacity, Records};
use stack::config::{Config, ConfigSpec, Interface};
use stack::config::{ListenerConfig, SynPolicy};
use stack::nic::Nic;
use stack::worker::{RingEnd, Worker};

use crate::addresses::{host_prefix, routed_prefix};
use crate::{Error, secrets};

/// Half-open connections that one worker has room for: the backlogs of its listeners, within these bounds.
const EMBRYOS: std::ops::RangeInclusive<u32> = 16..=1 << 20;

/// The builder of an endpoint. Every method but the last one returns the endpoint; a wrong argument is reported by
/// the last one.
///
/// The last one is [`Endpoint::run`], on a NIC, or [`Endpoint::worker`], on any [`Nic`], driven by hand.
#[must_use = "an endpoint does nothing before `run` or `worker`"]
#[derive(Debug)]
pub struct Endpoint {
    pub(crate) spec: ConfigSpec,
    pub(crate) kernel: Vec<Interface>,
    pub(crate) own_namespace: bool,
    pub(crate) workers: u16,
    pub(crate) cpus: Option<Vec<usize>>,
    #[cfg(feature = "dpdk")]
    pub(crate) idle: Option<crate::idle::Idle>,
    pub(crate) mtu: u16,
    pub(crate) eal: Vec<String>,
    pub(crate) duration: Option<Duration>,
    pub(crate) patience: Duration,
    connections: Option<u32>,
    /// The first argument that was wrong.
    wrong: Option<Error>,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::new()
    }
}

impl Endpoint {
    /// No address yet, one worker, MTU 1500, ten seconds for what is at work at the end.
    pub fn new() -> Self {
        Self {
            spec: ConfigSpec::new(Vec::new()),
            kernel: Vec::new(),
            own_namespace: false,
            workers: 1,
            cpus: None,
            #[cfg(feature = "dpdk")]
            idle: None,
            mtu: 1500,
            eal: Vec::new(),
            duration: None,
            patience: Duration::from_secs(10),
            connections: None,
            wrong: None,
        }
    }

    /// One of our addresses with the length of its link's prefix, of either family: `198.18.0.2/24`. Several calls, several addresses.
    pub fn address(mut self, address: &str) -> Self {
        if let Some(interface) = self.parsed(host_prefix(address)) {
            self.spec.interfaces.push(interface);
        }
        self
    }

    /// A prefix that is routed to us: all its addresses are ours.
    pub fn prefix(mut self, prefix: &str) -> Self {
        if let Some(prefix) = self.parsed(routed_prefix(prefix)) {
            self.spec.prefixes.push(prefix);
        }
        self
    }

    /// The router for addresses off the link, one of each family.
    pub fn gateway(mut self, address: impl Into<IpAddr>) -> Self {
        match address.into() {
            IpAddr::V4(address) => self.spec.gateway_v4 = Some(address),
            IpAddr::V6(address) => self.spec.gateway_v6 = Some(address),
        }
        self
    }

    /// An open port on all our addresses, with a backlog of 1024 and SYN cookies when that is full.
    pub fn listen(self, port: u16) -> Self {
        self.listen_with(ListenerConfig {
            backlog: 1024,
            ..ListenerConfig::new(port, SynPolicy::CookieWhenFull)
        })
    }

    /// An open port as `listener` says.
    pub fn listen_with(mut self, listener: ListenerConfig) -> Self {
        self.spec.listeners.push(listener);
        self
    }

    /// Room for so many connections at once, per worker and family of ours. All memory for them is taken at the start. Without this
    /// call it is 65,536.
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = Some(connections);
        self
    }

    /// Gives the kernel's side of a tap this address, and brings it up; the kernel's side of another NIC is none of ours. Needs
    /// iproute2. Without this call a tap stays down until it is set up by hand.
    pub fn kernel_address(mut self, address: &str) -> Self {
        if let Some(interface) = self.parsed(host_prefix(address)) {
            self.kernel.push(interface);
        }
        self
    }

    /// Moves this process into a network namespace of its own before the NIC is opened, so that a tap is seen by no other program and
    /// needs no root where users may make user namespaces. Only while the process has one thread.
    pub fn own_namespace(mut self) -> Self {
        self.own_namespace = true;
        self
    }

    /// Queue pairs of the NIC, each with a worker on a thread of its own.
    pub fn workers(mut self, workers: u16) -> Self {
        self.workers = workers;
        self
    }

    /// The CPUs of the workers, one each. Without this call the first ones of the process; where workers sleep, the kernel chooses.
    pub fn cpus(mut self, cpus: &[usize]) -> Self {
        self.cpus = Some(cpus.to_vec());
        self
    }

    /// Whether workers sleep or poll while no frames arrive. Without this call it sleeps where the kernel moves the frames (a tap, AF_XDP), and
    /// polls on everywhere else.
    #[cfg(feature = "dpdk")]
    pub fn idle(mut self, idle: crate::idle::Idle) -> Self {
        self.idle = Some(idle);
        self
    }

    /// The largest IP packet, in bytes.
    pub fn mtu(mut self, bytes: u16) -> Self {
        self.mtu = bytes;
        self
    }

    /// An argument for DPDK's EAL, passed on unchanged.
    pub fn eal(mut self, argument: &str) -> Self {
        self.eal.push(argument.to_owned());
        self
    }

    /// Ends the run after this time. Without this call it ends by a signal, or by [`Seat::end`](crate::Seat::end).
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// How long connections that are open at the end may go on before they are reset.
    pub fn drain_timeout(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Everything else that a configuration has: profiles, times, limits, VLANs, what closed ports answer.
    pub fn configure(mut self, change: impl FnOnce(&mut ConfigSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// A worker with `app` on a NIC that the program has: in memory, in a simulation, of another driver. The program calls
    /// [`Worker::turn`] with the time; secrets are fresh ones. There is one worker, whatever [`Endpoint::workers`] says.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Config`], [`Error::Randomness`], [`Error::Memory`].
    pub fn worker<N: Nic, A: App>(mut self, nic: N, app: A) -> Result<Worker<N, A>, Error> {
        let config = self.config()?;
        let (ring, pages) = (RingEnd::single(), PageOptions::default());
        Worker::with_app(nic, app, config, &secrets::fresh()?, ring, pages)
            .map_err(|error| Error::Memory(error.to_string()))
    }

    /// Data shared by workers.
    pub(crate) fn config(&mut self) -> Result<Arc<Config>, Error> {
        if let Some(error) = self.wrong.take() {
            return Err(error);
        }
        let mut spec = self.spec.clone();
        if let Some(connections) = self.connections {
            spec.limits.records = self.capacity(connections);
        }
        let config = spec.validate();
        config
            .map(Arc::new)
            .map_err(|error| Error::Config(error.to_string()))
    }

    /// Room for `connections` of each family that we have an address of.
    fn capacity(&self, connections: u32) -> Capacity {
        let hosts = self.spec.interfaces.iter().map(|ip| ip.address);
        let prefixes = self.spec.prefixes.iter().map(LocalPrefix::first);
        let addresses: Vec<IpAddr> = hosts.chain(prefixes).collect();
        let of_families = |records: u32| {
            let has = |v6| addresses.iter().any(|ip| ip.is_ipv6() == v6);
            Records {
                v4: if has(false) { records } else { 0 },
                v6: if has(true) { records } else { 0 },
            }
        };
        let backlogs = self.spec.listeners.iter().map(|listener| listener.backlog);
        let embryos = backlogs.fold(0u32, u32::saturating_add);
        Capacity {
            embryos: of_families(embryos.clamp(*EMBRYOS.start(), *EMBRYOS.end())),
            ..Capacity::of_each(of_families(connections))
        }
    }

    fn parsed<T>(&mut self, parsed: Result<T, String>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(text) => {
                self.wrong.get_or_insert(Error::Address(text));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wrong_argument_is_said_at_the_end() {
        let endpoint = Endpoint::new().address("198.18.0.2").address("host/24");
        let error = endpoint.listen(7).config().expect_err("no prefix length");
        assert!(error.to_string().contains("`198.18.0.2`"), "{error}");
        let error = Endpoint::new().listen(7).config().expect_err("no address");
        assert!(matches!(error, Error::Config(_)), "{error}");
    }

    #[test]
    fn there_is_room_for_the_families_that_we_have() {
        let mut endpoint = Endpoint::new()
            .address("198.18.0.2/24")
            .listen(7)
            .connections(9);
        let records = endpoint.config().expect("valid").limits.records;
        assert_eq!(records.open, Records { v4: 9, v6: 0 });
        assert_eq!(records.embryos, Records { v4: 1024, v6: 0 });
    }
}
