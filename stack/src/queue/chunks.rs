//! [`Chunks`]: one slab of queue nodes per worker, and so the hard budget of frames that its connections keep.
//!
//! It must never allocate after construction (but for what registered bytes need, at the start), and never let go of a frame by
//! itself: the caller that takes a node out gets its frame.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::memory::MemoryError;
use crate::seq::SeqNum;

use super::claim::{Claim, Lack};
use super::item::{StaticId, TxItem};

/// A node by its number plus one: all-zero bytes are "none", so that a zeroed record holds empty queues.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub(super) struct Link(u32);

impl Link {
    pub(super) const NONE: Self = Self(0);

    #[inline]
    pub(super) const fn is_none(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(super) const fn is_some(self) -> bool {
        self.0 != 0
    }

    /// Place in the slab; wraps to one that no slab has for "none".
    #[inline]
    const fn index(self) -> usize {
        self.0.wrapping_sub(1) as usize
    }
}

/// A part of a frame that a queue keeps.
#[derive(Debug)]
pub(super) struct Held<F> {
    pub(super) frame: F,
    /// First byte, counted from the start of the frame's first segment.
    pub(super) start: u32,
    /// Bytes, at least 1 while queued.
    pub(super) len: u32,
    /// Sequence number of the first byte. Only [`crate::queue::out_of_order`] uses it.
    pub(super) seq: SeqNum,
    /// In the first node of a run of adjoining bytes: the last node of that run. As for `seq`.
    pub(super) run_last: Link,
    /// Whether bytes around ours in this frame are unused, so that more can be copied behind or before them.
    pub(super) growable: bool,
}

impl<F> Held<F> {
    pub(super) const fn new(frame: F, start: u32, len: u32) -> Self {
        Self {
            frame,
            start,
            len,
            seq: SeqNum(0),
            run_last: Link::NONE,
            growable: false,
        }
    }

    /// Forgets the first `n` bytes (at most all).
    #[inline]
    pub(super) fn trim_front(&mut self, n: u32) {
        let n = n.min(self.len);
        self.start += n;
        self.len -= n;
        self.seq = self.seq.add(n);
    }
}

/// The use of a node.
#[derive(Debug)]
pub(super) enum Item<F> {
    Free,
    Held(Held<F>),
    Static { id: StaticId, start: u32, len: u32 },
    Pattern { start: u64, len: u64 },
}

impl<F> Item<F> {
    #[inline]
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Free => 0,
            Self::Held(Held { len, .. }) | Self::Static { len, .. } => u64::from(*len),
            Self::Pattern { len, .. } => *len,
        }
    }

    /// The frame, if it has one.
    #[inline]
    pub(super) fn into_frame(self) -> Option<F> {
        match self {
            Self::Held(held) => Some(held.frame),
            _ => None,
        }
    }

    /// The id of registered bytes.
    #[inline]
    const fn static_id(&self) -> Option<StaticId> {
        match self {
            Self::Static { id, .. } => Some(*id),
            _ => None,
        }
    }

    #[inline]
    const fn holds_frame(&self) -> bool {
        matches!(self, Self::Held(_))
    }
}

impl<F> From<TxItem<F>> for Item<F> {
    #[inline]
    fn from(item: TxItem<F>) -> Self {
        match item {
            TxItem::Owned { frame, start, len } => Self::Held(Held::new(frame, start, len)),
            TxItem::Static { id, start, len } => Self::Static { id, start, len },
            TxItem::Pattern { start, len } => Self::Pattern { start, len },
        }
    }
}

#[derive(Debug)]
struct Node<F> {
    item: Item<F>,
    /// The next node of the queue, or of the free list.
    next: Link,
}

// The memory of the budget itself: a node with a pointer for its frame.
const _: () = assert!(size_of::<Node<&u8>>() == 40);

/// A fixed number of queue nodes. Each names bytes to send, or holds a frame with bytes received or to be sent.
#[derive(Debug)]
pub struct Chunks<F> {
    /// Grows within what was reserved: nodes that were never used cost no memory.
    nodes: Vec<Node<F>>,
    capacity: u32,
    /// The node freed last, which is likely still in the cache.
    free: Link,
    /// Nodes in the free list.
    freed: u32,
    /// Places of send queues: nodes and inline items.
    sending: u32,
    /// Items that a send queue keeps in itself: each has a place, but no node until it needs one.
    inline: u32,
    /// A frame is lent to a callback and counts as one that waits to be read.
    lent: bool,
    /// By id: in how many places of send queues registered bytes stand.
    static_places: Vec<u32>,
    frames: u32,
    buffer_len: u32,
    /// The shortage that a refused claim met and that still holds.
    lack: Lack,
}

