//! Transparent hugepages as a heap of DPDK: what pools and rings live in when there are no free hugepages.
//!
//! EAL's own `--no-huge` memory is a memfd at an address that the kernel can't map with large pages, and on a virtual
//! machine the TLB misses cost ten times what a frame does (measured: 28 ticks against 2.4 for a frame over the
//! in-memory link). DPDK takes memory from outside as a heap with its own socket number (Programmer's Guide, "Support
//! for Externally Allocated Memory"), and anonymous memory gets large pages without root. It must never be used for
//! devices that DMA: it is not mapped for them.

use core::ffi::{CStr, c_void};
use std::sync::{Mutex, PoisonError};

use dpdk_sys as sys;

use crate::error::last_errno;
use crate::log::Capture;

const HEAP: &CStr = c"syncline";
const PAGE_BYTES: usize = 2 << 20;
const ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Whether the kernel hands out large pages to those that ask (the chosen word stands in brackets).
pub(super) fn is_available() -> bool {
    std::fs::read_to_string(ENABLED)
        .is_ok_and(|modes| modes.contains("[always]") || modes.contains("[madvise]"))
}

/// The heap. It grows piece by piece, because DPDK clears (and so uses up) what it is given: half a GB takes a second.
#[derive(Debug)]
pub(super) struct Heap {
    socket: i32,
    /// Address space that was reserved and not given to DPDK yet: where it starts, and its bytes. Stays mapped until the
    /// process ends.
    unused: Mutex<(*mut c_void, usize)>,
}

// SAFETY: the pointer is a number to this type (it is only handed to DPDK, under the lock).
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

impl Heap {
    /// An empty heap that may grow to `mb` MB. EAL must be initialised. The error says what went wrong.
    pub(super) fn new(mb: u64) -> Result<Self, String> {
        let too_much = |_| "more than the address space".to_owned();
        let bytes = usize::try_from(mb << 20)
            .map_err(too_much)?
            .next_multiple_of(PAGE_BYTES);
        let start = reserve(bytes)?;
        let capture = Capture::start();
        // SAFETY: EAL is initialised, and the name is NUL-terminated; DPDK copies it.
        let socket = unsafe {
            match sys::rte_malloc_heap_create(HEAP.as_ptr()) {
                0 => sys::rte_malloc_heap_get_socket(HEAP.as_ptr()),
                _ => -1,
            }
        };
        if socket < 0 {
            return Err(capture.failure(last_errno()));
        }
        Ok(Self {
            socket,
            unused: Mutex::new((start, bytes)),
        })
    }

    /// DPDK's number for this memory.
    pub(super) fn socket(&self) -> i32 {
        self.socket
    }

    /// Gives DPDK `bytes` more, as far as there are so many: what does not fit fails in the allocation that follows.
    pub(super) fn grow(&self, bytes: usize) {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, left) = *unused;
        let bytes = bytes.next_multiple_of(PAGE_BYTES);
        if bytes > left {
            return;
        }
        // IOVA is the virtual address: software devices use no other.
        let mut pages: Vec<u64> = (0..bytes / PAGE_BYTES)
            .map(|page| (start.addr() + page * PAGE_BYTES) as u64)
            .collect();
        let Ok(count) = u32::try_from(pages.len()) else {
            return;
        };
        // SAFETY: EAL is initialised; the memory is ours, mapped, aligned to PAGE_BYTES, used by nothing else (the lock, and
        // each part of it is given once), and never unmapped; `pages` has one address per page and is copied.
        let added = unsafe {
            let table = pages.as_mut_ptr();
            sys::rte_malloc_heap_memory_add(HEAP.as_ptr(), start, bytes, table, count, PAGE_BYTES)
        };
        if added == 0 {
            *unused = (start.wrapping_byte_add(bytes), left - bytes);
        }
    }
}

/// Address space on a boundary of a large page, marked for large pages.
fn reserve(bytes: usize) -> Result<*mut c_void, String> {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
    );
    // SAFETY: a new anonymous mapping that touches nothing of ours; the advice is a hint about that mapping.
    unsafe {
        let mapped = libc::mmap(
            core::ptr::null_mut(),
            bytes + PAGE_BYTES,
            access,
            kind,
            -1,
            0,
        );
        if mapped == libc::MAP_FAILED {
            return Err(format!("mmap: {}", std::io::Error::last_os_error()));
        }
        let start = mapped.byte_add(mapped.addr().next_multiple_of(PAGE_BYTES) - mapped.addr());
        libc::madvise(start, bytes, libc::MADV_HUGEPAGE);
        Ok(start)
    }
}
