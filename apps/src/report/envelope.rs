//! [`Envelope`]: command, versions, host, start time and link of a run, the first part of its JSON.

use std::fmt;
use std::time::SystemTime;

use serde::Serialize;

use crate::provenance::{self, Versions};

/// The version of the results' layout: it changes when a field changes its meaning or goes.
const SCHEMA: &str = "syncline/1";

/// The origin of a result. Field names are stable (docs/guide/load.md).
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Envelope {
    schema: &'static str,
    /// Which kind of result this is: the command.
    kind: &'static str,
    /// The command line as it was given.
    command: String,
    /// When the run began (RFC 3339, UTC).
    started_at: String,
    versions: Versions,
    host: Host,
    /// The link, in words.
    link: String,
    /// DPDK's memory, in words.
    memory: String,
}

/// The machine.
#[derive(Debug, Clone, Serialize)]
struct Host {
    name: Option<String>,
    kernel: Option<String>,
    cpu_model: Option<String>,
    /// CPUs that this process may use.
    cpus: usize,
}

impl Envelope {
    /// The envelope of a result of this kind, whose run began at `started`.
    pub(crate) fn new(
        kind: &'static str,
        started: SystemTime,
        (dpdk, cpus): (String, usize),
        (link, memory): (String, String),
    ) -> Self {
        Self {
            schema: SCHEMA,
            kind,
            command: provenance::command(),
            started_at: humantime::format_rfc3339_seconds(started).to_string(),
            versions: Versions::with_dpdk(dpdk),
            host: Host {
                name: line_of("/proc/sys/kernel/hostname"),
                kernel: line_of("/proc/sys/kernel/osrelease"),
                cpu_model: cpu_model(),
                cpus,
            },
            link,
            memory,
        }
    }

    /// The link, in words.
    pub(crate) fn link(&self) -> &str {
        &self.link
    }
}

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.memory.trim_start_matches("memory: ");
        writeln!(f, "  memory    {memory}")?;
        let unknown = || "unknown".to_owned();
        writeln!(
            f,
            "  host      {}, {} {}, Linux {}",
            self.host.cpu_model.clone().unwrap_or_else(unknown),
            self.host.cpus,
            if self.host.cpus == 1 { "CPU" } else { "CPUs" },
            self.host.kernel.clone().unwrap_or_else(unknown)
        )?;
        writeln!(
            f,
            "  versions  {}, began {}",
            self.versions, self.started_at
        )?;
        write!(f, "  command   {}", self.command)
    }
}

fn line_of(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|line| !line.is_empty())
}

fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}
