"""Servers with a planted limit, for `syncline load` to find.

planted.py slow    answers one request at a time, 20 ms each
planted.py backlog lets two connections wait to be accepted, and accepts one each 200 ms
"""

import socket
import sys
import threading
import time

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


def answer(connection, work_s=0.0):
    with connection:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(4096)
            if not more:
                return
            data += more
        time.sleep(work_s)
        connection.sendall(REPLY)


def main():
    mode = sys.argv[1]
    server = socket.create_server(("", 8080), backlog=1 if mode == "backlog" else 4096)
    while True:
        connection, _ = server.accept()
        try:
            if mode == "slow":
                answer(connection, 0.02)
            else:
                threading.Thread(target=answer, args=[connection], daemon=True).start()
                time.sleep(0.2)
        except OSError:
            pass  # the client is gone


main()
