"""A flood of resets in return, from the kernel's side of a tap: every segment that a client sends to a port is answered by many RSTs.

Usage: rst_flood.py INTERFACE PORT valid|forged RESETS_EACH FILE. On SIGTERM FILE gets how many of each kind were sent, as JSON.

valid: RSTs that a receiver must obey, with the number that it expects (RFC 9293, 3.10.7.4: SEG.SEQ = RCV.NXT), and the same again.
forged: RSTs that it must not obey: within its window and not the number that it expects (RFC 5961), with an ack that it never
sent (to a SYN), and from tuples that have no connection. It must never send a forged one that happens to be valid.
"""
import json
import random
import signal
import socket
import struct
import sys

from answer import answer

interface, port, kind, each, path = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5]
SYN, RST, ACK = 0x02, 0x04, 0x10
# In the window of every client here, and further than what a server sends in one reply: it never becomes the exact number.
IN_WINDOW = (4096, 8192)
sent = {"exact": 0, "in_window": 0, "to_syn": 0, "unknown_tuple": 0}


def reset(frame, to_port, seq, ack, what):
    """To the sender of `frame`, as if from the address and port that it wrote to."""
    flags = RST | (0 if ack is None else ACK)
    try:
        tap.send(answer(frame, (port, to_port), seq, ack or 0, flags))
    except OSError:
        # The queue of the tap is full.
        return
    sent[what] += 1


tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
tap.bind((interface, 0))


def end(*_):
    with open(path, "w") as file:
        json.dump(sent, file)
    sys.exit(0)


signal.signal(signal.SIGTERM, end)
# Valid resets meet connections that the kernel has accepted and no program answers.
listener = None
if kind == "valid":
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen(4096)
while True:
    try:
        frame, came_from = tap.recvfrom(2048)
    except OSError:
        # The run has ended, and its tap with it.
        end()
    # Our own frames come back as outgoing ones, and a flood into a sink is to another host.
    if came_from[2] != socket.PACKET_HOST or frame[23] != 6:
        continue
    tcp = frame[34:54]
    from_port, to_port, seq, ack = struct.unpack("!HHII", tcp[:12])
    flags = tcp[13]
    if to_port != port or flags & RST:
        continue
    for _ in range(each):
        if kind == "valid":
            if flags & ACK and not flags & SYN:
                reset(frame, from_port, ack, None, "exact")
        else:
            if flags & SYN:
                reset(frame, from_port, 0, seq + 1 + random.randint(1, 1 << 30), "to_syn")
            else:
                reset(frame, from_port, ack + random.randint(*IN_WINDOW), None, "in_window")
            reset(frame, random.randint(1, 1023), random.getrandbits(32), None, "unknown_tuple")
