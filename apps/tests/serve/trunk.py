"""A trunk of VLANs between the kernel and an interface, for kernels without 802.1Q.

trunk.py INTERFACE ID:TAP...  makes a tap for each VLAN. What the kernel sends on a tap goes to INTERFACE with that tag; what
comes out of INTERFACE with that tag goes to the tap without it. ID 0: without a tag. Says "ready", and runs until INTERFACE is gone.
"""

import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
ETH_P_ALL, SOL_PACKET, PACKET_AUXDATA, PACKET_OUTGOING = 0x0003, 263, 8, 4
TP_STATUS_VLAN_VALID = 1 << 4
FRAME_LEN_MAX = 65536


def make_tap(name):
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return tap


def vlan_of(ancillary):
    """The kernel takes the tag out of a frame and tells it beside."""
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", data[:20])
            return tci & 0x0FFF if status & TP_STATUS_VLAN_VALID else 0
    return 0


def main():
    interface, places = sys.argv[1], [place.split(":") for place in sys.argv[2:]]
    taps = {int(vlan): make_tap(tap) for vlan, tap in places}
    vlans = {tap: vlan for vlan, tap in taps.items()}
    trunk = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    trunk.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    trunk.bind((interface, ETH_P_ALL))
    print("ready", flush=True)
    while True:
        for source in select.select([trunk, *vlans], [], [])[0]:
            if source is trunk:
                try:
                    frame, ancillary, _, address = trunk.recvmsg(FRAME_LEN_MAX, 256)
                except OSError:
                    return  # the interface is gone
                tap = taps.get(vlan_of(ancillary))
                if address[2] == PACKET_OUTGOING or tap is None:
                    continue
                try:
                    os.write(tap, frame)
                except OSError:
                    pass  # still down
            else:
                frame = os.read(source, FRAME_LEN_MAX)
                vlan = vlans[source]
                tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
                trunk.send(frame[:12] + tag + frame[12:])


main()
