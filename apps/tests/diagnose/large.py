#!/usr/bin/env python3
"""Writes captures of a gigabyte, and says how long `syncline diagnose` takes to read each, and how much memory.

large.py --binary FILE --out DIR [--bytes N]

Three captures: bulk transfer in full frames, SYNs of a flood from ever new sources, and short connections cut at 96 bytes. Each is
removed as soon as it is read. Fails above 20 s or 300 MB. It sends nothing and needs no root.
"""

import argparse
import os
import struct
import subprocess
import sys
import time

MAX_S, MAX_MB = 20, 300
BLOCK = 1 << 22


def frame(src, dst, sport, dport, seq, ack, flags, length):
    """Ethernet, IPv4, TCP, zeros; checksums left to a NIC, as a sender's capture shows them."""
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + length, 0, 0x4000, 64, 6, 0, src, dst)
    tcp = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 64_240, 0, 0)
    return bytes(12) + b"\x08\x00" + ip + tcp + bytes(length)


def record(at_us, bytes_on_wire, snaplen=1 << 18):
    kept = bytes_on_wire[:snaplen]
    return struct.pack("<IIII", 1_700_000_000 + at_us // 1_000_000, at_us % 1_000_000, len(kept), len(bytes_on_wire)) + kept


CLIENT, SERVER = bytes([198, 18, 0, 1]), bytes([198, 18, 0, 2])


def bulk():
    """One connection: two full segments, an ACK, and so on."""
    yield record(0, frame(CLIENT, SERVER, 40_000, 80, 99, 0, 2, 0))
    yield record(50, frame(SERVER, CLIENT, 80, 40_000, 499, 100, 0x12, 0))
    yield record(90, frame(CLIENT, SERVER, 40_000, 80, 100, 500, 0x10, 0))
    seq, at_us = 100, 100
    while True:
        for _ in range(2):
            yield record(at_us, frame(CLIENT, SERVER, 40_000, 80, seq, 500, 0x10, 1460))
            seq, at_us = (seq + 1460) & 0xFFFFFFFF, at_us + 12
        yield record(at_us, frame(SERVER, CLIENT, 80, 40_000, 500, seq, 0x10, 0))


def flood():
    """A SYN each, from 198.18.0.0/15 and every port."""
    n = 0
    while True:
        source = bytes([198, 18 + (n >> 16 & 1), n >> 8 & 255, n & 255])
        yield record(n // 2, frame(source, SERVER, 1024 + (n >> 17), 80, n * 7919 & 0xFFFFFFFF, 0, 2, 0))
        n += 1


def short():
    """Handshake, question, answer, both FINs."""
    n = 0
    while True:
        client = bytes([198, 19, n >> 8 & 255, n & 255])
        port, at_us = 1024 + (n >> 16), n * 100
        for i, (from_client, seq, ack, flags, length) in enumerate([
            (True, 0, 0, 2, 0), (False, 0, 1, 0x12, 0), (True, 1, 1, 0x10, 0), (True, 1, 1, 0x18, 100), (False, 1, 101, 0x18, 900),
            (True, 101, 901, 0x11, 0), (False, 901, 102, 0x11, 0), (True, 102, 902, 0x10, 0),
        ]):
            ends = (client, SERVER, port, 80) if from_client else (SERVER, client, 80, port)
            yield record(at_us + 8 * i, frame(*ends, seq, ack, flags, length), 96)
        n += 1


def write(path, records, size):
    written, block = 24, []
    block_len = 0
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1))
        for one in records:
            block.append(one)
            block_len += len(one)
            if block_len >= BLOCK:
                out.write(b"".join(block))
                written += block_len
                block, block_len = [], 0
                if written >= size:
                    return


def read(binary, path):
    """Seconds, most resident MB, the first line of the answer."""
    began = time.monotonic()
    process = subprocess.Popen([binary, "diagnose", "-r", path], stdout=subprocess.PIPE, text=True)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"diagnose failed: status {process.returncode}")
    return time.monotonic() - began, usage.ru_maxrss / 1024, said.split("\n", 1)[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--bytes", type=int, default=1_000_000_000)
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    too_much = False
    for name, records in (("bulk", bulk()), ("SYN flood", flood()), ("short connections", short())):
        path = os.path.join(arguments.out, "large.pcap")
        try:
            write(path, records, arguments.bytes)
            size = os.path.getsize(path)
            seconds, megabytes, said = read(arguments.binary, path)
        finally:
            if os.path.exists(path):
                os.unlink(path)
        print(f"{name}: {size / 1e9:.2f} GB in {seconds:.1f} s, {megabytes:.0f} MB of memory; {said}")
        too_much |= seconds > MAX_S or megabytes > MAX_MB
    sys.exit(f"more than {MAX_S} s or {MAX_MB} MB" if too_much else 0)


if __name__ == "__main__":
    main()
