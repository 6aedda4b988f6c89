"""The host's side of the wire: a network namespace with a tap, and a recorder that verifies every frame of the guest.

It must never touch an interface outside of its own namespace.
"""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading

TAP, TRUNK_TAP = "nic0", "vlan5"
HOST4, GUEST4 = "198.18.0.1", "198.18.0.2"
HOST4_VLAN, GUEST4_VLAN, VLAN = "198.18.5.1", "198.18.5.2", 5
HOST6, GUEST6 = "2001:db8::1", "2001:db8::2"
CLONE_NEWNET = 0x40000000
ETH_P_ALL, SOL_PACKET, PACKET_AUXDATA, PACKET_VNET_HDR = 0x0003, 263, 8, 15
PACKET_OUTGOING, PACKET_STATISTICS, TP_STATUS_VLAN_VALID = 4, 6, 1 << 4
SO_RCVBUFFORCE = 33
FRAME_BYTES = 1 << 17
MADE = set()


def run(*command):
    """Runs a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Wire:
    """The namespace. The thread that makes it is in it from then on, and so are its subprocesses and the threads that it starts."""

    def __init__(self, name):
        self.name, self.in_netns = name, ["ip", "netns", "exec", name]

    def set_up(self, queues=1):
        """Makes it, and moves the calling thread into it."""
        run("ip", "netns", "add", self.name)
        MADE.add(self)
        self.ip("link", "set", "lo", "up")
        multi = ["multi_queue"] if queues > 1 else []
        self.ip("tuntap", "add", "dev", TAP, "mode", "tap", "vnet_hdr", *multi)
        # No router solicitations or duplicate detection: every frame is one that a check asked for.
        run(*self.in_netns, "sysctl", "-qw", f"net.ipv6.conf.{TAP}.accept_dad=0", f"net.ipv6.conf.{TAP}.router_solicitations=0")
        self.ip("addr", "add", f"{HOST4}/24", "dev", TAP)
        self.ip("addr", "add", f"{HOST6}/64", "dev", TAP)
        self.ip("link", "set", TAP, "up")
        self.enter()
        Trunk()
        self.ip("addr", "add", f"{HOST4_VLAN}/24", "dev", TRUNK_TAP)
        self.ip("link", "set", TRUNK_TAP, "up")

    def ip(self, *arguments):
        """`ip` inside the namespace."""
        return run("ip", "-n", self.name, *arguments)

    def set_mtu(self, mtu):
        """The MTU of both interfaces."""
        for device in TAP, TRUNK_TAP:
            self.ip("link", "set", device, "mtu", str(mtu))

    def forget_neighbors(self):
        """So that the next check begins with ARP and NDP."""
        for device in TAP, TRUNK_TAP:
            self.ip("neigh", "flush", "dev", device)

    def enter(self):
        """Moves the calling thread into the namespace."""
        with open(f"/run/netns/{self.name}") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def remove(self):
        """Takes the namespace away, and what is in it."""
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)
        MADE.discard(self)


class Trunk:
    """802.1Q for kernels without it: what the kernel sends on its own tap gets the tag, what the guest sends with it loses it."""

    TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 0x0002, 0x1000, 0x4000
    HEADER_BYTES = 10

    def __init__(self):
        self.tap = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self.tap, self.TUNSETIFF, struct.pack("16sH22x", TRUNK_TAP.encode(), self.IFF_TAP | self.IFF_NO_PI | self.IFF_VNET_HDR))
        run("sysctl", "-qw", f"net.ipv6.conf.{TRUNK_TAP}.disable_ipv6=1")
        self.raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.raw.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.raw.bind((TAP, ETH_P_ALL))
        for forward in self._to_guest, self._to_kernel:
            threading.Thread(target=forward, daemon=True).start()

    def _to_guest(self):
        while True:
            try:
                record = os.read(self.tap, FRAME_BYTES)
                header, frame = record[:self.HEADER_BYTES], record[self.HEADER_BYTES:]
                self.raw.send(header + frame[:12] + struct.pack("!HH", 0x8100, VLAN) + frame[12:])
            except OSError:
                return  # the namespace is gone

    def _to_kernel(self):
        while True:
            try:
                record, ancillary, _, source = self.raw.recvmsg(FRAME_BYTES, 256)
                if source[2] != PACKET_OUTGOING and tag_of(ancillary) == VLAN:
                    os.write(self.tap, record)
            except OSError:
                return


def tag_of(ancillary):
    """The VLAN of a received frame, 0 without one: the kernel takes the tag out and gives it beside."""
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", data[:20])
            return tci & 0x0FFF if status & TP_STATUS_VLAN_VALID else 0
    return 0


def folded(data):
    """The one's complement sum of bytes (RFC 1071): 0 to 65535, where 0 and 65535 are the same number."""
    if len(data) % 2:
        data += b"\0"
    return int.from_bytes(data, "big") % 65535


