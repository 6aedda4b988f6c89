//! Opens each NIC given and says what was negotiated, or why it can't be opened:
//! `cargo run -p syncline-dpdk --example open_nic -- tap:dtap0 memif:/run/a.sock,server`.

use dpdk::{Eal, EalConfig, Error, NicSpec, PortConfig};

fn main() -> Result<(), Error> {
    let words = std::env::args().skip(1);
    let nics = words
        .map(|word| word.parse())
        .collect::<Result<Vec<NicSpec>, _>>()?;
    let eal = Eal::init(&EalConfig {
        nics: nics.clone(),
        ..EalConfig::default()
    })?;
    println!("{}; {}", eal.version(), eal.memory_line());
    for nic in nics {
        match eal
            .open(&nic)
            .and_then(|port| port.init(&PortConfig::default()))
        {
            Ok((port, _queues)) => println!("{nic}: {} {:?}", port.driver(), port.caps()),
            Err(error) => println!("{nic}: {error}"),
        }
    }
    Ok(())
}
