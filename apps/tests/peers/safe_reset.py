"""A mitigator that knows its sources by their resets ("safe reset"), on the kernel's side of a tap: a SYN of an unknown source and
port is dropped by nft and answered from here with a wrong ack; the reset that answers it lets the source in.

Usage: safe_reset.py INTERFACE PORT. It must never answer a SYN that the kernel answers.
"""
import socket
import struct
import subprocess
import sys

from answer import answer

interface, port = sys.argv[1], int(sys.argv[2])
WRONG = 12345


rules = subprocess.Popen(["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
rules.stdin.write(
    "add table ip safe; add set ip safe known { type ipv4_addr . inet_service; }; "
    "add chain ip safe in { type filter hook input priority 0; policy accept; }; "
    f"add rule ip safe in tcp dport {port} tcp flags syn ip saddr . tcp sport != @known drop\n"
)
rules.stdin.flush()
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
tap.bind((interface, 0))
print("ready", flush=True)
known = set()
while True:
    frame = tap.recv(2048)
    ip = frame[14:34]
    tcp = frame[34:54]
    if len(tcp) < 20 or ip[9] != 6 or struct.unpack("!H", tcp[2:4])[0] != port:
        continue
    source = (ip[12:16], tcp[0:2])
    if source in known:
        continue
    seq = struct.unpack("!I", tcp[4:8])[0]
    if tcp[13] == 0x02:
        ack = (seq + 1 + WRONG) & 0xFFFFFFFF
        (its_port,) = struct.unpack("!H", tcp[0:2])
        tap.send(answer(frame, (port, its_port), 777, ack, 0x12, window=1000))
    elif tcp[13] == 0x04:
        known.add(source)
        address = ".".join(map(str, source[0]))
        rules.stdin.write(f"add element ip safe known {{ {address} . {struct.unpack('!H', source[1])[0]} }}\n")
        rules.stdin.flush()
