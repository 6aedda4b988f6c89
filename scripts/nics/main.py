"""Runs the guests, one NIC after the other in each of two lanes, and prints what they came to. Called by scripts/test-nics."""

import argparse
import concurrent.futures
import os
import signal
import subprocess
import sys
import time
import traceback

import checks
import guest
import image
import wire
from nics import NICS


class Qemu:
    """An emulator: where it is, what it needs, and which devices it has."""

    def __init__(self, path, arguments=()):
        self.path, self.arguments = path, list(arguments)
        words = subprocess.run([path, "--version"], capture_output=True, text=True).stdout.split()
        self.version = words[3] if len(words) > 3 else "?"

    def has(self, device):
        """Whether it emulates that device."""
        command = [self.path, *self.arguments, "-device", f"{device},help"]
        return b"options:" in subprocess.run(command, capture_output=True).stdout

    @staticmethod
    def backported(work):
        """The newer one, below its directory."""
        directory = image.backported_qemu(work)
        shares = [f"{directory}/usr/share/{name}" for name in ("qemu", "seabios")]
        return Qemu(f"{directory}/usr/bin/qemu-system-x86_64", [word for share in shares for word in ("-L", share)])


class Step:
    """Names what is being done, for errors and for the log."""

    def __init__(self, nic):
        self.nic, self.text, self.began_s = nic, "boot", time.monotonic()

    def __call__(self, text):
        if os.environ.get("SYNCLINE_NICS_VERBOSE"):
            say(f"{self.nic} {time.monotonic() - self.began_s:6.1f} s  {text}")
        self.text = text


def say(text):
    """A line of the log."""
    print(f"    {text}", file=sys.stderr, flush=True)


# Exit status: the guests can't be had here.
LEFT_OUT = 77
JUMBO = 9000
SERVE = ["--ip", f"{wire.GUEST4}/24,{wire.GUEST4_VLAN}/24,{wire.GUEST6}/64", "--listen", f"{checks.ECHO}=echo",
         "--listen", f"{checks.HTTP}=http,size={checks.HTTP_BYTES}", "--listen", f"{checks.CHARGEN}=chargen",
         "--max-connections", "1k", "--max-time-wait", "1k", "--backlog", "64", "--max-kept-frames", "2k", "--idle", "sleep", "--json"]


def whole_run(machine, link, pci, step):
    """The run with everything in it: one queue, what the NIC offers, MTU 1500."""
    step("start")
    log = machine.start(["serve", "--nic", f"pci:{pci}", *SERVE])
    link.forget_neighbors()
    recorder = wire.Recorder(link)
    for address in wire.GUEST4, wire.GUEST6:
        step(f"ping {address}")
        checks.ping(address)
        checks.neighbor_is_known(address)
    step("refused")
    checks.refused(wire.GUEST4)
    checks.refused(wire.GUEST6)
    step("echo of 10 MB")
    checks.echo(wire.GUEST4, 10_000_000)
    step("echo over IPv6")
    checks.echo(wire.GUEST6, 300_000)
    step("VLAN")
    checks.ping(wire.GUEST4_VLAN)
    checks.echo(wire.GUEST4_VLAN, 300_000)
    step("curl")
    for host in wire.GUEST4, f"[{wire.GUEST6}]", wire.GUEST4_VLAN:
        checks.curl(f"http://{host}/")
    step("200 connections in a row, 40 at once")
    checks.connections(wire.GUEST4, 200, 40)
    step("corrupt segments")
    checks.corrupt_segments_are_dropped(8)
    checks.ping(wire.GUEST4)
    step("Ctrl-C in the middle of downloads")
    downloads = checks.Downloads(wire.GUEST4, 4)
    downloads.drain_for(10)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        ended = pool.submit(downloads.end)
        status, summary, log = machine.stop("INT")
        ended.result()
    return finish(recorder, status, summary, log)


def jumbo_run(machine, link, pci, step):
    """Packets of 9000 bytes, both ways, and the VLAN named."""
    step("start with jumbo frames")
    machine.start(["serve", "--nic", f"pci:{pci}", *SERVE, "--mtu", str(JUMBO), "--vlan", f"0,{wire.VLAN}"])
    link.set_mtu(JUMBO)
    recorder = wire.Recorder(link)
    step("jumbo frames")
    checks.ping(wire.GUEST4, "-s", str(JUMBO - 28), "-M", "do")
    checks.echo(wire.GUEST4, 1_000_000)
    checks.echo(wire.GUEST6, 300_000)
    checks.ping(wire.GUEST4_VLAN, "-s", str(JUMBO - 28), "-M", "do")
    checks.echo(wire.GUEST4_VLAN, 300_000)
    summary, recorder, log = finish(recorder, *machine.stop("TERM"))
    link.set_mtu(1500)
    if recorder.longest < JUMBO:
        raise checks.Wrong(f"the longest packet of the guest had {recorder.longest} bytes")
    return summary, recorder, log


def queues_run(machine, link, pci, nic, step):
    """Several queues, a worker on each: new flows come to the queue that the NIC's hash names, as far as it says."""
    step(f"start with {nic.queues} queues")
    machine.start(["serve", "--nic", f"pci:{pci}", *SERVE, "--queues", str(nic.queues)])
    recorder = wire.Recorder(link)
    step(f"{nic.queues} queues")
    checks.connections(wire.GUEST4, 200, 40)
    checks.connections(wire.GUEST6, 60, 0)
    checks.echo(wire.GUEST4, 1_000_000)
    summary, recorder, log = finish(recorder, *machine.stop())
    rss = summary["rss"]
    if rss["verdict"] != nic.rss:
        raise checks.Wrong(f"RSS is {rss}, not {nic.rss}")
    if nic.rss == "proven" and not rss["handed_over_share"] < 0.01:
        raise checks.Wrong(f"{rss['handed_over_share']:.1%} of the frames were handed over")
    return summary, recorder, log


