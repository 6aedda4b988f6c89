//! [`Pages`]: zeroed memory in huge pages where the system has them, as typed slices; and [`prefetch_read`].
//!
//! It must never grow or move after construction, and a request that can't be met must be an error, never an abort.
//!
//! A table that is probed at random misses the TLB on every probe with 4 KiB pages: advising huge pages (Linux
//! `madvise(2)`, `MADV_HUGEPAGE`) is worth 5 to 10 ns a lookup. Elsewhere the same code runs on plain pages.

use core::fmt;

use memmap2::MmapMut;
use self_cell::MutBorrow;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Smallest page that any supported system has, in bytes: the stride of pre-faulting.
const SMALL_PAGE_BYTES: usize = 4096;

/// Data that may live in [`Pages`]: plain data for which all-zero bytes (and any other) are a legal value, without padding.
pub trait Plain: FromBytes + IntoBytes + Immutable + KnownLayout {}

impl<T: FromBytes + IntoBytes + Immutable + KnownLayout> Plain for T {}

/// A type that [`Pages`] can hold: `paged!` implements it for a type.
pub trait Paged: Plain + Sized {
    /// The memory together with the typed slice that borrows it.
    type Mapping: TypedMap<Self>;
}

/// A mapping that is borrowed as a slice of `T` for as long as it exists.
pub trait TypedMap<T>: Sized {
    /// Types the first `len` elements of `map`, once for good.
    fn new(map: MmapMut, len: usize) -> Self;
    /// All elements.
    fn elements(&self) -> &[T];
    /// All elements, for writing.
    fn elements_mut(&mut self) -> &mut [T];
}

/// Implements [`Paged`] for a type: the cell that holds both the memory and the slice into it can't be generic.
macro_rules! paged {
    ($element:ty) => {
        #[allow(
            clippy::disallowed_methods,
            reason = "the cell forgets its own drop guard once it is whole"
        )]
        const _: () = {
            type Elements<'a> = &'a mut [$element];

            self_cell::self_cell!(
                pub struct Cell {
                    owner: self_cell::MutBorrow<memmap2::MmapMut>,
                    #[covariant]
                    dependent: Elements,
                }
            );

            impl $crate::memory::Paged for $element {
                type Mapping = Cell;
            }

            impl $crate::memory::TypedMap<$element> for Cell {
                fn new(map: memmap2::MmapMut, len: usize) -> Self {
                    Cell::new(self_cell::MutBorrow::new(map), |map| {
                        $crate::memory::typed(map, len)
                    })
                }
                #[inline(always)]
                fn elements(&self) -> &[$element] {
                    self.borrow_dependent()
                }
                #[inline(always)]
                fn elements_mut(&mut self) -> &mut [$element] {
                    self.with_dependent_mut(|_, elements| &mut **elements)
                }
            }
        };
    };
}
pub(crate) use paged;

/// The first `len` elements of a mapping, which is page-aligned and was sized for them: the cast can't fail. Were it
/// wrong, the slice would be empty and every index into it would be caught.
pub(crate) fn typed<T: Plain>(map: &MutBorrow<MmapMut>, len: usize) -> &mut [T] {
    <[T]>::mut_from_prefix_with_elems(map.borrow_mut(), len).map_or(&mut [], |(slice, _)| slice)
}

// A line of words: what benchmarks compare our records with.
paged!([u64; 8]);

/// How memory is taken from the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageOptions {
    /// Advise huge pages. Without effect where the system doesn't know such advice.
    pub huge: bool,
    /// Touch every page at start, so that no page fault happens while running and a machine that is too small shows
    /// at once.
    pub prefault: bool,
}

impl Default for PageOptions {
    /// Huge pages, faulted in on first use.
    fn default() -> Self {
        Self {
            huge: true,
            prefault: false,
        }
    }
}

