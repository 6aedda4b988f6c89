#!/usr/bin/env python3
"""Records kernel-to-kernel connections with tcpdump, each brought into a known situation.

record.py --seed N --runs N --out DIR [--only NAME,NAME] [--at-once N]

Each run has three network namespaces of its own: a client, a server, and between them a router or a bridge, with addresses from
198.18.0.0/15 and 2001:db8::/32. The settings of a run (family, router or bridge, where tcpdump listens, snaplen, link type, offloads,
sizes, times) are drawn from the seed. DIR gets a capture per run and manifest.json: file, situation, the names that
`syncline diagnose` may give it, the connection that is meant, and the settings.

It ends only processes that it started, and removes its namespaces on every exit path. It needs root.
"""

import argparse
import ctypes
import fcntl
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
TCP_REPAIR = 19
TCP_USER_TIMEOUT = 18
SO_MAX_PACING_RATE = 47
IPV6_CHECKSUM = 7
# Bytes a second of what is to be healthy.
HEALTHY_RATE = 20_000_000
PORT = 8080
SIOCETHTOOL = 0x8946
OFFLOADS = {"tx": 0x17, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}
FORKING = threading.Lock()
# In a server's process: where it says that it listens.
READY = None


def command(*words, check=True, text=None):
    done = subprocess.run(words, input=text, text=True, capture_output=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Child:
    """A process in a namespace that runs one function; its end can be waited for, and it can be killed."""

    def __init__(self, namespace, function, *arguments, listens=False):
        ready, says_ready = os.pipe()
        with FORKING:
            self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                global READY
                READY = says_ready
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                with open(f"/run/netns/{namespace}") as handle:
                    if LIBC.setns(handle.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                function(*arguments)
                status = 0
            except OSError:
                status = 2
            finally:
                os._exit(status)
        os.close(says_ready)
        if listens and not select.select([ready], [], [], 10)[0]:
            print("a server did not listen", file=sys.stderr)
        os.close(ready)

    def kill(self, number=signal.SIGKILL):
        if self.pid:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def wait(self, seconds):
        """Waits for its end; kills it when that takes too long."""
        until = time.monotonic() + seconds
        while self.pid and time.monotonic() < until:
            ended, _ = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.pid = 0
                return
            time.sleep(0.02)
        self.end()

    def end(self):
        if self.pid:
            self.kill()
            os.waitpid(self.pid, 0)
            self.pid = 0


class Run:
    """Three namespaces, a capture, and the processes of one run."""

    def __init__(self, number, seed, folder, situation):
        self.name = f"dg{os.getpid() % 100000}x{number}"
        self.situation = situation
        self.draw = random.Random(f"{seed}/{number}/{situation.name}")
        self.folder = folder
        self.children = []
        self.captures = []
        self.v6 = self.draw.random() < 0.3
        self.routed = self.draw.random() < 0.5 if situation.routed is None else situation.routed
        # A packet for the NIC to cut is lost as a whole: few of them are no loss to speak of.
        self.offloads = self.draw.random() < 0.6 and situation.name not in ("loss", "corruption")
        self.point = self.draw.choice(situation.points)
        self.snaplen = self.draw.choice([96, 96, 262144])
        self.any = self.point != "router" and self.draw.random() < 0.15
        self.one_side = situation.one_side if situation.one_side and self.draw.random() < 0.15 else None
        self.middle = situation.middle and self.one_side is None and self.draw.random() < 0.2
        self.port = PORT + self.draw.randrange(500)
        self.client_port = 20000 + self.draw.randrange(30000)
        self.file = os.path.join(folder, f"{number:04}-{situation.name}.pcap")
        self.allowed = list(situation.allowed)
        self.notes = {}
        self.begun = time.monotonic()

    # Namespaces and links.

    def ns(self, part):
        return f"{self.name}{part}"

    def ip(self, part, *words, check=True):
        return command("ip", "-n", self.ns(part), *words, check=check)

    def nft(self, part, chain, *rules):
        hook, priority = chain
        lines = "\n".join(rules)
        command("ip", "netns", "exec", self.ns(part), "nft", "-f", "-",
                text=f"table inet t {{\n chain {hook} {{\n type filter hook {hook} priority {priority}; policy accept;\n{lines}\n}}\n}}\n")

    def forget_rules(self, part):
        command("ip", "netns", "exec", self.ns(part), "nft", "delete", "table", "inet", "t", check=False)

    def sysctl(self, part, **values):
        for key, value in values.items():
            path = "/proc/sys/net/" + key.replace("__", "/")
            command("ip", "netns", "exec", self.ns(part), "sh", "-c", f"echo '{value}' > {path}", check=False)

    def build(self):
        for part in "crs":
            command("ip", "netns", "add", self.ns(part))
            self.ip(part, "link", "set", "lo", "up")
            for key in ["accept_dad"]:
                self.sysctl(part, **{f"ipv6__conf__all__{key}": 0, f"ipv6__conf__default__{key}": 0})
            self.sysctl(part, ipv4__tcp_congestion_control="cubic", ipv6__conf__all__forwarding=int(part == "r"),
                        ipv4__ip_forward=int(part == "r"))
        for part in "cs":
            command("ip", "link", "add", "e0", "netns", self.ns(part), "type", "veth", "peer", "name", part, "netns", self.ns("r"))
        if self.routed:
            self.client, self.server = ("2001:db8:1::2", "2001:db8:2::2") if self.v6 else ("198.18.1.2", "198.18.2.2")
            gateways = ("2001:db8:1::1", "2001:db8:2::1") if self.v6 else ("198.18.1.1", "198.18.2.1")
            for part, gateway in zip("cs", gateways):
                self.ip("r", "addr", "add", f"{gateway}/{64 if self.v6 else 24}", "dev", part, "nodad" if self.v6 else "scope", *([] if self.v6 else ["global"]))
        else:
            self.client, self.server = ("2001:db8:1::2", "2001:db8:1::3") if self.v6 else ("198.18.1.2", "198.18.1.3")
            self.ip("r", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
            for part in "cs":
                self.ip("r", "link", "set", part, "master", "br0")
            self.ip("r", "link", "set", "br0", "up")
        for part, address in (("c", self.client), ("s", self.server)):
            self.ip(part, "addr", "add", f"{address}/{64 if self.v6 else 24}", "dev", "e0", "nodad" if self.v6 else "scope", *([] if self.v6 else ["global"]))
            self.ip(part, "link", "set", "e0", "up")
            self.ip("r", "link", "set", part, "up")
        if self.routed:
            for part, gateway in zip("cs", gateways):
                self.ip(part, *(["-6"] if self.v6 else []), "route", "add", "default", "via", gateway)
        if not self.offloads:
            for part, device in (("c", "e0"), ("s", "e0"), ("r", "c"), ("r", "s")):
                Child(self.ns(part), offloads_off, device).wait(5)
        self.wait_for_links()

    def wait_for_links(self):
        """Until a ping gets there; then all neighbours are forgotten again."""
        for _ in range(30):
            if "1 received" in command("ip", "netns", "exec", self.ns("c"), "ping", "-c1", "-W1", self.server, check=False):
                break
            time.sleep(0.1)
        else:
            raise RuntimeError("no ping got through")
        for part in "crs":
            for family in ("-4", "-6"):
                command("ip", family, "-n", self.ns(part), "neigh", "flush", "all", check=False)

    def capture(self):
        part, device = {"client": ("c", "e0"), "server": ("s", "e0"), "router": ("r", "c")}[self.point]
        if self.any:
            device = "any"
        expression = "tcp or arp or icmp or icmp6"
        if self.one_side:
            expression = f"tcp and src host {self.server if self.one_side == 'server' else self.client}"
        path = self.file + (f".{len(self.captures)}" if self.captures else "")
        words = ["ip", "netns", "exec", self.ns(part), "tcpdump", "-i", device, "-Z", "root", "-U", "-n", "--immediate-mode", "-B", "16384", "-s", str(self.snaplen), "-w", path, expression]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.captures.append(process)
        process.stderr.readline()
        time.sleep(0.15)

    def begin_capture(self, after_handshake=False):
        """At the start, or once the connection is open where the draw says so."""
        if self.middle == after_handshake:
            self.capture()

    def server_does(self, function, *arguments):
        child = Child(self.ns("s"), function, self.server, self.port, *arguments, listens=True)
        self.children.append(child)
        return child

    def client_does(self, function, *arguments):
        child = Child(self.ns("c"), function, (self.client, self.client_port), (self.server, self.port), *arguments)
        self.children.append(child)
        return child

    def cut(self):
        """Both ways and without a word, while both ends keep their carrier."""
        if self.routed:
            self.nft("r", ("forward", 0), "drop")
        else:
            self.ip("r", "link", "set", "s", "nomaster")

    def mend(self):
        if self.routed:
            self.forget_rules("r")
        else:
            self.ip("r", "link", "set", "s", "master", "br0")

    def play(self):
        try:
            self.build()
            self.situation.play(self)
        finally:
            self.clean()
        return {
            "file": os.path.basename(self.file),
            "situation": self.situation.name,
            "allowed": self.allowed,
            "client_port": self.client_port,
            "server": f"[{self.server}]:{self.port}" if self.v6 else f"{self.server}:{self.port}",
            "neighbor": self.notes.get("neighbor"),
            "settings": {"v6": self.v6, "routed": self.routed, "point": self.point, "any": self.any, "snaplen": self.snaplen,
                         "offloads": self.offloads, "middle": self.middle, "one_side": self.one_side, **self.notes},
        }

    def clean(self):
        time.sleep(0.2)
        for process in self.captures:
            process.terminate()
            process.wait()
            process.stderr.close()
        for child in self.children:
            child.end()
        for part in "crs":
            command("ip", "netns", "del", self.ns(part), check=False)


def offloads_off(device):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for number in OFFLOADS.values():
            value = ctypes.create_string_buffer(struct.pack("II", number, 0))
            request = struct.pack("16sQ", device.encode(), ctypes.addressof(value))
            try:
                fcntl.ioctl(control, SIOCETHTOOL, request + bytes(16))
            except OSError:
                pass


# What servers and clients do. Each runs in a process of its own.

def listener(address, port, backlog=16, **options):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if options.get("rcvbuf"):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["rcvbuf"])
    server.bind((address, port))
    server.listen(backlog)
    os.write(READY, b"!")
    return server


def connect(here, there, timeout=20):
    family = socket.AF_INET6 if ":" in there[0] else socket.AF_INET
    client = socket.socket(family, socket.SOCK_STREAM)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(here)
    client.settimeout(timeout)
    client.connect(there)
    return client


def linger_zero(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def vanish(connection):
    """Its TCP forgets it without a word, as in a power loss."""
    connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    connection.close()


def read_all(connection):
    total = 0
    while True:
        data = connection.recv(65536)
        if not data:
            return total
        total += len(data)


def serve_never_accepts(address, port, backlog):
    server = listener(address, port, backlog)
    time.sleep(60)
    server.close()


def serve_never_reads(address, port, rcvbuf=None):
    server = listener(address, port, rcvbuf=rcvbuf)
    connection, _ = server.accept()
    time.sleep(60)
    connection.close()


def serve_unread_close(address, port, after, linger=False):
    connection, _ = listener(address, port).accept()
    if linger:
        connection.recv(1)
        while linger == "read" and is_readable(connection, 0.1):
            connection.recv(65536)
        linger_zero(connection)
    time.sleep(after)
    connection.close()
    time.sleep(30)


def is_readable(connection, seconds):
    return bool(select.select([connection], [], [], seconds)[0])


def serve_read_then_close(address, port, reads, after):
    connection, _ = listener(address, port).accept()
    got = 0
    while got < reads:
        got += len(connection.recv(reads - got))
    time.sleep(after)
    connection.close()
    time.sleep(30)


def serve_sink(address, port):
    server = listener(address, port)
    connection, _ = server.accept()
    read_all(connection)
    connection.close()


def serve_slow_sink(address, port, pause):
    connection, _ = listener(address, port).accept()
    while connection.recv(8192):
        time.sleep(pause)
    connection.close()


def pace(connection, rate):
    """Not faster than tcpdump and the backlog of a veth can take, so that nothing is lost but what is meant to be."""
    if rate:
        connection.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, rate)


def serve_source(address, port, length, rate=0):
    connection, _ = listener(address, port).accept()
    pace(connection, rate)
    connection.recv(1000)
    try:
        connection.sendall(bytes(length))
        connection.shutdown(socket.SHUT_WR)
        read_all(connection)
    finally:
        time.sleep(0.2)


def serve_echo(address, port):
    connection, _ = listener(address, port).accept()
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.close()


def serve_first_words(address, port, length, again_after=None):
    """Speaks first, and waits; says the same again later, where that is asked for."""
    connection, _ = listener(address, port).accept()
    connection.sendall(bytes(length))
    if again_after:
        time.sleep(again_after)
        connection.sendall(bytes(length))
    time.sleep(60)


def serve_answers_late(address, port, pause):
    """Answers long after the client has closed."""
    connection, _ = listener(address, port).accept()
    connection.recv(1000)
    time.sleep(pause)
    try:
        for _ in range(3):
            connection.sendall(bytes(200))
            time.sleep(0.2)
    except OSError:
        pass
    time.sleep(30)


def serve_twice(address, port):
    """Two clients, one after the other; it closes first."""
    server = listener(address, port)
    for _ in range(2):
        connection, _ = server.accept()
        connection.recv(1000)
        connection.sendall(bytes(100))
        connection.close()


def serve_and_vanish(address, port):
    connection, _ = listener(address, port).accept()
    connection.recv(100)
    connection.sendall(bytes(40))
    time.sleep(0.6)
    vanish(connection)
    time.sleep(30)


def serve_silent(address, port, reads):
    connection, _ = listener(address, port).accept()
    if reads:
        while connection.recv(65536):
            pass
    time.sleep(60)


def client_connects(here, there, timeout=20):
    connect(here, there, timeout).close()


def client_sends(here, there, length):
    client = connect(here, there)
    client.settimeout(60)
    pace(client, HEALTHY_RATE)
    client.sendall(bytes(length))
    time.sleep(60)


def client_asks(here, there, length, patience):
    client = connect(here, there)
    client.sendall(bytes(length))
    client.settimeout(patience)
    try:
        client.recv(1000)
    except TimeoutError:
        pass
    client.close()


def client_chats(here, there, lines, pause, seed, then=0):
    draw = random.Random(seed)
    client = connect(here, there)
    for _ in range(lines):
        line = bytes(draw.randrange(1, 80))
        client.sendall(line)
        got = 0
        while got < len(line):
            got += len(client.recv(4096))
        time.sleep(pause * draw.random())
    time.sleep(then)
    client.close()


def client_sends_on(here, there, first, pauses):
    """Sends, and goes on sending after its peer has closed."""
    client = connect(here, there)
    client.sendall(bytes(first))
    for pause in pauses:
        time.sleep(pause)
        client.sendall(bytes(30))


def client_uploads(here, there, length, rate=0):
    client = connect(here, there, 60)
    pace(client, rate)
    client.sendall(bytes(length))
    client.shutdown(socket.SHUT_WR)
    read_all(client)
    client.close()


def client_downloads(here, there):
    client = connect(here, there, 60)
    client.sendall(b"x")
    read_all(client)
    client.close()


def client_half_closes(here, there, length):
    client = connect(here, there)
    client.sendall(bytes(length))
    client.shutdown(socket.SHUT_WR)
    read_all(client)
    client.close()


def client_comes_again(here, there):
    """Exchanges, forgets the connection, and connects again from the same port."""
    client = connect(here, there)
    client.sendall(bytes(10))
    client.recv(100)
    time.sleep(0.5)
    vanish(client)
    time.sleep(0.5)
    try:
        connect(here, there, 2).close()
    except OSError:
        pass


def client_connects_twice(here, there, pause):
    """From the same port, as soon as the first connection is closed."""
    for _ in range(2):
        client = connect(here, there)
        client.sendall(bytes(50))
        read_all(client)
        client.close()
        time.sleep(pause)


def client_asks_and_goes(here, there, length):
    client = connect(here, there)
    client.sendall(bytes(length))
    time.sleep(0.3)
    client.close()
    time.sleep(30)


def client_uploads_until(here, there, length, patience_ms):
    """Gives up when nothing is acknowledged for so long (TCP_USER_TIMEOUT), and stays."""
    client = connect(here, there)
    client.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, patience_ms)
    client.sendall(bytes(length))
    time.sleep(0.8)
    try:
        for _ in range(100):
            client.sendall(bytes(length))
            time.sleep(0.1)
    except OSError:
        pass
    time.sleep(30)


def client_floods(here, there, ports, pause):
    """SYNs from as many ports; what comes back is left unanswered (a rule drops this host's resets)."""
    v6 = ":" in there[0]
    family = socket.AF_INET6 if v6 else socket.AF_INET
    raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)
    raw.bind((here[0], 0))
    if v6:
        raw.setsockopt(socket.IPPROTO_IPV6, IPV6_CHECKSUM, 16)
    for port in ports:
        head = struct.pack("!HHIIBBHHH", port, there[1], port * 65_536, 0, 5 << 4, 2, 64_240, 0, 0)
        if not v6:
            pseudo = socket.inet_aton(here[0]) + socket.inet_aton(there[0]) + struct.pack("!BBH", 0, 6, len(head))
            head = head[:16] + struct.pack("!H", ones_complement(pseudo + head)) + head[18:]
        raw.sendto(head, (there[0], 0))
        time.sleep(pause)


