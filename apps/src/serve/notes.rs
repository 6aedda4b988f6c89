//! Conclusions from counters about the link or its other end, in words that name the cause and the fix.
//!
//! It must never blame what one odd frame can cause.

use stack::counters::{Counter, Counters};
use stack::wire::Defect;

/// Segments without a checksum that prove that it was left to a NIC: a broken one looks so once in 65,536.
const OFFLOADED_MIN: u64 = 2;

/// The notes.
pub(super) fn of(counters: &Counters) -> Vec<String> {
    let offloaded = counters.get_defect(Defect::TcpChecksumOffloaded);
    let mut notes = Vec::new();
    if offloaded >= OFFLOADED_MIN {
        notes.push(
            "segments come without a TCP checksum: their sender leaves it to a NIC, and no NIC is between us (a veth pair, or \
             one host talking to itself); on the sender's side: `ethtool -K DEV tx off`, DEV being its interface"
                .to_owned(),
        );
    }
    let without_record = [
        Counter::SynDroppedNoRecord,
        Counter::CookieNoRecord,
        Counter::EmbryoAckNoRecord,
    ];
    let refused: u64 = without_record.iter().map(|&c| counters.get(c)).sum();
    if refused > 0 {
        notes.push(
            "handshakes found no room for a further connection, and had to be repeated: raise --max-active, or --max-connections"
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_without_room_name_the_flags_that_make_room() {
        for counter in [Counter::SynDroppedNoRecord, Counter::CookieNoRecord] {
            let mut counters = Counters::new();
            counters.bump(counter);
            let notes = of(&counters);
            assert!(notes[0].contains("raise --max-active"), "{notes:?}");
        }
    }

    #[test]
    fn one_odd_frame_is_no_note() {
        let mut counters = Counters::new();
        assert!(of(&counters).is_empty());
        counters.defect(Defect::TcpChecksumOffloaded);
        assert!(of(&counters).is_empty());
        counters.defect(Defect::TcpChecksumOffloaded);
        assert!(of(&counters)[0].contains("ethtool -K DEV tx off"));
    }
}
