"""What a NIC must carry, asked by the host's kernel: each check raises `Wrong` with a reason.

They run in a thread that has entered the wire's namespace. No check may depend on how long something takes.
"""

import concurrent.futures
import random
import socket
import subprocess
import threading

import wire

ECHO, HTTP, CHARGEN, CLOSED = 7, 80, 19, 81
HTTP_BYTES = 1000
PATIENCE_S = 30
# Frames that may arrive between the last poll and the reading of the NIC's counters.
LATE_FRAMES_MAX = 16


class Wrong(Exception):
    """The NIC or the stack did something wrong."""


def connect(address, port, patience_s=PATIENCE_S):
    """A connected socket."""
    return socket.create_connection((address, port), timeout=patience_s)


def ping(address, *options, count=3):
    """So many requests are answered. It asks again meanwhile: a busy machine may be late for ARP, and lost frames show in the
    counters."""
    command = ["ping", "-n", "-q", "-c", str(count), "-i", "0.1", "-w", str(PATIENCE_S), *options, address]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Wrong(f"{' '.join(command)}: {' '.join(done.stdout.split())[-200:]}")


def neighbor_is_known(address):
    """ARP or NDP found the guest."""
    known = subprocess.run(["ip", "neigh", "show", address], capture_output=True, text=True).stdout
    if "lladdr" not in known:
        raise Wrong(f"no neighbour {address}: {known!r}")


def refused(address):
    """A closed port resets at once."""
    try:
        connect(address, CLOSED).close()
    except ConnectionRefusedError:
        return
    raise Wrong(f"{address} port {CLOSED} is open")


def echo(address, size, patience_s=PATIENCE_S):
    """Every byte of `size` random ones comes back."""
    data = random.Random(size).randbytes(size)
    with connect(address, ECHO, patience_s) as peer:
        failed = []

        def send():
            try:
                peer.sendall(data)
                peer.shutdown(socket.SHUT_WR)
            except OSError as error:
                failed.append(error)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        back = bytearray()
        try:
            while chunk := peer.recv(1 << 18):
                back += chunk
        except TimeoutError:
            raise Wrong(f"echo from {address} stands still after {len(back)} of {size} bytes") from None
        sender.join(patience_s)
    if failed:
        raise Wrong(f"echo to {address}: {failed[0]}")
    if back != data:
        first = next((at for at, (a, b) in enumerate(zip(back, data)) if a != b), min(len(back), size))
        raise Wrong(f"echo from {address}: {len(back)} bytes of {size}, the first wrong one at {first}")


def curl(url):
    """curl takes the whole body."""
    command = ["curl", "-sS", "-g", "--max-time", str(PATIENCE_S), "-o", "/dev/null", "-w", "%{http_code} %{size_download}", url]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.stdout != f"200 {HTTP_BYTES}":
        raise Wrong(f"curl {url}: {done.stdout} {done.stderr.strip()}")


def _one_exchange(address, number):
    text = b"%d\n" % number
    with connect(address, ECHO) as peer:
        peer.sendall(text)
        peer.shutdown(socket.SHUT_WR)
        back = b""
        while chunk := peer.recv(100):
            back += chunk
    if back != text:
        raise Wrong(f"connection {number}: {back!r}, not {text!r}")


def connections(address, in_a_row, at_once):
    """Connections one after the other, then side by side, each with a word of its own."""
    for number in range(in_a_row):
        _one_exchange(address, number)
    with concurrent.futures.ThreadPoolExecutor(at_once or 1) as pool:
        for done in [pool.submit(_one_exchange, address, number) for number in range(at_once)]:
            done.result()