class Recorder:
    """Reads every frame that the guest sends, as the NIC gave it to the host, and verifies its checksums.

    A NIC that leaves a checksum to the host (virtio) says so in a header before the frame: then the field must hold the sum
    of the pseudo-header, and the header must name the right place; that is what the request of an offload is made of.
    """

    def __init__(self, wire):
        self.frames = self.tcp = self.left_to_host = self.large = self.longest = 0
        self.vlans, self.segment_sizes = set(), set()
        self.wrong = []
        self.ended = False
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._record, args=(wire,), daemon=True)
        self.thread.start()
        self.ready.wait(5)

    def _record(self, wire):
        wire.enter()
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as raw:
            raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            raw.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            raw.bind((TAP, ETH_P_ALL))
            raw.settimeout(0.1)
            self.ready.set()
            while True:
                try:
                    frame, ancillary, _, source = raw.recvmsg(FRAME_BYTES, 256)
                except TimeoutError:
                    if self.ended:
                        break
                    continue
                if source[2] != PACKET_OUTGOING:
                    self.vlans.add(tag_of(ancillary))
                    self._verify(frame)
            _, drops = struct.unpack("II", raw.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
            if drops:
                self.wrong.append(f"{drops} frames were not recorded")

    def _verify(self, record):
        self.frames += 1
        flags, gso, _, gso_size, start, offset = struct.unpack("=BBHHHH", record[:10])
        frame = record[10:]
        kind, at = struct.unpack("!H", frame[12:14])[0], 14
        if kind == 0x8100:
            kind, at = struct.unpack("!H", frame[16:18])[0], 18
        if kind == 0x0800:
            header = (frame[at] & 15) * 4
            if folded(frame[at:at + header]) != 0:
                self.wrong.append(f"IPv4 header checksum of {frame[:60].hex()}")
            length = struct.unpack("!H", frame[at + 2:at + 4])[0]
            protocol, l4, end = frame[at + 9], at + header, at + length
            addresses = frame[at + 12:at + 20]
        elif kind == 0x86DD:
            length = struct.unpack("!H", frame[at + 4:at + 6])[0]
            protocol, l4, end = frame[at + 6], at + 40, at + 40 + length
            addresses = frame[at + 8:at + 40]
        else:
            return
        self.longest = max(self.longest, end - at)
        if protocol == 1:
            if folded(frame[l4:end]) != 0:
                self.wrong.append(f"ICMP checksum of {frame[:60].hex()}")
            return
        if protocol not in (6, 58):
            return
        self.tcp += protocol == 6
        self.large += gso != 0
        if gso != 0:
            self.segment_sizes.add(gso_size)
        pseudo = folded(addresses + struct.pack("!HH", protocol, end - l4))
        if flags & 1:
            self.left_to_host += 1
            field = struct.unpack("!H", frame[l4 + 16:l4 + 18])[0] % 65535
            if (start, offset) != (l4, 16):
                self.wrong.append(f"checksum asked for at {start}+{offset}, not {l4}+16: {frame[:60].hex()}")
            elif field != pseudo:
                self.wrong.append(f"pseudo-header sum {field:#x}, not {pseudo:#x}: {frame[:60].hex()}")
        elif (pseudo + folded(frame[l4:end])) % 65535 != 0:
            self.wrong.append(f"TCP or ICMPv6 checksum of {frame[:70].hex()}")

    def end(self):
        """Stops recording and returns itself."""
        self.ended = True
        self.thread.join(10)
        return self