impl<F> Chunks<F> {
    /// The shortage that a refused claim met and that still holds.
    #[must_use]
    #[inline]
    pub const fn lack(&self) -> Lack {
        self.lack
    }

    /// A claim was refused.
    pub fn refuse(&mut self, lack: Lack) {
        self.lack = self.lack.with(lack);
    }

    /// Forgets what is not lacking any more.
    pub(crate) fn relieve(&mut self) {
        for (lack, is_over) in [
            (Lack::SEND, self.has_send_margin()),
            (Lack::RECEIVE, self.has_receive_margin(Claim::More)),
            (Lack::AHEAD, self.has_receive_margin(Claim::Ahead)),
        ] {
            if is_over {
                self.lack = self.lack.without(lack);
            }
        }
    }

    /// Forgets all that was refused.
    pub(crate) fn forget_lack(&mut self) {
        self.lack = Lack::default();
    }
}

impl<F> Chunks<F> {
    /// Room for `capacity` nodes. `buffer_len` is the number of bytes that an empty frame of this NIC can hold: a
    /// received chunk below a quarter of it is copied together with its neighbours when it is kept.
    ///
    /// # Errors
    /// [`MemoryError`] when the system hasn't got that much.
    pub fn new(capacity: u32, buffer_len: u32) -> Result<Self, MemoryError> {
        let bytes = (capacity as usize).saturating_mul(size_of::<Node<F>>());
        let mut nodes = Vec::new();
        nodes
            .try_reserve_exact(capacity as usize)
            .map_err(|_| MemoryError::Refused {
                bytes,
                source: std::io::ErrorKind::OutOfMemory.into(),
            })?;
        Ok(Self {
            nodes,
            capacity,
            free: Link::NONE,
            freed: 0,
            sending: 0,
            inline: 0,
            lent: false,
            static_places: Vec::new(),
            frames: 0,
            buffer_len,
            lack: Lack::default(),
        })
    }

    /// A received frame is lent to a callback: it takes a place as if it waited to be read. The caller has asked for room.
    #[inline]
    pub(crate) const fn lend(&mut self) {
        self.lent = true;
    }

    /// The frame is back: its place is free.
    #[inline]
    pub(crate) const fn unlend(&mut self) {
        self.lent = false;
    }

    /// Places in use: nodes, and those of items that need none.
    #[must_use]
    #[inline]
    pub fn len(&self) -> u32 {
        // Never above `capacity`, which is a u32.
        self.nodes.len() as u32 - self.freed + self.inline + u32::from(self.lent)
    }

    /// Whether no node is in use.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nodes that can still be taken.
    #[must_use]
    #[inline]
    pub fn free_len(&self) -> u32 {
        self.capacity - self.len()
    }

    /// Whether a send queue may take a node.
    #[must_use]
    #[inline]
    pub fn has_send_room(&self, claim: Claim) -> bool {
        self.sending < self.share(claim)
    }

    /// Whether what was received may take a node.
    #[must_use]
    #[inline]
    pub fn has_receive_room(&self, claim: Claim) -> bool {
        self.len() - self.sending < self.share(claim)
    }

    /// Whether so many nodes of a direction are in use that who holds them matters: more than a sixteenth of all.
    #[must_use]
    #[inline]
    pub fn is_scarce(&self) -> bool {
        self.is_send_scarce() || self.len() - self.sending > self.capacity / 16
    }

    /// [`Chunks::is_scarce`] for sending.
    #[must_use]
    #[inline]
    pub fn is_send_scarce(&self) -> bool {
        self.sending > self.capacity / 16
    }

    /// Whether send queues have room for [`Claim::More`] and some to spare.
    #[must_use]
    pub fn has_send_margin(&self) -> bool {
        //~ Relief of pressure ends in room to spare: -> `self.sending < self.share(Claim::First)`;
        //~   who_takes_nothing_gives_way_when_others_wait_for_places
        self.sending + self.capacity / 16 < self.share(Claim::More)
    }

    /// Whether the places for received data have room for a claim, with some to spare.
    #[must_use]
    pub fn has_receive_margin(&self, claim: Claim) -> bool {
        self.len() - self.sending + self.capacity / 16 < self.share(claim)
    }

    /// Nodes of one direction that may be in use for a claim to be granted another one.
    #[inline]
    const fn share(&self, claim: Claim) -> u32 {
        let half = self.capacity / 2;
        match claim {
            Claim::First => half,
            Claim::More => half.saturating_sub(self.capacity.div_ceil(8)),
            Claim::Ahead => half.saturating_sub(self.capacity.div_ceil(4)),
        }
    }

