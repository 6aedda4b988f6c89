//! The kinds of operations, and the flags that apply to each.
//!
//! It must never take a flag that the workload does not heed.

use workload::load::{CloseMode, Direction, Work};

use crate::failure::Failure;
use crate::load::args::{ArrivalLaw, Busy, Close, LoadArgs, Way, Workload};
use crate::load::target::{Scheme, TargetUrl};

/// The work that the flags describe.
///
/// # Errors
/// [`Failure::Usage`] for flags that contradict it.
pub(super) fn work(args: &LoadArgs, targets: &[TargetUrl]) -> Result<Work, Failure> {
    let is_http = targets.iter().any(|target| target.scheme == Scheme::Http);
    let workload = args.workload.unwrap_or(if is_http {
        Workload::Request
    } else {
        Workload::Connect
    });
    if is_http && (args.send.is_some() || args.expect.is_some()) {
        return Err(Failure::Usage(
            "--send and --expect apply only to tcp://: give http:// --method, --header and --body"
                .into(),
        ));
    }
    let reads_http = !args.expect_body.is_empty() || args.count_by.is_some();
    let has_http_flags =
        args.method.is_some() || !args.header.is_empty() || args.body.is_some() || reads_http;
    if !is_http && has_http_flags {
        return Err(Failure::Usage(
            "--method, --header, --body, --expect-body and --count-by apply only to http://: give tcp:// --send and --expect"
                .into(),
        ));
    }
    check_strays(args, workload)?;
    match workload {
        Workload::Connect => Ok(Work::Connect(match args.close {
            Close::Fin => CloseMode::Fin,
            Close::Rst => CloseMode::Rst,
            Close::Peer => CloseMode::Peer,
        })),
        Workload::Request if !is_http && args.expect.is_none() => Err(Failure::Usage(
            "--workload request on tcp:// needs --send and --expect: without a reply there is nothing to wait for".into(),
        )),
        Workload::Request => Ok(Work::Request),
        Workload::Hold => {
            check_hold(args, is_http)?;
            Ok(Work::Hold)
        }
        Workload::Stream => check_stream(args, is_http),
    }
}

/// The flags that holding connections needs, and those that do not apply.
fn check_hold(args: &LoadArgs, is_http: bool) -> Result<(), Failure> {
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    if args.connections.is_none() {
        return usage("--workload hold needs --connections: how many are to be kept");
    }
    check_kept(args)?;
    if args.verify_every.is_some_and(|time| time.is_zero()) {
        return usage("--verify-every must be more than 0");
    }
    if args.verify_every.is_some() && !is_http && args.expect.is_none() {
        return usage(
            "--verify-every on tcp:// needs --send and --expect: without a reply there is nothing to verify",
        );
    }
    if args.verify_every.is_none()
        && (args.send.is_some() || args.method.is_some() || args.body.is_some())
    {
        return usage(
            "--workload hold sends requests only with --verify-every: add it, or leave out --send, --method and --body",
        );
    }
    Ok(())
}

/// The flags that do not apply where connections are kept.
fn check_kept(args: &LoadArgs) -> Result<(), Failure> {
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    if args.rate.as_ref().is_some_and(|rate| rate.only().is_none()) {
        return usage(
            "--workload hold and stream take one --rate, at which connections are opened: leave out its steps",
        );
    }
    if args.count.is_some() || !(args.ramp_up + args.ramp_down).is_zero() {
        return usage(
            "--workload hold and stream count no operations: leave out --count, --ramp-up and --ramp-down (--rate is the ramp)",
        );
    }
    if args.pipeline > 1 {
        return usage(
            "--workload hold and stream have one request at a time on a connection: leave out --pipeline",
        );
    }
    Ok(())
}

/// The direction of a bulk transfer, and what it needs.
fn check_stream(args: &LoadArgs, is_http: bool) -> Result<Work, Failure> {
    check_kept(args)?;
    let direction = match args.direction {
        Way::Up => Direction::Up,
        Way::Down => Direction::Down,
        Way::Both => Direction::Both,
    };
    if direction.is_up() && (is_http || args.send.is_some()) {
        return Err(Failure::Usage(
            "--direction up and both send a pattern in place of requests: load a discard or echo service by tcp://, or give \
             --direction down"
                .into(),
        ));
    }
    if !args.expect_body.is_empty() || args.count_by.is_some() {
        return Err(Failure::Usage(
            "--expect-body and --count-by don't apply to --workload stream, which does not read responses"
                .into(),
        ));
    }
    if args.expect.is_some() {
        return Err(Failure::Usage(
            "--workload stream takes any bytes, or with --expect-pattern those of chargen: leave out --expect".into(),
        ));
    }
    Ok(Work::Stream(direction))
}

/// Flags that another workload has.
fn check_strays(args: &LoadArgs, workload: Workload) -> Result<(), Failure> {
    let is_searched = matches!(workload, Workload::Connect | Workload::Request);
    let has_steps = args.rate.as_ref().is_some_and(|rate| rate.only().is_none());
    let is_shaped = has_steps || args.count.is_some() || !(args.ramp_up + args.ramp_down).is_zero();
    if args.find && args.profile.is_none() && (!is_searched || is_shaped) {
        return Err(Failure::Usage(
            "--find searches a rate of --workload connect or request, by trials of --duration: leave out steps of --rate, --count, \
             --ramp-up and --ramp-down"
                .into(),
        ));
    }
    if args.requests_per_connection.is_some() && workload != Workload::Request {
        return Err(Failure::Usage(
            "--requests-per-connection applies only to --workload request".into(),
        ));
    }
    let has_schedule = args.rate.is_some() || args.find || args.verify_every.is_some();
    if !has_schedule && (args.arrivals != ArrivalLaw::Constant || args.when_busy != Busy::Queue) {
        return Err(Failure::Usage(
            "--arrivals and --when-busy apply only to operations at a rate: give --rate".into(),
        ));
    }
    let of_hold = args.verify_every.is_some() || args.park_after.is_some();
    if of_hold && workload != Workload::Hold {
        return Err(Failure::Usage(
            "--verify-every and --park-after apply only to --workload hold".into(),
        ));
    }
    let of_stream = args.expect_pattern || args.direction != Way::Up;
    if of_stream && workload != Workload::Stream {
        return Err(Failure::Usage(
            "--direction and --expect-pattern apply only to --workload stream".into(),
        ));
    }
    Ok(())
}
