//! Captures with bytes changed, cut and put in: never a panic, and what stands before the damage is read.

use std::ops::ControlFlow;

use stack::rng::Random;
use stack::tcp::lang::{ack, data, fin, rst, syn};

use super::tape::Tape;
use crate::analysis::{Analysis, Ladders, Limits};
use crate::capture::{self, CaptureError};
use crate::evidence::evidence;

/// Mutated captures of each kind.
const ROUNDS: usize = 10_000;

/// Whatever the bytes are, all of the analysis goes through.
fn digest(file: &[u8]) {
    let limits = Limits {
        connections: 32,
        ladders: Ladders::Each(32),
        rows: 3,
    };
    let mut analysis = Analysis::new(limits);
    let _ = capture::read(file, |frame| {
        analysis.take(&frame);
        ControlFlow::Continue(())
    });
    for judged in analysis.judged() {
        let _ = evidence(judged.connection, &judged.verdict, analysis.surroundings());
    }
}

fn seeds() -> [Vec<u8>; 3] {
    let tape = Tape::new()
        .client(0, syn().seq(0))
        .server(1, rst().seq(0).ack(1))
        .asks(2)
        .then_from("198.18.0.1:40002")
        .handshake()
        .client(10, data(900).seq(1).ack(1))
        .client(250, data(900).seq(1).ack(1))
        .server(251, ack().seq(1).ack(901).win(0))
        .client(500, fin().seq(901).ack(1))
        .server(501, rst().seq(1).ack(902));
    let six = Tape::between("[2001:db8::1]:40001", "[2001:db8::2]:81")
        .handshake()
        .server(5, data(300).seq(1).ack(1))
        .client(6, rst().seq(1).ack(301));
    let whole = tape.pcap(usize::MAX);
    [tape.pcap(96), six.pcap(usize::MAX), whole]
}

#[test]
fn mutated_captures_never_panic() {
    let mut rng = Random::new(12);
    for seed in seeds() {
        for _ in 0..ROUNDS {
            let mut file = seed.clone();
            for _ in 0..1 + rng.below(6) {
                mutate(&mut file, &mut rng);
            }
            digest(&file);
        }
    }
}

fn mutate(file: &mut Vec<u8>, rng: &mut Random) {
    if file.is_empty() {
        return;
    }
    let at = rng.below(file.len() as u64) as usize;
    match rng.below(6) {
        0 => file.truncate(at),
        1 => file[at] ^= 1 << rng.below(8),
        2 => file[at] = [0, 0xff, 0x7f, 0x80][rng.below(4) as usize],
        3 => file.insert(at, rng.below(256) as u8),
        4 => drop(file.remove(at)),
        _ => {
            let end = (at + 4).min(file.len());
            let word = (rng.below(1 << 32) as u32).to_le_bytes();
            file[at..end].copy_from_slice(&word[..end - at]);
        }
    }
}

#[test]
fn what_is_no_capture_is_said() {
    let error =
        |file: &[u8]| capture::read(file, |_| ControlFlow::Continue(())).expect_err("no capture");
    assert_eq!(error(b""), CaptureError::Empty);
    assert_eq!(
        error(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        CaptureError::Unknown
    );
    assert_eq!(error(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0]), CaptureError::Short);
}

#[test]
fn a_file_that_ends_inside_a_record_counts_up_to_there() {
    let file = Tape::new()
        .client(0, syn().seq(0))
        .server(1, rst().seq(0).ack(1))
        .pcap(usize::MAX);
    let mut frames = 0;
    let summary = capture::read(&file[..file.len() - 3], |_| {
        frames += 1;
        ControlFlow::Continue(())
    });
    let damage = summary
        .expect("its header is whole")
        .damage
        .expect("it is cut");
    assert!(
        damage.starts_with("the file ends inside a record"),
        "{damage}"
    );
    assert_eq!(frames, 1);
}
