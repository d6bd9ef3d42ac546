#!/usr/bin/env python3
"""Makes frames.jsonl: frames protected by the Python package autosar-e2e (pip install autosar-e2e==1.0.0).

python3 tests/golden/protection/make.py. Run once; the output is committed and src must agree with it. A line is

  {"profile":1,"mode":"both","data_id":291,"offset":0,"length":8,"frames":[["00..","cc.."],...]}

with the payloads of consecutive counters before and after protecting, from the profile's first counter on. The package has
no profile 22: there its CRC function is put together here as the PRS says it (data before and behind the CRC, then the data
ID), which at offset 0 must be its profile 2. TSC1 has no package; it is written down from SAE J1939-71 a second time.
"""
import json
import pathlib
import random

from e2e import crc, p01, p02, p05, p11

RANDOM = random.Random(20261122)
OUT = pathlib.Path(__file__).with_name("frames.jsonl")
P01 = {"both": p01.E2E_P01_DATAID_BOTH, "alternating": p01.E2E_P01_DATAID_ALT, "low": p01.E2E_P01_DATAID_LOW,
       "nibble": p01.E2E_P01_DATAID_NIBBLE}
P11 = {"both": p11.E2E_P11_DATAID_BOTH, "nibble": p11.E2E_P11_DATAID_NIBBLE}


def payload(length):
    kind = RANDOM.randrange(4)
    return bytearray(length) if kind == 0 else bytearray([0xFF] * length) if kind == 1 else bytearray(RANDOM.randbytes(length))


def with_counter(data, at, counter, mask):
    data[at] = data[at] & ~mask & 0xFF | counter
    return data


def profile22(data, data_ids, offset):
    counter = data[offset + 1] & 0x0F
    covered = bytes(data[:offset]) + bytes(data[offset + 1:]) + bytes([data_ids[counter]])
    data[offset] = crc.calculate_crc8_h2f(covered)


def tsc1(data, identifier):
    total = sum(data[:7]) + (data[7] & 0x0F) + sum(identifier.to_bytes(4, "little"))
    data[7] = (((total >> 6 & 3) + (total >> 3) + total & 7) << 4) | data[7] & 0x0F


def frames(count, first, modulus, length, at, mask, protect):
    made = []
    for number in range(count):
        data = payload(length)
        before = data.hex()
        with_counter(data, at, (first + number) % modulus, mask)
        protect(data)
        made.append([before, data.hex()])
    return made


def lines():
    for profile, modes, module in ((1, P01, p01.e2e_p01_protect), (11, P11, p11.e2e_p11_protect)):
        for mode, constant in modes.items():
            for _ in range(8):
                length = RANDOM.choice([3, 5, 8, 8, 16, 24, 32])
                offset = RANDOM.choice([0, 0, RANDOM.randrange(length - 1)])
                data_id = RANDOM.randrange(1 << {"low": 8, "nibble": 12}.get(mode, 16))
                protect = lambda data: module(data, data_id, data_id_mode=constant, offset=offset, increment_counter=False)
                yield {"profile": profile, "mode": mode, "data_id": data_id, "offset": offset, "length": length,
                       "frames": frames(17, 0, 15, length, offset + 1, 0x0F, protect)}
    for _ in range(12):
        length, data_ids = RANDOM.choice([2, 4, 8, 8, 12, 32]), list(RANDOM.randbytes(16))
        protect = lambda data: p02.e2e_p02_protect(data, bytes(data_ids), increment_counter=False)
        yield {"profile": 2, "data_ids": data_ids, "length": length, "frames": frames(18, 1, 16, length, 1, 0x0F, protect)}
    for _ in range(12):
        length, data_id = RANDOM.choice([3, 8, 16, 48, 64]), RANDOM.randrange(1 << 16)
        offset = RANDOM.choice([0, RANDOM.randrange(length - 2)])
        protect = lambda data: p05.e2e_p05_protect(data, data_id, offset=offset, increment_counter=False)
        yield {"profile": 5, "data_id": data_id, "offset": offset, "length": length,
               "frames": frames(20, 0, 256, length, offset + 2, 0xFF, protect)}
    for _ in range(12):
        length, data_ids = RANDOM.choice([2, 8, 8, 20, 32]), list(RANDOM.randbytes(16))
        offset = RANDOM.choice([0, RANDOM.randrange(length - 1)])

        def protect(data):
            profile22(data, data_ids, offset)
            assert offset or p02.e2e_p02_check(data, bytes(data_ids))
        yield {"profile": 22, "data_ids": data_ids, "offset": offset, "length": length,
               "frames": frames(18, 1, 16, length, offset + 1, 0x0F, protect)}
    for identifier in (0x0C000003, 0x0C000011, 0x0CFE6CEE, 0x18EF1234):
        yield {"profile": 0, "id": identifier, "length": 8,
               "frames": frames(10, 0, 8, 8, 7, 0x0F, lambda data: tsc1(data, identifier))}


OUT.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines()))
