#!/usr/bin/env python3
"""Compares the times of a ladder with a capture that tcpdump makes of the same scene, at the taps of two kernels.

times.py BINARY: plays a scene between two kernels, and captures at each tap what that kernel sends. For each segment it compares when tcpdump
saw it with when `--json` says that it was sent; the wall clock of the scene's start is the one thing taken from `--pcap`. Prints the differences,
and fails when one is above 1 ms: both have the kernel's stamps, so a busy machine makes no difference.

It must never look at a namespace that the scene has not made."""
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

SCENE = """name: times
symptom: none
errno: EPIPE
layer: transport
rfc: RFC 9293
shows:
  Data both ways, late enough for tcpdump to be there.
linux:
  none
stack:
  none
check:
  nothing

scene: Data both ways
  listens 4
  neighbours are known
  at 4000 client connects 1
  at 4000 server accepts
%s  at 5000 client closes 1
  at 5100 server closes 1
  5000..5100 client sends FIN,ACK
  5100..5200 server sends FIN,ACK
  broken by client FIN,ACK -> nothing
  lasts 5500
"""
LINE = re.compile(r"^([\d.]+) IP (\S+) > \S+: Flags \[([^\]]*)\].*length (\d+)$")


def taps(pid):
    """The namespaces of a process that hold a tap of the lab, as paths of its descriptors."""
    found = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{number}"
        try:
            name = os.readlink(path)
        except OSError:
            continue
        if not name.startswith("net:"):
            continue
        said = subprocess.run(["nsenter", f"--net={path}", "ip", "-4", "-o", "addr", "show", "dev", "lab0"], capture_output=True, text=True)
        address = re.search(r"inet (198\.18\.0\.\d+)/", said.stdout)
        if address:
            found[address[1]] = path
    return found


def captured(path, sender):
    """Time, flags and length of the segments that an address sends."""
    said = subprocess.run(["tcpdump", "-r", path, "-tt", "--nano", "-nn", "tcp"], capture_output=True, text=True, check=True).stdout
    rows = [LINE.match(line) for line in said.splitlines()]
    return [(float(row[1]), row[3], int(row[4])) for row in rows if row and row[2].startswith(sender + ".")]


def play(binary, folder):
    acts = "".join(
        f"  at {at} client sends 100 bytes on 1\n  at {at} server reads 100 bytes of 1\n"
        f"  at {at + 30} server sends 50 bytes on 1\n  at {at + 30} client reads 50 bytes of 1\n" for at in range(4100, 4900, 80))
    scene, frames = os.path.join(folder, "times.lab"), os.path.join(folder, "lab.pcapng")
    with open(scene, "w", encoding="ascii") as out:
        out.write(SCENE % acts)
    lab = subprocess.Popen([binary, "lab", "run", scene, "--over", "tap", "--role", "none", "--json", "--pcap", frames], stdout=subprocess.PIPE, text=True)
    dumps, ends = [], {}
    try:
        until = time.monotonic() + 3
        while len(ends) < 2 and time.monotonic() < until:
            time.sleep(0.05)
            ends = taps(lab.pid)
        for address, path in ends.items():
            line = ["nsenter", f"--net={path}", "tcpdump", "-i", "lab0", "-U", "--immediate-mode", "--time-stamp-precision=nano", "-w", f"{folder}/{address}.pcap", "tcp"]
            dumps.append(subprocess.Popen(line, stderr=subprocess.DEVNULL))
        report = json.loads(lab.communicate(timeout=60)[0])
    finally:
        for dump in dumps:
            dump.terminate()
            dump.wait()
        lab.kill()
        lab.wait()
    return report, frames, ends


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        report, frames, ends = play(sys.argv[1], folder)
        rows = [row for row in report["scenes"][0]["rows"] if row["kind"] == "segment"]
        differences = []
        for side, address in (("client", "198.18.0.1"), ("server", "198.18.0.2")):
            ours = [row for row in rows if row["from"] == side]
            written = captured(frames, address)
            seen = captured(f"{folder}/{address}.pcap", address) if address in ends else []
            if not len(ours) == len(written) == len(seen):
                sys.exit(f"{side}: {len(ours)} segments in the ladder, {len(written)} in --pcap, {len(seen)} captured")
            start = written[0][0] - ours[0]["at_ms"] / 1e3
            for row, (at, flags, length), (kernel_at, kernel_flags, kernel_length) in zip(ours, written, seen):
                same = (flags, length, row["len"]) == (kernel_flags, kernel_length, length)
                if not same or abs(at - start - row["at_ms"] / 1e3) > 2e-6:
                    sys.exit(f"{side}: {row} is not {kernel_flags} of {kernel_length} bytes at {kernel_at}")
                differences.append((start + row["at_ms"] / 1e3 - kernel_at) * 1e3)
    differences.sort()
    middle, within = statistics.median(differences), sum(abs(ms) <= 1 for ms in differences)
    print(f"{len(differences)} segments: ladder later than tcpdump by {differences[0]:.3f} to {differences[-1]:.3f} ms, middle {middle:.3f} ms, {within} within 1 ms")
    if within < len(differences):
        sys.exit("a segment is off by more than 1 ms")


main()
