//! Tests of a whole connection, by subject.

mod closing;
mod data;
mod handshake;
mod hostile;
mod parked;
mod path_mtu;
mod pipe;
mod stream;
mod timing;
