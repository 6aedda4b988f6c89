//! [`Owners`]: which worker owns a flow. The queue that the NIC's hash chooses, where the NIC says how it steers; else the
//! worker that our own hash chooses.
//!
//! It must never give two workers different answers: a flow has one owner, whichever worker its frames come to. A NIC that
//! steers otherwise than it says costs hand-overs, which are counted.

use std::sync::Arc;

use super::Core;
use super::classify::Meta;
use crate::conn::{FlowHash, FlowKey};
use crate::local::addresses::LocalAddrs;
use crate::nic::Nic;
use crate::nic::rss::Steering;

/// New flows that came in, by where the NIC delivered them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Steered {
    /// SYNs without a connection, of flows of this worker, from the NIC or handed over by another worker.
    pub owned: u64,
    /// SYNs and SYN-ACKs that the NIC delivered to this worker and that another one owns: the NIC steered otherwise than predicted.
    pub elsewhere: u64,
    /// Of the owned ones, those that were asked for before there was a worker ([`Worker::start_steered`]).
    ///
    /// [`Worker::start_steered`]: super::Worker::start_steered
    pub probed: u64,
}

/// The owners of flows.
#[derive(Debug)]
pub(super) struct Owners {
    workers: u16,
    steering: Option<Arc<Steering>>,
    pub(super) steered: Steered,
}

impl Owners {
    /// Of flows among `workers` workers. A steering that names other queues than those is not followed.
    pub(super) fn new(workers: u16, steering: Option<&Arc<Steering>>) -> Self {
        let names_ours = |steering: &&Arc<Steering>| workers > 1 && steering.queues() <= workers;
        Self {
            workers,
            steering: steering.filter(names_ours).cloned(),
            steered: Steered::default(),
        }
    }

    /// The worker that owns a flow.
    #[inline]
    pub(super) fn owner(&self, locals: &LocalAddrs, key: &FlowKey, hash: FlowHash) -> u16 {
        match &self.steering {
            None => hash.owner(self.workers),
            Some(steering) => predicted(steering, locals, key)
                //~ A family that the NIC does not hash has owners all the same;
                //~   a_nic_that_hashes_only_one_family_leaves_the_other_to_our_own_hash
                .unwrap_or_else(|| hash.owner(self.workers)),
        }
    }

    /// Whether the NIC's hash decides.
    pub(super) fn follows_the_nic(&self) -> bool {
        self.steering.is_some()
    }
}

#[inline(never)]
fn predicted(steering: &Steering, locals: &LocalAddrs, key: &FlowKey) -> Option<u16> {
    let (_, local) = locals.locate(key.local())?;
    steering.queue(
        (key.remote(), key.remote_port()).into(),
        (local, key.local_port()).into(),
    )
}

impl<N: Nic> Core<N> {
    /// The worker that owns a flow.
    #[inline]
    pub(super) fn owner(&self, key: &FlowKey, hash: FlowHash) -> u16 {
        self.owners.owner(&self.endpoint.config.locals, key, hash)
    }

    /// The other worker that owns the flow of a segment that has no record here; `None` when it is this worker.
    #[inline(never)]
    pub(super) fn owner_elsewhere(&mut self, meta: &Meta) -> Option<u16> {
        let owner = self.owner(&meta.key, meta.hash);
        let is_mine = owner == self.ring.index();
        if meta.flags.syn() {
            // A SYN-ACK that came to its owner met a record, or nothing that is new.
            self.owners.steered.owned += u64::from(is_mine && !meta.flags.ack());
            self.owners.steered.elsewhere += u64::from(!is_mine);
        }
        (!is_mine).then_some(owner)
    }
}
