//! The configuration of both stacks of a conversation: addresses, listener, TCP's settings, and room for what the run needs.
//!
//! It must never ask the machine for anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use stack::config::{Config, ConfigError, ConfigSpec, Interface};
use stack::conn::{Capacity, Records};
use stack::local::addresses::LocalPrefix;
use stack::local::listener::{ListenerConfig, SynPolicy};
use stack::queue::pattern;
use stack::tcp::profile::ProfileId;
use workload::load::{LoadPlan, LocalTuples};
use workload::pools::{PortRange, Shard, SourcePool, TupleOrder};
use workload::{ConnectServer, Shape, Side, exchange, http};

use super::super::args::{BenchArgs, Mode, SLACK, ShapeArg};
use crate::failure::Failure;
use crate::serve::{Services, WallClock, listens};

const SERVER_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 2);
/// The client's address on the link: the server's router to all others of the client.
const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1);
const LINK_LEN_V4: u8 = 24;
const LINK_LEN_V6: u8 = 64;
/// Where the client's connections come from: 4096 addresses, so that a tuple comes round again after some hundred million
/// connections. They are routed to the client, so one neighbour entry serves them all.
const SOURCES_V4: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 0);
const SOURCES_LEN_V4: u8 = 20;
const SOURCES_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 0);
const SOURCES_LEN_V6: u8 = 116;
const PORT: u16 = 80;
/// The largest value of a SYN's window field. More would be announced right behind the handshake, in a segment of its own.
const RCV_BUF: u32 = 65_535;
/// Connections a second that TIME-WAIT has room for; beyond it the oldest make room, which is counted.
const TIME_WAIT_CPS: u64 = 2_000_000;
/// Records for TIME-WAIT, at least and at most: 2^24 of them are 1 GB with their place in the index.
const TIME_WAIT_MIN: u64 = 65_536;
const TIME_WAIT_MAX: u64 = 1 << 24;
/// The same of the side that closes second, and enters TIME-WAIT only when both close at once.
const TIME_WAIT_SECOND: u32 = 4096;
/// The least of each kind; a table can't have none.
const UNUSED: u32 = 64;

/// The client's end of the handshakes.
fn server(args: &BenchArgs) -> SocketAddr {
    let address = if args.ipv6 {
        IpAddr::V6(SERVER_V6)
    } else {
        IpAddr::V4(SERVER_V4)
    };
    (address, PORT).into()
}

/// Where the client's connections come from.
fn sources(args: &BenchArgs) -> Result<LocalTuples, Failure> {
    let prefix = if args.ipv6 {
        (SOURCES_V6.into(), SOURCES_LEN_V6)
    } else {
        (SOURCES_V4.into(), SOURCES_LEN_V4)
    };
    let pool = SourcePool::new(&[prefix], &[PortRange::UNPRIVILEGED])
        .map_err(|error| Failure::Run(error.to_string()))?;
    LocalTuples::new(pool, TupleOrder::Sequential, Shard::WHOLE)
        .ok_or_else(|| Failure::Run("the client has no address".to_owned()))
}

const fn shape(args: &BenchArgs) -> Shape {
    match args.shape {
        ShapeArg::Piggyback => Shape::Piggyback,
        ShapeArg::Plain => Shape::Plain,
    }
}

/// The service of the server.
///
/// # Errors
/// [`Failure::Run`] when it can't be read, which a test would find.
pub(super) fn services(args: &BenchArgs, wall: WallClock) -> Result<Services, Failure> {
    let places = listens(&format!("{PORT}=http,size={},idle=never", args.size));
    Ok(Services::new(&places.map_err(Failure::Run)?.0, wall))
}

/// The server that has no service.
pub(super) fn least_server(args: &BenchArgs) -> Side {
    match args.mode {
        Mode::Request => Side::Request(Box::default()),
        _ => {
            let server = ConnectServer::new(shape(args), args.size, args.under_way() + SLACK);
            Side::Connect(Box::new(server))
        }
    }
}

/// The work of the client.
///
/// # Errors
/// [`Failure::Run`] when its addresses are no pool, which a test would find.
pub(super) fn client_plan(args: &BenchArgs, seed: u64) -> Result<LoadPlan, Failure> {
    let ends = (server(args), sources(args)?);
    Ok(match args.mode {
        Mode::Request => {
            exchange::single_bytes(ends, args.requested_connections(), args.under_way(), seed)
        }
        _ => exchange::complete_connections(ends, shape(args), args.under_way(), &body(args)),
    })
}

/// The body of each response.
fn body(args: &BenchArgs) -> Vec<u8> {
    if !args.is_served() {
        return http::body(args.size);
    }
    let mut body = vec![0; args.size as usize];
    pattern::fill(0, &mut body);
    body
}

