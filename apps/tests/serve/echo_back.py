"""Send 60,000 bytes to the echo service of the endpoint and compare what comes back."""
import socket, random
data = random.Random(1).randbytes(60_000)
peer = socket.create_connection(('198.18.0.2', 7), 10)
peer.sendall(data)
back = b''
while len(back) < len(data):
    part = peer.recv(65536)
    assert part
    back += part
assert back == data
