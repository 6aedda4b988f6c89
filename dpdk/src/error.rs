//! [`Error`]: everything that can go wrong in this crate, each with its cause and its fix.
//!
//! Made by every module here, shown by `apps` to the user as one line. It must never hold back what DPDK itself said:
//! variants that report a failed call carry DPDK's own log lines of that call.

/// An error while setting DPDK up. Nothing on the packet path returns it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A second [`crate::Eal::init`] in one process, at the same time or after the first was dropped.
    #[error("DPDK can be initialised once per process, and it is already initialised")]
    EalAlreadyInitialised,
    /// EAL rejects an argument or its value.
    #[error(
        "DPDK rejects an --eal argument: {said}; see \
         https://doc.dpdk.org/guides/linux_gsg/linux_eal_parameters.html"
    )]
    EalArgument {
        /// The message of EAL or its parser, or the fault.
        said: String,
    },
    /// The process may not have as much memory as is needed.
    #[error(
        "no memory for {what}: `ulimit -v` holds this process to {limit_mb} MB of addresses; \
         `ulimit -v unlimited` lifts that ({reason})"
    )]
    AddressLimit {
        /// The part that needed memory.
        what: &'static str,
        /// The limit, in MB.
        limit_mb: u64,
        /// The kernel's or DPDK's words.
        reason: String,
    },
    /// `rte_eal_init` refused.
    #[error("DPDK doesn't start ({arguments}): {reason}")]
    EalInit {
        /// The arguments that it got.
        arguments: String,
        /// DPDK's words, or the errno in words.
        reason: String,
    },
    /// Hugepages were demanded and are not there.
    #[error(
        "too few hugepages: {wanted_mb} MB wanted, {free_mb} MB free; as root: \
         `echo {pages} > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages`; {why}"
    )]
    TooFewHugepages {
        /// The demand of the configuration, in MB.
        wanted_mb: u64,
        /// Free hugepages of all sizes, in MB.
        free_mb: u64,
        /// 2 MiB pages that would be enough, those in use included.
        pages: u64,
        /// Why there must be so many, or what else can be done.
        why: String,
    },
    /// An argument holds a byte that C can't take.
    #[error("`{0}` holds a NUL byte")]
    NulByte(String),
    /// A thread was to run on a CPU that this process has not got.
    #[error("no such lcore: CPU {cpu} is not available to this process (available: {available})")]
    NoSuchCpu {
        /// The CPU that was asked for.
        cpu: usize,
        /// The CPUs of this process, as a list.
        available: String,
    },
    /// `rte_thread_register` refused.
    #[error("DPDK does not take this thread as an lcore: {reason} (at most {max} threads)")]
    ThreadRegister {
        /// The errno in words.
        reason: String,
        /// DPDK's limit.
        max: u32,
    },
    /// The text of a NIC spec.
    #[error("unknown NIC `{text}`: {reason}; expected {}", crate::spec::ALLOWED)]
    Spec {
        /// The user's text.
        text: String,
        /// The fault.
        reason: String,
    },
    /// The in-memory link has two ends in one process and no device behind it.
    #[error("`ring` is a link inside one process: it has no port of its own to open here")]
    RingHasNoDevice,
    /// An interface by that name exists.
    #[error("interface {name} exists already: choose another name, or `ip link del {name}`")]
    InterfaceExists {
        /// The name of the interface.
        name: String,
    },
    /// An interface by that name does not exist.
    #[error("no interface {name} exists (`ip link` lists interfaces)")]
    NoInterface {
        /// The name of the interface.
        name: String,
    },
    /// `/dev/net/tun` can't be used.
    #[error("cannot make a tap: {reason}")]
    NoTun {
        /// Why, and what to do.
        reason: String,
    },
    /// Taking that interface would cut this machine off.
    #[error(
        "{interface} carries this machine's default route, so Syncline doesn't use it: choose another interface"
    )]
    DefaultRoute {
        /// The name of the interface.
        interface: String,
    },
    /// It is unknown whether taking that interface would cut this machine off.
    #[error(
        "Syncline can't tell whether {interface} carries this machine's default route ({reason}), so it doesn't use it: make \
         the routes readable (`mount -t proc proc /proc`)"
    )]
    RoutesUnreadable {
        /// The name of the interface.
        interface: String,
        /// The table, and why it can't be read.
        reason: String,
    },
    /// The directory of a memif socket is missing.
    #[error("memif: directory {directory} of socket {socket} doesn't exist: create it first")]
    MemifNoDirectory {
        /// The path of the socket.
        socket: String,
        /// Its directory.
        directory: String,
    },
    /// The directory of a memif socket can't be used.
    #[error(
        "memif: this user can't read and write {directory}, where the socket {socket} is to be ({reason}): choose \
         another directory, or another user"
    )]
    MemifDirectory {
        /// The path of the socket.
        socket: String,
        /// Its directory.
        directory: String,
        /// The errno in words.
        reason: String,
    },
    /// A server was to be started on a socket that has one.
    #[error("memif: {socket} is served by another process already: choose another path")]
    MemifSocketInUse {
        /// The path of the socket.
        socket: String,
    },
    /// A client was to be started on a socket without a server.
    #[error("memif: no process serves {socket}: start the side with `,server` first")]
    MemifNoServer {
        /// The path of the socket.
        socket: String,
    },
    /// An option of a memif has a value that the driver does not take.
    #[error("memif: invalid {what} {text}: must be {allowed}")]
    MemifOption {
        /// Which option.
        what: &'static str,
        /// Its value.
        text: String,
        /// The allowed values.
        allowed: &'static str,
    },
    /// There is something at that path that is no socket, or we may not use it.
    #[error("memif: {socket} can't be used: {reason}")]
    MemifSocket {
        /// The path of the socket.
        socket: String,
        /// Why.
        reason: String,
    },
    /// No PCI device at that address, or its driver is the kernel's.
    #[error("PCI device {address}: {reason}")]
    Pci {
        /// The address.
        address: String,
        /// Why, and what to do.
        reason: String,
    },
    /// DPDK knows no driver by that name.
    #[error(
        "DPDK has no driver for {device} (it has net_tap, net_memif, net_af_packet, net_af_xdp, net_pcap, \
         net_virtio_user and others; a number follows the name)"
    )]
    NoDriver {
        /// The device string given to DPDK.
        device: String,
    },
    /// DPDK can't make the device.
    #[error("DPDK can't open {device}: {reason}")]
    Probe {
        /// The device string given to DPDK.
        device: String,
        /// DPDK's words, or the errno in words.
        reason: String,
    },
    /// More queues than the port has.
    #[error(
        "too few queue pairs: {port} has {max}, and {wanted} are wanted; use --queues {max}; {more}"
    )]
    TooManyQueues {
        /// The port.
        port: String,
        /// Queue pairs wanted.
        wanted: u16,
        /// Queue pairs that carry frames.
        max: u16,
        /// How there could be more of them, or why not.
        more: &'static str,
    },
    /// An MTU that the driver does not take.
    #[error("{port}: {driver} takes an MTU of {min} to {max} bytes, not {wanted}: use --mtu {max}")]
    Mtu {
        /// The port.
        port: String,
        /// DPDK's name of the driver.
        driver: String,
        /// The MTU wanted, in bytes.
        wanted: u16,
        /// The least one, in bytes.
        min: u16,
        /// The largest one, in bytes.
        max: u16,
    },
    /// Receive buffers that the driver can't use.
    #[error(
        "{port}: {driver} {why}, but a receive buffer holds {buffer} bytes: use --rx-buffer {min}"
    )]
    RxBuffer {
        /// The port.
        port: String,
        /// DPDK's name of the driver.
        driver: String,
        /// The work that the driver can't do, as the middle of a sentence.
        why: &'static str,
        /// Bytes that a buffer would hold.
        buffer: u16,
        /// Bytes that a buffer must hold.
        min: u32,
    },
    /// A number in a configuration is outside what is possible.
    #[error("invalid {what} {value}: must be {allowed}")]
    Config {
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The allowed values.
        allowed: &'static str,
    },
    /// One step of setting a port up failed.
    #[error("{port}: {step} failed: {reason}")]
    PortSetup {
        /// The port.
        port: String,
        /// The step, by the name of DPDK's function.
        step: &'static str,
        /// DPDK's words, or the errno in words.
        reason: String,
    },
    /// A pool does not fit into DPDK's memory.
    #[error(
        "no memory for {frames} frames ({wanted_mb} MB wanted): {reason}; {memory}; \
         give DPDK more memory or ask for fewer frames"
    )]
    PoolMemory {
        /// Frames wanted.
        frames: u32,
        /// Memory wanted, in MB.
        wanted_mb: u64,
        /// DPDK's words, or the errno in words.
        reason: String,
        /// The memory that DPDK runs on, [`crate::Eal::memory_line`].
        memory: String,
    },
    /// The link did not come up in time.
    #[error("{port}: the link is still down after {waited_ms} ms: {hint}")]
    LinkDown {
        /// The port.
        port: String,
        /// How long was waited, in ms.
        waited_ms: u64,
        /// A hint.
        hint: &'static str,
    },
}

/// An errno of DPDK in words.
pub(crate) fn errno_text(errno: i32) -> String {
    // SAFETY: rte_strerror returns a NUL-terminated string in thread-local or static storage, never null; it is copied
    // before another call on this thread can change it.
    let text = unsafe { core::ffi::CStr::from_ptr(dpdk_sys::rte_strerror(errno.abs())) };
    text.to_string_lossy().into_owned()
}

/// The errno that DPDK left for this thread, positive.
pub(crate) fn last_errno() -> i32 {
    // SAFETY: reads a thread-local variable.
    unsafe { dpdk_sys::sl_errno() }
}
