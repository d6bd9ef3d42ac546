"""What only a client with a session can do: encodings, many sessions, subscriptions and items, mutations in a secured channel."""

import asyncio
import random
import struct
import time

from asyncua import ua
from asyncua.common.connection import MessageChunk
from asyncua.ua.ua_binary import nodeid_to_binary

from common import plant as plants
from common.check import check, expect
from common.client import Connection, name, status_of
from common.raw import Raw
from common.subscription import Subscription

from .framing import SEEDS, mutated
from .scene import descriptors, resident

NODE = ua.NodeId(2259, 0)
NULL = b"\xff\xff\xff\xff"


def header(service, token=b"\0\0"):
    """Type and RequestHeader of a service by its encoding's number."""
    return b"\x01\0" + struct.pack("<H", service) + token + bytes(8) + struct.pack("<IIiI", 1, 0, -1, 5000) + b"\0\0\0"


def write_request(value, token):
    """WriteRequest of one value, given as the bytes of a DataValue."""
    return header(673, token) + struct.pack("<i", 1) + b"\0\0" + struct.pack("<I", 13) + NULL + value


def encodings(token):
    """(what, body of a request) of about thirty that are wrong or extreme."""
    rows = []
    for depth in (50, 200, 3000, 60_000):
        rows.append((f"DataValue in Variant, {depth}", write_request(b"\x01\x17" * depth + b"\0", token)))
        rows.append((f"Variant array in Variant, {depth}", write_request(b"\x01" + b"\x98\x01\0\0\0" * depth + b"\0", token)))
        rows.append((f"DiagnosticInfo in itself, {depth}", write_request(b"\x01\x19" + b"\x40" * depth + b"\0", token)))
        rows.append((f"ExtensionObject in Variant, {depth}", write_request(b"\x01" + b"\x16\0\0\x01\xff\xff\xff\x7f" * depth, token)))
    for count in (0x7FFFFFFF, 100_000_000, 0xFFFFFFFE, 0x80000000):
        number = struct.pack("<I", count)
        rows.append((f"{count:#x} nodes to read", header(631, token) + bytes(8) + struct.pack("<I", 2) + number))
        rows.append((f"{count:#x} values in an array", write_request(b"\x01\x8b" + number + bytes(64), token)))
        rows.append((f"a String of {count:#x}", write_request(b"\x01\x0c" + number + b"x" * 64, token)))
    rows += [
        ("a String that is no UTF-8", write_request(b"\x01\x0c" + struct.pack("<i", 4) + b"\xff\xfe\xc0\x80", token)),
        ("dimensions that do not fit", write_request(b"\x01\xcb" + struct.pack("<i", 1) + bytes(8) + struct.pack("<iii", 2, 0x7FFFFFFF, 0x7FFFFFFF), token)),
        ("NaN", write_request(b"\x01\x0b" + b"\0\0\0\0\0\0\xf8\x7f", token)),
        ("the last time", write_request(b"\x05\x0d" + b"\xff" * 7 + b"\x7f" + b"\xff" * 7 + b"\x7f", token)),
        ("a time before all", write_request(b"\x05\x0d" + b"\0" * 7 + b"\x80" + b"\0" * 7 + b"\x80", token)),
        ("an unknown type", write_request(b"\x01\x3f" + bytes(8), token)),
        ("nothing after the header", header(673, token)),
        ("half a header", header(673, token)[:11]),
        ("an unknown service", header(65_000, token)),
        ("an empty body", b""),
    ]
    return rows


async def answered(s, one, body, limit=5):
    """Sends this body in the connection's channel: its answer's first bytes, "closed", or "nothing" after the limit."""
    protocol = one.protocol
    number = protocol._request_id + 1
    protocol._request_id = number
    future = asyncio.get_running_loop().create_future()
    protocol._callbackmap[number] = future
    try:
        protocol.transport.write(protocol._connection.message_to_binary(body or b"\0", request_id=number))
        await asyncio.wait_for(future, limit)
        return "answered"
    except (ua.UaError, ConnectionError, OSError, AttributeError):
        return "closed"
    except asyncio.TimeoutError:
        return "nothing"


def token_bytes(one):
    """The session's token as it stands in a RequestHeader."""
    return nodeid_to_binary(one.token)


@check("encodings", "wrong and extreme encodings without a session are answered or closed within 3 s", "OPC 10000-6, 5.2", limit=600)
async def encodings_without_session(s):
    silent = []
    for what, body in encodings(b"\0\0"):

        def run():
            with Raw(s.url, 5) as raw:
                raw.hello()
                raw.open()
                pieces = [body[at : at + 60_000] for at in range(0, len(body), 60_000)] or [b""]
                for piece in pieces[:-1]:
                    raw.send(raw.message(piece, letter=b"C"))
                raw.send(raw.message(pieces[-1]))
                return raw.receive()

        try:
            await asyncio.to_thread(run)
        except TimeoutError:
            silent.append(what)
        except OSError:
            pass
    said = await s.holds()
    expect(not silent, "neither answered nor closed:", silent)
    return said


