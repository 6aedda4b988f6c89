"""A plain sockets server, for the tests of our endpoint as a client: server.py PORT BYTES. Each way to behave has a port, from
PORT on; it prints "ready" when all listen. It knows nothing of Syncline but the pattern of RFC 864."""

import socket
import sys
import threading
import time

LINES = [bytes(32 + (line + column) % 95 for column in range(72)) + b"\r\n" for line in range(95)]
PERIOD = b"".join(LINES)


def echo(sock):
    """Gives everything back, and closes when the peer has closed."""
    while data := sock.recv(65536):
        sock.sendall(data)


def closes_first(sock):
    """Sends the pattern and closes."""
    sock.sendall((PERIOD * (LENGTH // len(PERIOD) + 1))[:LENGTH])
    sock.shutdown(socket.SHUT_WR)
    sock.recv(1)


def closes_unread(sock):
    """Closes while bytes wait to be read: the kernel resets."""
    while not sock.recv(1, socket.MSG_PEEK):
        time.sleep(0.01)
    time.sleep(0.2)


def never_reads(sock):
    """Accepts, and does nothing more."""
    time.sleep(3600)


def serve(port, behave):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)

    def one(sock):
        try:
            with sock:
                behave(sock)
        except OSError:
            pass  # the peer has gone

    def accept():
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=one, args=(sock,), daemon=True).start()

    if behave:
        threading.Thread(target=accept, daemon=True).start()
    return listener


if __name__ == "__main__":
    port, LENGTH = int(sys.argv[1]), int(sys.argv[2])
    # The last one never accepts.
    behaviours = [echo, closes_first, closes_unread, never_reads, None]
    listeners = [serve(port + i, behave) for i, behave in enumerate(behaviours)]
    print("ready", flush=True)
    time.sleep(3600)
