//! [`Vlans`]: which VLANs are ours, each under a small index (decision 0021).
//!
//! It must never change while running, and never grow with what peers send: it is complete before the first frame.

use super::error::{LocalAddrsError, MAX_LOCAL_ADDRS};
use crate::wire::vlan::VlanId;

/// Values of the identifier in a tag.
const IDENTIFIERS: usize = 1 << 12;

/// No VLAN of ours.
const NONE: u16 = u16::MAX;

/// The VLANs that are ours, untagged frames being one of them.
#[derive(Debug, Clone)]
pub struct Vlans {
    /// Untagged frames, if they are ours.
    first: VlanId,
    /// All, the first included.
    ids: Vec<VlanId>,
    /// How many of them, from the first on, the configuration names.
    named: usize,
    /// By identifier: the place in `ids`.
    index: Box<[u16; IDENTIFIERS]>,
}

impl Vlans {
    /// Untagged frames and every VLAN from 1 to 4094; untagged frames alone where so many VLANs of `addresses` addresses
    /// each are more than [`MAX_LOCAL_ADDRS`], that is, from 17 addresses on.
    #[must_use]
    pub fn any(addresses: u32) -> Self {
        let all = VlanId::UNTAGGED.0..=VlanId::LAST.0;
        let fit = (all.len() as u32).saturating_mul(addresses) <= MAX_LOCAL_ADDRS;
        let ids = all.map(VlanId).take(if fit { usize::MAX } else { 1 });
        Self {
            named: 1,
            ..Self::build(ids)
        }
    }

    /// These and no other: [`VlanId::UNTAGGED`] for untagged frames.
    ///
    /// # Errors
    /// [`LocalAddrsError`]: no VLAN, one that can't be, one twice, or too many for so many addresses.
    pub fn only(ids: &[VlanId], addresses: u32) -> Result<Self, LocalAddrsError> {
        if ids.is_empty() {
            return Err(LocalAddrsError::NoVlan);
        }
        for (place, &id) in ids.iter().enumerate() {
            if id > VlanId::LAST {
                return Err(LocalAddrsError::NoSuchVlan(id));
            }
            if ids[..place].contains(&id) {
                return Err(LocalAddrsError::VlanTwice(id));
            }
        }
        let vlans = ids.len() as u32; // at most 4095, since none is there twice
        if vlans.saturating_mul(addresses) > MAX_LOCAL_ADDRS {
            return Err(LocalAddrsError::TooManyInVlans { addresses, vlans });
        }
        let untagged = ids.iter().filter(|&&id| id == VlanId::UNTAGGED);
        let tagged = ids.iter().filter(|&&id| id != VlanId::UNTAGGED);
        Ok(Self::build(untagged.chain(tagged).copied()))
    }

    fn build(ids: impl Iterator<Item = VlanId>) -> Self {
        let ids: Vec<VlanId> = ids.collect();
        let mut index = Box::new([NONE; IDENTIFIERS]);
        for (place, id) in ids.iter().enumerate() {
            index[usize::from(id.0)] = place as u16;
        }
        Self {
            first: ids.first().copied().unwrap_or_default(),
            named: ids.len(),
            ids,
            index,
        }
    }

    /// The VLAN that connections of ours are opened in unless another is asked for: untagged frames where they are ours, else
    /// the first that was named.
    #[must_use]
    #[inline]
    pub fn first(&self) -> VlanId {
        self.first
    }

    /// Those that the configuration names: all of a list, untagged frames where every VLAN is ours.
    #[must_use]
    pub fn named(&self) -> &[VlanId] {
        &self.ids[..self.named]
    }

    /// Whether a VLAN is ours.
    #[must_use]
    #[inline]
    pub fn contains(&self, vlan: VlanId) -> bool {
        self.index(vlan).is_some()
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[VlanId] {
        &self.ids
    }

    /// The place of a VLAN among ours.
    #[inline]
    pub(super) fn index(&self, vlan: VlanId) -> Option<u32> {
        match self.index.get(usize::from(vlan.0)) {
            Some(&place) if place != NONE => Some(place.into()),
            _ => None,
        }
    }

    /// The VLAN in this place.
    pub(super) fn get(&self, place: u32) -> Option<VlanId> {
        self.ids.get(place as usize).copied()
    }
}
