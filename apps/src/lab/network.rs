//! [`NetworkAct`]: what the network between the two ends does in a scene, as a file says it and as a ladder does.
//!
//! It must never make or move a frame: the stage does that.

use diagnose::counted;
use std::fmt;
use std::time::Duration;

use stack::nic::fault::FaultSpec;
use stack::sim::link::LinkSpec;
use stack::tcp::lang::Spec;

use crate::fault::written;

/// How far frames that are overtaken fall behind at most, and how late doubles come.
pub(crate) const OVERTAKEN: Duration = Duration::from_millis(5);

/// The treatment of the frames that one end sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetworkAct {
    /// The next so many are lost.
    Loses(u32),
    /// All are lost from now on.
    Cuts,
    /// All pass again, and no fault or delay is left.
    Passes,
    /// These faults, from now on; a fault that isn't named is over.
    Degrades(FaultSpec),
    /// Each is this late from now on, in ms.
    Delays(u32),
    /// IP packets longer than this (bytes) vanish.
    Swallows(u16),
    /// IP packets longer than this (bytes) are refused by ICMP.
    Refuses(u16),
    /// A segment that the end never sent, in its name, on a connection.
    Forges(u16, Spec),
    /// An ICMP error about the last segment that the other end sent on a connection.
    Rejects(u16, IcmpCode),
    /// So many SYNs arrive at the other end from a third host that never answers.
    Floods(u32),
}

impl NetworkAct {
    /// Its line in a ladder; `None` where the frame speaks for itself.
    pub(crate) fn announcement(self, from: &str) -> Option<String> {
        match self {
            Self::Forges(..) | Self::Rejects(..) => None,
            Self::Floods(_) => Some(format!("network {self}")),
            _ => Some(format!("network {self} from {from}")),
        }
    }

    /// The faults that are a link's own.
    pub(crate) fn change(self, link: &mut LinkSpec) {
        match self {
            Self::Degrades(fault) => {
                link.loss_ppm = fault.loss_ppm;
                link.duplicate_ppm = fault.duplicate_ppm;
                link.corrupt_ppm = fault.corrupt_ppm;
                link.reorder_ppm = fault.reorder_ppm;
                link.reorder_delay = OVERTAKEN;
                link.delay += Duration::from_nanos(fault.delay_ns);
            }
            Self::Delays(ms) => link.delay = Duration::from_millis(ms.into()),
            Self::Swallows(bytes) => (link.mtu, link.answers_too_big) = (bytes, false),
            Self::Refuses(bytes) => (link.mtu, link.answers_too_big) = (bytes, true),
            _ => {}
        }
    }
}

/// Why a router or a firewall rejects a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IcmpCode {
    /// Port unreachable.
    Port,
    /// Host unreachable.
    Host,
    /// Network unreachable.
    Net,
    /// Communication administratively prohibited.
    Prohibited,
}

impl IcmpCode {
    /// All, by the words of a file.
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("port-unreachable", Self::Port),
        ("host-unreachable", Self::Host),
        ("net-unreachable", Self::Net),
        ("prohibited", Self::Prohibited),
    ];

    /// The code of "destination unreachable" (RFC 792 and RFC 1812 5.2.7.1; RFC 4443 3.1).
    pub(crate) const fn code(self, is_v4: bool) -> u8 {
        match (self, is_v4) {
            (Self::Port, true) => 3,
            (Self::Host, true) => 1,
            (Self::Net, true) => 0,
            (Self::Prohibited, true) => 13,
            (Self::Port, false) => 4,
            (Self::Host, false) => 3,
            (Self::Net, false) => 0,
            (Self::Prohibited, false) => 1,
        }
    }

    /// In words, from the code.
    pub(crate) fn words(code: u8, is_v4: bool) -> Option<&'static str> {
        Self::ALL
            .iter()
            .find(|(_, known)| known.code(is_v4) == code)
            .map(|(word, _)| *word)
    }
}

impl fmt::Display for NetworkAct {
    /// The verb between "the network" and "from the client".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loses(1) => f.write_str("loses the next frame"),
            Self::Loses(frames) => write!(f, "loses the next {frames} frames"),
            Self::Cuts => f.write_str("loses every frame"),
            Self::Passes => f.write_str("passes every frame again"),
            Self::Degrades(spec) => write!(f, "degrades frames: {}:", shares(spec)),
            Self::Delays(ms) => write!(f, "delays frames by {ms} ms"),
            Self::Swallows(bytes) => write!(f, "swallows packets above {bytes} bytes"),
            Self::Refuses(bytes) => write!(f, "refuses packets above {bytes} bytes"),
            Self::Forges(conn, spec) => write!(f, "forges {spec} on connection {conn}"),
            Self::Rejects(conn, code) => {
                let word = IcmpCode::ALL.iter().find(|(_, known)| known == code);
                let word = word.map_or("", |(word, _)| word);
                write!(f, "rejects connection {conn} by ICMP {word}")
            }
            Self::Floods(syns) => write!(f, "carries {} of a third host", counted(syns, "SYN")),
        }
    }
}

/// Without the seed, which is the stage's.
fn shares(spec: &FaultSpec) -> String {
    let text = written(spec);
    match text.split_once(",seed=") {
        Some((shares, _)) => shares.to_owned(),
        None => text,
    }
}
