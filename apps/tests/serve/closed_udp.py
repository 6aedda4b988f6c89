"""Send a datagram that this kernel cuts over each family. That its port is closed can be said only of the whole."""
import socket
for host in ('198.18.0.2', '2001:db8::2'):
    peer = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
    if ':' not in host:
        # IP_MTU_DISCOVER, IP_PMTUDISC_DONT.
        peer.setsockopt(socket.IPPROTO_IP, 10, 0)
    peer.settimeout(10)
    peer.connect((host, 9))
    peer.send(bytes(1400))
    try:
        peer.recv(1)
        assert False
    except ConnectionRefusedError:
        pass
