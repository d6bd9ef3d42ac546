"""First bytes, chunks, sizes, connections that say little: what needs no channel or only an unsecured one."""

import asyncio
import os
import random
import socket
import struct
import time

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from common.check import check, expect
from common.raw import Raw, chunk, get_endpoints, hello, open_none, read_request, string

from .scene import cpu, resident

WORDS = lambda *words: struct.pack(f"<{len(words)}I", *words)


def first_bytes(url):
    """About thirty things that are no Hello."""
    generator = random.Random(1)
    good = hello(url)
    rows = [b"", b"\0", b"H", b"HEL", b"HELF", good[:-1], good[:12], b"\0" * 8, b"\xff" * 8, b"\0" * 4096, b"\xff" * 4096]
    rows += [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-2.0-x\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x03\x00\x00\x16\x11\xe0\x00\x00"]
    rows += [chunk(b"HEL", b""), chunk(b"HEL", b"\0" * 20), chunk(b"HEL", WORDS(0, 0, 0, 0, 0) + string(url)), chunk(b"HEL", WORDS(0, 1, 1, 1, 1) + string(url))]
    rows += [hello("x" * 4096), hello("x" * 60_000), hello(b"\xff\xfe"), hello(None), hello(url, version=0xFFFFFFFF), hello(url, receive=8191, send=8191)]
    rows += [good.replace(b"HELF", b"HELC"), good.replace(b"HELF", b"HELX"), good.replace(b"HELF", b"ACKF"), good.replace(b"HELF", b"ERRF")]
    rows += [chunk(b"RHE", string("urn:x") + string(url)), chunk(b"MSG", b"\0" * 100), open_none(), chunk(b"CLO", b"\0" * 20), good + good]
    rows += [generator.randbytes(size) for size in (1, 7, 8, 9, 100, 10_000)]
    return rows


@check("first_bytes", "about thirty malformed hellos and other protocols end their own connection", "OPC 10000-6, 7.1.2")
async def malformed_hellos(s):
    def run():
        for data in first_bytes(s.url):
            try:
                with Raw(s.url, 1) as raw:
                    raw.send(data)
                    raw.end(0.2)
            except OSError:
                pass

    await asyncio.to_thread(run)
    return await s.holds()


@check("chunks", "a message of ever more chunks is ended before it takes memory", "OPC 10000-6, 6.7.3")
async def intermediate_chunks(s):
    count = s.size(4000, 1000)

    def run():
        with Raw(s.url) as raw:
            raw.hello()
            raw.open()
            for number in range(count):
                try:
                    raw.send(raw.message(b"\0" * 8000, letter=b"C"))
                except OSError:
                    return number
            return None if raw.end(5)[0] == "open" else count

    ended = await asyncio.to_thread(run)
    expect(ended is not None, "the connection is still open after", count, "chunks of 8 kB")
    return f"ended after {ended} chunks; {await s.holds()}"


@check("chunks", "a message of ever more empty chunks is ended", "OPC 10000-6, 6.7.3")
async def empty_chunks(s):
    count = s.size(20_000, 5000)

    def run():
        with Raw(s.url) as raw:
            raw.hello()
            raw.open()
            for number in range(count):
                try:
                    raw.send(raw.message(b"", letter=b"C"))
                except OSError:
                    return number
            return None if raw.end(5)[0] == "open" else count

    ended = await asyncio.to_thread(run)
    expect(ended is not None, "the connection is still open after", count, "empty chunks")
    return f"ended after {ended} chunks; {await s.holds()}"


@check("chunks", "aborted messages harm nobody", "OPC 10000-6, 6.7.3")
async def aborts(s):
    def run():
        with Raw(s.url) as raw:
            raw.hello()
            raw.open()
            for _ in range(s.size(5000, 500)):
                try:
                    raw.send(raw.message(b"\0" * 100, letter=b"C"))
                    raw.send(raw.message(WORDS(0x80020000) + string("enough"), letter=b"A"))
                except OSError:
                    return

    await asyncio.to_thread(run)
    return await s.holds()


@check("chunks", "connections that end in the middle of a chunk harm nobody", "OPC 10000-6, 7.1.2")
async def closed_in_mid_chunk(s):
    def run():
        for number in range(s.size(300, 60)):
            try:
                with Raw(s.url, 5) as raw:
                    data = hello(s.url)
                    if number % 3:
                        raw.hello()
                        data = open_none()
                    if number % 3 == 2:
                        raw.open()
                        data = raw.message(get_endpoints(s.url))
                    raw.send(data[: len(data) * (number % 7 + 1) // 9])
            except OSError:
                pass

    await asyncio.to_thread(run)
    return await s.holds()


@check("chunks", "a wrong channel, token or type is never answered, and a sequence number does not come twice", "OPC 10000-6, 6.7.2")
async def games(s):
    games = {
        "channel": lambda raw: raw.message(get_endpoints(s.url), channel=raw.channel + 1),
        "channel 0": lambda raw: raw.message(get_endpoints(s.url), channel=0),
        "token": lambda raw: raw.message(get_endpoints(s.url), token=raw.token + 1),
        "token 0": lambda raw: raw.message(get_endpoints(s.url), token=0),
        "letter": lambda raw: raw.message(get_endpoints(s.url), letter=b"Z"),
        "kind": lambda raw: raw.message(get_endpoints(s.url), kind=b"XXX"),
        "a second hello": lambda raw: hello(s.url),
        "sequence twice": lambda raw: raw.message(get_endpoints(s.url), sequence=1),
    }

    def run():
        wrong = []
        for name, make in games.items():
            with Raw(s.url) as raw:
                raw.hello()
                raw.open()
                raw.send(make(raw))
                _, kinds = raw.end(1.5)
                if "MSG" in kinds or "ACK" in kinds:
                    wrong.append(name)
        return wrong

    wrong = await asyncio.to_thread(run)
    said = await s.holds()
    expect(not wrong, "answered:", wrong)
    return said


@check("oversize", "a chunk that says to be of 4 GB is refused before 16 MB have come", "OPC 10000-6, 7.1.2.2")
async def oversize(s):
    most = s.size(256 << 20, 64 << 20)

    def run(kind):
        with Raw(s.url) as raw:
            if kind != b"HEL":
                raw.hello()
            if kind == b"MSG":
                raw.open()
            sent = 0
            try:
                raw.send(chunk(kind, b"", size=0xFFFFFFF0))
                while sent < most:
                    raw.send(b"\0" * 65_536)
                    sent += 65_536
            except (OSError, TimeoutError):
                pass
            return sent

    for kind in (b"HEL", b"OPN", b"MSG"):
        sent = await asyncio.to_thread(run, kind)
        expect(sent < 16 << 20, kind, "took", sent >> 20, "MB")
    return await s.holds()


@check("half_open", "connections that say nothing, or stop after Hello or after their channel, keep nobody out", "issue: limits")
async def half_open(s):
    held = []

    def hold():
        for _ in range(s.size(500, 100)):
            try:
                held.append(Raw(s.url, 2))
            except OSError:
                pass
        for step in ("hello", "open"):
            for _ in range(s.size(500 if step == "hello" else 250, 60)):
                try:
                    raw = Raw(s.url, 2)
                    held.append(raw)
                    raw.hello()
                    if step == "open":
                        raw.open()
                except (OSError, struct.error, ValueError):
                    pass

    try:
        await asyncio.to_thread(hold)
        meanwhile = None
        end = time.monotonic() + 15
        while meanwhile is None:
            try:
                meanwhile = await s.served(tries=1)
            except AssertionError:
                expect(time.monotonic() < end, "nobody is served while", len(held), "connections are held")
        if s.full:
            await asyncio.sleep(30)
            open_ones = sum(1 for raw in held[:1000] if is_open(raw))
            expect(open_ones <= 5, open_ones, "of", len(held), "are still open after 30 s")
    finally:
        for raw in held:
            raw.close()
    return f"{len(held)} held, served meanwhile in {meanwhile:.2f} s; {await s.holds()}"


def is_open(raw):
    """Whether the other side has not closed this connection."""
    raw.socket.setblocking(False)
    try:
        while raw.socket.recv(65_536):
            pass
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


@check("slow", "who does not read his answers is not served without end", "issue: response backlog")
async def unread_answers(s):
    count = s.size(20_000, 6000)
    peak = [0]

    def run():
        with Raw(s.url, 3) as raw:
            # the kernel's own buffers are not the point
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.hello()
            raw.open()
            request = get_endpoints(s.url)
            sent = 0
            try:
                for number in range(count):
                    raw.send(raw.message(request, request=number + 2))
                    sent = number + 1
                    if number % 500 == 0:
                        peak[0] = max(peak[0], resident(s.pid))
            except OSError:
                pass
            time.sleep(1)
            peak[0] = max(peak[0], resident(s.pid))
            return sent

    sent = await asyncio.to_thread(run)
    grown = peak[0] - s.before
    expect(grown <= 64 << 20, "memory grew by", grown >> 20, "MB while", sent, "requests were sent and nothing was read")
    return f"{sent} requests were taken, at most {grown >> 20:+d} MB; {await s.holds()}"


@check("slow", "hellos of a byte a second cost little processor and log", "issue: half-open time")
async def byte_a_second(s):
    seconds = s.size(20, 6)
    held = []
    for _ in range(s.size(100, 30)):
        try:
            held.append(Raw(s.url, 2))
        except OSError:
            pass
    used, log, started = cpu(s.pid), len(s.plant.log()), time.monotonic()
    data = hello(s.url)
    for at in range(seconds):
        for raw in held:
            try:
                raw.send(data[at : at + 1])
            except OSError:
                pass
        await asyncio.sleep(1)
    passed = time.monotonic() - started
    share, written = (cpu(s.pid) - used) / passed, (len(s.plant.log()) - log) / passed
    for raw in held:
        raw.close()
    expect(share <= 0.4, "processor:", round(share, 2))
    expect(written <= 50_000, "log:", int(written), "B/s")
    return f"{share:.0%} of a processor, {int(written)} B/s of log; {await s.holds()}"


@check("fuzz", "mutated messages without security end their own connection at most", "issue: 20,000 seeded mutations", limit=1800)
async def mutations(s):
    count = s.size(20_000, 1500)
    generator = random.Random(s.arguments.seed)

    def run(number):
        with Raw(s.url, 2) as raw:
            step = generator.randrange(4)
            data = hello(s.url)
            if step >= 1:
                raw.hello()
                data = open_none()
            if step >= 2:
                raw.open()
                data = raw.message(generator.choice(SEEDS)(s.url))
            raw.send(sized(generator, mutated(generator, data)))
            if number % 20 == 0:
                raw.end(0.05)

    said = ""
    for number in range(count):
        try:
            await asyncio.to_thread(run, number)
        except (OSError, ValueError, struct.error):
            pass
        if number % 500 == 499:
            said = await s.holds()
    return f"{count} mutations; {said or await s.holds()}"


def mutated(generator, data):
    """One to four changes: bits, bytes, numbers, cuts, repeats."""
    data = bytearray(data)
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(data)) if data else 0
        kind = generator.randrange(7)
        if kind == 0 and data:
            data[at] ^= 1 << generator.randrange(8)
        elif kind == 1 and data:
            data[at] = generator.randrange(256)
        elif kind == 2:
            data[at : at + 4] = generator.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\0\0\0", b"\x01\0\0\0", b"\xfe\xff\xff\xff"])
        elif kind == 3:
            del data[at : at + generator.randrange(1, 40)]
        elif kind == 4:
            data[at:at] = generator.randbytes(generator.randrange(1, 40))
        elif kind == 5:
            data[at:at] = data[at : at + 60] * generator.randrange(1, 30)
        else:
            data[at : at + 8] = generator.choice([b"\0\0\0\0\0\0\xf8\x7f", b"\0\0\0\0\0\0\xf0\x7f", b"\xff" * 7 + b"\x7f", b"\0" * 7 + b"\x80"])
    return bytes(data)


def sized(generator, data):
    """Mostly with a size that is right, so that more than the header is looked at."""
    if len(data) >= 8 and generator.random() < 0.8:
        data = data[:4] + struct.pack("<I", len(data)) + data[8:]
    return data


def request(name, **fields):
    def make(url):
        one = getattr(ua, name)()
        for field, value in fields.items():
            setattr(one.Parameters, field, value)
        if hasattr(getattr(one, "Parameters", None), "EndpointUrl"):
            one.Parameters.EndpointUrl = url
        return struct_to_binary(one)

    return make


NODE = ua.NodeId(2259, 0)
VALUE = ua.DataValue(ua.Variant([1.5, 2.5], ua.VariantType.Double))
SEEDS = [
    request("GetEndpointsRequest"),
    request("FindServersRequest", ServerUris=["urn:x"]),
    request("CreateSessionRequest", ClientNonce=bytes(32), SessionName="x"),
    request("ActivateSessionRequest", UserIdentityToken=ua.UserNameIdentityToken(PolicyId="x", UserName="x", Password=bytes(256))),
    request("ReadRequest", NodesToRead=[ua.ReadValueId(NodeId=NODE, AttributeId=13)] * 3),
    request("WriteRequest", NodesToWrite=[ua.WriteValue(NodeId=NODE, AttributeId=13, Value=VALUE)] * 2),
    request("BrowseRequest", NodesToBrowse=[ua.BrowseDescription(NodeId=NODE)] * 2),
    request("BrowseNextRequest", ContinuationPoints=[b"x" * 8]),
    request("CreateSubscriptionRequest", RequestedPublishingInterval=100.0, RequestedLifetimeCount=100, RequestedMaxKeepAliveCount=10),
    request("PublishRequest", SubscriptionAcknowledgements=[ua.SubscriptionAcknowledgement(SubscriptionId=1, SequenceNumber=1)]),
    request("CallRequest", MethodsToCall=[ua.CallMethodRequest(ObjectId=NODE, MethodId=NODE, InputArguments=[ua.Variant(1, ua.VariantType.UInt32)])]),
    request(
        "CreateMonitoredItemsRequest",
        SubscriptionId=1,
        ItemsToCreate=[
            ua.MonitoredItemCreateRequest(
                ItemToMonitor=ua.ReadValueId(NodeId=NODE, AttributeId=13),
                RequestedParameters=ua.MonitoringParameters(SamplingInterval=10.0, QueueSize=10, Filter=ua.DataChangeFilter(DeadbandType=1, DeadbandValue=1.0)),
            )
        ],
    ),
    request("TranslateBrowsePathsToNodeIdsRequest", BrowsePaths=[ua.BrowsePath(StartingNode=NODE, RelativePath=ua.RelativePath([ua.RelativePathElement(TargetName=ua.QualifiedName("x", 0))]))]),
    request("HistoryReadRequest", HistoryReadDetails=ua.ReadRawModifiedDetails(), NodesToRead=[ua.HistoryReadValueId(NodeId=NODE)]),
    request("RegisterNodesRequest", NodesToRegister=[NODE] * 3),
]