class Downloads:
    """Endless downloads, to be interrupted."""

    def __init__(self, address, count):
        self.peers = [connect(address, CHARGEN) for _ in range(count)]
        self.total = 0
        for peer in self.peers:
            self.total += len(peer.recv(1 << 16))

    def drain_for(self, reads):
        """Reads on, so that the queues of the guest are full of data."""
        for _ in range(reads):
            for peer in self.peers:
                self.total += len(peer.recv(1 << 16))

    def end(self):
        """Reads until the guest has closed or reset each of them."""
        for peer in self.peers:
            try:
                while peer.recv(1 << 18):
                    pass
            except ConnectionResetError:
                pass
            except TimeoutError:
                raise Wrong("a download did not end with the server") from None
            finally:
                peer.close()


def corrupt_segments_are_dropped(count):
    """SYNs to the open port whose TCP checksum is wrong: no answer, and the guest counts them (the caller compares)."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.bind((wire.HOST4, 0))
        for number in range(count):
            ports = (20000 + number).to_bytes(2, "big") + ECHO.to_bytes(2, "big")
            raw.sendto(ports + bytes(8) + b"\x50\x02\x10\x00\xde\xad\x00\x00", (wire.GUEST4, 0))


def knock(address):
    """Makes the guest answer a SYN, whatever becomes of it."""
    try:
        connect(address, ECHO, 0.5).close()
    except OSError:
        pass


def counted(summary, counter, expected):
    """That counter of the summary."""
    if summary["counters"].get(counter, 0) != expected:
        raise Wrong(f"{counter} is {summary['counters'].get(counter, 0)}, not {expected}")


def load_is_clean(status, result, log):
    """The load ended well: every reply and every byte is right, and each sent frame left."""
    # What the emulator is too slow for is no fault of the NIC.
    faults = [fault for fault in result["faults"] if "the limit" not in fault]
    if faults or status not in (0, 1) or result["operations"]["failed"]:
        raise Wrong(f"load: status {status}, {result['faults']}: {log[-300:]}")
    if not result["operations"]["completed"] and not result["bytes_in"]:
        raise Wrong(f"load: nothing came back: {log[-300:]}")
    nic = result["nic"]
    for field, expected in ("tx_check", "equal"), ("rx_errors", 0), ("tx_errors", 0), ("rx_no_mbuf", 0):
        if nic[field] != expected:
            raise Wrong(f"load: nic.{field} is {nic[field]!r}, not {expected!r}")


def summary_is_clean(status, summary, beside=0):
    """No fault, no lost buffer or frame, and the NIC's counters are ours, but for so many frames and those of finding a neighbour, which
    were sent and received before there were workers."""
    if status != 0 or summary["faults"]:
        raise Wrong(f"exit status {status}, faults {summary['faults']}")
    nic = summary["nic"]
    for field in ("tx_check", "equal"), ("rx_errors", 0), ("tx_errors", 0), ("rx_missed", 0), ("rx_no_mbuf", 0):
        if nic[field[0]] != field[1]:
            raise Wrong(f"nic.{field[0]} is {nic[field[0]]!r}, not {field[1]!r}")
    # The run ends in the middle of downloads: what arrives after the last poll stays in the ring, and only the NIC counts it.
    beside += LATE_FRAMES_MAX if beside else 0
    if not 0 <= nic["rx_frames"] - summary["rx_frames"] <= beside + LATE_FRAMES_MAX:
        raise Wrong(f"the NIC received {nic['rx_frames']} frames, the workers got {summary['rx_frames']}")
    # Large segments count once, or as often as the NIC has cut them.
    counters = summary["counters"]
    given = summary["tx_frames"]
    cut = given - counters.get("tx_cut", 0) + counters.get("tx_cut_segments", 0)
    if not any(0 <= nic["tx_frames"] - sent <= beside for sent in (given, cut)):
        raise Wrong(f"the NIC sent {nic['tx_frames']} frames, the workers gave it {given}, cut {cut}")
    if "tx_cut" in counters and not nic["offloads"]["tso"]:
        raise Wrong(f"{counters['tx_cut']} segments were to be cut by a NIC that cuts none")
