//! [`Eal`]: DPDK's environment, once per process: memory, plugins, devices, and the threads that poll.
//!
//! It must never be needed on the packet path.

mod arguments;
mod runtime_directory;
mod stdio;
mod transparent;

use std::ffi::{CString, c_char};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use dpdk_sys as sys;

use runtime_directory::RuntimeDirectory;
use transparent::Heap;

use crate::error::{errno_text, last_errno};
use crate::log::{self, Capture};
use crate::retired_pool::RetiredPool;
use crate::{Error, NicSpec, limits};

/// Any memory of EAL (`SOCKET_ID_ANY`).
const SOCKET_ID_ANY: i32 = -1;
/// The lcore of a thread that is none (`LCORE_ID_ANY`).
const LCORE_ID_ANY: u32 = u32::MAX;

static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Which memory DPDK gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hugepages {
    /// Hugepages when enough of them are free, else transparent hugepages where the kernel has them and no device needs
    /// more, else ordinary pages.
    #[default]
    Auto,
    /// Ordinary pages.
    Never,
    /// Hugepages or an error.
    Require {
        /// How much of them, in MB.
        mb: u64,
    },
}

/// The arguments of [`Eal::init`].
#[derive(Debug, Clone)]
pub struct EalConfig {
    /// Memory for pools and rings, in MB, unless [`Hugepages::Require`] says how much. Used up as it is touched. In ordinary
    /// pages it becomes twice as much: each frame has pages of its own there.
    pub memory_mb: u64,
    /// Which pages.
    pub hugepages: Hugepages,
    /// The NICs that will be opened. PCI devices and virtio_user must be known at start, the rest need not be here.
    pub nics: Vec<NicSpec>,
    /// Raw EAL arguments (`--eal` of the command line), each one argument. They win over ours.
    pub extra_args: Vec<String>,
}

impl Default for EalConfig {
    fn default() -> Self {
        Self {
            memory_mb: 512,
            hugepages: Hugepages::Auto,
            nics: Vec::new(),
            extra_args: Vec::new(),
        }
    }
}

/// DPDK's environment. Drop it last: it is cleaned up when no port, queue, pool or registered thread is left, and stays
/// until the process ends otherwise (that is safe, and leaves nothing behind on disk).
#[derive(Debug)]
pub struct Eal {
    inner: Arc<EalInner>,
}

/// The part of the EAL that ports, pools and threads keep alive.
#[derive(Debug)]
pub(crate) struct EalInner {
    memory_line: String,
    /// The memory of pools and rings, if that is not EAL's own.
    heap: Option<Heap>,
    /// Our CPU alone reaches the pools, and their pages are small: frames may lie across pages.
    packs_frames: bool,
    /// CPUs that this process may run on, ascending.
    cpus: Vec<usize>,
    /// The thread that initialised EAL: lcore 0, the one lcore that is no [`ThreadRegistration`].
    init_thread: ThreadId,
    registered_threads: AtomicUsize,
    retired_pools: Mutex<Vec<RetiredPool>>,
    /// Last: EAL's files are removed when nothing uses them any more.
    _runtime_directory: RuntimeDirectory,
}

