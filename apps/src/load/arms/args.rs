//! [`ServerArmArgs`]: the flags of the second arm.
//!
//! It must never hold a flag that nothing reads.

use std::net::IpAddr;

use stack::config::Interface;

use crate::addresses::host_prefix;
use crate::failure::Failure;
use crate::rig::NicArgs;

/// The tap of `--server-nic tap`, in the run's own network namespace.
const PRIVATE_TAP: &str = "tap:syncline1";

/// Our own servers at a NIC of their own, behind a device.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ServerArmArgs {
    /// Serve the targets ourselves at this NIC, with the device to be tested between both NICs: `tap` or a name as in --nic. The
    /// result shows what the device changed and which side lost what
    #[arg(long, value_name = "NIC", requires = "server_ip")]
    pub(crate) server_nic: Option<String>,

    /// The addresses of our servers, each with the length of its link's prefix
    #[arg(long, value_name = "ADDR/LEN", value_delimiter = ',', value_parser = host_prefix, requires = "server_nic")]
    pub(crate) server_ip: Vec<Interface>,

    /// The servers' router for off-link addresses [default: replies return to the link address that they answer]
    #[arg(
        long,
        value_name = "ADDR",
        value_delimiter = ',',
        requires = "server_nic"
    )]
    pub(crate) server_gateway: Vec<IpAddr>,

    /// Configure the kernel's side of the servers' tap, as --tap-up does for ours
    #[arg(long, value_name = "ADDR/LEN", value_delimiter = ',', value_parser = host_prefix, requires = "server_nic")]
    pub(crate) server_tap_up: Vec<Interface>,

    /// Services of the servers, as in `serve --listen` [default: http at the port of each http:// target; at that of tcp:// what the
    /// workload needs]
    #[arg(
        long,
        value_name = "[ADDR:]PORT=SERVICE",
        value_delimiter = ';',
        requires = "server_nic"
    )]
    pub(crate) server_listen: Vec<String>,
}

impl ServerArmArgs {
    /// The second arm's flags as those of a NIC, the rest as in `clients`; `None` without a second arm.
    ///
    /// # Errors
    /// [`Failure::Usage`] when there is no first arm.
    pub(crate) fn link(&self, clients: &NicArgs) -> Result<Option<NicArgs>, Failure> {
        let Some(nic) = &self.server_nic else {
            return Ok(None);
        };
        if clients.nic.is_none() {
            return Err(Failure::Usage(
                "--server-nic is the second arm: give --nic and --ip for the first one".into(),
            ));
        }
        let is_private = nic == "tap" || nic.starts_with("tap,");
        if is_private && !clients.wants_own_namespace() {
            return Err(Failure::Usage(
                "--server-nic tap is in a network namespace of the run's own: give --nic tap too, or --unshare".into(),
            ));
        }
        let named = match nic.strip_prefix("tap") {
            Some(options) if is_private => format!("{PRIVATE_TAP}{options}"),
            _ => nic.clone(),
        };
        let is_tap = named.starts_with("tap:");
        Ok(Some(NicArgs {
            nic: Some(named),
            ip: self.server_ip.clone(),
            gateway: self.server_gateway.clone(),
            prefix: Vec::new(),
            vlan: Vec::new(),
            tap_up: self.server_tap_up.clone(),
            unshare: is_tap && clients.wants_own_namespace(),
            ..clients.clone()
        }))
    }
}