/// Which side closes first, and so keeps TIME-WAIT; `None` when neither closes.
pub(super) const fn first_close(args: &BenchArgs) -> Option<&'static str> {
    match (args.mode, args.shape) {
        (Mode::Request, _) => None,
        (_, ShapeArg::Piggyback) => Some("server"),
        (_, ShapeArg::Plain) => Some("client"),
    }
}

/// The server's configuration.
///
/// # Errors
/// [`ConfigError`], when `stack` refuses what stands here.
pub(super) fn server_config(args: &BenchArgs) -> Result<Config, ConfigError> {
    let mut spec = both_sides(args, (SERVER_V4, SERVER_V6), "server");
    spec.gateway_v4 = Some(CLIENT_V4);
    spec.gateway_v6 = Some(CLIENT_V6);
    spec.listeners = vec![ListenerConfig {
        address: None,
        port: PORT,
        // Not the default policy: a cookie in place of an embryo would hide that the embryos are used up.
        policy: SynPolicy::Embryo,
        backlog: args.under_way() + SLACK,
        abort_on_overflow: false,
        profile: ProfileId::DEFAULT,
    }];
    spec.validate()
}

/// The client's configuration.
///
/// # Errors
/// [`ConfigError`], when `stack` refuses what stands here.
pub(super) fn client_config(args: &BenchArgs) -> Result<Config, ConfigError> {
    let mut spec = both_sides(args, (CLIENT_V4, CLIENT_V6), "client");
    spec.prefixes = if args.ipv6 {
        vec![LocalPrefix::new(SOURCES_V6.into(), SOURCES_LEN_V6)?]
    } else {
        vec![LocalPrefix::new(SOURCES_V4.into(), SOURCES_LEN_V4)?]
    };
    spec.validate()
}

fn both_sides(args: &BenchArgs, (v4, v6): (Ipv4Addr, Ipv6Addr), side: &str) -> ConfigSpec {
    let mut spec = ConfigSpec::new(vec![
        Interface {
            address: v4.into(),
            prefix_len: LINK_LEN_V4,
        },
        Interface {
            address: v6.into(),
            prefix_len: LINK_LEN_V6,
        },
    ]);
    spec.limits.records = capacity(args);
    if args.mode == Mode::Request {
        let places = exchange::queue_items(args.requested_connections());
        spec.limits.queue_items = spec.limits.queue_items.max(places);
    }
    if first_close(args).is_some_and(|first| first != side) {
        // A table for a million would be a cold one.
        let records = &mut spec.limits.records.time_wait;
        records.v4 = records.v4.min(TIME_WAIT_SECOND);
        records.v6 = records.v6.min(TIME_WAIT_SECOND);
    }
    spec.tcp.two_msl = args.time_wait;
    spec.park_after = args.park_after();
    spec.tcp.profile.rcv_buf = RCV_BUF;
    // Each message is whole, and should not wait for an acknowledgment.
    spec.tcp.profile.nagle = false;
    if args.shape == ShapeArg::Plain {
        spec.tcp.profile.ack_delay = Duration::ZERO;
    }
    spec
}

/// Room for what this run needs, and no more: unused room would count as memory of connections. The side that closes second
/// needs less.
pub(super) fn capacity(args: &BenchArgs) -> Capacity {
    let of_family = |records| {
        if args.ipv6 {
            Records { v4: 0, v6: records }
        } else {
            Records { v4: records, v6: 0 }
        }
    };
    let under_way = args.under_way() + SLACK;
    match args.mode {
        Mode::Request => {
            let connections = args.requested_connections();
            Capacity {
                embryos: of_family(under_way),
                open: of_family(args.open_records().max(under_way)),
                parked: of_family(connections.max(UNUSED)),
                time_wait: of_family(UNUSED),
            }
        }
        _ => Capacity {
            embryos: of_family(under_way),
            open: of_family(under_way),
            parked: of_family(UNUSED),
            time_wait: of_family(time_wait_records(args.time_wait)),
        },
    }
}

/// Room for the connections that end within 2 MSL.
fn time_wait_records(two_msl: Duration) -> u32 {
    let wanted = u128::from(TIME_WAIT_CPS) * two_msl.as_millis() / 1000;
    // At most 2^24.
    u64::try_from(wanted)
        .unwrap_or(u64::MAX)
        .clamp(TIME_WAIT_MIN, TIME_WAIT_MAX) as u32
}

/// The room in each table, in words.
pub(super) fn room(args: &BenchArgs) -> String {
    let Capacity {
        embryos,
        open,
        parked,
        time_wait,
    } = capacity(args);
    format!(
        "room on a side for {} embryos, {} open, {} parked, {} TIME-WAIT at most",
        embryos.total(),
        open.total(),
        parked.total(),
        time_wait.total()
    )
}
