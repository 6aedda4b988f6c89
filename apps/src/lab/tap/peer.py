"""The kernel's end of a lab scene: an ordinary sockets program that does its acts when they are due.

Started by `syncline lab run … --over tap` with the script as one line of JSON on stdin; "ready" goes to stdout when it
listens, a second line on stdin says when the scene starts (CLOCK_MONOTONIC, ns). What it calls and sees goes to stdout, one
JSON object a line. It never decides anything.
"""

import errno
import json
import queue
import socket
import sys
import threading
import time

script = json.loads(sys.stdin.readline())
host, port = script["server"]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
server = "[%s]:%d" % (host, port) if ":" in host else "%s:%d" % (host, port)
out = threading.Lock()


def say(**what):
    what["at_ns"] = time.monotonic_ns()
    with out:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


class Connection:
    """One connection, with a thread of its own: a call that blocks holds up nobody else."""

    def __init__(self, number):
        self.number = number
        self.socket = None
        self.total = 0
        self.is_there = threading.Event()
        self.acts = queue.Queue()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            act = self.acts.get()
            if act["do"] != "connect":
                self.is_there.wait()
            try:
                getattr(self, act["do"])(act)
            except OSError as error:
                say(seen="failed", conn=self.number, errno=errno.errorcode.get(error.errno, "EOTHER"))

    def connect(self, act):
        self.socket = socket.socket(family)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if script["rcv_buf"]:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, script["rcv_buf"])
        self.socket.bind((script["local"], script["client_port"] + self.number))
        say(call="connect(%s)" % server, conn=self.number)
        self.socket.connect((host, port))
        say(seen="connected", conn=self.number)
        self.is_there.set()

    def send(self, act):
        say(call="send(%d bytes)" % act["len"], conn=self.number)
        self.socket.sendall(b"x" * act["len"])

    def read(self, act):
        say(call="recv(%d bytes)" % act["len"], conn=self.number)
        wanted = act["len"]
        while wanted:
            got = self.socket.recv(wanted)
            if not got:
                return say(seen="eof", conn=self.number)
            wanted -= len(got)
            self.total += len(got)
            say(seen="received", conn=self.number, total=self.total)

    def close(self, act):
        say(call="close()", conn=self.number)
        self.socket.close()


connections = {}
accepts = queue.Queue()


def connection(number):
    if number not in connections:
        connections[number] = Connection(number)
    return connections[number]


def accept(listener):
    while True:
        accepts.get()
        say(call="accept()", conn=0)
        opened, peer = listener.accept()
        one = connection(peer[1] - script["client_port"])
        one.socket = opened
        say(seen="accepted", conn=one.number)
        one.is_there.set()


if script["backlog"] is not None:
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if script["rcv_buf"]:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, script["rcv_buf"])
    listener.bind((host, port))
    listener.listen(script["backlog"])
    threading.Thread(target=accept, args=(listener,), daemon=True).start()

for act in script["acts"]:
    if act["do"] != "accept":
        connection(act["conn"])
say(ready=True)
start_ns = int(sys.stdin.readline())
for act in script["acts"]:
    time.sleep(max(0, start_ns + act["at_ms"] * 1_000_000 - time.monotonic_ns()) / 1e9)
    if act["do"] == "accept":
        accepts.put(act)
    else:
        connection(act["conn"]).acts.put(act)
# Until it is ended, or whoever started it is gone.
sys.stdin.read()