    /// Nodes that hold a frame: the frames that all queues of this worker keep from the NIC.
    #[must_use]
    #[inline]
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Nodes in use at most.
    #[must_use]
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Bytes that an empty frame of this NIC can hold.
    #[must_use]
    #[inline]
    pub fn buffer_len(&self) -> u32 {
        self.buffer_len
    }

    /// Whether `len` bytes are too few to keep a whole frame for.
    #[inline]
    pub(super) fn is_small(&self, len: u32) -> bool {
        len < self.buffer_len / 4
    }

    /// Takes a node; its `next` is none. Hands the item back when all nodes are in use.
    #[inline]
    pub(super) fn insert(&mut self, item: Item<F>) -> Result<Link, Item<F>> {
        let holds_frame = item.holds_frame();
        let link = if self.free.is_some() {
            let link = self.free;
            let node = &mut self.nodes[link.index()];
            self.free = node.next;
            self.freed -= 1;
            *node = Node {
                item,
                next: Link::NONE,
            };
            link
        } else if self.nodes.len() < self.capacity as usize {
            self.nodes.push(Node {
                item,
                next: Link::NONE,
            });
            Link(self.nodes.len() as u32)
        } else {
            return Err(item);
        };
        self.frames += u32::from(holds_frame);
        Ok(link)
    }

    /// [`Chunks::insert`] for a send queue.
    #[inline]
    pub(super) fn insert_to_send(&mut self, item: Item<F>) -> Result<Link, Item<F>> {
        let registered = item.static_id();
        let link = self.insert(item)?;
        self.sending += 1;
        if let Some(id) = registered {
            self.take_static(id);
        }
        Ok(link)
    }

    /// A send queue keeps registered bytes in itself: they take a place. The caller has asked for one.
    #[inline]
    pub(super) fn keep_inline(&mut self, id: StaticId) {
        self.inline += 1;
        self.sending += 1;
        self.take_static(id);
    }

    /// An inline item is gone, or becomes a node: its place is free.
    #[inline]
    pub(super) fn drop_inline(&mut self, id: StaticId) {
        self.inline -= 1;
        self.sending -= 1;
        self.leave_static(id);
    }

    /// Bytes are registered under the next id.
    pub(crate) fn register_static(&mut self) {
        self.static_places.push(0);
    }

    /// Whether registered bytes stand in a send queue.
    #[must_use]
    pub(crate) fn has_static(&self, id: StaticId) -> bool {
        let places = self.static_places.get(usize::from(id.0));
        places.is_some_and(|&places| places > 0)
    }

    #[inline]
    fn take_static(&mut self, id: StaticId) {
        // None of an id that an app has made up: that stands for no byte.
        if let Some(places) = self.static_places.get_mut(usize::from(id.0)) {
            *places += 1;
        }
    }

    #[inline]
    fn leave_static(&mut self, id: StaticId) {
        if let Some(places) = self.static_places.get_mut(usize::from(id.0)) {
            *places = places.saturating_sub(1);
        }
    }

    /// `nodes` of those that [`Chunks::insert_to_send`] gave were given back.
    #[inline]
    pub(super) fn sent(&mut self, nodes: u32) {
        self.sending -= nodes;
    }

    /// Gives a node back, and says what it held.
    ///
    /// # Panics
    /// Like all below, when `link` is none: a queue asks only for its own nodes.
    #[inline]
    pub(super) fn remove(&mut self, link: Link) -> Item<F> {
        let node = &mut self.nodes[link.index()];
        let item = core::mem::replace(&mut node.item, Item::Free);
        debug_assert!(!matches!(item, Item::Free), "node {link:?} freed twice");
        node.next = self.free;
        self.free = link;
        self.freed += 1;
        self.frames -= u32::from(item.holds_frame());
        if let Some(id) = item.static_id() {
            self.leave_static(id);
        }
        item
    }

    #[inline]
    pub(super) fn next(&self, link: Link) -> Link {
        self.nodes[link.index()].next
    }

    #[inline]
    pub(super) fn set_next(&mut self, link: Link, next: Link) {
        self.nodes[link.index()].next = next;
    }

    #[inline]
    pub(super) fn item(&self, link: Link) -> &Item<F> {
        &self.nodes[link.index()].item
    }

    #[inline]
    pub(super) fn item_mut(&mut self, link: Link) -> &mut Item<F> {
        &mut self.nodes[link.index()].item
    }

    /// The frame part at `link`; `None` for a node that holds none, and for no node.
    #[inline]
    pub(super) fn held(&self, link: Link) -> Option<&Held<F>> {
        match self.nodes.get(link.index()) {
            Some(Node {
                item: Item::Held(held),
                ..
            }) => Some(held),
            _ => None,
        }
    }

