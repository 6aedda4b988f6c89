//! Tests of a whole connection, by subject.

mod closing;
mod data;
mod expected;
mod handshake;
mod hostile;
mod parked;
mod path_mtu;
mod pipe;
pub(super) mod predict;
pub(super) mod rest;
mod stream;
mod timing;
