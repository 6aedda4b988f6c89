//! The cost of the in-memory link and the pools, in TSC ticks a frame: `cargo run --release -p syncline-dpdk --example ring_rate`.
//!
//! One thread drives both ends, then two threads one end each. It must never be read as the speed of a NIC.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use dpdk::{DpdkNic, Eal, EalConfig, RingConfig, cycles, ring_pair};
use stack::nic::{Burst, Frame, Nic, PoolClass};

const ROUNDS: u64 = 300_000;
const RUNS: usize = 9;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let eal = Eal::init(&EalConfig::default())?;
    println!(
        "EAL start {} ms; {}",
        start.elapsed().as_millis(),
        eal.memory_line()
    );
    let ring = RingConfig {
        ring_frames: 256,
        ..RingConfig::default()
    };
    let ((_, a), (_, b)) = ring_pair(&eal, &ring)?;
    let nic = |mut pairs: Vec<dpdk::QueuePair>| DpdkNic::new(pairs.remove(0));
    let (mut a, mut b) = (nic(a), nic(b));
    eal.pin_thread(eal.cpus()[0])?;
    for size in [1, 8, 32, 64] {
        report(&format!("tx + rx, burst {size}"), || {
            forward(&mut a, &mut b, size)
        });
    }
    for size in [32, 64] {
        report(&format!("alloc + bulk free, burst {size}"), || {
            alloc_free(&mut a, size, true)
        });
        report(&format!("alloc + single free, burst {size}"), || {
            alloc_free(&mut a, size, false)
        });
    }
    report("empty rx burst (per burst)", || {
        let mut burst = Burst::new();
        let start = cycles();
        for _ in 0..ROUNDS {
            a.rx(&mut burst);
        }
        (cycles() - start) as f64 / ROUNDS as f64
    });
    if eal.cpus().len() > 1 {
        two_threads(&eal, &mut a, &mut b);
    }
    Ok(())
}

fn report(what: &str, mut run: impl FnMut() -> f64) {
    let mut ticks: Vec<f64> = (0..RUNS).map(|_| run()).collect();
    ticks.sort_by(f64::total_cmp);
    let (low, median, high) = (ticks[0], ticks[RUNS / 2], ticks[RUNS - 1]);
    println!("{what:40} {median:7.1} ticks a frame (median of {RUNS}, {low:.1} to {high:.1})");
}

/// One frame's way: out of one end (a call of `tx`), in at the other (a call of `rx`).
fn forward(a: &mut DpdkNic, b: &mut DpdkNic, size: usize) -> f64 {
    let mut burst = Burst::new();
    a.alloc(PoolClass::Control, &mut burst, size);
    let rounds = ROUNDS * 8 / size as u64;
    let start = cycles();
    for _ in 0..rounds {
        a.tx(&mut burst);
        b.rx(&mut burst);
        b.tx(&mut burst);
        a.rx(&mut burst);
    }
    let ticks = cycles() - start;
    a.free(&mut burst);
    ticks as f64 / (rounds * 2 * size as u64) as f64
}

fn alloc_free(a: &mut DpdkNic, size: usize, bulk: bool) -> f64 {
    let mut burst = Burst::new();
    let start = cycles();
    for _ in 0..ROUNDS {
        a.alloc(PoolClass::Control, &mut burst, size);
        if bulk {
            a.free(&mut burst);
        } else {
            burst.storage_mut().clear();
        }
    }
    (cycles() - start) as f64 / (ROUNDS * size as u64) as f64
}

/// The other end on another CPU writes eight bytes into every frame and sends it back; this end does the same. With and
/// without prefetching a few frames ahead of the first touch.
fn two_threads(eal: &Eal, a: &mut DpdkNic, b: &mut DpdkNic) {
    for ahead in [0, 4, 64] {
        report(&format!("two threads, prefetch {ahead} ahead"), || {
            static STOP: AtomicBool = AtomicBool::new(false);
            STOP.store(false, Ordering::Relaxed);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let _lcore = eal.register_thread(Some(eal.cpus()[1]));
                    let mut burst = Burst::new();
                    while !STOP.load(Ordering::Relaxed) {
                        turn(b, &mut burst, ahead);
                    }
                    b.free(&mut burst);
                });
                let mut burst = Burst::new();
                a.alloc(PoolClass::Control, &mut burst, 64);
                for frame in burst.as_mut_slice() {
                    let _ = frame.set_len(60);
                }
                let mut more = Burst::new();
                a.alloc(PoolClass::Control, &mut more, 64);
                for frame in more.as_mut_slice() {
                    let _ = frame.set_len(60);
                }
                a.tx(&mut more);
                let (mut frames, start) = (0, cycles());
                while frames < ROUNDS * 16 {
                    frames += turn(a, &mut burst, ahead) as u64;
                }
                let ticks = (cycles() - start) as f64 / frames as f64;
                STOP.store(true, Ordering::Relaxed);
                a.free(&mut burst);
                ticks
            })
        });
        // The last frame of the other end.
        let mut rest = Burst::new();
        while a.rx(&mut rest) > 0 {
            a.free(&mut rest);
        }
    }
}

fn turn(nic: &mut DpdkNic, burst: &mut Burst<dpdk::Mbuf>, ahead: usize) -> usize {
    let n = nic.rx(burst);
    let frames = burst.as_mut_slice();
    for frame in &frames[..ahead.min(frames.len())] {
        frame.prefetch();
    }
    for i in 0..frames.len() {
        if ahead > 0
            && let Some(frame) = frames.get(i + ahead)
        {
            frame.prefetch();
        }
        if let Some(bytes) = frames[i].bytes_mut() {
            bytes[8] = bytes[8].wrapping_add(1);
            bytes[40] = bytes[40].wrapping_add(1);
        }
    }
    nic.tx(burst);
    n
}
