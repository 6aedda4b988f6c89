//! TCP and the timing wheel allocate nothing once they exist: opening, data with losses, closing, TIME-WAIT, timers.
//!
//! It must never warm anything up first: the very first segment counts too.

use stack::seq::SeqNum;
use stack::tcp::env::{Env, TcpCounters};
use stack::tcp::lang::{Base, Spec, ack, data, fin, syn_ack};
use stack::tcp::output::Unsent;
use stack::tcp::settings::Settings;
use stack::tcp::tcb::{OpenParams, Tcb};
use stack::time::Instant;
use stack::timer::TimerWheel;

const ISS: SeqNum = SeqNum(7);
const BASE: Base = Base {
    sender_iss: SeqNum(1000),
    receiver_iss: ISS,
};

struct Driver<'a> {
    tcb: Tcb,
    env: Env<'a>,
    wheel: TimerWheel,
    sent: u32,
}

impl Driver<'_> {
    fn drain(&mut self, mut unsent: u32) {
        while let Some(plan) = self.tcb.poll_output(Unsent { len: unsent }, &mut self.env) {
            self.sent += 1;
            if !plan.is_retransmission {
                unsent -= plan.payload_len;
            }
        }
        match self.tcb.deadline() {
            Some(at) => self.wheel.arm(0, at),
            None => self.wheel.cancel(0),
        }
    }

    fn inject(&mut self, spec: Spec) {
        let _ = self
            .tcb
            .on_segment(spec.win(60_000).to_segment(BASE), &mut self.env);
        self.drain(0);
    }

    fn advance_ms(&mut self, ms: u64) {
        self.env.now = Instant::from_ns(self.env.now.as_ns() + ms * 1_000_000);
        let (tcb, env) = (&mut self.tcb, &mut self.env);
        self.wheel.poll(env.now, |_| {
            let _ = tcb.on_timer(env);
        });
        self.drain(0);
    }

    fn live(&mut self) {
        self.drain(0);
        self.inject(syn_ack().seq(0).ack(1).mss(1000));
        self.drain(20_000);
        for gap in 0..40 {
            self.inject(data(10).seq(21 + 20 * gap).ack(1));
        }
        self.inject(data(20).seq(1).ack(1));
        self.advance_ms(5_000);
        self.inject(ack().seq(41).ack(10_001));
        let _ = self.tcb.close(&mut self.env);
        self.drain(0);
        self.inject(fin().seq(41).ack(10_001));
        self.advance_ms(100_000);
    }
}

#[test]
fn a_whole_life_allocates_nothing() {
    let settings = Settings {
        timestamps: false,
        ..Settings::default()
    };
    let mut counters = TcpCounters::default();
    let params = OpenParams {
        iss: ISS,
        timestamp_offset: 0,
        local_mss: 1000,
        path_mss: 1000,
        default_peer_mss: 536,
        rcv_buf: 100_000,
    };
    let wheel = TimerWheel::new(1, Instant::ZERO).unwrap();
    let mut sent = 0;
    let info = allocation_counter::measure(|| {
        let mut env = Env {
            now: Instant::ZERO,
            settings: &settings,
            counters: &mut counters,
        };
        let tcb = Tcb::connect(params, &mut env);
        let mut driver = Driver {
            tcb,
            env,
            wheel,
            sent: 0,
        };
        driver.live();
        sent = driver.sent;
    });
    assert!(sent > 20, "{sent} segments: the life was not lived");
    assert_eq!(info.count_total, 0);
}
