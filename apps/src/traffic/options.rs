//! The TCP options of a SYN-ACK, read once more, from RFC 9293 §3.2 and RFC 7323, not by `stack`.
//!
//! It must never be lenient: what a real peer might forgive is a fault of the endpoint here.

use super::wrong::ReplyFault;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const TIMESTAMPS: u8 = 8;
/// RFC 7323 §2.2.
const WINDOW_SCALE_MAX: u8 = 14;

/// Judges the options of a SYN-ACK. `offered` is the TSval of the SYN when it offered timestamps and a window scale, as
/// `linux` SYNs do; `None` when it offered nothing.
///
/// # Errors
/// The first thing that is wrong.
#[inline]
pub(super) fn judge(mut bytes: &[u8], offered: Option<u32>) -> Result<(), ReplyFault> {
    let (mut mss, mut timestamps, mut window_scale) = (false, false, false);
    while let [kind, rest @ ..] = bytes {
        match *kind {
            // RFC 9293 MUST-69: only padding of zeros behind the end.
            END => {
                if rest.iter().any(|&byte| byte != 0) {
                    return Err(ReplyFault::OptionsMalformed);
                }
                break;
            }
            NO_OPERATION => {
                bytes = rest;
                continue;
            }
            _ => {}
        }
        let [len, ..] = *rest else {
            return Err(ReplyFault::OptionsMalformed);
        };
        let Some(option) = bytes.get(2..usize::from(len)) else {
            return Err(ReplyFault::OptionsMalformed);
        };
        bytes = &bytes[usize::from(len)..];
        let seen = match (*kind, option) {
            (MSS, [high, low]) if u16::from_be_bytes([*high, *low]) > 0 => &mut mss,
            (TIMESTAMPS, [_, _, _, _, echo @ ..]) if echo.len() == 4 => {
                if offered
                    .map(u32::to_be_bytes)
                    .as_ref()
                    .map(<[u8; 4]>::as_slice)
                    != Some(echo)
                {
                    return Err(ReplyFault::Timestamps);
                }
                &mut timestamps
            }
            (WINDOW_SCALE, [shift]) => {
                if offered.is_none() || *shift > WINDOW_SCALE_MAX {
                    return Err(ReplyFault::WindowScale);
                }
                &mut window_scale
            }
            (SACK_PERMITTED, []) => return Err(ReplyFault::SackPermitted),
            _ => return Err(ReplyFault::OptionsMalformed),
        };
        if core::mem::replace(seen, true) {
            return Err(ReplyFault::OptionsMalformed);
        }
    }
    match (mss, offered.is_some(), timestamps) {
        (false, ..) => Err(ReplyFault::MssMissing),
        (true, true, false) => Err(ReplyFault::Timestamps),
        _ => Ok(()),
    }
}
