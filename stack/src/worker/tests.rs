//! The worker on a NIC in memory. A test plays the peer in the segment language, a line a step:
//!
//! ```ignore
//! host.inject(syn().seq(0)).counted(Counter::SynEmbryo).expect(syn_ack().seq(0).ack(1));
//! ```
//!
//! Every step names the counter in which its frame ended. When a [`Host`] goes out of scope it has seen every reply, has
//! accounted for every frame and has given every buffer back, or the test fails.

mod answer;
mod host;
mod puppet;

mod accepting;
mod allowed_sources;
mod buffers;
mod closed;
mod connecting;
mod cookies;
mod corking;
mod corruption;
mod embryos;
mod ending;
mod fast_path;
mod forged_acks;
mod forwarding;
mod fragments;
mod info;
mod keeping;
mod large_frames;
mod lines;
mod link;
mod listening;
mod neighbors;
mod notices;
mod offloads;
mod one_step;
mod packets;
mod parked;
mod paths;
mod pressure;
mod profiles;
mod random;
mod reading;
mod reports;
mod reset_rules;
mod resting;
mod retransmission;
mod several;
mod states;
mod statics;
mod steering;
mod time_wait;
mod timers;
mod truncation;
mod tx_refusal;
mod unparking;
mod vips;
mod vlans;
