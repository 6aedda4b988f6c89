//! Actions on hosts on the stage in real time: power, cables, a machine that stands still, a process that dies.
//!
//! It must never judge what comes of it.

use super::stage::{Host, Stage};
use crate::failure::Failure;
use crate::lab::recording::RecordedEvent;
use crate::lab::scenario::{Act, End, SceneAction, Server};

/// The last bytes of a server's other link address, as in simulation.
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];

impl Stage<'_> {
    /// Does what is written for the network, for hosts, or for the process at a kernel's end.
    ///
    /// # Errors
    /// As of [`super::stage::play`].
    pub(super) fn perform(&mut self, act: Act) -> Result<(), Failure> {
        let (side, at_ns) = (act.who, self.tick());
        match act.what {
            SceneAction::Crash => self.crash(act)?,
            SceneAction::PowerOff => {
                self.look(side, at_ns);
                self.hear_out(side);
                // Whatever it says while it ends reaches no host.
                self.hosts[side as usize] = None;
                self.recording.push(at_ns, RecordedEvent::PoweredOff(side));
            }
            SceneAction::PowerOn | SceneAction::PowerOnElsewhere => {
                if act.what == SceneAction::PowerOnElsewhere {
                    self.wire.set_mac(side, OTHER_MAC);
                }
                self.recording.push(at_ns, RecordedEvent::PoweredOn(side));
                self.boot(side, act.at_ms)?;
                self.start(side)?;
            }
            SceneAction::Freeze | SceneAction::Thaw => {
                self.set_frozen(side, act.what == SceneAction::Freeze, at_ns);
            }
            SceneAction::CableOut | SceneAction::CableIn => {
                let plugged = act.what == SceneAction::CableIn;
                self.wire.set_cable(side, plugged);
                self.recording
                    .push(at_ns, RecordedEvent::Cable { side, plugged });
            }
            SceneAction::Network(what) => self.network(side, what, at_ns)?,
            _ => {}
        }
        Ok(())
    }

    fn set_frozen(&mut self, side: End, frozen: bool, at_ns: u64) {
        self.look(side, at_ns);
        self.is_frozen[side as usize] = frozen;
        self.recording
            .push(at_ns, RecordedEvent::Frozen(side, frozen));
        if let Some(Host::Kernel(host)) = &self.hosts[side as usize] {
            host.set_stopped(frozen);
        }
        if frozen {
            return;
        }
        for frame in std::mem::take(&mut self.held) {
            self.deliver(frame);
        }
        for frame in std::mem::take(&mut self.unsaid[side as usize]) {
            let at_ns = self.tick();
            self.wire.send(side, frame, at_ns, &mut self.recording);
        }
    }

    fn crash(&mut self, act: Act) -> Result<(), Failure> {
        let (side, at_ns) = (act.who, self.tick());
        let call = "the process dies".to_owned();
        let conn = 0;
        self.recording
            .push(at_ns, RecordedEvent::Calls { side, conn, call });
        if side == Server {
            self.recording.push(at_ns, RecordedEvent::Listening(false));
        }
        if let Some(Host::Kernel(host)) = &mut self.hosts[side as usize] {
            host.crash(self.scene, &self.setting, act.at_ms, self.start_ns)?;
        }
        Ok(())
    }
}
