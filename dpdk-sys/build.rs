//! Finds libdpdk, generates the bindings from its headers, compiles `inlined.c`, links the shared libraries.
//!
//! It must say in one error what to install when something is missing, and bind nothing that `dpdk` does not call: a
//! tight allowlist takes one second and compiles without a warning.

use std::path::PathBuf;
use std::{env, fs, panic, process};

/// Exactly what `dpdk` calls. Regular expressions of bindgen, anchored by it.
const FUNCTIONS: &[&str] = &[
    "sl_.*",
    "rte_dev_(probe|remove)",
    "rte_eal_(init|cleanup|get_runtime_dir|has_hugepages)",
    "rte_eth_dev_(adjust_nb_rx_tx_desc|close|configure|count_avail|get_port_by_name|info_get|set_mtu|start|stop|vlan_filter)",
    "rte_eth_(allmulticast|promiscuous)_enable",
    "rte_eth_(from_rings|macaddr_get|rx_queue_setup|stats_get|tx_queue_setup)",
    "rte_eth_dev_(rx|tx)_offload_name",
    "rte_get_tsc_hz",
    "rte_log_(cur_msg_loglevel|set_level_pattern)",
    "rte_malloc_heap_(create|get_socket|memory_add)",
    "rte_mempool_(avail_count|free|in_use_count)",
    "rte_pktmbuf_clone",
    "rte_ring_(create|free)",
    "rte_strerror",
    "rte_thread_(register|unregister)",
    "rte_version",
];
const TYPES: &str = "rte_eth_(conf|dev_info|stats|txconf)|rte_ether_addr";
const CONSTANTS: &str = "SL_.*|RTE_LOG_[A-Z]+|RTE_MAX_(ETHPORTS|LCORE)|RTE_MEMPOOL_CACHE_MAX_SIZE";
/// Linked by us. The drivers (except the in-memory link, which we call by name) are plugins that EAL loads.
const LIBRARIES: &str = "rte_ethdev rte_mbuf rte_mempool rte_ring rte_net_ring rte_eal";
const LOG_LIBRARY: &str = "rte_log";

/// `SYNCLINE_DPDK=static` links DPDK into the binary, which then runs on a machine without DPDK, of another release too.
const LINKAGE: &str = "SYNCLINE_DPDK";
/// The contents of a static binary: the libraries above with what they need, buses, and drivers that need no other library. Some are not in
/// every release.
const STATIC_LIBRARIES: &str = "rte_log rte_argparse rte_eal rte_kvargs rte_telemetry rte_ring rte_rcu rte_mempool rte_mbuf rte_net rte_meter \
    rte_ethdev rte_pci rte_hash rte_gso rte_timer rte_cryptodev rte_security rte_bus_pci rte_bus_vdev rte_mempool_ring rte_common_iavf rte_net_ring \
    rte_net_tap rte_net_memif rte_net_af_packet rte_net_virtio rte_net_e1000 rte_net_igc rte_net_ixgbe rte_net_i40e rte_net_iavf \
    rte_net_ice rte_net_ena rte_net_vmxnet3";
/// The libraries that those need outside DPDK.
const STATIC_NEEDS: &str = "numa fdt bsd md";

