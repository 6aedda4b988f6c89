//! A TCP endpoint that owns its NIC: frames come from DPDK's rings into this process, and a complete TCP (RFC 9293) runs on the core
//! that polls them. No kernel on the way, no copy, no lock, no allocation per packet.
//!
//! A program is an [`App`]: one value per worker, called when connections open, bytes arrive, or there is room to send.
//! [`Endpoint`] says what the endpoint is and runs it: clock, secrets, idle, threads, signals, drain, counters.
//!
//! # A server on a NIC
//!
//! On a tap, with the kernel at its other end; as root, or with `.own_namespace()`. The whole program
//! (`cargo run -p syncline --example echo`, then `nc 198.18.0.2 7`):
//!
//! ```no_run
#![doc = include_str!("../examples/echo.rs")]
//! ```
//!
//! `pci:0000:3b:00.0` in place of `tap:echo0` is a NIC; `memif:SOCKET`, `af_xdp:INTERFACE` and any other DPDK device work too.
//! `examples/clients.rs` holds 10,000 connections; `examples/proxy.rs` forwards frames from one connection to another without a copy.
//!
//! # A client
//!
//! ```no_run
#![doc = include_str!("../examples/client.rs")]
//! ```
//!
//! # A worker driven by hand
//!
//! Without DPDK, root or threads: a program with frames of its own, here in memory, turns a [`Worker`] itself. Time is an argument.
//!
//! ```
//! use syncline::stack::nic::memory::MemoryNic;
//! use syncline::{App, ConnId, Connect, Cx, Endpoint, Instant, Nic, Worker};
//!
//! /// Says its words when a connection opens, and keeps what it hears.
//! struct Talk(&'static [u8], Vec<u8>);
//!
//! impl App for Talk {
//!     type Conn = ();
//!     fn on_open<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _: &mut ()) {
//!         let sent = cx.send_bytes(conn, self.0);
//!         assert_eq!(sent, Ok(self.0.len()));
//!     }
//!     fn on_data<N: Nic>(&mut self, cx: &mut Cx<'_, N, ()>, conn: ConnId, _: &mut ()) {
//!         self.1.extend_from_slice(cx.peek(conn));
//!         cx.consume(conn, u32::MAX);
//!     }
//! }
//!
//! fn carry(from: &mut Worker<MemoryNic, Talk>, to: &mut Worker<MemoryNic, Talk>) {
//!     for sent in from.nic_mut().take_sent() {
//!         let copy = to.nic_mut().frame(syncline::Frame::bytes(&sent));
//!         to.nic_mut().inject(copy);
//!     }
//! }
//!
//! # fn main() -> Result<(), syncline::Error> {
//! let nic = |n| MemoryNic::new([2, 0, 0, 0, 0, n]);
//! let mut server = Endpoint::new().address("198.18.0.1/24").listen(80).worker(nic(1), Talk(b"welcome", vec![]))?;
//! let mut client = Endpoint::new().address("198.18.0.2/24").worker(nic(2), Talk(b"hello", vec![]))?;
//! let mut now = Instant::from_ms(1_000);
//! let to = ([198, 18, 0, 1], 80).into();
//! client.with_cx(now, |_, cx| cx.connect(to, &Connect::default(), ())).expect("a free port and a route");
//! for _ in 0..100 {
//!     client.turn(now);
//!     server.turn(now);
//!     carry(&mut client, &mut server);
//!     carry(&mut server, &mut client);
//!     now = now + std::time::Duration::from_millis(1);
//! }
//! assert_eq!((client.app().1.as_slice(), server.app().1.as_slice()), (&b"welcome"[..], &b"hello"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! `stack::sim`, behind the feature `sim` of `syncline-stack`, has whole worlds of such workers, with links that lose, delay and reorder, from a seed.
//!
//! # What to read next
//!
//! [`App`] says what is called when, [`Cx`] what an app can do, [`Endpoint::configure`] what can be set. The modules below are what
//! [`Endpoint::run`] is made of, for programs with another loop: the `syncline` command uses them.
#![forbid(unsafe_code)]

// Why an endpoint could not be made or run.
mod error;
// The builder of an endpoint.
mod endpoint;
// An endpoint on a NIC, from the first check to the last buffer.
#[cfg(feature = "dpdk")]
mod run;
// The result of a run.
#[cfg(feature = "dpdk")]
mod report;
// Addresses as users write them.
pub mod addresses;
// Secrets and seeds.
pub mod secrets;
// SIGINT, SIGTERM and SIGHUP as a flag.
pub mod stop;
// Time from the cycle counter.
#[cfg(feature = "dpdk")]
pub mod clock;
// How a control thread talks to a thread that polls.
pub mod mailbox;
// Sleeping or polling while no frames arrive.
#[cfg(feature = "dpdk")]
pub mod idle;
// The kernel beside us: its addresses, its side of a tap.
#[cfg(feature = "dpdk")]
pub mod kernel;
// A network namespace of our own.
#[cfg(feature = "dpdk")]
pub mod namespace;
// A port with its queues and pools.
#[cfg(feature = "dpdk")]
pub mod port;
// Polling threads, from start to stop.
#[cfg(feature = "dpdk")]
pub mod threads;
// The loop of one worker.
#[cfg(feature = "dpdk")]
pub mod turning;
// The end of a run, step by step.
#[cfg(feature = "dpdk")]
pub mod ending;

pub use endpoint::Endpoint;
pub use error::Error;
#[cfg(feature = "dpdk")]
pub use report::{Progress, Report};
#[cfg(feature = "dpdk")]
pub use run::Seat;

#[cfg(feature = "dpdk")]
pub use dpdk;
pub use stack;
pub use stack::app::CloseReason;
pub use stack::app::ConnId;
pub use stack::app::{App, Chunk, Connect, ConnectError, Cx, SendError, TxItem};
pub use stack::nic::{Frame, Nic};
pub use stack::time::Instant;
pub use stack::worker::Worker;
