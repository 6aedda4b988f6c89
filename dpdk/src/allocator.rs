//! [`HugePageAllocator`]: the system's allocator, whose large blocks are advised to be in huge pages.
//!
//! A worker's connections, queues and app states are a few large blocks that are read at random: with pages of 4 kB each
//! connection costs a TLB miss or two. It must never change what an allocation holds, nor refuse one: the advice is a hint.

use core::ffi::c_void;
use std::alloc::{GlobalAlloc, Layout, System};

/// Blocks from here on are advised, in bytes. A block becomes resident by huge pages of 2 MiB: an eighth of the smallest one is resident
/// before it is needed.
const LARGE_BYTES: usize = 16 << 20;

/// Smallest page of any system that we run on, in bytes; where pages are larger the system refuses the advice.
const PAGE_BYTES: usize = 4096;

/// The system's allocator ([`System`]), which asks the kernel for transparent huge pages (`madvise(2)`, `MADV_HUGEPAGE`) under each
/// block of 16 MiB or more. Blocks become resident in pieces of a huge page then. Where the kernel has none, nothing is different.
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: dpdk::HugePageAllocator = dpdk::HugePageAllocator;
///
/// let block: Vec<u64> = Vec::with_capacity(1 << 24);
/// # assert!(block.is_empty());
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct HugePageAllocator;

// SAFETY: each method is that of `System` with the same arguments, whose contract the caller keeps; the advice does not change what
// the block holds, whether it is writable, or who owns it.
unsafe impl GlobalAlloc for HugePageAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about the layout is that of `System`.
        advised(unsafe { System.alloc(layout) }, layout.size())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`.
        advised(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from `System` with this layout.
        unsafe { System.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the block came from `System` with this layout; the caller's promise about the new size is that of `System`.
        advised(unsafe { System.realloc(block, layout, bytes) }, bytes)
    }
}

#[inline]
fn advised(block: *mut u8, bytes: usize) -> *mut u8 {
    if bytes >= LARGE_BYTES && !block.is_null() {
        advise(block, bytes);
    }
    block
}

/// Asks for huge pages under the whole pages of a block.
#[cold]
fn advise(block: *mut u8, bytes: usize) {
    let first = block.addr().next_multiple_of(PAGE_BYTES);
    let end = (block.addr() + bytes) / PAGE_BYTES * PAGE_BYTES;
    let start: *mut c_void = block.with_addr(first).cast();
    // SAFETY: whole pages within a block that was allocated just now; the advice changes neither what they hold nor their protection,
    // and a failure leaves them as they are.
    unsafe { libc::madvise(start, end - first, libc::MADV_HUGEPAGE) };
}