fn main() {
    for input in ["wrapper.h", "inlined.c"] {
        println!("cargo::rerun-if-changed={input}");
    }
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_PATH");
    println!("cargo::rerun-if-env-changed={LINKAGE}");
    let mut search = pkg_config::Config::new();
    search
        .atleast_version("22.11")
        .cargo_metadata(false)
        .env_metadata(false);
    let Ok(dpdk) = search.probe("libdpdk") else {
        fail("libdpdk 22.11 or newer is not installed: `apt-get install libdpdk-dev pkg-config`");
    };
    // Debian's DPDK is built for x86-64-v2, and its headers use SSSE3 and SSE4.1 intrinsics. Where rustc uses AVX2, so does gcc.
    let has_avx2 = env::var("CARGO_CFG_TARGET_FEATURE")
        .is_ok_and(|features| features.split(',').any(|feature| feature == "avx2"));
    let level = if has_avx2 {
        "-march=x86-64-v3"
    } else {
        "-march=x86-64-v2"
    };
    let march = (env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64")).then_some(level);

    generate(&dpdk, march);
    let mut shim = cc::Build::new();
    // Our code generation flags are rustc's; gcc knows other ones.
    shim.inherit_rustflags(false);
    shim.file("inlined.c")
        .includes(&dpdk.include_paths)
        .opt_level(3)
        .warnings(true);
    // The headers of DPDK 22.11 are not clean under -Wextra.
    shim.flag("-Wno-unused-parameter").flags(march);
    // The checksum verifiers are marked experimental in 22.11 (and are stable since).
    shim.define("ALLOW_EXPERIMENTAL_API", None);
    if let Err(error) = shim.try_compile("dpdk_inlined") {
        fail(&format!(
            "inlined.c does not compile against DPDK {}: {error}",
            dpdk.version
        ));
    }
    for directory in &dpdk.link_paths {
        println!("cargo::rustc-link-search=native={}", directory.display());
    }
    match env::var(LINKAGE).as_deref() {
        Ok("static") => link_statically(),
        Ok("shared" | "") | Err(_) => link_shared(&dpdk),
        Ok(other) => fail(&format!(
            "unknown {LINKAGE} `{other}`: expected shared (the default) or static"
        )),
    }
    println!("cargo::metadata=version={}", dpdk.version);
}

fn link_shared(dpdk: &pkg_config::Library) {
    for library in LIBRARIES.split(' ') {
        println!("cargo::rustc-link-lib={library}");
    }
    // From 23.11 on, logging is a library of its own.
    if dpdk.libs.iter().any(|library| library == LOG_LIBRARY) {
        println!("cargo::rustc-link-lib={LOG_LIBRARY}");
    }
}

fn link_statically() {
    let Ok(directory) = pkg_config::get_variable("libdpdk", "libdir") else {
        fail("pkg-config names no libdir of libdpdk, where its static libraries are");
    };
    let is_there = |library: &str| {
        PathBuf::from(&directory)
            .join(format!("lib{library}.a"))
            .exists()
    };
    for library in STATIC_LIBRARIES.split_whitespace() {
        // Drivers and buses register themselves: no symbol names them.
        if is_there(library) {
            println!("cargo::rustc-link-lib=static:+whole-archive,-bundle={library}");
        }
    }
    println!("cargo::rustc-link-search=native={directory}");
    for library in STATIC_NEEDS.split(' ') {
        if !is_there(library) {
            fail(&format!(
                "{directory} has no lib{library}.a: `apt-get install libnuma-dev libfdt-dev libbsd-dev libmd-dev`"
            ));
        }
        println!("cargo::rustc-link-lib=static:-bundle={library}");
    }
}

fn generate(dpdk: &pkg_config::Library, march: Option<&str>) {
    let mut builder = bindgen::Builder::default()
        .header("wrapper.h")
        .clang_args(
            dpdk.include_paths
                .iter()
                .map(|path| format!("-I{}", path.display())),
        )
        .clang_args(march)
        .default_enum_style(bindgen::EnumVariation::ModuleConsts)
        .derive_debug(false)
        .derive_default(false)
        .generate_comments(false)
        .blocklist_type("rte_arp_.*|rte_l2tpv2.*")
        // src/lib.rs has these: an asserted view of an mbuf, and types that Rust only sees pointers to.
        .blocklist_type("(__)?rte_(mbuf|mempool|ring|device|memzone).*")
        .rust_edition(bindgen::RustEdition::Edition2024)
        .layout_tests(true);
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    builder = builder.allowlist_type(TYPES).allowlist_var(CONSTANTS);
    // bindgen panics when libclang is missing; its message belongs into ours.
    panic::set_hook(Box::new(|_| {}));
    let bindings = match panic::catch_unwind(panic::AssertUnwindSafe(|| builder.generate())) {
        Ok(Ok(bindings)) => bindings,
        Ok(Err(error)) => fail(&format!(
            "bindgen can't read the headers of DPDK {}: {error}",
            dpdk.version
        )),
        Err(_) => fail("bindgen finds no libclang: `apt-get install libclang-dev`"),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR"));
    if let Err(error) = fs::write(out.join("bindings.rs"), bindings.to_string()) {
        fail(&format!("can't write {}: {error}", out.display()));
    }
}

#[allow(clippy::disallowed_methods)] // nothing to drop here, and a panic would bury the message
fn fail(message: &str) -> ! {
    println!("cargo::error={}", message.replace('\n', " "));
    process::exit(1);
}