    /// As [`Chunks::held`], for writing. The frame may be exchanged for another.
    #[inline]
    pub(super) fn held_mut(&mut self, link: Link) -> Option<&mut Held<F>> {
        match self.nodes.get_mut(link.index()) {
            Some(Node {
                item: Item::Held(held),
                ..
            }) => Some(held),
            _ => None,
        }
    }

    /// Two frame parts at once; `None` when they are one, or one of them is none.
    #[inline]
    pub(super) fn held_pair(&mut self, a: Link, b: Link) -> Option<(&mut Held<F>, &mut Held<F>)> {
        match self.nodes.get_disjoint_mut([a.index(), b.index()]) {
            Ok(
                [
                    Node {
                        item: Item::Held(a),
                        ..
                    },
                    Node {
                        item: Item::Held(b),
                        ..
                    },
                ],
            ) => Some((a, b)),
            _ => None,
        }
    }

    /// Gives back every node from `head` on.
    pub(super) fn remove_list(&mut self, head: Link, freed: &mut impl FnMut(F)) {
        let mut link = head;
        while link.is_some() {
            let next = self.next(link);
            if let Some(frame) = self.remove(link).into_frame() {
                freed(frame);
            }
            link = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(frame: u32) -> Item<u32> {
        Item::Held(Held::new(frame, 0, 1))
    }

    #[test]
    fn a_slab_counts_nodes_and_frames_and_refuses_beyond_its_capacity() {
        let mut chunks = Chunks::new(2, 2048).unwrap();
        let a = chunks.insert(held(7)).unwrap();
        let b = chunks.insert(Item::Pattern { start: 0, len: 9 }).unwrap();
        assert_eq!(
            (chunks.len(), chunks.free_len(), chunks.frames()),
            (2, 0, 1)
        );
        assert!(matches!(
            chunks.insert(held(8)),
            Err(Item::Held(Held { frame: 8, .. }))
        ));
        assert_eq!(chunks.remove(a).into_frame(), Some(7));
        assert_eq!(
            (chunks.len(), chunks.free_len(), chunks.frames()),
            (1, 1, 0)
        );
        assert_eq!(
            chunks.insert(held(9)).unwrap(),
            a,
            "the node freed last comes first"
        );
        chunks.remove(b);
        assert_eq!((chunks.len(), chunks.frames()), (1, 1));
    }

    #[test]
    fn a_slab_grows_only_within_what_it_reserved() {
        let mut chunks = Chunks::new(1000, 2048).unwrap();
        let reserved = chunks.nodes.capacity();
        for n in 0..1000 {
            chunks.insert(held(n)).unwrap();
        }
        assert_eq!(chunks.nodes.capacity(), reserved);
    }

    #[test]
    fn each_direction_has_its_half_and_each_claim_its_share_of_it() {
        let mut chunks = Chunks::<u32>::new(16, 2048).unwrap();
        let claims = [(Claim::Ahead, 4), (Claim::More, 6), (Claim::First, 8)];
        for (claim, most) in claims {
            while chunks.has_receive_room(claim) {
                chunks.insert(held(1)).unwrap();
            }
            assert_eq!(chunks.len(), most, "{claim:?}");
        }
        let mut last = None;
        for (claim, most) in claims {
            while chunks.has_send_room(claim) {
                last = Some(chunks.insert_to_send(held(1)).unwrap());
            }
            assert_eq!(chunks.sending, most, "{claim:?}");
        }
        chunks.remove(last.unwrap());
        chunks.sent(1);
        assert!(chunks.has_send_room(Claim::First) && !chunks.has_send_room(Claim::More));
        assert!(!chunks.has_receive_room(Claim::First));
    }

    #[test]
    fn the_smallest_slab_has_a_place_for_each_first_claim() {
        let mut chunks = Chunks::<u32>::new(2, 2048).unwrap();
        assert!(!chunks.has_send_room(Claim::More) && !chunks.has_receive_room(Claim::More));
        assert!(chunks.has_send_room(Claim::First) && chunks.has_receive_room(Claim::First));
        chunks.insert_to_send(held(1)).unwrap();
        assert!(chunks.has_receive_room(Claim::First));
    }

    #[test]
    fn no_link_leads_nowhere() {
        let mut chunks: Chunks<u32> = Chunks::new(1, 2048).unwrap();
        let a = chunks.insert(held(1)).unwrap();
        assert!(chunks.held(Link::NONE).is_none());
        assert!(chunks.held_mut(Link::NONE).is_none());
        assert!(chunks.held_pair(a, a).is_none());
        assert!(chunks.held_pair(a, Link::NONE).is_none());
    }
}