@check("encodings", "the same with a session, in a secured channel", "OPC 10000-6, 5.2", limit=600)
async def encodings_with_session(s):
    silent = []
    one = None
    for what, _ in encodings(b"\0\0"):
        if one is None or not one.is_open:
            one = await s.session()
        body = dict(encodings(token_bytes(one)))[what]
        if await answered(s, one, body) == "nothing":
            silent.append(what)
    await one.close()
    said = await s.holds()
    expect(not silent, "neither answered nor closed:", silent)
    return said


@check("chunks", "a message of ever more chunks in a secured channel is ended before it takes memory", "OPC 10000-6, 6.7.3", limit=300)
async def chunks_in_a_channel(s):
    count = s.size(4000, 1000)
    one = await s.session()
    connection, sent = one.protocol._connection, 0
    for sent in range(count):
        if not one.is_open:
            break
        piece = MessageChunk(connection.security_policy.symmetric_cryptography, bytes(8000), ua.MessageType.SecureMessage, ua.ChunkType.Intermediate)
        piece.SecurityHeader.TokenId, piece.MessageHeader.ChannelId = connection.security_token.TokenId, connection.security_token.ChannelId
        connection._sequence_number += 1
        piece.SequenceHeader.RequestId, piece.SequenceHeader.SequenceNumber = 1_000_000, connection._sequence_number
        one.protocol.transport.write(piece.to_binary())
        if sent % 50 == 0:
            await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    ended = not one.is_open
    one.drop()
    said = await s.holds()
    # 32 MB in one request are nothing that a client of this server needs
    expect(ended or not s.full, "the connection is still open after", count, "chunks of 8 kB")
    return f"{'ended' if ended else 'open'} after {sent + 1} chunks; {said}"


@check("sessions", "too many sessions are BadTooManySessions, and their end makes room", "OPC 10000-4, 5.7.2.3", limit=300)
async def many_sessions(s):
    said, held = [], []
    try:
        while len(held) < s.size(300, 300):
            one = Connection(s.url)
            try:
                await one.channel()
                await one.create()
                await one.activate(plants.USER, plants.PASSWORD)
                held.append(one)
            except (ua.UaStatusCodeError, ConnectionError, OSError, asyncio.TimeoutError) as error:
                said.append(ua.StatusCode(error.code).name if isinstance(error, ua.UaStatusCodeError) else type(error).__name__)
                one.drop()
                break
        count = len(held)
    finally:
        for one in held:
            one.drop()
    expect(not said or said[0] in ("BadTooManySessions", "BadTcpNotEnoughResources", "BadTooManyOperations", "ConnectionError", "ConnectionResetError"), said)
    expect(count >= 5, count, "sessions, then", said)
    await login_within(s, 15)
    return f"{count} sessions, then {said}; {await s.holds()}"


async def login_within(s, seconds):
    end, said = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            await (await s.session(limit=5)).close()
            return
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            await asyncio.sleep(0.3)
    raise AssertionError(f"no login within {seconds} s: {said}")


@check("sessions", "sessions that are made and never activated lock nobody out", "OPC 10000-4, 5.7.2.1", limit=300)
async def abandoned_sessions(s):
    said = {}
    channels = []
    try:
        for _ in range(s.size(10, 5)):
            one = await Connection(s.url).channel()
            channels.append(one)
            for _ in range(30):
                if not one.is_open:
                    break
                found = await status_of(one.create())
                said[found] = said.get(found, 0) + 1
    except (ConnectionError, OSError, ua.UaStatusCodeError, asyncio.TimeoutError) as error:
        said[type(error).__name__] = 1
    finally:
        for one in channels:
            one.drop()
    await login_within(s, 15)
    return f"{said}; {await s.holds()}"


@check("subscriptions", "too many subscriptions are BadTooManySubscriptions", "OPC 10000-4, 5.14.2.3", limit=300)
async def many_subscriptions(s):
    async with await s.session() as one:
        ids, said = [], "Good"
        while len(ids) < s.size(2000, 2000) and said == "Good":
            try:
                ids.append((await Subscription.create(one, publishing=1000.0)).id)
            except ua.UaStatusCodeError as error:
                said = ua.StatusCode(error.code).name
        for at in range(0, len(ids), 100):
            await one.service("DeleteSubscriptions", SubscriptionIds=ids[at : at + 100])
    expect(said == "BadTooManySubscriptions", len(ids), "subscriptions, then", said)
    return f"{len(ids)} subscriptions; {await s.holds()}"


