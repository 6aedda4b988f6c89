//! Pools in ordinary pages, where each frame has pages of its own: what was said to be enough memory is enough.
//!
//! EAL starts once in a process, so there is one test.

use dpdk::{Eal, EalConfig, Hugepages, NicSpec, PoolSizes, PortConfig};

/// Rings and descriptors.
const OTHER_MEMORY_MB: u64 = 32;

#[test]
fn pools_fit_into_the_memory_that_they_were_said_to_take() {
    let pools = PoolSizes {
        rx_frames: 32_767,
        control_frames: 4095,
        data_frames: 4095,
        cache_frames: 256,
    };
    let config = PortConfig {
        pools,
        ..PortConfig::default()
    };
    let eal = Eal::init(&EalConfig {
        memory_mb: pools.memory_mb(config.mtu, None) + OTHER_MEMORY_MB,
        hugepages: Hugepages::Never,
        ..EalConfig::default()
    })
    .expect("EAL");
    assert!(eal.memory_line().contains("ordinary pages"));
    let spec: NicSpec = "net_null0".parse().expect("a spec");
    let (port, queues) = eal
        .open(&spec)
        .expect("it needs nothing")
        .init(&config)
        .expect("room for all of its frames");
    assert_eq!(port.rx_pool().expect("it receives").frames(), 32_767);
    drop((queues, port));
}
