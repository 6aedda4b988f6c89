//! [`silence`]: net_tap without its signals.
//!
//! It must never touch a descriptor of another interface, and never silence a tap whose signals may have come already.
//!
//! net_tap asks the kernel for a real-time signal (from SIGRTMIN + 1 on, the first that is free) for every packet, by
//! O_ASYNC on each of its descriptors, and its receive burst looks at the descriptor only after one (DPDK 22.11,
//! drivers/net/tap/rte_eth_tap.c, `tun_alloc`, `tap_trigger_cb`, `pmd_rx_burst`). The kernel delivers them to any thread
//! that doesn't block them: at 20,000 packets a second and more a thread that sleeps wakes as often, and a relative sleep
//! never ends. A driver that has never had a signal reads at each burst, which is all that a thread that polls wants. So
//! the descriptors lose O_ASYNC before the interface is up: from then on no packet makes a signal.

use std::fs;
use std::os::fd::RawFd;

/// IFF_UP of the flags of an interface, netdevice(7).
const IFF_UP: u64 = 1;

/// Switches the signals of the tap with this index off. Does nothing when the interface is up already: its packets may
/// have made signals, and the driver waits for further ones then.
pub(crate) fn silence(if_index: u32) {
    let Some(name) = interface_name(if_index) else {
        return;
    };
    if is_up(&name) {
        return;
    }
    for fd in descriptors(&name) {
        // SAFETY: changes the flags of a descriptor of this process; no memory is involved.
        unsafe {
            let flags = libc::fcntl(fd, libc::F_GETFL);
            if flags != -1 && flags & libc::O_ASYNC != 0 {
                libc::fcntl(fd, libc::F_SETFL, flags & !libc::O_ASYNC);
            }
        }
    }
}

fn interface_name(if_index: u32) -> Option<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that if_indextoname(3) demands, and is NUL-terminated when it succeeds.
    let name = unsafe {
        if libc::if_indextoname(if_index, name.as_mut_ptr()).is_null() {
            return None;
        }
        core::ffi::CStr::from_ptr(name.as_ptr())
    };
    name.to_str().ok().map(str::to_owned)
}

/// Whether the interface is up; true when that can't be known.
fn is_up(name: &str) -> bool {
    // SAFETY: an all-zero ifreq is valid (integers, and bytes for the name).
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte.cast_signed();
    }
    // SAFETY: makes a socket, asks it for the flags of the interface, and closes it; `request` is writable, and its name
    // NUL-terminated, since names have at most 15 bytes.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket == -1 {
            return true;
        }
        let done = libc::ioctl(socket, libc::SIOCGIFFLAGS, &raw mut request);
        libc::close(socket);
        done == -1 || u64::from(request.ifr_ifru.ifru_flags.cast_unsigned()) & IFF_UP != 0
    }
}

/// The descriptors of this process that belong to that tap, by proc(5).
fn descriptors(name: &str) -> Vec<RawFd> {
    let is_of_it = |fd: RawFd| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        info.lines()
            .filter_map(|line| line.strip_prefix("iff:"))
            .any(|interface| interface.trim() == name)
    };
    let listed = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    listed
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&fd| is_of_it(fd))
        .collect()
}
