//! Sends every frame back where it came from: `cargo run -p dpdk --example echo -- memif:/tmp/a.sock,server [FRAMES]`.
//!
//! The smallest program on this crate; the memif tests run it as the other side of the link. It ends after FRAMES frames
//! (default: never), or when its stdin is closed. It must never look into a frame.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};

use dpdk::{DpdkNic, Eal, EalConfig, NicSpec, PoolSizes, PortConfig};
use stack::nic::{Burst, Nic as _};

static STDIN_CLOSED: AtomicBool = AtomicBool::new(false);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let spec: NicSpec = words.next().ok_or("usage: echo NIC [FRAMES]")?.parse()?;
    let frames: u64 = words.next().map_or(Ok(u64::MAX), |word| word.parse())?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        STDIN_CLOSED.store(true, Ordering::Relaxed);
    });

    let config = EalConfig {
        memory_mb: 128,
        nics: vec![spec.clone()],
        ..EalConfig::default()
    };
    let eal = Eal::init(&config)?;
    let pools = PoolSizes {
        control_frames: 1023,
        data_frames: 1023,
        ..PoolSizes::default()
    };
    let (port, queues) = eal.open(&spec)?.init(&PortConfig {
        pools,
        ..PortConfig::default()
    })?;
    println!(
        "{}: {}; {}",
        eal.version(),
        eal.memory_line(),
        port.caps().link
    );
    let mut nic = DpdkNic::new(queues.into_iter().next().ok_or("a port has a queue")?);
    let (mut burst, mut echoed) = (Burst::new(), 0);
    while echoed < frames && !STDIN_CLOSED.load(Ordering::Relaxed) {
        if nic.rx(&mut burst) == 0 && burst.is_empty() {
            std::thread::yield_now();
        }
        echoed += nic.tx(&mut burst) as u64;
    }
    println!("{echoed} frames echoed");
    Ok(())
}