def ones_complement(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def client_answers(here, there):
    """Reads, and stays."""
    client = connect(here, there, 60)
    client.sendall(b"x")
    read_all(client)
    time.sleep(30)


def both_close_at(connection, at):
    time.sleep(max(0, at - time.time()))
    connection.shutdown(socket.SHUT_WR)
    read_all(connection)
    connection.close()


def serve_closes_at(address, port, at):
    both_close_at(listener(address, port).accept()[0], at)


def client_closes_at(here, there, at):
    both_close_at(connect(here, there), at)


# The situations.

class Situation:
    def __init__(self, name, play, allowed, routed=None, points=("client", "server", "router"), one_side=None, middle=False, weight=1):
        self.name, self.play, self.allowed = name, play, allowed
        self.routed, self.points, self.one_side, self.middle, self.weight = routed, points, one_side, middle, weight


def closed_port(run):
    run.begin_capture()
    run.client_does(client_connects).wait(5)


def filtered(run):
    rule = f"tcp dport {run.port} drop"
    run.nft("s", ("input", 0), rule)
    run.begin_capture()
    run.client_does(client_connects, run.draw.uniform(2.5, 6)).wait(10)


def blackhole(run):
    run.ip("r", *(["-6"] if run.v6 else []), "route", "add", "blackhole", run.server)
    run.ip("r", *(["-6"] if run.v6 else []), "route", "del", "2001:db8:2::/64" if run.v6 else "198.18.2.0/24", check=False)
    run.begin_capture()
    run.client_does(client_connects, run.draw.uniform(2.5, 6)).wait(10)


def rejected(run):
    run.nft("r" if run.routed else "s", ("forward" if run.routed else "input", 0), f"tcp dport {run.port} reject with icmpx type {run.draw.choice(['admin-prohibited', 'port-unreachable'])}")
    run.begin_capture()
    run.client_does(client_connects).wait(10)


def unreachable_behind(run):
    run.ip("s", "addr", "flush", "dev", "e0")
    run.begin_capture()
    run.client_does(client_connects, 8).wait(10)


def host_down(run):
    run.ip("s", "addr", "flush", "dev", "e0")
    run.begin_capture()
    run.notes["neighbor"] = run.server
    run.client_does(client_connects, 8).wait(10)


def host_down_known(run):
    """A neighbour entry from before: SYNs go out while ARP is asked again in vain."""
    for family in ("ipv4", "ipv6"):
        run.sysctl("c", **{f"{family}__neigh__e0__base_reachable_time_ms": 1000, f"{family}__neigh__e0__delay_first_probe_time": 1, f"{family}__neigh__e0__retrans_time_ms": 500})
    run.client_does(client_connects).wait(5)
    run.begin_capture()
    run.cut()
    run.client_does(client_connects, 12).wait(14)


def queue_full(run):
    backlog = run.draw.randrange(0, 3)
    run.server_does(serve_never_accepts, backlog)
    run.begin_capture()
    meant = run.client_port
    for n in range(backlog + 1):
        run.client_port = meant - 1 - n
        run.client_does(client_sends, 20)
        time.sleep(0.1)
    run.client_port = meant
    run.client_does(client_connects, run.draw.uniform(3.5, 6)).wait(8)


def never_accepts(run):
    run.server_does(serve_never_accepts, 5)
    run.begin_capture()
    child = run.client_does(client_asks, run.draw.randrange(1, 3000), run.draw.uniform(3.3, 6))
    time.sleep(0.5)
    child.wait(9)
    time.sleep(0.8)


def never_answers(run):
    run.server_does(serve_silent, run.draw.random() < 0.5)
    run.begin_capture()
    run.client_does(client_asks, run.draw.randrange(1, 3000), run.draw.uniform(3.3, 6)).wait(9)
    time.sleep(0.8)


def never_reads(run):
    run.server_does(serve_never_reads, run.draw.choice([None, 4000, 20000]))
    run.begin_capture()
    run.client_does(client_sends, 8_000_000)
    time.sleep(0.5)
    run.begin_capture(after_handshake=True)
    time.sleep(run.draw.uniform(6, 9) if run.middle else run.draw.uniform(3, 6))


def unread_close(run):
    run.server_does(serve_unread_close, run.draw.uniform(0.7, 2))
    run.begin_capture()
    run.client_does(client_sends, run.draw.randrange(1, 5000))
    time.sleep(0.4)
    run.begin_capture(after_handshake=True)
    time.sleep(2.5)


def with_linger_zero(run):
    run.server_does(serve_unread_close, run.draw.uniform(0.9, 2), "read")
    run.begin_capture()
    run.client_does(client_sends, run.draw.randrange(1, 5000))
    time.sleep(0.4)
    run.begin_capture(after_handshake=True)
    time.sleep(2.8)


def killed_unread(run):
    server = run.server_does(serve_never_reads)
    run.begin_capture()
    run.client_does(client_sends, run.draw.randrange(1, 30000))
    time.sleep(0.8)
    run.begin_capture(after_handshake=True)
    server.kill()
    time.sleep(1)


def killed_in_flight(run):
    server = run.server_does(serve_sink)
    run.begin_capture()
    run.client_does(client_sends, 2_000_000_000)
    time.sleep(0.02 + 0.05 * run.draw.random())
    server.kill()
    time.sleep(1)


def killed_idle(run):
    """Nothing unread: it closes like any other; what the client sends then draws the reset."""
    server = run.server_does(serve_echo)
    run.begin_capture()
    run.client_does(client_sends_on, 20, [1.5, 0.5, 0.5])
    time.sleep(0.5)
    run.begin_capture(after_handshake=True)
    server.kill()
    time.sleep(3)


def power_loss(run):
    """The side that sends must be in sight: what it sends again doesn't pass the cut."""
    uploads = run.point != "server"
    run.notes["uploads"] = uploads
    server = run.server_does(serve_sink) if uploads else run.server_does(serve_source, 3_000_000_000, HEALTHY_RATE)
    run.begin_capture()
    run.client_does(client_sends, 2_000_000_000) if uploads else run.client_does(client_downloads)
    time.sleep(0.3)
    run.begin_capture(after_handshake=True)
    time.sleep(0.2)
    run.cut()
    time.sleep(run.draw.uniform(3.5, 7))
    server.kill()


def power_loss_while_idle(run):
    run.server_does(serve_echo)
    run.begin_capture()
    run.client_does(client_chats, 4, 0.1, run.draw.random(), 40)
    time.sleep(1)
    run.cut()
    client = run.children[-1]
    client.end()
    time.sleep(run.draw.uniform(3.5, 6))


def nat_forgets(run):
    run.server_does(serve_echo)
    run.begin_capture()
    run.client_does(client_chats, 60, 0.4, run.draw.random())
    time.sleep(0.5)
    run.begin_capture(after_handshake=True)
    time.sleep(0.5)
    run.nft("r", ("forward", 0), f"tcp dport {run.port} drop\ntcp sport {run.port} drop")
    time.sleep(run.draw.uniform(3.5, 6))


def nat_resets(run):
    run.server_does(serve_echo)
    run.begin_capture()
    run.client_does(client_chats, 60, 0.3, run.draw.random())
    time.sleep(0.6)
    run.begin_capture(after_handshake=True)
    time.sleep(0.8)
    run.nft("r", ("forward", 0), f"tcp dport {run.port} reject with tcp reset")
    time.sleep(2)


def no_socket(run):
    run.server_does(serve_and_vanish)
    run.begin_capture()
    run.client_does(client_sends_on, 20, [1.5, 0.5])
    time.sleep(0.35)
    run.begin_capture(after_handshake=True)
    time.sleep(2.5)


def stale(run):
    run.server_does(serve_echo)
    run.begin_capture()
    run.client_does(client_comes_again).wait(8)


def mtu_black_hole(run):
    uploads = run.draw.random() < 0.5
    run.point = "client" if uploads else "server"
    probing = run.draw.choice([0, 0, 1])
    mtu = 1280 if run.v6 else run.draw.randrange(700, 1350)
    run.notes.update(uploads=uploads, probing=probing, mtu=mtu)
    run.ip("r", "link", "set", "s" if uploads else "c", "mtu", str(mtu))
    run.nft("r", ("output", 0), "icmp type destination-unreachable drop\nicmpv6 type packet-too-big drop")
    run.sysctl("c" if uploads else "s", ipv4__tcp_mtu_probing=probing, ipv4__tcp_base_mss=600)
    length = run.draw.randrange(5_000, 60_000)
    run.server_does(*([serve_sink] if uploads else [serve_source, length]))
    run.begin_capture()
    run.client_does(client_uploads, length) if uploads else run.client_does(client_downloads)
    time.sleep(run.draw.uniform(5, 8) + 6 * probing)


def half_close(run):
    run.server_does(serve_source, run.draw.randrange(1, 200_000))
    run.begin_capture()
    run.client_does(client_half_closes, run.draw.randrange(1, 900)).wait(10)


def simultaneous_close(run):
    at = time.time() + 1.5
    run.server_does(serve_closes_at, at)
    run.begin_capture()
    run.client_does(client_closes_at, at).wait(8)


def bulk(run):
    length = run.draw.randrange(1_000_000, 40_000_000)
    uploads = run.draw.random() < 0.5
    run.server_does(*([serve_sink] if uploads else [serve_source, length, HEALTHY_RATE]))
    run.begin_capture()
    (run.client_does(client_uploads, length, HEALTHY_RATE) if uploads else run.client_does(client_downloads)).wait(30)


def slow_reader(run):
    """Its window closes now and then for a moment: that is how a slow reader works."""
    run.server_does(serve_slow_sink, 0.002)
    run.begin_capture()
    run.client_does(client_uploads, 1_500_000).wait(30)


def interactive(run):
    run.server_does(serve_echo)
    run.begin_capture()
    child = run.client_does(client_chats, 40, 0.15, run.draw.random())
    time.sleep(0.5)
    run.begin_capture(after_handshake=True)
    child.wait(15)


def still_open(run):
    run.server_does(serve_echo)
    run.begin_capture()
    run.client_does(client_chats, 20, 0.1, run.draw.random(), 60)
    time.sleep(3)


def web(run):
    root = run.file + ".www"
    os.makedirs(os.path.join(root, "tmp"))
    length = run.draw.randrange(10, 3_000_000)
    with open(os.path.join(root, "page"), "wb") as page:
        page.write(bytes(length))
    config = os.path.join(root, "nginx.conf")
    address = f"[{run.server}]" if run.v6 else run.server
    with open(config, "w") as handle:
        handle.write(f"daemon off; user root; pid {root}/pid; error_log {root}/log; events {{}}\nhttp {{ access_log off; client_body_temp_path {root}/tmp; proxy_temp_path {root}/tmp; fastcgi_temp_path {root}/tmp; uwsgi_temp_path {root}/tmp; scgi_temp_path {root}/tmp; server {{ listen {address}:{run.port}; root {root}; }} }}\n")
    nginx = subprocess.Popen(["ip", "netns", "exec", run.ns("s"), "nginx", "-c", config, "-p", root], stderr=subprocess.DEVNULL)
    try:
        while not command("ip", "netns", "exec", run.ns("s"), "ss", "-Hltn", f"sport = :{run.port}") and nginx.poll() is None:
            time.sleep(0.1)
        if nginx.poll() is not None:
            raise RuntimeError("nginx ended at once")
        run.begin_capture()
        url = f"http://{address}:{run.port}/page"
        command("ip", "netns", "exec", run.ns("c"), "curl", "-s", "-o", "/dev/null", "--local-port", str(run.client_port), *[url] * run.draw.randrange(1, 3), check=False)
        time.sleep(0.3)
    finally:
        nginx.terminate()
        nginx.wait()
        command("rm", "-rf", root)


def lossy(run):
    percent = run.draw.randrange(3, 6)
    length = run.draw.randrange(1_500_000, 4_000_000)
    run.notes["percent"] = percent
    uploads = run.draw.random() < 0.5
    run.server_does(*([serve_sink] if uploads else [serve_source, length]))
    run.begin_capture()
    run.nft("r", ("forward", 0), f"meta length > 400 numgen random mod 100 < {percent} drop")
    (run.client_does(client_uploads, length) if uploads else run.client_does(client_downloads)).wait(15)


def interrupted(run):
    run.server_does(serve_echo)
    run.begin_capture()
    run.client_does(client_chats, 10_000, 0.02, run.draw.random())
    time.sleep(0.5)
    run.begin_capture(after_handshake=True)
    time.sleep(0.3)
    run.cut()
    time.sleep(run.draw.uniform(2.2, 4))
    run.mend()
    time.sleep(5)


def gave_up(run):
    run.nft("r", ("forward", 0), f"tcp sport {run.port} drop")
    run.server_does(serve_never_accepts, 5)
    run.begin_capture()
    run.client_does(client_connects, 0.6).wait(3)
    run.forget_rules("r")
    time.sleep(3)


def half_open(run):
    run.nft("r", ("forward", 0), f"tcp sport {run.port} drop")
    run.server_does(serve_never_accepts, 5)
    run.begin_capture()
    run.client_does(client_connects, run.draw.uniform(0.4, 4)).wait(6)
    time.sleep(2.5)


def rejected_with_reset(run):
    """A firewall's reset to a SYN looks like a closed port's."""
    run.nft("r" if run.routed else "s", ("forward" if run.routed else "input", 0), f"tcp dport {run.port} reject with tcp reset")
    run.begin_capture()
    run.client_does(client_connects).wait(10)


def rejected_as_unreachable(run):
    word = run.draw.choice(["no-route", "host-unreachable"])
    run.nft("r", ("forward", 0), f"tcp dport {run.port} reject with icmpx type {word}")
    run.begin_capture()
    run.client_does(client_connects).wait(10)


def keep_alive_race(run):
    """The server closes an idle connection, and the next request is on its way."""
    run.server_does(serve_read_then_close, 20, run.draw.uniform(0.7, 1.2))
    run.begin_capture()
    run.client_does(client_sends_on, 20, [run.draw.uniform(1.3, 1.5), 0.4, 0.4])
    time.sleep(0.4)
    run.begin_capture(after_handshake=True)
    time.sleep(2.5)


def close_wait_leak(run):
    run.server_does(serve_silent, True)
    run.begin_capture()
    run.client_does(client_asks_and_goes, run.draw.randrange(1, 3000))
    time.sleep(run.draw.uniform(4, 6))


def late_answer(run):
    """The client has closed; what the server sends then draws a reset from a socket that nobody owns any more."""
    run.server_does(serve_answers_late, run.draw.uniform(0.8, 1.5))
    run.begin_capture()
    run.client_does(client_asks_and_goes, run.draw.randrange(1, 900))
    time.sleep(3)


def port_reuse(run):
    run.server_does(serve_twice)
    run.begin_capture()
    run.client_does(client_connects_twice, run.draw.uniform(0, 0.5)).wait(10)


def late_syn_ack(run):
    """SYN-ACKs get lost until the client's next SYNs: then it is open, like any other."""
    run.server_does(serve_echo)
    run.nft("r", ("forward", 0), f"tcp sport {run.port} drop")
    run.begin_capture()
    child = run.client_does(client_chats, 5, 0.1, run.draw.random())
    time.sleep(run.draw.uniform(1.2, 2.5))
    run.forget_rules("r")
    child.wait(10)


def one_way(run):
    """What the server sends gets lost; what the client sends arrives."""
    run.server_does(serve_echo)
    run.begin_capture()
    run.client_does(client_chats, 10_000, 0.1, run.draw.random())
    time.sleep(0.6)
    run.begin_capture(after_handshake=True)
    time.sleep(0.3)
    run.nft("r", ("forward", 0), f"tcp sport {run.port} drop")
    time.sleep(run.draw.uniform(3.5, 6))


def frozen_too_long(run):
    """Cut off until the client has given up; then the server goes on, and finds nobody."""
    run.server_does(serve_first_words, 100, 6)
    run.begin_capture()
    run.client_does(client_uploads_until, 3000, 2000)
    time.sleep(0.6)
    run.begin_capture(after_handshake=True)
    run.cut()
    time.sleep(run.draw.uniform(4, 4.8))
    run.mend()
    time.sleep(2.5)


def cookie_lost_ack(run):
    """With a cookie the server keeps nothing: when the final ACK is lost, it doesn't know that it should speak."""
    run.sysctl("s", ipv4__tcp_syncookies=2)
    run.server_does(serve_first_words, 100)
    run.begin_capture()
    run.nft("r", ("forward", 0), f"tcp dport {run.port} tcp flags & (syn | ack) == ack drop")
    run.client_does(client_answers)
    time.sleep(run.draw.uniform(2, 3))
    # What comes later shows that the capture goes on.
    meant = run.client_port
    run.client_port = meant + 1
    run.client_does(client_connects)
    run.client_port = meant
    time.sleep(0.5)


def flooded(run, cookies):
    run.sysctl("s", ipv4__tcp_syncookies=cookies, ipv4__tcp_max_syn_backlog=32, core__somaxconn=32)
    run.nft("c", ("output", 0), "tcp flags & rst == rst drop")
    run.server_does(serve_echo)
    run.begin_capture()
    first = 1100 + run.draw.randrange(1000)
    meant = run.client_port
    flood = run.client_does(client_floods, range(first, first + 600), 0.002)
    time.sleep(0.4)
    return first, meant, flood


def syn_flood(run):
    """One of the flood's own."""
    first, _, flood = flooded(run, run.draw.choice([0, 1, 2]))
    flood.wait(10)
    time.sleep(1.5)
    run.client_port = first


def syn_flood_with_cookies(run):
    """A client of good will gets in all the same."""
    _, _, flood = flooded(run, run.draw.choice([1, 2]))
    run.client_does(client_chats, 5, 0.05, run.draw.random()).wait(10)
    flood.wait(10)


def syn_flood_without_cookies(run):
    _, _, flood = flooded(run, 0)
    run.client_does(client_connects, 2.5).wait(5)
    flood.wait(10)


def corrupted(run):
    """A rule on the way rewrites two bytes of the payload and leaves the checksum as it was."""
    run.server_does(serve_sink)
    run.begin_capture()
    run.nft("r", ("forward", 0), f"tcp dport {run.port} meta length > 400 numgen random mod 100 < {run.draw.randrange(4, 9)} @th,512,16 set 0x4242")
    run.client_does(client_uploads, run.draw.randrange(300_000, 900_000), HEALTHY_RATE).wait(15)
    if run.snaplen == 96:
        # The checksum can't be verified: what is left to be seen is that segments come again.
        run.allowed = ["loss"]


NORMAL = ["normal"]
SITUATIONS = [
    Situation("closed-port", closed_port, ["port-closed"], one_side="server"),
    Situation("filtered", filtered, ["no-answer"]),
    Situation("blackhole-route", blackhole, ["no-answer"], routed=True, points=("client", "router")),
    Situation("rejected", rejected, ["rejected"], points=("client", "router")),
    Situation("unreachable-behind-router", unreachable_behind, ["host-unreachable"], routed=True, points=("client", "router")),
    Situation("host-down", host_down, ["neighbor-dead"], routed=False, points=("client",)),
    Situation("host-down-known", host_down_known, ["neighbor-dead"], routed=False, points=("client",)),
    Situation("queue-full", queue_full, ["accept-queue-full"]),
    Situation("never-accepts", never_accepts, ["app-silent"]),
    Situation("never-answers", never_answers, ["app-silent"]),
    Situation("never-reads", never_reads, ["zero-window"], one_side="server", middle=True, weight=2),
    Situation("unread-close", unread_close, ["aborted"], one_side="server", middle=True),
    Situation("linger-zero", with_linger_zero, ["aborted"], one_side="server", middle=True),
    Situation("killed-unread", killed_unread, ["aborted"], middle=True),
    Situation("killed-in-flight", killed_in_flight, ["aborted", "data-after-close"]),
    Situation("killed-idle", killed_idle, ["data-after-close"], middle=True, weight=2),
    Situation("power-loss", power_loss, ["silence"], middle=True, weight=2),
    Situation("power-loss-while-idle", power_loss_while_idle, ["silence"], points=("client",)),
    Situation("nat-forgets", nat_forgets, ["silence"], routed=True, points=("client", "router"), one_side="client", middle=True, weight=2),
    Situation("nat-resets", nat_resets, ["middlebox-reset"], routed=True, points=("client", "router"), middle=True, weight=2),
    Situation("no-socket", no_socket, ["no-socket"], middle=True, weight=2),
    Situation("stale-connection", stale, ["stale-connection"]),
    Situation("mtu-black-hole", mtu_black_hole, ["mtu-black-hole"], routed=True, weight=3),
    Situation("half-close", half_close, NORMAL),
    Situation("simultaneous-close", simultaneous_close, NORMAL),
    Situation("bulk", bulk, NORMAL, weight=2),
    # On a busy machine it may be too slow for a second, and that is what a closed window says.
    Situation("slow-reader", slow_reader, ["normal", "zero-window"]),
    Situation("interactive", interactive, NORMAL, middle=True, weight=2),
    Situation("still-open", still_open, NORMAL),
    Situation("web", web, NORMAL, weight=2),
    Situation("loss", lossy, ["loss"], routed=True, points=("client", "server"), weight=2),
    Situation("outage", interrupted, ["outage"], points=("client", "router"), middle=True, weight=2),
    Situation("gave-up", gave_up, ["gave-up"], routed=True),
    Situation("half-open", half_open, ["half-open"], routed=True, points=("server",)),
    Situation("rejected-with-reset", rejected_with_reset, ["port-closed"], points=("client", "router")),
    Situation("rejected-as-unreachable", rejected_as_unreachable, ["host-unreachable"], routed=True, points=("client", "router")),
    Situation("keep-alive-race", keep_alive_race, ["data-after-close"], middle=True),
    Situation("close-wait-leak", close_wait_leak, ["app-silent"]),
    Situation("late-answer", late_answer, ["data-after-close"]),
    Situation("port-reuse", port_reuse, NORMAL),
    Situation("late-syn-ack", late_syn_ack, ["normal", "loss"], routed=True),
    Situation("one-way-outage", one_way, ["silence"], routed=True, middle=True),
    Situation("frozen-too-long", frozen_too_long, ["silence", "no-socket"], middle=True),
    Situation("cookie-lost-ack", cookie_lost_ack, ["half-open"], routed=True, points=("server",)),
    Situation("syn-flood", syn_flood, ["half-open"]),
    Situation("syn-flood-with-cookies", syn_flood_with_cookies, NORMAL),
    Situation("syn-flood-without-cookies", syn_flood_without_cookies, ["no-answer", "accept-queue-full"]),
    Situation("corruption", corrupted, ["corruption"], routed=True, points=("server",)),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", required=True)
    parser.add_argument("--runs", type=int, required=True, help="how often each situation is played")
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--at-once", type=int, default=12)
    arguments = parser.parse_args()
    names = [name for name in arguments.only.split(",") if name]
    chosen = [situation for situation in SITUATIONS if not names or situation.name in names]
    arguments.out = os.path.abspath(arguments.out)
    os.makedirs(arguments.out, exist_ok=True)
    plan = [situation for situation in chosen for _ in range(arguments.runs * (situation.weight if arguments.runs > 1 else 1))]
    random.Random(arguments.seed).shuffle(plan)
    played, failed = [], []

    def play(numbered):
        number, situation = numbered
        run = Run(number, arguments.seed, arguments.out, situation)
        try:
            played.append(run.play())
        except (OSError, RuntimeError) as error:
            failed.append(f"{situation.name}: {error}")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with ThreadPoolExecutor(arguments.at_once) as pool:
        list(pool.map(play, enumerate(plan)))
    played.sort(key=lambda entry: entry["file"])
    with open(os.path.join(arguments.out, "manifest.json"), "w") as manifest:
        json.dump(played, manifest, indent=1)
    for line in failed:
        print(f"not played: {line}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
