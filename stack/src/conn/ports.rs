//! temp
use core::net::SocketAddr;
use core::ops::RangeInclusive;
use super::LocalId;
/// temp
pub const EPHEMERAL_PORTS: RangeInclusive<u16> = 32768..=60999;
/// temp
#[derive(Debug)]
pub struct LocalPorts { next: u16 }
impl LocalPorts {
    /// temp
    #[must_use]
    pub fn new(_secret: [u8;16], _range: RangeInclusive<u16>) -> Self { Self { next: 32768 } }
    /// temp
    pub fn pick(&mut self, _l: LocalId, _r: SocketAddr, mut f: impl FnMut(u16)->bool) -> Option<u16> {
        for _ in 0..1000 { self.next = self.next.wrapping_add(1).max(32768); if f(self.next) { return Some(self.next); } }
        None
    }
}