def permuted_run(machine, _link, pci, nic, step):
    """The NIC's indirection table is another one than it says: that is noticed, and everything is served all the same."""
    step("start with a permuted indirection table")
    machine.start(["serve", "--nic", f"pci:{pci}", *SERVE, "--queues", str(nic.queues), "--offload-fault", "indirection-table"])
    step("a permuted indirection table")
    checks.connections(wire.GUEST4, 150, 20)
    status, summary, log = machine.stop()
    checks.summary_is_clean(status, summary)
    if summary["rss"]["verdict"] != "contradicted" or "rss: the NIC delivered" not in log:
        raise checks.Wrong(f"a permuted indirection table was not noticed: {summary['rss']}")


def finish(recorder, status, summary, log):
    """What every run must hold at its end."""
    recorder.end()
    if recorder.wrong:
        raise checks.Wrong(f"{len(recorder.wrong)} wrong frames of {recorder.frames}, the first: {recorder.wrong[0]}")
    checks.summary_is_clean(status, summary)
    return summary, recorder, log


def run_nic(nic, qemu, kernel, binary_image):
    """All runs of one NIC. Returns its row of the matrix."""
    step = Step(nic.name)
    link = wire.Wire(f"syncline-nic-{os.getpid()}-{nic.name}")
    machine = None
    try:
        link.set_up(nic.taps)
        machine = guest.Guest(qemu, kernel, binary_image, [], nic.arguments(), iommu=nic.iommu, cpus=nic.queues)
        step("bind")
        pci = machine.bind(nic.driver)
        summary, recorder, log = whole_run(machine, link, pci, step)
        jumbo_run(machine, link, pci, step)
        if nic.queues > 1:
            queues_run(machine, link, pci, nic, step)
        if nic.rss == "proven":
            permuted_run(machine, link, pci, nic, step)
        say(f"{nic.name}: passed in {time.monotonic() - step.began_s:.0f} s; {recorder.frames} frames of the guest verified; "
            f"{summary['nic']['driver']}")
        return {"nic": nic.name, "summary": summary}
    except Exception as error:  # each NIC stands for itself: the others go on
        if not isinstance(error, (checks.Wrong, guest.GuestError, image.Missing)):
            traceback.print_exc()
        where = f"{nic.name}, {step.text}: {type(error).__name__}: {error}"
        if machine is not None:
            status, lines = (1, []) if machine.process.poll() is not None else tail(machine)
            where += "".join(f"\n      guest: {line}" for line in lines)
        return {"nic": nic.name, "failed": where}
    finally:
        if machine is not None:
            machine.end()
        link.remove()


def tail(machine):
    """The last words of the binary."""
    try:
        return machine.try_shell("tail -n 5 /tmp/err", 5)
    except guest.GuestError:
        return 1, []


def clean_up_on(number, _frame):
    """The guests are sessions of their own: nothing else ends them."""
    for machine in list(guest.RUNNING):
        machine.end()
    for link in list(wire.MADE):
        link.remove()
    os._exit(128 + number)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True, type=os.path.abspath)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--nics", default="")
    parser.add_argument("--lanes", type=int, default=2)
    arguments = parser.parse_args()
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, clean_up_on)
    qemu = Qemu("qemu-system-x86_64")
    try:
        kernel = image.unpacked_kernel(arguments.work)
        initramfs = image.initramfs(arguments.work, arguments.binary, kernel)
    except image.Missing as missing:
        say(missing)
        return LEFT_OUT
    wanted = [name for name in arguments.nics.split(",") if name]
    chosen = [nic for nic in NICS if not wanted or nic.name in wanted]
    emulators = {nic.device: qemu for nic in chosen if qemu.has(nic.device)}
    for device in sorted({nic.device for nic in chosen} - set(emulators)):
        try:
            newer = Qemu.backported(arguments.work)
            if not newer.has(device):
                raise image.Missing(f"QEMU {newer.version} has none either")
            emulators[device] = newer
        except image.Missing as missing:
            say(f"SKIPPED {device}: QEMU {qemu.version} has none: {missing}")
    chosen = [nic for nic in chosen if nic.device in emulators]
    began_s = time.monotonic()
    try:
        with concurrent.futures.ThreadPoolExecutor(arguments.lanes) as pool:
            rows = list(pool.map(lambda nic: run_in_thread(nic, emulators[nic.device], kernel, initramfs), chosen))
    finally:
        os.unlink(initramfs)
    failed = [row["failed"] for row in rows if "failed" in row]
    for text in failed:
        print(f"FAILED {text}", file=sys.stderr)
    say(f"{len(rows) - len(failed)} of {len(rows)} NICs passed in {time.monotonic() - began_s:.0f} s")
    return 1 if failed else 0


def run_in_thread(nic, qemu, kernel, initramfs):
    """In a thread of its own: a thread stays in the namespace that it has entered."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(run_nic, nic, qemu, kernel, initramfs).result()


if __name__ == "__main__":
    sys.exit(main())
