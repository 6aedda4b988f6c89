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
import matrix
import pair
import runs
import wire
from nics import NICS


class Qemu:
    """An emulator: where it is, what it needs, and which devices it has."""

    def __init__(self, path, arguments=()):
        self.path, self.arguments = path, list(arguments)
        words = subprocess.run([path, "--version"], capture_output=True, text=True).stdout.split()
        self.version = words[3] if len(words) > 3 else "?"
        self.major = int(self.version.split(".")[0]) if self.version[0].isdigit() else 0

    def has(self, device, first=0):
        """Whether it emulates that device, and is no older than version `first`."""
        if self.major < first:
            return False
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


# The name of vhost-user and virtio-user in --nics.
PAIR = "vhost"
# Exit status: the guests can't be had here.
LEFT_OUT = 77
def run_nic(nic, qemu, kernel, binary_image):
    """All runs of one NIC. Returns its row of the matrix."""
    step = Step(nic.name)
    link = wire.Wire(f"syncline-nic-{os.getpid()}-{nic.name}")
    machine = None
    try:
        link.set_up(nic.taps)
        machine = guest.Guest(qemu, kernel, binary_image, [], nic.arguments(), iommu=nic.iommu, cpus=nic.queues)
        if nic.device == "vmxnet3":
            runs.bind_run(machine, nic, step)
        step("bind")
        pci, *joined = machine.bind(nic.driver)
        summary, recorder = runs.whole_run(machine, link, pci, step)
        runs.judge_cuts(nic, summary, recorder)
        runs.judge_lro(nic, summary)
        runs.software_run(machine, link, pci, step)
        runs.jumbo_run(machine, link, pci, step)
        if summary["nic"]["offloads"]["tx_tcp_checksum"]:
            noticed = [fault for fault in ("pseudo-header", "header-length") if runs.broken_run(machine, link, pci, fault, step)]
            if noticed != list(nic.notices):
                raise checks.Wrong(f"of the wrong requests the host noticed {noticed}, not {list(nic.notices)}")
        if summary["nic"]["offloads"]["vlan_insert"]:
            runs.wrong_tag_run(machine, link, pci, step)
        runs.load_run(machine, joined, step)
        row = matrix.Row(nic, summary)
        if nic.scatters:
            row.with_short_buffers(runs.scatter_run(machine, link, pci, step))
        else:
            runs.short_buffers_are_refused(machine, pci, step)
        if nic.queues > 1:
            row.with_queues(runs.queues_run(machine, link, pci, nic, step)[0])
            runs.probe_run(machine, link, pci, nic, step)
        if nic.rss == "proven":
            runs.permuted_run(machine, link, pci, nic, step)
        say(f"{nic.name}: passed in {time.monotonic() - step.began_s:.0f} s; {recorder.frames} frames of the guest verified; "
            f"{summary['nic']['driver']}")
        return {"nic": nic.name, "row": row}
    except Exception as error:  # each NIC stands for itself: the others go on
        if not isinstance(error, (checks.Wrong, guest.GuestError, image.Missing)):
            traceback.print_exc()
        where = f"{nic.name}, {step.text}: {type(error).__name__}: {error}"
        if machine is not None:
            lines = [] if machine.process.poll() is not None else last_words(machine)
            where += "".join(f"\n      guest: {line}" for line in lines)
        return {"nic": nic.name, "failed": where}
    finally:
        if machine is not None:
            machine.end()
        link.remove()


def run_pair(binary):
    """vhost-user and virtio-user. Returns the rows of both."""
    began_s = time.monotonic()
    try:
        summaries = pair.whole_run(binary)
        pair.software_run(binary)
    except Exception as error:
        if not isinstance(error, checks.Wrong):
            traceback.print_exc()
        return [{"nic": "vhost", "failed": f"vhost and virtio-user: {type(error).__name__}: {error}"}]
    say(f"vhost and virtio-user: passed in {time.monotonic() - began_s:.0f} s")
    rows = []
    for nic, summary in zip((pair.VHOST, pair.VIRTIO_USER), summaries):
        row = matrix.Row(nic, summary)
        row.with_queues(summary)
        rows.append({"nic": nic.name, "row": row})
    return rows


def last_words(machine):
    """What the binary said, and what it had counted."""
    try:
        _, lines = machine.try_shell("kill -INT $pid 2>/dev/null && wait $pid; tail -n 5 /tmp/err; cat /tmp/out", 10)
    except guest.GuestError:
        return []
    return lines


def clean_up_on(number, _frame):
    """The guests are sessions of their own: nothing else ends them."""
    for machine in list(guest.RUNNING):
        machine.end()
    pair.clean_up()
    for link in list(wire.MADE):
        link.remove()
    os._exit(128 + number)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True, type=os.path.abspath)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--nics", default="")
    parser.add_argument("--page", required=True)
    parser.add_argument("--write-docs", action="store_true")
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
    emulators = {nic.device: qemu for nic in chosen if qemu.has(nic.device, nic.first_qemu)}
    for device in sorted({nic.device for nic in chosen} - set(emulators)):
        try:
            newer = Qemu.backported(arguments.work)
            if not newer.has(device):
                raise image.Missing(f"QEMU {newer.version} has none either")
            emulators[device] = newer
        except image.Missing as missing:
            say(f"SKIPPED {device}: QEMU {qemu.version} has none that is new enough: {missing}")
    chosen = [nic for nic in chosen if nic.device in emulators]
    began_s = time.monotonic()
    try:
        with concurrent.futures.ThreadPoolExecutor(arguments.lanes) as pool:
            nics = pool.map(lambda nic: run_in_thread(nic, emulators[nic.device], kernel, initramfs), chosen)
            # Last, when the longest lane is the only other one.
            joined = pool.submit(run_pair, arguments.binary) if not wanted or PAIR in wanted else None
            rows = list(nics) + (joined.result() if joined else [])
    finally:
        os.unlink(initramfs)
    failed = [row["failed"] for row in rows if "failed" in row]
    if not failed and not wanted and len(chosen) == len(NICS):
        failed += judge_page(arguments.page, [row["row"] for row in rows], arguments.write_docs)
    say(f"{len(rows) - len(failed)} of {len(rows)} NICs passed in {time.monotonic() - began_s:.0f} s")
    for text in failed:
        print(f"FAILED {text}", file=sys.stderr)
    return 1 if failed else 0


def judge_page(path, rows, writes):
    """The matrix of the page is that of this run, or becomes it; what is wrong otherwise."""
    versions = "DPDK " + rows[0].summary["versions"]["dpdk"].removeprefix("DPDK ")
    if writes:
        matrix.write(path, rows, versions)
    elif matrix.differs(path, rows, versions):
        return [f"{path}: the matrix is another one now: scripts/test-nics --write-docs"]
    return []


def run_in_thread(nic, qemu, kernel, initramfs):
    """In a thread of its own: a thread stays in the namespace that it has entered."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(run_nic, nic, qemu, kernel, initramfs).result()


if __name__ == "__main__":
    sys.exit(main())
