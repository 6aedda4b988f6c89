//! Registered bytes that are written anew: only when no connection may send the old ones again, and no sent frame refers to them.

use super::host::{Flow, Host, OPEN};
use crate::nic::memory::MemoryNic;
use crate::queue::item::{StaticId, TxItem};
use crate::sim::puppet::Puppet;
use crate::tcp::lang::{ack, data, rst};
use crate::worker::frame_writer::COPY_BREAK;

impl Host<Puppet> {
    fn register(&mut self, bytes: &[u8]) -> StaticId {
        self.act(|_, cx| cx.register_static(bytes).expect("room"))
    }

    fn rewrites(&mut self, id: StaticId, bytes: &[u8]) -> bool {
        self.act(|_, cx| cx.rewrite_static(id, bytes))
    }

    /// Queues the first `len` bytes for the connection that opened last.
    fn send_registered(&mut self, id: StaticId, len: u32) -> &mut Self {
        let (conn, start) = (self.conn(), 0);
        self.act(|_, cx| assert!(cx.send(conn, TxItem::Static { id, start, len }).is_ok()));
        self
    }

    /// The next segment carries this text.
    #[track_caller]
    fn expect_text(&mut self, text: &[u8]) {
        let frame = self.drop_arp().next_reply();
        assert!(frame.ends_with(text), "{frame:?}");
    }
}

#[test]
fn what_may_be_sent_again_is_not_rewritten() {
    let mut host = Host::probing(|spec| spec.tcp.profile.nagle = false);
    host.shake_hands();
    let id = host.register(b"old");
    host.send_registered(id, 3).expect_text(b"old");
    assert!(!host.rewrites(id, b"newer"));
    host.wait_ms(1_100).expect_text(b"old");
    host.inject(ack().seq(1).ack(3));
    assert!(!host.rewrites(id, b"newer"), "a byte is unacknowledged");
    host.inject(ack().seq(1).ack(4));
    assert!(host.rewrites(id, b"newer"));
    host.send_registered(id, 5).expect_text(b"newer");
    // As one of several items.
    host.send_registered(id, 1).expect_text(b"n");
    host.inject(ack().seq(1).ack(9));
    assert!(!host.rewrites(id, b"old"), "the second item");
    host.inject(ack().seq(1).ack(10));
    assert!(host.rewrites(id, b"old"));
    // Of a connection that ends.
    host.send_registered(id, 3).expect_text(b"old");
    host.send_registered(id, 3).expect_text(b"old");
    assert!(!host.rewrites(id, b"newer"));
    host.inject(rst().seq(1));
    assert!(host.rewrites(id, b"newer"));
}

#[test]
fn what_was_rewritten_is_sent_with_its_own_checksum() {
    let (mut host, _) = Host::open();
    let id = host.register(b"old");
    assert!(host.rewrites(id, b"something else"));
    host.send_registered(id, 14);
    // The checksum is verified by etherparse.
    host.expect(data(14).seq(1).ack(1));
    host.inject(ack().seq(1).ack(15));
    assert!(host.rewrites(id, b"x"));
    host.send_registered(id, 1);
    host.expect(data(1).seq(15).ack(1));
    host.inject(ack().seq(1).ack(16));
}

#[test]
fn what_a_sent_frame_refers_to_is_not_rewritten() {
    let change_nic = |nic: &mut MemoryNic| nic.caps_mut().tx_multi_seg = true;
    let mut host = Host::probing_on(|_| {}, change_nic);
    host.on(Flow::v4(1, OPEN)).shake_hands();
    let len = COPY_BREAK as u32 + 1;
    let id = host.register(&[7; COPY_BREAK + 1]);
    let (conn, start, now) = (host.conn(), 0, host.now);
    host.worker().with_cx(now, |_, cx| {
        assert!(cx.send(conn, TxItem::Static { id, start, len }).is_ok());
    });
    host.worker().turn(now);
    let sent = host.nic().take_sent();
    assert!(!sent[0].chained_addresses().is_empty());
    host.inject(ack().seq(1).ack(1 + len));
    assert!(!host.rewrites(id, b"new"), "the frame is still there");
    drop(sent);
    assert!(host.rewrites(id, b"new"));
}

#[test]
fn only_one_frame_of_bytes_can_be_rewritten() {
    let (mut host, _) = Host::open();
    let (short, long) = (host.register(b"old"), host.register(&[7; 10_000]));
    for (id, bytes) in [
        (short, &[][..]),
        (short, &[8; 10_000]),
        (long, b"new"),
        (StaticId(2), b"new"),
    ] {
        assert!(!host.rewrites(id, bytes), "{id:?}, {} bytes", bytes.len());
    }
    host.send_registered(short, 3).expect_text(b"old");
    host.inject(ack().seq(1).ack(4));
}
