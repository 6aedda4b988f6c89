"""A plain sockets client, for the tests of `syncline serve`: client.py WHAT HOST PORT BYTES. Exits with 1 and says why when a
byte differs or an end is not as it must be. It knows nothing of Syncline but the pattern of RFC 864."""

import errno
import socket
import struct
import sys
import threading
import time

LINES = [bytes(32 + (line + column) % 95 for column in range(72)) + b"\r\n" for line in range(95)]
PERIOD = b"".join(LINES)


def pattern(length):
    return (PERIOD * (length // len(PERIOD) + 1))[:length]


def connect(host, port):
    """A connection; a tap that has just come up has no IPv6 route for a moment."""
    for _ in range(50):
        try:
            sock = socket.create_connection((host, port), timeout=60)
        except OSError as error:
            if error.errno != errno.ENETUNREACH:
                raise
            time.sleep(0.1)
        else:
            sock.settimeout(120)
            return sock
    sys.exit(f"no route to {host}")


def read_to_end(sock, pause=0.0, piece=65536):
    parts = []
    while part := sock.recv(piece):
        parts.append(part)
        if pause:
            time.sleep(pause)
    return b"".join(parts)


def same(got, wanted):
    if got != wanted:
        at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
        sys.exit(f"{len(got)} bytes for {len(wanted)}, first difference at {at}")


def echo(host, port, length):
    """Big writes, a reader beside them, a half-close, and everything back."""
    sock, wanted = connect(host, port), pattern(length)

    def write():
        sock.sendall(wanted)
        sock.shutdown(socket.SHUT_WR)

    writer = threading.Thread(target=write)
    writer.start()
    same(read_to_end(sock), wanted)
    writer.join()


def half_close(host, port, length):
    """Everything is sent and the direction closed before the first byte is read."""
    sock, wanted = connect(host, port), pattern(length)
    sock.sendall(wanted)
    sock.shutdown(socket.SHUT_WR)
    time.sleep(0.3)
    same(read_to_end(sock), wanted)


def bytewise(host, port, length):
    """One byte a segment."""
    sock, wanted = connect(host, port), pattern(length)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in wanted:
        sock.sendall(bytes([byte]))
    sock.shutdown(socket.SHUT_WR)
    same(read_to_end(sock), wanted)


def urgent(host, port, length):
    """Urgent data stands in the stream like any other (RFC 6093)."""
    sock, wanted = connect(host, port), pattern(length)
    sock.sendall(wanted)
    sock.send(b"!", socket.MSG_OOB)
    sock.sendall(wanted)
    sock.shutdown(socket.SHUT_WR)
    same(read_to_end(sock), wanted + b"!" + wanted)


def reset(host, port, length):
    """Leaves with a reset, in the middle of the conversation."""
    sock = connect(host, port)
    sock.sendall(pattern(length))
    sock.recv(1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def slow_reader(host, port, length):
    """Reads the pattern through a small buffer, slower than it comes, and stops for a while."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(120)
    sock.connect((host, port))
    time.sleep(1.5)
    got = b""
    while len(got) < length:
        part = sock.recv(min(2048, length - len(got)))
        if not part:
            sys.exit("the server has closed")
        got += part
        time.sleep(0.002)
    same(got, pattern(length))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def blocked(host, port, length):
    """Sends to a server that never reads: the window closes, and nothing is lost or reset."""
    sock = connect(host, port)
    sock.setblocking(False)
    sent, data = 0, pattern(length)
    until = time.monotonic() + 3
    while time.monotonic() < until and sent < length:
        try:
            sent += sock.send(data[sent : sent + 65536])
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            time.sleep(0.01)
    if sent == length:
        sys.exit("the window never closed")
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        sys.exit(f"the connection broke: {errno.errorcode[error]}")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def sequential(host, port, length):
    """So many connections of a byte each, one after the other; we close first."""
    for i in range(length):
        sock = connect(host, port)
        sock.sendall(bytes([i % 256]))
        same(sock.recv(1), bytes([i % 256]))
        sock.shutdown(socket.SHUT_WR)
        same(read_to_end(sock), b"")
        sock.close()


def concurrent(host, port, length):
    """So many connections at once, each with a number that only it gets back."""
    socks = [connect(host, port) for _ in range(length)]
    for round_number in range(3):
        for i, sock in enumerate(socks):
            sock.sendall(struct.pack("!II", i, round_number))
        for i, sock in enumerate(socks):
            same(sock.recv(8, socket.MSG_WAITALL), struct.pack("!II", i, round_number))
    for sock in socks:
        sock.shutdown(socket.SHUT_WR)
    for sock in socks:
        same(read_to_end(sock), b"")


if __name__ == "__main__":
    what, host, port, length = sys.argv[1:]
    started = time.monotonic()
    globals()[what](host, int(port), int(length))
    print(f"{what} {length}: {time.monotonic() - started:.3f} s")