/// Memory could not be had.
#[derive(Debug)]
#[non_exhaustive]
pub enum MemoryError {
    /// The size in bytes does not fit the address space.
    TooLarge {
        /// Elements asked for.
        elements: usize,
        /// Bytes of one element.
        element_bytes: usize,
    },
    /// The system refused.
    Refused {
        /// Bytes asked for.
        bytes: usize,
        /// The error of the system.
        source: std::io::Error,
    },
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge {
                elements,
                element_bytes,
            } => write!(
                f,
                "{elements} records of {element_bytes} bytes exceed the address space; lower the capacity"
            ),
            Self::Refused { bytes, source } => write!(
                f,
                "the system refused {} MiB of memory ({source}); lower the capacity or raise the memory limit",
                bytes.div_ceil(1 << 20)
            ),
        }
    }
}

impl std::error::Error for MemoryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooLarge { .. } => None,
            Self::Refused { source, .. } => Some(source),
        }
    }
}

/// A fixed number of `T`, all zero bytes at first, in anonymous private memory that is aligned to a page.
///
/// The bytes are cast once, when the memory is taken, without unsafe code of ours: an access costs the bounds check of a
/// slice.
pub struct Pages<T: Paged> {
    /// Of one byte when there is nothing to hold: a mapping can't be empty.
    mapped: T::Mapping,
    huge_advised: bool,
}

impl<T: Paged> Pages<T> {
    /// Takes memory for `len` elements.
    ///
    /// # Errors
    /// [`MemoryError`] when the size overflows or the system refuses it.
    pub fn zeroed(len: usize, options: PageOptions) -> Result<Self, MemoryError> {
        const { assert!(align_of::<T>() <= SMALL_PAGE_BYTES && size_of::<T>() > 0) };
        let bytes = len
            .checked_mul(size_of::<T>())
            .filter(|&bytes| isize::try_from(bytes).is_ok())
            .ok_or(MemoryError::TooLarge {
                elements: len,
                element_bytes: size_of::<T>(),
            })?;
        let mut map = MmapMut::map_anon(bytes.max(1))
            .map_err(|source| MemoryError::Refused { bytes, source })?;
        let huge_advised = options.huge && advise_huge(&map);
        if options.prefault {
            prefault(&mut map);
        }
        Ok(Self {
            mapped: T::Mapping::new(map, len),
            huge_advised,
        })
    }

    /// All elements.
    #[must_use]
    #[inline(always)]
    pub fn as_slice(&self) -> &[T] {
        self.mapped.elements()
    }

    /// All elements, for writing.
    #[must_use]
    #[inline(always)]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        self.mapped.elements_mut()
    }

    /// The element at `index`.
    ///
    /// # Panics
    /// When `index` is not below [`Pages::len`].
    #[must_use]
    #[inline(always)]
    pub fn get(&self, index: usize) -> &T {
        &self.as_slice()[index]
    }

    /// The element at `index`, for writing.
    ///
    /// # Panics
    /// When `index` is not below [`Pages::len`].
    #[must_use]
    #[inline(always)]
    pub fn get_mut(&mut self, index: usize) -> &mut T {
        &mut self.as_mut_slice()[index]
    }

    /// Number of elements.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Address space taken, in bytes; what is resident grows towards it with use (or at once when pre-faulted).
    #[must_use]
    pub fn reserved_bytes(&self) -> usize {
        size_of_val(self.as_slice())
    }

    /// Whether the system accepted the advice to use huge pages (it may still not have any).
    #[must_use]
    pub fn huge_advised(&self) -> bool {
        self.huge_advised
    }
}

impl<T: Paged> fmt::Debug for Pages<T> {
    /// How many there are, not what they hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("len", &self.len())
            .field("huge_advised", &self.huge_advised)
            .finish_non_exhaustive()
    }
}

