"""Bytes by hand on a socket: what no client library would send."""

import socket
import struct

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

NONE_URI = "http://opcfoundation.org/UA/SecurityPolicy#None"
LIMIT = 10


def string(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<i", -1) if data is None else struct.pack("<i", len(data)) + data


def chunk(kind, body, letter=b"F", size=None):
    """A chunk (OPC 10000-6, 7.1.2.2): type, letter, size, the rest; `size` other than it is."""
    return kind + letter + struct.pack("<I", len(body) + 8 if size is None else size) + body


def hello(url, version=0, receive=65_535, send=65_535, message=0, chunks=0):
    return chunk(b"HEL", struct.pack("<5I", version, receive, send, message, chunks) + string(url))


def open_none(lifetime=3_600_000, mode=1, kind=0, policy=NONE_URI, channel=0, sequence=1, request=1):
    """An OpenSecureChannelRequest without security."""
    one = ua.OpenSecureChannelRequest()
    one.Parameters.RequestType = ua.SecurityTokenRequestType(kind)
    one.Parameters.SecurityMode = ua.MessageSecurityMode(mode)
    one.Parameters.RequestedLifetime = lifetime
    one.Parameters.ClientNonce = None
    head = struct.pack("<I", channel) + string(policy) + string(None) + string(None)
    return chunk(b"OPN", head + struct.pack("<II", sequence, request) + struct_to_binary(one))


class Raw:
    """A TCP connection to the server."""

    def __init__(self, url, limit=LIMIT):
        host, port = url.removeprefix("opc.tcp://").split("/")[0].split(":")
        self.url = url
        self.socket = socket.create_connection((host, int(port)), limit)
        self.socket.settimeout(limit)
        self.channel = self.token = None
        self.sequence = 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        """One chunk: (type with letter, body); None when the connection was closed."""
        head = self.exactly(8)
        if head is None:
            return None
        size = struct.unpack("<I", head[4:])[0]
        body = self.exactly(size - 8)
        return None if body is None else (head[:4], body)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            try:
                part = self.socket.recv(count - len(data))
            except ConnectionError:
                return None
            if not part:
                return None
            data += part
        return data

    def hello(self, **fields):
        self.send(hello(self.url, **fields))
        answer = self.receive()
        if answer is None or answer[0] != b"ACKF":
            raise ConnectionError(f"Hello: {answer}")
        return struct.unpack("<5I", answer[1])

    def open(self, **fields):
        """An unsecured channel; the answer's body."""
        self.send(open_none(**fields))
        answer = self.receive()
        if answer is None or answer[0] != b"OPNF":
            raise ConnectionError(f"OpenSecureChannel: {answer}")
        body = answer[1]
        self.channel = struct.unpack("<I", body[:4])[0]
        # after the type and the response header: version, channel, token, created, lifetime, nonce
        at = body.index(struct.pack("<I", self.channel), 60)
        self.token = struct.unpack("<I", body[at + 4 : at + 8])[0]
        self.lifetime = struct.unpack("<I", body[at + 16 : at + 20])[0]
        return body

    def message(self, body, letter=b"F", channel=None, token=None, sequence=None, request=2, kind=b"MSG", size=None):
        """A chunk of this channel."""
        self.sequence += 1
        number = self.sequence if sequence is None else sequence
        head = struct.pack("<IIII", self.channel if channel is None else channel, self.token if token is None else token, number, request)
        return chunk(kind, head + body, letter, size)

    def end(self, limit=LIMIT):
        """What comes until the other side closes or `limit` is over: ("closed" or "open", the chunk types)."""
        self.socket.settimeout(limit)
        kinds = []
        try:
            while (answer := self.receive()) is not None:
                kinds.append(answer[0][:3].decode(errors="replace"))
        except (TimeoutError, socket.timeout):
            return "open", kinds
        return "closed", kinds


def get_endpoints(url):
    request = ua.GetEndpointsRequest()
    request.Parameters.EndpointUrl = url
    return struct_to_binary(request)


def read_request(node=2259, token=None):
    request = ua.ReadRequest()
    request.Parameters.NodesToRead = [ua.ReadValueId(NodeId=ua.NodeId(node, 0), AttributeId=13)]
    if token is not None:
        request.RequestHeader.AuthenticationToken = token
    return struct_to_binary(request)
