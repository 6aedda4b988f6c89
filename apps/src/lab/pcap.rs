//! `--pcap`: the frames of a run into one pcapng file (draft-ietf-opsawg-pcapng), ns included; one interface per scene.
//! Times are the wall clock's; scenes in virtual time stand one after the other from the time of writing on.
//!
//! It must never write less than was recorded.

use std::borrow::Cow;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};

use super::recording::{RecordedEvent, Recording};
use crate::failure::Failure;

/// From the last event of a scene in virtual time to the start of the next.
const BETWEEN_SCENES: Duration = Duration::from_secs(1);
/// Timestamps are in 10^-9 s (if_tsresol).
const NANOSECONDS: u8 = 9;

/// Writes the frames of these scenes (with their titles).
///
/// # Errors
/// [`Failure::Run`] with the file's name and the system's words.
pub(crate) fn write(path: &Path, scenes: &[(String, &Recording)]) -> Result<(), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::Run(format!("--pcap {}: {error}", path.display()));
    let file = File::create(path).map_err(|error| failed(&error))?;
    let mut writer = PcapNgWriter::new(BufWriter::new(file)).map_err(|error| failed(&error))?;
    for (title, _) in scenes {
        let interface = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(title.as_str())),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        };
        writer
            .write_pcapng_block(interface)
            .map_err(|error| failed(&error))?;
    }
    let mut virtual_start = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    for (interface, (_, recording)) in (0..).zip(scenes) {
        let start = recording.started_at.unwrap_or(virtual_start);
        let last_ns = recording.events.last().map_or(0, |event| event.at_ns);
        virtual_start += Duration::from_nanos(last_ns) + BETWEEN_SCENES;
        for event in &recording.events {
            let RecordedEvent::Frame { bytes, .. } = &event.what else {
                continue;
            };
            let block = EnhancedPacketBlock {
                interface_id: interface,
                timestamp: start + Duration::from_nanos(event.at_ns),
                original_len: bytes.len() as u32,
                data: Cow::Borrowed(bytes.as_slice()),
                options: Vec::new(),
            };
            writer
                .write_pcapng_block(block)
                .map_err(|error| failed(&error))?;
        }
    }
    std::io::Write::flush(writer.get_mut()).map_err(|error| failed(&error))
}