impl Eal {
    /// Starts DPDK's environment (about 0.2 s, most of it loading plugins; seconds when they are not in the page cache).
    ///
    /// The calling thread becomes lcore 0 and is not pinned. Without a PCI device in `config.nics` no root is needed.
    /// Messages that EAL prints to stdout meanwhile go to stderr.
    ///
    /// # Errors
    /// [`Error::EalAlreadyInitialised`], [`Error::EalArgument`], [`Error::TooFewHugepages`], [`Error::AddressLimit`],
    /// [`Error::EalInit`].
    pub fn init(config: &EalConfig) -> Result<Self, Error> {
        arguments::refuse_help(&config.extra_args)?;
        let cpus = available_cpus();
        let memory = arguments::choose_memory(config)?;
        let arguments = arguments::arguments(config, &cpus, memory.arguments);
        let c_arguments: Vec<CString> = arguments
            .iter()
            .map(|text| CString::new(text.as_str()).map_err(|_| Error::NulByte(text.clone())))
            .collect::<Result<_, _>>()?;
        if INITIALISED.swap(true, Ordering::SeqCst) {
            return Err(Error::EalAlreadyInitialised);
        }
        log::open();
        let runtime_directory = RuntimeDirectory::prepare(arguments::own_prefix(config));
        let capture = Capture::start();
        // EAL reorders the array and keeps pointers into it: both live as long as the process.
        let mut argv: Vec<*mut c_char> = c_arguments.into_iter().map(CString::into_raw).collect();
        let argc = i32::try_from(argv.len()).expect("a command line has fewer than 2^31 words");
        argv.push(core::ptr::null_mut());
        let argv = argv.leak();
        let aside = stdio::StdioAside::start();
        // SAFETY: argv holds argc NUL-terminated strings and a null, all leaked; the swap above proves that this is the
        // first call in this process.
        let status = unsafe { sys::rte_eal_init(argc, argv.as_mut_ptr()) };
        let errno = last_errno();
        let said = aside.map_or_else(String::new, stdio::StdioAside::end);
        if status < 0 {
            let reason = capture.failure(errno);
            return Err(why_no_eal(&said, reason, &arguments));
        }
        stdio::before_usage(&said).for_each(log::to_stderr);
        log::open_libraries();
        runtime_directory.remove_if_empty();
        // SAFETY: EAL is initialised; the call reads a field of its configuration.
        let has_hugepages = unsafe { sys::rte_eal_has_hugepages() } != 0;
        let heap = memory
            .transparent_mb
            .map(Heap::new)
            .transpose()
            .map_err(|reason| {
                limits::explain("DPDK's pools", reason, |reason| Error::EalInit {
                    arguments: memory.line.clone(),
                    reason,
                })
            })?;
        // The log type of `memif`. Kept out of errors and of stderr by its level.
        log::set_level(c"pmd.net.memif", sys::RTE_LOG_DEBUG);
        Ok(Self {
            inner: Arc::new(EalInner {
                memory_line: memory.line,
                heap,
                packs_frames: !has_hugepages && !arguments::needs_memory_of_eal(config),
                cpus,
                init_thread: std::thread::current().id(),
                registered_threads: AtomicUsize::new(0),
                retired_pools: Mutex::new(Vec::new()),
                _runtime_directory: runtime_directory,
            }),
        })
    }

    /// Which memory was chosen, and why, in one line.
    #[must_use]
    pub fn memory_line(&self) -> &str {
        &self.inner.memory_line
    }

    /// CPUs that this process may run on, ascending.
    #[must_use]
    pub fn cpus(&self) -> &[usize] {
        &self.inner.cpus
    }

    /// DPDK's version, as "DPDK 22.11.11".
    #[must_use]
    pub fn version(&self) -> String {
        // SAFETY: returns a static NUL-terminated string.
        let version = unsafe { core::ffi::CStr::from_ptr(sys::rte_version()) };
        version.to_string_lossy().into_owned()
    }

    /// Ticks of [`crate::cycles`] per second, as EAL measured them.
    #[must_use]
    pub fn cycles_hz(&self) -> u64 {
        // SAFETY: reads a number that EAL measured at start.
        unsafe { sys::rte_get_tsc_hz() }
    }

    /// Makes the calling thread an lcore (so that it has its own cache in every pool), and pins it to `cpu` if there is
    /// one. Pinning stays when the registration is dropped.
    ///
    /// # Errors
    /// [`Error::NoSuchCpu`], [`Error::ThreadRegister`] (too many threads, or this one is registered already).
    pub fn register_thread(&self, cpu: Option<usize>) -> Result<ThreadRegistration, Error> {
        // DPDK would say yes, and the first of two guards to go would take the lcore from the other.
        // SAFETY: reads a thread-local variable.
        if unsafe { sys::sl_lcore_id() } != LCORE_ID_ANY {
            let reason = "this thread is registered already".to_owned();
            return Err(Error::ThreadRegister {
                reason,
                max: sys::RTE_MAX_LCORE,
            });
        }
        if let Some(cpu) = cpu {
            self.pin_thread(cpu)?;
        }
        // SAFETY: EAL is initialised; the guard unregisters on the same thread (it is not Send).
        if unsafe { sys::rte_thread_register() } != 0 {
            let reason = errno_text(last_errno());
            return Err(Error::ThreadRegister {
                reason,
                max: sys::RTE_MAX_LCORE,
            });
        }
        self.inner.registered_threads.fetch_add(1, Ordering::SeqCst);
        Ok(ThreadRegistration {
            eal: Arc::clone(&self.inner),
            not_send: PhantomData,
        })
    }

    /// Lets the calling thread run on `cpu` only, without making it an lcore.
    ///
    /// # Errors
    /// [`Error::NoSuchCpu`].
    pub fn pin_thread(&self, cpu: usize) -> Result<(), Error> {
        let no_such_cpu = || Error::NoSuchCpu {
            cpu,
            available: cpu_list(&self.inner.cpus),
        };
        if !self.inner.cpus.contains(&cpu) {
            return Err(no_such_cpu());
        }
        // SAFETY: an all-zero cpu_set_t is the empty set; CPU_SET is in range because `cpu` came out of a cpu_set_t.
        let done = unsafe {
            let mut set: libc::cpu_set_t = core::mem::zeroed();
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
        };
        if done == 0 {
            Ok(())
        } else {
            Err(no_such_cpu())
        }
    }

