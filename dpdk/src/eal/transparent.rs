//! Transparent hugepages as a heap of DPDK: what pools and rings live in when there are no free hugepages.
//!
//! Called by: [`super::Eal::init`]. EAL's own `--no-huge` memory is a memfd at an address that the kernel can't map with
//! large pages, and on a virtual machine the TLB misses cost ten times what a frame does (measured: 28 ticks against 2.4
//! for a frame over the in-memory link). DPDK takes memory from outside as a heap with its own socket number (Programmer's
//! Guide, "Support for Externally Allocated Memory"), and anonymous memory gets large pages without root. It must never be
//! used for devices that DMA: nobody maps it for them.

use core::ffi::CStr;

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

/// Reserves `mb` MB and makes them a heap. Returns its socket number, or what went wrong. Memory is used up as it is
/// touched, and stays until the process ends.
pub(super) fn make_heap(mb: u64) -> Result<i32, String> {
    let bytes = usize::try_from(mb << 20).map_err(|_| "more than the address space".to_owned())?;
    let bytes = bytes.next_multiple_of(PAGE_BYTES);
    let start = reserve(bytes)?;
    // IOVA is the virtual address: software devices use no other.
    let mut pages: Vec<u64> = (0..bytes / PAGE_BYTES)
        .map(|page| (start.addr() + page * PAGE_BYTES) as u64)
        .collect();
    let count = u32::try_from(pages.len()).map_err(|_| "too many pages".to_owned())?;
    let capture = Capture::start();
    // SAFETY: EAL is initialised; the name is NUL-terminated; the memory is ours, mapped, aligned to PAGE_BYTES, used by
    // nobody else, and never unmapped; `pages` has one address per page and is copied.
    let socket = unsafe {
        let (heap, table) = (HEAP.as_ptr(), pages.as_mut_ptr());
        if sys::rte_malloc_heap_create(heap) != 0
            || sys::rte_malloc_heap_memory_add(heap, start, bytes, table, count, PAGE_BYTES) != 0
        {
            return Err(capture.failure(last_errno()));
        }
        sys::rte_malloc_heap_get_socket(heap)
    };
    if socket < 0 {
        Err(capture.failure(last_errno()))
    } else {
        Ok(socket)
    }
}

/// Address space on a boundary of a large page, marked for large pages.
fn reserve(bytes: usize) -> Result<*mut core::ffi::c_void, String> {
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
