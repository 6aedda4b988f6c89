//! Functions of a [`Host`] for an app that is a [`Puppet`].

use super::super::RingEnd;
use super::host::Host;
use crate::config::ConfigSpec;
use crate::conn::ConnId;
use crate::nic::memory::MemoryNic;
use crate::sim::puppet::{AppEvent, Puppet};
use crate::tcp::profile::Profile;
use crate::worker::app::{App, Cx};

impl Host<Puppet> {
    /// A host whose app accepts, reads, and closes when the peer does; connections park after a second.
    pub(super) fn probing(change: impl FnOnce(&mut ConfigSpec)) -> Self {
        Self::probing_on(change, |_| {})
    }

    pub(super) fn probing_on(
        change: impl FnOnce(&mut ConfigSpec),
        change_nic: impl FnOnce(&mut MemoryNic),
    ) -> Self {
        let parking = |spec: &mut ConfigSpec| {
            spec.park_after = core::time::Duration::from_secs(1);
            change(spec);
        };
        Self::build(Puppet::default(), parking, change_nic, RingEnd::single())
    }

    /// Such a host with one open connection.
    pub(super) fn open() -> (Self, ConnId) {
        let mut host = Self::probing(|_| {});
        host.shake_hands().hears(&[AppEvent::Ready, AppEvent::Open]);
        let conn = host.conn();
        (host, conn)
    }

    pub(super) fn app(&mut self) -> &mut Puppet {
        self.worker().app_mut()
    }

    /// The connection that opened last.
    pub(super) fn conn(&mut self) -> ConnId {
        *self.app().conns.last().expect("a connection")
    }

    /// The callbacks of the app since the last call.
    pub(super) fn heard(&mut self) -> Vec<AppEvent> {
        let heard = core::mem::take(&mut self.app().heard).into_iter();
        heard.map(|(_, _, heard)| heard).collect()
    }

    /// The app heard this since the last call, and no more.
    #[track_caller]
    pub(super) fn hears(&mut self, expected: &[AppEvent]) -> &mut Self {
        assert_eq!(self.heard(), expected);
        self
    }
}

impl<A: App> Host<A> {
    /// Lets a connection go by another profile.
    #[track_caller]
    pub(super) fn choose(&mut self, conn: ConnId, profile: Profile) {
        self.act(|_, cx| {
            let id = cx.profile(profile).expect("a profile that can be");
            cx.set_profile(conn, id);
        });
    }

    /// Lets the app act, and the worker take a turn.
    pub(super) fn act<T>(
        &mut self,
        act: impl FnOnce(&mut A, &mut Cx<'_, MemoryNic, A::Conn>) -> T,
    ) -> T {
        let now = self.now;
        let result = self.worker().with_cx(now, act);
        self.turn();
        result
    }
}