    pub(crate) fn inner(&self) -> &Arc<EalInner> {
        &self.inner
    }
}

/// The error of a start that failed: what EAL's parser complained of, else its own words.
fn why_no_eal(said: &str, reason: String, arguments: &[String]) -> Error {
    if let Some(said) = stdio::complaint(said) {
        return Error::EalArgument { said };
    }
    limits::explain("DPDK's environment", reason, |reason| Error::EalInit {
        arguments: arguments[1..].join(" "),
        reason,
    })
}

impl Drop for Eal {
    fn drop(&mut self) {
        let alone = Arc::strong_count(&self.inner) == 1;
        if !alone || std::thread::current().id() != self.inner.init_thread {
            return;
        }
        self.inner.reap();
        let leaked: u32 = self.inner.retired().iter().map(RetiredPool::in_use).sum();
        if leaked > 0 {
            log::to_stderr(&format!(
                "frames that were never returned to their pools: {leaked}"
            ));
            return;
        }
        let capture = Capture::start();
        // SAFETY: no port, queue, pool or registered thread is left (each holds the Arc), and no mbuf is out.
        unsafe { sys::rte_eal_cleanup() };
        drop(capture);
    }
}

impl EalInner {
    pub(crate) fn memory_line(&self) -> &str {
        &self.memory_line
    }

    /// Whether the frames of a pool lie one behind the other across the ends of small pages, because no device reaches them.
    pub(crate) fn packs_frames(&self) -> bool {
        self.packs_frames
    }

    /// Provides for an allocation of `bytes`, and returns DPDK's number for the memory to take it from.
    pub(crate) fn memory_for(&self, bytes: u64) -> i32 {
        let Some(heap) = &self.heap else {
            return SOCKET_ID_ANY;
        };
        heap.grow(usize::try_from(bytes).unwrap_or(usize::MAX >> 1));
        heap.socket()
    }

    /// Takes over a pool whose last handle is gone, and frees what can be freed.
    pub(crate) fn retire(&self, pool: RetiredPool) {
        self.retired().push(pool);
        self.reap();
    }

    /// Frees the retired pools that have all their frames back, if that is safe now.
    ///
    /// The count alone does not prove it: DPDK counts a frame as returned before the freeing thread has written the last
    /// word of its cache. Only lcores have caches, so it is proven when the one lcore is this thread.
    fn reap(&self) {
        let one_lcore = self.registered_threads.load(Ordering::SeqCst) == 0;
        if !one_lcore || std::thread::current().id() != self.init_thread {
            return;
        }
        let mut retired = self.retired();
        for pool in core::mem::take(&mut *retired) {
            if pool.in_use() == 0 {
                // SAFETY: all frames are back, and no thread is inside a free (above).
                unsafe { pool.free() };
            } else {
                retired.push(pool);
            }
        }
    }

    fn retired(&self) -> std::sync::MutexGuard<'_, Vec<RetiredPool>> {
        self.retired_pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// This thread is an lcore as long as this exists. Not `Send`: it is undone on the same thread.
#[derive(Debug)]
pub struct ThreadRegistration {
    eal: Arc<EalInner>,
    not_send: PhantomData<*const ()>,
}

impl ThreadRegistration {
    /// The number that DPDK gave to this thread.
    #[must_use]
    pub fn lcore(&self) -> u32 {
        // SAFETY: reads a thread-local variable.
        unsafe { sys::sl_lcore_id() }
    }
}

impl Drop for ThreadRegistration {
    fn drop(&mut self) {
        // SAFETY: this thread registered itself in `register_thread`, and the guard did not leave it.
        unsafe { sys::rte_thread_unregister() };
        self.eal.registered_threads.fetch_sub(1, Ordering::SeqCst);
    }
}

/// CPUs that the scheduler lets this thread use.
fn available_cpus() -> Vec<usize> {
    // SAFETY: an all-zero cpu_set_t is valid, and the kernel writes at most its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set);
        set
    };
    let bits = size_of::<libc::cpu_set_t>() * 8;
    // SAFETY: `cpu` is below the number of bits of the set.
    (0..bits)
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect()
}

pub(crate) fn cpu_list(cpus: &[usize]) -> String {
    cpus.iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(",")
}
