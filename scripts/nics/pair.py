"""The fast pair: vhost-user and virtio-user, two devices of DPDK joined by shared memory, with a process at each end.

`serve` is behind vhost, `load` behind virtio-user, both on this machine and without a namespace: the link is a socket in a directory of
this run. They must never outlive the script.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

import checks
from nics import Nic

PATIENCE_S = 60
SERVER, CLIENT, QUEUES = "198.18.8.1", "198.18.8.2", 2
RUNNING = set()

VHOST = Nic("vhost", "", driver="none", queues=QUEUES, rss="proven")
VIRTIO_USER = Nic("virtio-user", "", driver="none", queues=QUEUES, rss="proven")


class Ended(checks.Wrong):
    """A process did not do what it was started for."""


def clean_up():
    """Ends what runs."""
    for process in list(RUNNING):
        process.kill()
        process.wait()
        RUNNING.discard(process)


def _server(binary, directory, words):
    """Starts `serve` and waits until it has said what it is."""
    with open(f"{directory}/out", "w") as out, open(f"{directory}/err", "w") as err:
        process = subprocess.Popen([binary, "serve", *words], stdout=out, stderr=err, stdin=subprocess.DEVNULL)
    RUNNING.add(process)
    end_s = time.monotonic() + PATIENCE_S
    while "open: " not in _text(directory, "err"):
        if process.poll() is not None or time.monotonic() > end_s:
            raise Ended(f"serve over vhost: {_text(directory, 'err')[-600:]}")
        time.sleep(0.05)
    return process


def _text(directory, name):
    with open(f"{directory}/{name}", errors="replace") as file:
        return file.read()


def _load(binary, words):
    """Runs `load` to its end: its result, judged."""
    done = subprocess.run([binary, "load", *words, "-J"], capture_output=True, text=True, timeout=PATIENCE_S)
    try:
        result = json.loads(done.stdout)
    except ValueError:
        raise Ended(f"load over virtio-user: status {done.returncode}: {done.stderr[-600:]}") from None
    checks.load_is_clean(done.returncode, result, done.stderr)
    return result


def _run(binary, offloads, segments):
    """Connections, then bytes both ways, with these flags at both ends. The summaries of both ends."""
    directory = tempfile.mkdtemp(prefix="syncline-pair-")
    try:
        socket = f"{directory}/vhost"
        common = ["--queues", str(QUEUES), "--rss-key", "symmetric", "--idle", "sleep", *offloads]
        vhost = f"net_vhost0,iface={socket},queues={QUEUES},tso={segments}"
        server = _server(binary, directory, ["--nic", vhost, "--ip", f"{SERVER}/24", "--listen", f"{checks.ECHO}=echo", "--json", *common])
        near = ["--nic", f"net_virtio_user0,path={socket},queues={QUEUES}", "--ip", f"{CLIENT}/24", "--allow-target", f"{SERVER}/32", *common]
        target = f"tcp://{SERVER}:{checks.ECHO}"
        connections = _load(binary, [target, "--workload", "connect", "--close", "rst", "-n", "400", "-c", "20", "-R", "1k", "-d", "10s", *near])
        stream = _load(binary, [target, "--workload", "stream", "--direction", "both", "--expect-pattern", "-c", "4", "-d", "1s", *near])
        server.send_signal(signal.SIGINT)
        status = server.wait(PATIENCE_S)
        RUNNING.discard(server)
        summary = json.loads(_text(directory, "out"))
        checks.summary_is_clean(status, summary)
        return summary, connections, stream
    finally:
        clean_up()
        shutil.rmtree(directory, ignore_errors=True)


def whole_run(binary):
    """Everything that both drivers offer: large segments cross the link uncut, and each flow stays on its queue. The summaries."""
    summary, connections, stream = _run(binary, [], 1)
    if not stream["counters"].get("tx_cut", 0) or not summary["counters"].get("rx_large", 0):
        raise checks.Wrong("no large segment crossed the link")
    for name, side in ("vhost", summary), ("virtio-user", connections):
        rss, handed = side["rss"], side["counters"].get("handed_off", 0)
        # ARP belongs to worker 0.
        if rss["verdict"] != "proven" or handed > 4:
            raise checks.Wrong(f"{name}: RSS is {rss}, {handed} frames were handed over")
    stream["rss"] = connections["rss"]
    return summary, stream


def software_run(binary):
    """Every offload off, at both ends."""
    summary, connections, stream = _run(binary, ["--no-offload", "all"], 0)
    for side in summary, connections, stream:
        used = [name for name, on in side["nic"]["offloads"].items() if on]
        if used or side["counters"].get("rx_large", 0) or side["counters"].get("tx_cut", 0):
            raise checks.Wrong(f"--no-offload all: {used}, {side['counters']}")
