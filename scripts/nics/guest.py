"""One guest: an emulated machine with one NIC, driven through a shell on its serial port.

It must never outlive the script: the process is ended on every way out.
"""

import glob
import json
import queue
import shlex
import subprocess
import threading
import time

PATIENCE_S = 60
RUNNING = set()


class GuestError(Exception):
    """The guest did something else than it was told."""


class Guest:
    """A booted machine. `devices` are QEMU's arguments for the NIC; `in_netns` runs a command where the tap is."""

    def __init__(self, qemu, kernel, image, in_netns, devices, iommu=False, cpus=1):
        vmlinuz = glob.glob(f"{kernel}/boot/vmlinuz-*")[0]
        append = "console=ttyS0 quiet loglevel=3 hugepages=224 panic=-1 mitigations=off"
        machine = ["-machine", "pc"]
        if iommu:
            machine = ["-machine", "q35,kernel-irqchip=split", "-device", "intel-iommu,intremap=on"]
            append += " intel_iommu=on"
        command = [*in_netns, qemu.path, *qemu.arguments, *machine, "-accel", "tcg,thread=multi", "-cpu", "max",
                   "-m", "896", "-smp", str(cpus), "-nodefaults", "-no-reboot", "-display", "none", "-kernel", vmlinuz,
                   "-initrd", image, "-append", append, "-chardev", "stdio,id=c,signal=off", "-serial", "chardev:c", *devices]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        start_new_session=True)
        RUNNING.add(self)
        self.output = queue.Queue()
        self.commands = 0
        threading.Thread(target=self._read, daemon=True).start()
        self._await("guest-ready", PATIENCE_S)

    def _read(self):
        for line in self.process.stdout:
            self.output.put(line.decode(errors="replace").rstrip("\r\n"))
        self.output.put(None)

    def shell(self, command, patience_s=PATIENCE_S):
        """What a command printed; it must succeed."""
        status, lines = self.try_shell(command, patience_s)
        if status != 0:
            raise GuestError(f"{command}: status {status}: {' | '.join(lines[-40:])}")
        return "\n".join(lines)

    def try_shell(self, command, patience_s=PATIENCE_S):
        """Status and lines of a command."""
        self.commands += 1
        mark = f"done-{self.commands}"
        # On a line of its own, even behind output that ends without one.
        self.process.stdin.write(f"{command}; s=$?; echo; echo {mark} $s\n".encode())
        self.process.stdin.flush()
        last, lines = self._await(f"{mark} ", patience_s)
        return int(last.split()[1]), [line for line in lines if line]

    def _await(self, mark, patience_s):
        """The line that begins with `mark`, and those before it."""
        lines, end_s = [], time.monotonic() + patience_s
        while True:
            try:
                line = self.output.get(timeout=max(0.0, end_s - time.monotonic()))
            except queue.Empty:
                raise GuestError(f"no {mark!r} in {patience_s} s: {' | '.join(lines[-40:])}") from None
            if line is None:
                raise GuestError(f"the guest has ended: {' | '.join(lines[-40:])}")
            if line.startswith(mark):
                return line, lines
            lines.append(line)

    def bind(self, driver):
        """Gives the NICs to `driver` and returns their PCI addresses, in the order of QEMU's arguments."""
        script = (
            "for d in /sys/bus/pci/devices/*; do case $(cat $d/class) in 0x0200*) a=${d##*/};"
            f" echo {driver} >$d/driver_override; [ ! -e $d/driver ] || echo $a >$d/driver/unbind; echo $a >/sys/bus/pci/drivers_probe;"
            " echo $a $(basename $(readlink $d/driver));; esac; done"
        )
        words = self.shell(script).split()
        addresses, drivers = words[::2], words[1::2]
        if not addresses or set(drivers) != {driver}:
            raise GuestError(f"a NIC has no driver {driver}: {words}")
        return addresses

    def start(self, arguments):
        """Starts `syncline` with these arguments, and waits until it has said what it is."""
        line = shlex.join(["syncline", *arguments])
        self.shell(f"{line} >/tmp/out 2>/tmp/err </dev/null & pid=$!")
        self.shell("n=0; until grep -q 'open: ' /tmp/err; do n=$((n+1)); "
                   "if [ $n -gt 400 ] || ! kill -0 $pid 2>/dev/null; then break; fi; sleep 0.1; done; "
                   "grep -q 'open: ' /tmp/err || { kill $pid 2>/dev/null; wait $pid; echo status $?; cat /tmp/err; dmesg | tail -n 5; false; }")
        return self.shell("cat /tmp/err")

    def run(self, arguments):
        """Runs `syncline` to its end beside the one that was started, and returns its status, its JSON and its log."""
        line = shlex.join(["syncline", *arguments])
        status, _ = self.try_shell(f"{line} >/tmp/result 2>/tmp/log </dev/null")
        text, log = self.shell("cat /tmp/result"), self.shell("cat /tmp/log")
        try:
            return status, json.loads(text), log
        except ValueError:
            raise GuestError(f"no result (status {status}): {text[-300:]} {log[-600:]}") from None

    def stop(self, signal="INT"):
        """Ends it, and returns its status, its JSON and its log."""
        status, _ = self.try_shell(f"kill -{signal} $pid 2>/dev/null; wait $pid")
        text = self.shell("cat /tmp/out")
        log = self.shell("cat /tmp/err")
        try:
            return status, json.loads(text), log
        except ValueError:
            raise GuestError(f"no summary (status {status}): {text[-300:]} {log[-600:]}") from None

    def end(self):
        """Switches it off."""
        self.process.kill()
        self.process.wait()
        RUNNING.discard(self)
