//! Copying few bytes together, so that a kept byte never costs a whole frame.
//!
//! It must never write to a frame that has another reader, and never beyond its buffer: the frame itself decides
//! both.

use crate::nic::Frame;

use super::chunks::{Chunks, Held, Link};

/// Copies `bytes` right behind those of `to`. Says whether that was possible; nothing has changed when not.
pub(super) fn append_bytes<F: Frame>(to: &mut Held<F>, bytes: &[u8]) -> bool {
    let end = (to.start + to.len) as usize;
    if !make_room(to, end + bytes.len()) {
        return false;
    }
    let Some(into) = to
        .frame
        .bytes_mut()
        .and_then(|all| all.get_mut(end..end + bytes.len()))
    else {
        return false;
    };
    into.copy_from_slice(bytes);
    to.len += bytes.len() as u32;
    true
}

/// Copies `bytes` right before those of `to`, which move back where there is no room before them. As above.
pub(super) fn prepend_bytes<F: Frame>(to: &mut Held<F>, bytes: &[u8]) -> bool {
    let (start, len, n) = (to.start as usize, to.len as usize, bytes.len());
    let new_start = start.saturating_sub(n);
    if !make_room(to, new_start + n + len) {
        return false;
    }
    let Some(into) = to
        .frame
        .bytes_mut()
        .and_then(|all| all.get_mut(new_start..))
    else {
        return false;
    };
    if into.len() < n + len {
        return false;
    }
    let old = start - new_start;
    into.copy_within(old..old + len, n);
    into[..n].copy_from_slice(bytes);
    to.start = new_start as u32;
    to.len += n as u32;
    true
}

/// Lets the frame reach to `end`, if it is ours to write to and has the room.
fn make_room<F: Frame>(to: &mut Held<F>, end: usize) -> bool {
    to.growable && (end <= to.frame.bytes().len() || to.frame.set_len(end).is_ok())
}

/// The bytes that a frame part names; none when it names some that aren't there.
#[inline]
pub(super) fn bytes_of<F: Frame>(held: &Held<F>) -> &[u8] {
    let (start, len) = (held.start as usize, held.len as usize);
    held.frame
        .bytes()
        .get(start..start + len)
        .unwrap_or_default()
}

/// Copies the bytes of a small part into a fresh frame, and lets go of its own. Without a fresh frame the part stays
/// where it is, and later ones are copied behind it if its frame allows.
pub(super) fn move_to_fresh<F: Frame>(
    held: &mut Held<F>,
    fresh: &mut impl FnMut() -> Option<F>,
    freed: &mut impl FnMut(F),
) {
    if held.growable {
        return;
    }
    held.growable = true;
    let Some(frame) = fresh() else { return };
    let mut copy = Held::new(frame, 0, 0);
    copy.growable = true;
    if append_bytes(&mut copy, bytes_of(held)) && copy.len == held.len {
        copy.seq = held.seq;
        copy.run_last = held.run_last;
        freed(core::mem::replace(held, copy).frame);
    } else {
        freed(copy.frame);
    }
}

/// Copies the bytes of `from` behind those of `to`. The caller takes `from` out when that was possible.
pub(super) fn append_chunk<F: Frame>(chunks: &mut Chunks<F>, to: Link, from: Link) -> bool {
    let Some((to, from)) = chunks.held_pair(to, from) else {
        return false;
    };
    let bytes = bytes_of(from);
    bytes.len() == from.len as usize && append_bytes(to, bytes)
}
