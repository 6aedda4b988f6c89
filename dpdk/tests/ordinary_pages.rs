//! Pools in ordinary pages: what was said to be enough memory is enough, and frames lie one behind the other.
//!
//! EAL starts once in a process, so there is one test.

use dpdk::{DpdkNic, Eal, EalConfig, Hugepages, NicSpec, PoolSizes, PortConfig};
use nic::{BURST_FRAMES, Burst, Nic, PoolClass};

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
    let (port, mut queues) = eal
        .open(&spec)
        .expect("it needs nothing")
        .init(&config)
        .expect("room for all of its frames");
    assert_eq!(port.rx_pool().expect("it receives").frames(), 32_767);
    let mut nic = DpdkNic::new(queues.remove(0));
    frames_fall_into_all_sets_of_the_cache(&mut nic);
    drop((nic, queues, port));
}

/// With a page for each frame, the first bytes of all of them would lie in the same lines of their pages.
fn frames_fall_into_all_sets_of_the_cache(nic: &mut DpdkNic) {
    let mut burst = Burst::new();
    assert_eq!(
        nic.alloc(PoolClass::Control, &mut burst, BURST_FRAMES),
        BURST_FRAMES
    );
    let lines = burst
        .as_slice()
        .iter()
        .map(|frame| frame.address() % 4096 / 64);
    let lines: std::collections::HashSet<_> = lines.collect();
    assert!(lines.len() > 32, "{lines:?}");
    nic.free(&mut burst);
}
