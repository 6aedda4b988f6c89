//! Returns every frame of a NIC to its sender: `cargo run -p syncline-dpdk --example reflect -- tap:reflect0` (as root; Ctrl-C ends it).
//!
//! `memif:/run/a.sock`, `pci:0000:3b:00.0`, `af_xdp:eth1` or any DPDK device string in place of the tap.
#![forbid(unsafe_code)]
use dpdk::{DpdkNic, Eal, EalConfig, Error, NicSpec, PortConfig};
use nic::{Burst, Frame, Nic};

fn main() -> Result<(), Error> {
    let word = std::env::args().nth(1);
    let spec: NicSpec = word.as_deref().unwrap_or("tap:reflect0").parse()?;
    let eal = Eal::init(&EalConfig {
        nics: vec![spec.clone()],
        ..EalConfig::default()
    })?;
    // The port closes when it is dropped: it outlives its queues.
    let (port, mut queues) = eal.open(&spec)?.init(&PortConfig::default())?;
    println!("{spec}: {}, {}", port.driver(), eal.version());
    let mut nic = DpdkNic::new(queues.remove(0));
    let mut burst = Burst::new();
    loop {
        nic.rx(&mut burst);
        for frame in burst.as_mut_slice() {
            if let Some(bytes) = frame.bytes_mut()
                && bytes.len() >= 12
            {
                let (destination, rest) = bytes.split_at_mut(6);
                destination.swap_with_slice(&mut rest[..6]);
            }
        }
        // A full NIC leaves frames in the burst: they go with the next turn.
        nic.tx(&mut burst);
    }
}
