"""The address by which this machine reaches another one, and the network interface that has it."""

import fcntl
import socket
import struct
import sys

SIOCGIFADDR = 0x8915
"""Linux's request for the IPv4 address of an interface."""


def own_address(host: str, port: int) -> str:
    """Returns the address of this machine on its way to a host. Nothing is sent.

    Raises:
        OSError: the host is not known, or there is no way to it.
    """
    family, kind, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as way:
        way.connect(target)
        return way.getsockname()[0]


def interface_of(address: str) -> str | None:
    """Returns the network interface that has an IPv4 address; None where it cannot be told."""
    if sys.platform != "linux":
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(asked.fileno(), SIOCGIFADDR, request)
            except OSError:  # it has none
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