@check("subscriptions", "fifty thousand items are served, or refused with BadTooManyMonitoredItems", "OPC 10000-4, 5.13.2.4", limit=600)
async def many_items(s):
    wanted = s.size(50_000, 50_000)
    async with await s.session() as one:
        namespaces = await one.value(ua.NodeId(2255, 0))
        node = ua.NodeId(plants.SETPOINT, namespaces.index(plants.NAMESPACE))
        it = await Subscription.create(one, publishing=1000.0)
        said, count = {}, 0
        while count < wanted and set(said) <= {"Good"}:
            try:
                found = [name(result.StatusCode) for result in await it.items([node] * 1000, sampling=1000.0, queue=1, first=count)]
            except ua.UaStatusCodeError as error:
                # the standard has it for each item; the whole call is as clear
                found = [ua.StatusCode(error.code).name] * 1000
            for one_said in found:
                said[one_said] = said.get(one_said, 0) + 1
            count += 1000
        expect(set(said) <= {"Good", "BadTooManyMonitoredItems"}, said)
        await s.served()
        peak = resident(s.pid)
        await it.delete()
    return f"{said}, {(peak - s.before) >> 20:+d} MB with them; {await s.holds()}"


@check("subscriptions", "queues that nobody reads are bounded", "issue: queue memory", limit=300)
async def unread_queues(s):
    async with await s.session() as one:
        namespaces = await one.value(ua.NodeId(2255, 0))
        node = ua.NodeId(plants.FAST, namespaces.index(plants.NAMESPACE))
        it = await Subscription.create(one, publishing=100.0, lifetime=10_000, keep_alive=100)
        await it.items([node] * s.size(500, 200), sampling=0.0, queue=1000)
        await asyncio.sleep(s.size(15, 5))
        grown = resident(s.pid) - s.before
        await s.served()
        await it.delete()
    expect(grown <= 256 << 20, "grown by", grown >> 20, "MB")
    return f"{grown >> 20:+d} MB meanwhile; {await s.holds()}"


@check("subscriptions", "subscriptions whose clients went away are forgotten", "OPC 10000-4, 5.14.1.1", limit=300)
async def orphaned_subscriptions(s):
    for _ in range(s.size(40, 8)):
        one = await s.session(limit=20)
        for _ in range(5):
            it = await Subscription.create(one, publishing=50.0, lifetime=6, keep_alive=2)
            await it.items([NODE] * 20)
        one.drop()
    await asyncio.sleep(2)
    return await s.holds()


@check("subscriptions", "thousands of Publish requests at once are answered or refused, not kept without end", "OPC 10000-4, 5.14.5.3", limit=300)
async def many_publish_requests(s):
    async with await s.session() as one:
        it = await Subscription.create(one, publishing=1000.0, keep_alive=1000, enabled=False)
        tasks = [asyncio.ensure_future(status_of(it.publish(limit=60))) for _ in range(s.size(20_000, 3000))]
        done, pending = await asyncio.wait(tasks, timeout=s.size(20, 6))
        said = {}
        for task in done:
            said[task.result()] = said.get(task.result(), 0) + 1
        for task in pending:
            task.cancel()
        expect(len(pending) < len(tasks) // 2, len(pending), "of", len(tasks), "are kept waiting")
    return f"{said}, {len(pending)} waiting; {await s.holds()}"


@check("soak", "sessions that come and go leave neither memory nor descriptors", "issue: 1,000 open/close cycles", limit=1800)
async def cycles(s):
    count = s.size(1000, 60)
    marks = []
    for number in range(count):
        async with await s.session() as one:
            it = await Subscription.create(one, publishing=100.0)
            await it.items([NODE] * 10)
            await one.read([NODE] * 10)
            if number % 3 == 0:
                await it.delete()
        if number in (count // 2, count - 1):
            await asyncio.sleep(1.5)
            marks.append((resident(s.pid), descriptors(s.pid)))
    (half, files), (whole, files_end) = marks
    grown, more = (whole - half) >> 20, files_end - files
    expect(whole - half <= 4 << 20 and more <= 5, "in the second half:", grown, "MB,", more, "descriptors")
    return f"{count} cycles, in the second half {grown:+d} MB, {more:+d} descriptors; {await s.holds()}"


@check("fuzz", "mutated requests in a secured channel end their own connection at most", "issue: 2,000 seeded mutations in a channel", limit=1800)
async def mutations_in_a_channel(s):
    count = s.size(2000, 150)
    generator = random.Random(s.arguments.seed + 1)
    said, ran, one = {}, 0, None
    for number in range(count):
        if one is None or not one.is_open:
            one = await s.session()
        body = generator.choice(SEEDS)(s.url)
        # the session's own token, so that more than the header is looked at
        body = body[:4] + token_bytes(one) + body[6:]
        keep = 4 + len(token_bytes(one)) if generator.random() < 0.9 else 0
        body = body[:keep] + mutated(generator, body[keep:])
        found = await answered(s, one, body, 1)
        said[found] = said.get(found, 0) + 1
        ran += 1
        if number % 500 == 499:
            await s.holds()
    if one is not None:
        await one.close()
    return f"{ran} mutations, {said}; {await s.holds()}"
