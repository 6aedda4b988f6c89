//! `syncline diagnose`: what became of the TCP connections in a capture, or what a peer does on a port.
//!
//! It must never send data to a peer. A capture needs neither root nor DPDK: the `diagnose` crate reads and judges it; `probe` connects to a
//! peer as any client does, by the kernel's sockets or by our own stack on a NIC; this prints.

// The flags.
mod args;
// A file, or a pipe that Ctrl-C ends.
mod input;
// A connection's rows as rows of the lab's ladder.
mod ladder;
// By connecting to a peer.
mod probe;
// For people.
mod text;
// For programs.
mod json;

pub(crate) use args::DiagnoseArgs;
#[cfg(feature = "dpdk")]
pub(crate) use probe::needs;

use diagnose::counted;
use std::ops::ControlFlow;
use std::path::Path;

use diagnose::analysis::{Analysis, Judged, Ladders, Limits};
use diagnose::capture::{self, Summary};
use diagnose::situation::Situation;

use crate::console;
use crate::failure::Failure;
use crate::lab::ladder::Paint;
use crate::stop::Stop;

/// A capture that was read, and what of it is shown.
struct Findings<'a> {
    args: &'a DiagnoseArgs,
    path: &'a Path,
    analysis: &'a Analysis,
    summary: &'a Summary,
    judged: Vec<Judged<'a>>,
    /// Connections that were to be listed, and are beyond `--limit`.
    left_out: usize,
}

/// Does what `args` say.
///
/// # Errors
/// [`Failure`]: no such file, not a capture, or no connection with the number asked for.
pub(crate) fn run(args: &DiagnoseArgs) -> Result<(), Failure> {
    match (&args.target, &args.read) {
        (Some(target), _) => probe::run(args, target),
        (None, Some(path)) => of_capture(args, path),
        (None, None) => Err(Failure::Usage(
            "give a capture (-r FILE) or a peer (HOST:PORT)".into(),
        )),
    }
}

fn of_capture(args: &DiagnoseArgs, path: &Path) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    let mut analysis = Analysis::new(limits(args));
    let input = input::open(path, &stop)?;
    let summary = capture::read(input, |frame| {
        analysis.take(&frame);
        if stop.is_asked() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .map_err(|error| Failure::Usage(format!("-r {}: {error}", path.display())))?;
    if let Some(damage) = &summary.damage {
        console::log(format_args!(
            "warning: -r {}: {damage}; everything before that was read",
            path.display()
        ));
    }
    let findings = Findings::of(args, path, &analysis, &summary)?;
    if args.json {
        return console::result(format_args!("{:#}", json::whole(&findings)));
    }
    console::result(text::whole(&findings, Paint::of_stdout()).trim_end())
}

fn limits(args: &DiagnoseArgs) -> Limits {
    let ladders = match args.connection {
        Some(number) => Ladders::One(number),
        None if args.ladders => Ladders::Each(args.limit as u64),
        None => Ladders::None,
    };
    Limits {
        connections: args.table,
        ladders,
        rows: args.rows,
    }
}

impl<'a> Findings<'a> {
    /// The part of the analysis that is shown: one connection, or as many as `--limit` allows, the abnormal ones before the others.
    fn of(
        args: &'a DiagnoseArgs,
        path: &'a Path,
        analysis: &'a Analysis,
        summary: &'a Summary,
    ) -> Result<Self, Failure> {
        let mut judged = analysis.judged();
        if let Some(number) = args.connection {
            judged.retain(|judged| judged.connection.number == number);
            if judged.is_empty() {
                return Err(Failure::Usage(format!(
                    "-c {number}: the capture holds {}, numbered from 1",
                    counted(analysis.connections(), "connection")
                )));
            }
        }
        let left_out = judged.len().saturating_sub(args.limit);
        if left_out > 0 {
            judged.sort_by_key(|judged| {
                let is_normal = judged.verdict.situation == Situation::Normal;
                (is_normal, judged.connection.number)
            });
            judged.truncate(args.limit);
            judged.sort_by_key(|judged| judged.connection.number);
        }
        Ok(Self {
            args,
            path,
            analysis,
            summary,
            judged,
            left_out,
        })
    }
}