#[cfg(target_os = "linux")]
fn advise_huge(map: &MmapMut) -> bool {
    map.advise(memmap2::Advice::HugePage).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn advise_huge(_map: &MmapMut) -> bool {
    false
}

/// Writes one byte of every page; with huge pages the first write of 512 brings in the whole page.
fn prefault(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().step_by(SMALL_PAGE_BYTES) {
        // Opaque to the compiler, which would otherwise be free to see that the memory is zero already.
        *core::hint::black_box(byte) = 0;
    }
}

/// Starts loading the line of `target` into all cache levels. A hint: nothing happens on targets without one.
#[inline(always)]
pub fn prefetch_read<T>(target: &T) {
    #[cfg(target_arch = "x86_64")]
    safe_arch::prefetch_t0(target);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = target;
}

/// The memory of this process as the system counts it, to be compared with the memory that was reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessMemory {
    /// Resident bytes: small pages and huge pages.
    pub resident_bytes: u64,
    /// The part of `resident_bytes` that lies in transparent huge pages.
    pub huge_bytes: u64,
}

impl ProcessMemory {
    /// Where Linux shows the text that [`ProcessMemory::parse`] reads. For reports at start and end only: reading it walks
    /// the page tables.
    pub const PATH: &str = "/proc/self/smaps_rollup";

    /// Takes it out of the text at [`ProcessMemory::PATH`] (proc_pid_smaps_rollup(5)); `None` when that isn't such a text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes_of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
            Some(kib * 1024)
        };
        Some(Self {
            resident_bytes: bytes_of("Rss:")?,
            huge_bytes: bytes_of("AnonHugePages:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    paged!(u8);
    paged!(u64);

    #[test]
    fn memory_is_zero_and_writable_to_its_last_element() {
        let mut pages = Pages::<u64>::zeroed(10_000, PageOptions::default()).unwrap();
        assert_eq!(pages.as_slice().len(), 10_000);
        assert!(pages.as_slice().iter().all(|&word| word == 0));
        pages.as_mut_slice()[9_999] = 7;
        assert_eq!(pages.as_slice()[9_999], 7);
        assert!(pages.reserved_bytes() >= 80_000);
    }

    #[test]
    fn nothing_is_a_legal_amount() {
        let mut pages = Pages::<u64>::zeroed(0, PageOptions::default()).unwrap();
        assert!(pages.is_empty() && pages.as_slice().is_empty() && pages.as_mut_slice().is_empty());
        assert_eq!(pages.reserved_bytes(), 0);
    }

    #[test]
    fn too_much_is_an_error_and_not_an_abort() {
        let overflow = Pages::<[u64; 8]>::zeroed(usize::MAX / 8, PageOptions::default());
        assert!(matches!(overflow, Err(MemoryError::TooLarge { .. })));
        let refused = Pages::<[u64; 8]>::zeroed(1 << 50, PageOptions::default());
        assert!(matches!(refused, Err(MemoryError::Refused { .. })));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_resident_from_prefaulting_or_use_until_it_is_dropped() {
        const BYTES: usize = 64 << 20;
        let text = || std::fs::read_to_string(ProcessMemory::PATH).unwrap();
        let resident = || ProcessMemory::parse(&text()).unwrap().resident_bytes;
        let before = resident();
        let lazy = Pages::<u8>::zeroed(BYTES, PageOptions::default()).unwrap();
        let after_lazy = resident();
        let eager = Pages::<u8>::zeroed(
            BYTES,
            PageOptions {
                huge: true,
                prefault: true,
            },
        )
        .unwrap();
        let after_eager = resident();
        // Other tests run in this process at the same time, so the margins are half of what is at stake.
        assert!(after_lazy < before + BYTES as u64 / 2);
        assert!(after_eager > after_lazy + BYTES as u64 / 2);
        assert_eq!(lazy.len() + eager.len(), 2 * BYTES);
        drop((lazy, eager));
        assert!(resident() < after_eager - BYTES as u64 / 2, "returned");
    }
}
