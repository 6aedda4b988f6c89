//! Tests of a whole connection, by subject.

mod closing;
mod data;
mod handshake;
mod hostile;
mod path_mtu;
mod pipe;
mod rest;
mod stream;
mod timing;
