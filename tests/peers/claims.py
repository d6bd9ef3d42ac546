#!/usr/bin/env python3
"""A J1939 device says who it is while clients are connected: NAMEs by asyncua, from frames on the wire. One JSON line a check.

Needs the interface vcan0 to itself, and can-utils.
"""

import asyncio
import subprocess
import sys
import urllib.request

from asyncua import ua

from common import check, plant as plants
from common.check import expect
from common.session import Session
from conformance.scene import Scene

DEVICE = "Canvoy.Devices.m.@33"
# manufacturer 275, serial number 4711, function 130 of industry group 2 and vehicle system 5
NAME = 0xA10A_8200_2260_1267
LOWER = NAME - 7
FIELDS = {
    "J1939Name": (NAME, ua.VariantType.UInt64),
    "J1939ManufacturerCode": (275, ua.VariantType.UInt16),
    "J1939IdentityNumber": (4711, ua.VariantType.UInt32),
    "J1939Function": (130, ua.VariantType.Byte),
    "J1939FunctionInstance": (0, ua.VariantType.Byte),
    "J1939EcuInstance": (0, ua.VariantType.Byte),
    "J1939VehicleSystem": (5, ua.VariantType.Byte),
    "J1939VehicleSystemInstance": (1, ua.VariantType.Byte),
    "J1939IndustryGroup": (2, ua.VariantType.Byte),
    "J1939ArbitraryAddressCapable": (True, ua.VariantType.Boolean),
    "SerialNumber": ("4711", ua.VariantType.String),
}


class Vcan(plants.Plant):
    buses = plants.BUSES.replace("virtual = true", 'interface = "vcan0"') + '\n[j1939]\nmanufacturers = { 275 = "Acme" }\n'
    simulated = False


class Claims(Scene):
    kind = Vcan


def send(frame):
    subprocess.run(["cansend", "vcan0", frame], check=True)


def claim(address, name):
    send(f"18EEFF{address:02X}#{name.to_bytes(8, 'little').hex().upper()}")


class Told:
    """The last value and status of each property, as notifications bring them."""

    def __init__(self):
        self.last = {}

    def datachange_notification(self, node, value, data):
        self.last[node.nodeid.Identifier.rsplit(".", 1)[1]] = data.monitored_item.Value


@check.check("claims", "a NAME that is claimed at run time is told, with what is in it", "OPC 10000-100, 4.5.2; SAE J1939-81")
async def at_run_time(s):
    # the source is there as soon as it sends something
    async def there():
        send("18FEEE21#0000000000000000")
        return (await s.connection.read([s.node(f"{DEVICE}.J1939Name")]))[0].StatusCode.value != ua.StatusCodes.BadNodeIdUnknown

    await s.until("the device of the source", there)
    async with Session(s) as session:
        told = Told()
        subscription = await session.create_subscription(50, told)
        names = [*FIELDS, "Manufacturer", "DeviceClass", "J1939Claimed"]
        await subscription.subscribe_data_change([session.get_node(ua.NodeId(f"{DEVICE}.{name}", s.namespace)) for name in names])

        async def until(what, found):
            async def asked():
                return found(told.last)

            await s.until(what, asked)

        await until("the first notifications", lambda last: len(last) == len(names))
        for name in FIELDS:
            want = ua.StatusCodes.Good if name == "SerialNumber" else ua.StatusCodes.BadWaitingForInitialData
            expect(told.last[name].StatusCode.value == want, name, told.last[name])
        expect(told.last["SerialNumber"].Value.Value == "", told.last["SerialNumber"])
        version = await s.connection.value(s.node(f"Canvoy.NodeVersion.{DEVICE}"))

        claim(33, NAME)
        await until("the NAME", lambda last: last["J1939Name"].StatusCode.is_good() and last["J1939Claimed"].StatusCode.is_good())
        await asyncio.sleep(0.5)
        for name, (value, kind) in FIELDS.items():
            found = told.last[name]
            expect((found.Value.Value, found.Value.VariantType) == (value, kind) and found.StatusCode.is_good(), name, found)
            expect(found.SourceTimestamp == told.last["J1939Claimed"].Value.Value, name, "has another time than the claim")
        expect(told.last["Manufacturer"].Value.Value.Text == "Acme", told.last["Manufacturer"])
        expect(told.last["DeviceClass"].Value.Value.startswith("J1939 function 130"), told.last["DeviceClass"])
        expect(await s.connection.value(s.node(f"Canvoy.NodeVersion.{DEVICE}")) == version, "a claim is no change of the model")
        page = urllib.request.urlopen(s.plant.http + "/metrics", timeout=10).read().decode()
        series = f'canvoy_j1939_source_info{{bus="m",source_address="33",name="{NAME:016X}",manufacturer="Acme"'
        expect(series in page, "no", series)
        status = s.plant.ask("status")
        expect(f"m.@33  {NAME:016X}  Acme, serial number 4711" in status, status)

        # a lower NAME has the address at once; then its device goes elsewhere, and this one has none
        claim(33, LOWER)
        await until("the lower NAME", lambda last: last["J1939Name"].Value.Value == LOWER)
        claim(99, LOWER)
        await until("nobody", lambda last: last["J1939Name"].StatusCode.value == ua.StatusCodes.BadWaitingForInitialData)
        await until("no serial number", lambda last: last["SerialNumber"].Value.Value == "")
        return "told"


@check.check("claims", "nothing is sent because of a claim", "README")
async def silent(s):
    before = counted(s)
    # the plant's own cyclic messages are standard frames
    dump = subprocess.Popen(["candump", "-T", "2000", "-r", "262144", "vcan0,80000000:80000000"], stdout=subprocess.PIPE, text=True)
    await asyncio.sleep(0.5)
    claim(34, NAME + 1)
    claim(34, NAME + 2)
    send("18EEFF21#0102")
    await asyncio.sleep(1)
    after = counted(s)
    expect(after["contentions"] == before["contentions"] + 1 and after["short"] == before["short"] + 1, before, after)
    frames = dump.communicate(timeout=30)[0].split("\n")
    expect(len([frame for frame in frames if "vcan0" in frame]) == 3, "frames that nobody but Canvoy can have sent:", frames)


def counted(s):
    page = urllib.request.urlopen(s.plant.http + "/metrics", timeout=10).read().decode()
    count = lambda name: float(next(line for line in page.splitlines() if line.startswith(name + "{")).split()[-1])
    return {"contentions": count("canvoy_j1939_contentions_total"), "short": count("canvoy_j1939_short_claims_total")}


if __name__ == "__main__":
    sys.exit(check.main(check.options(__doc__), Claims))
