//! Raw bindings to the installed DPDK: what bindgen made of `wrapper.h`, and one view of an mbuf.
//!
//! Programs take `syncline-dpdk`, which is safe; this crate is for what that one does not wrap. Building needs `libdpdk-dev` and clang
//! (`SYNCLINE_DPDK=static` puts DPDK into the binary).
//!
//! ```
//! use std::ffi::CStr;
//!
//! // SAFETY: returns a static string, and needs no initialised environment.
//! let version = unsafe { CStr::from_ptr(dpdk_sys::rte_version()) };
//! assert!(version.to_string_lossy().starts_with("DPDK"));
//! ```
//!
//! It must never hold logic. Names, units and errors are those of DPDK's API documentation
//! (<https://doc.dpdk.org/api-22.11/>); functions that start with `sl_` stand in `inlined.c`.
#![allow(
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unused_qualifications, // all generated code
    clippy::all
)]

mod bindings {
    use super::{rte_device, rte_mbuf, rte_mempool, rte_ring};
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
pub use bindings::*;

use core::mem::{offset_of, size_of};
use core::sync::atomic::AtomicU16;

/// An mbuf by DPDK's name.
pub type rte_mbuf = MbufView;

macro_rules! opaque_types {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        $($(#[$doc])* #[repr(C)] pub struct $name { opaque: [u8; 0] })+
    };
}
opaque_types!(
    /// A pool of mbufs. Only ever behind a pointer.
    rte_mempool,
    /// A ring of pointers. Only ever behind a pointer.
    rte_ring,
    /// A device on a bus. Only ever behind a pointer.
    rte_device,
);

/// The fields of `struct rte_mbuf` that Rust touches in place (DPDK Programmer's Guide, "Mbuf Library").
///
/// Not bindgen's: the paths of its fields change between DPDK versions although the offsets don't. The assertions below
/// and those in `inlined.c` hold it to the installed headers at compile time.
#[repr(C, align(64))]
pub struct MbufView {
    pub buf_addr: *mut u8,
    pub buf_iova: u64,
    pub data_off: u16,
    /// Changed atomically by every owner of the buffer.
    pub refcnt: AtomicU16,
    pub nb_segs: u16,
    pub port: u16,
    pub ol_flags: u64,
    pub packet_type: u32,
    pub pkt_len: u32,
    pub data_len: u16,
    pub vlan_tci: u16,
    pub hash: [u32; 2],
    pub vlan_tci_outer: u16,
    pub buf_len: u16,
    pub pool: *mut rte_mempool,
    pub next: *mut MbufView,
    pub tx_offload: u64,
    pub rest: [u64; 6],
}

macro_rules! assert_offsets {
    ($($field:ident = $offset:ident),+ $(,)?) => {
        $(const _: () = assert!(offset_of!(MbufView, $field) == $offset as usize);)+
    };
}
assert_offsets!(
    buf_addr = SL_MBUF_OFFSET_BUF_ADDR,
    data_off = SL_MBUF_OFFSET_DATA_OFF,
    refcnt = SL_MBUF_OFFSET_REFCNT,
    nb_segs = SL_MBUF_OFFSET_NB_SEGS,
    port = SL_MBUF_OFFSET_PORT,
    ol_flags = SL_MBUF_OFFSET_OL_FLAGS,
    pkt_len = SL_MBUF_OFFSET_PKT_LEN,
    data_len = SL_MBUF_OFFSET_DATA_LEN,
    vlan_tci = SL_MBUF_OFFSET_VLAN_TCI,
    buf_len = SL_MBUF_OFFSET_BUF_LEN,
    pool = SL_MBUF_OFFSET_POOL,
    next = SL_MBUF_OFFSET_NEXT,
    tx_offload = SL_MBUF_OFFSET_TX_OFFLOAD,
);
const _: () = assert!(size_of::<MbufView>() == SL_MBUF_BYTES as usize);
