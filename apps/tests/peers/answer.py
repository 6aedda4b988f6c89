"""Answers to frames, for peers of tests that the kernel can't play: a TCP segment without options, back to where the frame came from.

It must never answer anything but IPv4 without options in an untagged Ethernet frame: the offsets are those.
"""
import struct


def folded(data):
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def answer(frame, ports, seq, ack, flags, window=0):
    """A frame to the sender of `frame`, as if from the address that it wrote to; `ports` are ours and its own."""
    source, target = frame[30:34], frame[26:30]
    tcp = struct.pack("!HHIIBBHHH", *ports, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, window, 0, 0)
    pseudo = source + target + struct.pack("!BBH", 0, 6, 20)
    tcp = tcp[:16] + struct.pack("!H", folded(pseudo + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, 6, 0) + source + target
    ip = ip[:10] + struct.pack("!H", folded(ip)) + ip[12:]
    return frame[6:12] + frame[0:6] + frame[12:14] + ip + tcp + b"\0" * 6
