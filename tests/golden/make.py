#!/usr/bin/env python3
"""Makes the golden decode and encode vectors with cantools: python3 tests/golden/make.py (pip install cantools==45.1.0).

One NAME.jsonl for each DBC file of tests/fixtures/dbc that has messages and for each of dbc/. Run once; the output is
committed and src must agree with it. A line is one of

  {"id":"100","extended":false,"payload":"0011","message":"M","signals":{"S":{"raw":"17","value":8.5,"label":null}}}
  {"message":"M","raw":{"S":"17"},"frame":"100#0011"}
  {"message":"M","signals":{"S":8.5},"frame":"100#0011"}

Raw values are taken bit by bit here and checked against cantools: two oracles. Some fixtures are wrong on purpose and
cantools refuses them whole; EDITS says what to take away or to write properly first.
"""
import json
import math
import pathlib
import random
import re
import struct
import subprocess
import sys

import cantools

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
RANDOM = random.Random(20260922)

# fixture -> list of (regular expression, replacement), applied to the whole text
LINE = r"(?m)^ *%s.*\n"
MESSAGE = r"(?m)^BO_ \d+ %s:.*\n(^ SG_.*\n)*"
EDITS = {
    "identifiers": [(MESSAGE % name, "") for name in (
        "TooBigForStandard", "ExtendedWithoutItsBit", "WouldBeCutTo16Bits", "TooBigForExtended", "MoreThan32Bits",
        "MoreThan64Bits", "First", "Long")] + [
        (LINE % r"VAL_ 300 (S|Nobody)", ""), (LINE % "VAL_ 999", ""), (LINE % "SIG_VALTYPE_ 1 Nobody", "")],
    "broken": [
        (r"(?s)what is this.*?\n\n", ""), (LINE % "SG_ (Stray|Order|Factor|Start|Name with|Ümlaut) ?", ""),
        (r"(?s)BO_ x Bad.*?\n\n", ""), (LINE % r"(EV_|CAT_|CAT_DEF_|FILTER|SGTYPE_|SIG_TYPE_REF_) ", ""),
        (LINE % "CM_ BO_ 100", ""), (r'BO_ 100 100\n', "BO_ 100 100;\n"), (r'BA_ "GenMsgCycleTime" BO_ 101 ;\n', ""),
        (LINE % "VAL_ 100 Good1", ""), (LINE % "SG_MUL_VAL_", "")],
    "repaired": [
        (r"/\*.*\*/", ""), ("B, C\n", "B C\n"), ("BO_ 100 M: 8\n", "BO_ 100 M: 8 A\n"), (r'\[0\|0\] ""\n', '[0|0] "" B\n'),
        (r"(8\|8@1\+ \(1,0\) \[0\|0\])\n", r'\1 "" B' + "\n"), (r"\(5\.,-5\.\)", "(5,-5) [0|0]"), (r"\(\.5", "(0.5"),
        (r"\[-1.*INF\]", "[0|0]"), (r"B C // .*", "B"), ("2017_Digits", "Digits"), ("3Phase", "Phase3"), (" 1A", " A"),
        (" 2B", " B"), ("F 1;", "F : 1;"), ("BOOL False True", "INT 0 1"), ("ENU ", "ENUM "), ("0x0 0xFF", "0 255"),
        (r"Phase3 5\.", "Phase3 5"), ("100 True", "100 1"), ('2.5 "two and a half" ', ""), (r"1\.0 ", "1 "),
        (r'"C:\\"', r'"C:\\\\ "'), (r'"one" 2\n', '"one" ;\n')],
    "multiplex_faults": [
        (LINE % "SG_ (Lost|Whose|Torn|Unknown|One|Two) ", ""), ("SG_ Bare m : 8", "SG_ Bare : 8"),
        (r"(BareBesideSelector.*\n.*\n) SG_ Bare.*\n", r"\1"), (r"(FloatSelector.*\n.*\n) SG_ Child.*\n", r"\1"),
        (r"BO_ 261.*\n.*\n.*\n", ""), ("SG_ Page m0M", "SG_ Page M"), ("SG_ Selects :", "SG_ Selects M :"),
        (LINE % "SG_MUL_VAL_ 26[23]", "")],
    "layout": [
        (LINE % "SG_ (NoBits|TooManyBits|Outside.*|FarOutside|HalfFloat|InfiniteFactor|Nowhere) ", ""),
        (LINE % "SIG_VALTYPE_ 512 HalfFloat", ""), (LINE % r"SG_ Same : 0", "")],
    "attributes": [(LINE % 'BA_ "GenMsgSendType" BO_ 128[34]', "")],
    # cantools loses what a renamed multiplexor selects
    "long_names": [
        (r'BA_ "System(Signal|Message)LongSymbol".*\n', ""),
        ("ShortSignalNameOfThirtyTwoCharac", "ShortSignalNameOfThirtyTwoCharactersIsLonger"),
        ("ShortMessageNameOfThirtyTwoChars", "ShortMessageNameOfThirtyTwoCharsIsLonger"),
        (r"\Z", 'BA_ "SystemSignalLongSymbol" SG_ 1536 Spaced "With spaces, v1.2";\n')],
}
# what our names are called after the edits
NAMES = {"repaired": {"Digits": "2017_Digits", "Phase3": "3Phase"}}
LABELS = {"repaired": {"C:\\\\ ": "C:\\"}, "broken": {}}
# no message in them
WITHOUT = {"empty", "no_messages", "not_dbc", "nothing_usable", "utf16"}


def positions(signal):
    """(byte, bit) of each bit, most significant first."""
    big = signal.byte_order == "big_endian"
    at = signal.start if big else signal.start + signal.length - 1
    for _ in range(signal.length):
        yield at // 8, at % 8
        at = at + 15 if big and at % 8 == 0 else at - 1


def raw_bits(signal, data):
    """The raw value as canvoy shows it, bit by bit; None where the signal is not wholly inside."""
    value = 0
    for byte, bit in positions(signal):
        if byte >= len(data):
            return None
        value = value << 1 | data[byte] >> bit & 1
    if not signal.conversion.is_float and signal.is_signed and value >> (signal.length - 1):
        value -= 1 << signal.length
    return value


def number(signal, raw):
    if not signal.conversion.is_float:
        return raw
    return struct.unpack("<f", struct.pack("<I", raw))[0] if signal.length == 32 else struct.unpack("<d", struct.pack("<Q", raw))[0]


def put(signal, data, value):
    for byte, bit in reversed(list(positions(signal))):
        data[byte] = data[byte] & ~(1 << bit) | (value & 1) << bit
        value >>= 1


def present(message, data):
    """Signals in this payload with their raw value, following the multiplexors as cantools' tree has them."""
    found = {}

    def walk(node):
        for signal in node["signals"]:
            raw = raw_bits(signal, data[: message.length])
            if raw is not None:
                found[signal.name] = raw
        for name, branches in node["multiplexers"].items():
            if found.get(name) in branches:
                walk(branches[found[name]])

    walk(message._codecs)
    return found


def branches(message):
    """Selector settings that reach every signal."""
    settings = [{}]
    for signal in message.signals:
        setting, at = {}, signal
        while at.multiplexer_signal:
            setting[at.multiplexer_signal] = RANDOM.choice(at.multiplexer_ids)
            at = message.get_signal_by_name(at.multiplexer_signal)
        if setting and setting not in settings:
            settings.append(setting)
    return settings


def frame(message, data):
    identifier = f"{message.frame_id:08X}" if message.is_extended_frame else f"{message.frame_id:03X}"
    return identifier, f"{identifier}#{data.hex().upper()}"


def vectors(stem, database):
    renamed = NAMES.get(stem, {})
    relabelled = LABELS.get(stem, {})
    shown = lambda name: renamed.get(name, name)
    for message in database.messages:
        length = message.length
        if length > 64:
            continue
        payloads = [bytes(length), b"\xff" * length, RANDOM.randbytes(length), RANDOM.randbytes(length // 2), RANDOM.randbytes(min(64, length + 3))]
        for setting in branches(message):
            data = bytearray(RANDOM.randbytes(length))
            for name, value in setting.items():
                put(message.get_signal_by_name(name), data, value)
            payloads.append(bytes(data))
        for data in payloads:
            signals = {}
            for name, raw in present(message, data).items():
                signal = message.get_signal_by_name(name)
                value = number(signal, raw) * signal.conversion.scale + signal.conversion.offset
                # cantools cuts a float to an integer to find its word; here 0.5 has none
                label = signal.choices.get(number(signal, raw)) if signal.choices else None
                label = None if label is None else relabelled.get(str(label), str(label))
                signals[shown(name)] = {"raw": str(raw), "value": value if math.isfinite(value) else None, "label": label}
            check(message, data, signals, renamed)
            yield {"id": frame(message, data)[0], "extended": message.is_extended_frame, "payload": data.hex(),
                   "message": shown(message.name), "signals": signals}
        names = [signal.name for signal in message.signals]
        if len(set(names)) < len(names) or sum(other.name == message.name for other in database.messages) > 1:
            continue  # the name does not say which
        for setting in branches(message):
            data = bytearray(RANDOM.randbytes(length))
            for name, value in setting.items():
                put(message.get_signal_by_name(name), data, value)
            values = {name: number(message.get_signal_by_name(name), raw) for name, raw in present(message, data).items()}
            if any(isinstance(v, float) and not math.isfinite(v) for v in values.values()):
                continue
            try:
                payload = message.encode(values, scaling=False, strict=False)
            except (cantools.database.Error, OverflowError):
                continue  # a multiplexor without branches, overlapping signals
            raws = {name: str(raw) for name, raw in present(message, payload).items()}
            if present(message, payload) != present(message, data):
                continue  # overlapping signals
            text = frame(message, payload)[1]
            yield {"message": shown(message.name), "raw": {shown(n): raw for n, raw in raws.items()}, "frame": text}
            scaled, whole = {}, True
            for name, value in values.items():
                conversion = message.get_signal_by_name(name).conversion
                whole = whole and conversion.scale != 0 and abs(value) < 2**52
                if whole:
                    scaled[name] = value * conversion.scale + conversion.offset
                    whole = conversion.numeric_scaled_to_raw(scaled[name]) == value
            if whole:
                yield {"message": shown(message.name), "signals": {shown(n): v for n, v in scaled.items()}, "frame": text}


def check(message, data, signals, renamed):
    """What was taken bit by bit is what cantools says, where it says anything."""
    try:
        decoded = message.decode_simple(data, decode_choices=False, scaling=False, allow_truncated=True, allow_excess=True)
    except cantools.database.Error:
        return  # a branch that the file does not have
    decoded = {renamed.get(name, name): (message.get_signal_by_name(name), raw) for name, raw in decoded.items()}
    assert decoded.keys() == signals.keys(), (message.name, data.hex())
    for name, (signal, raw) in decoded.items():
        ours = number(signal, int(signals[name]["raw"]))
        assert ours == raw or (math.isnan(ours) and math.isnan(raw)), (message.name, name, data.hex())


def load(path):
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("cp1252")
    text = text.replace("\r\n", "\n")
    for pattern, replacement in EDITS.get(path.stem, []):
        edited = re.sub(pattern, replacement, text)
        assert edited != text, f"{path.name}: {pattern!r} finds nothing"
        text = edited
    return text, cantools.database.load_string(text, "dbc", strict=False)


def text_form(path):
    """The text of `cantools decode` for a log of one frame per message and branch."""
    _, database = load(path)
    lines = []
    for message in database.messages:
        for setting in branches(message):
            data = bytearray(RANDOM.randbytes(message.length))
            for name, value in setting.items():
                put(message.get_signal_by_name(name), data, value)
            identifier, _ = frame(message, data)
            try:
                message.decode_simple(bytes(data))
            except cantools.database.Error:
                continue  # cantools shows nothing of a branch that the file does not have
            if len(data) <= 8 and not any(s.choices and s.conversion.is_float for s in message.signals):
                lines.append(f"  can0  {identifier}   [{len(data)}]  {data.hex(' ').upper()}")
    lines.append("  can0  7FF   [1]  00")
    log = "\n".join(lines) + "\n"
    (HERE / f"{path.stem}.log").write_text(log)
    for name, option in [("text", []), ("single", ["--single-line"])]:
        command = [sys.executable, "-m", "cantools", "decode", "--no-strict", *option, str(path)]
        output = subprocess.run(command, input=log.encode(), stdout=subprocess.PIPE, check=True).stdout
        (HERE / f"{path.stem}.{name}.txt").write_bytes(output)


def main():
    total = 0
    fixtures = [path for path in (ROOT / "tests/fixtures/dbc").glob("*.dbc") if path.stem not in WITHOUT]
    for path in sorted(fixtures) + sorted((ROOT / "dbc").glob("*.dbc")):
        _, database = load(path)
        lines = [json.dumps(vector, ensure_ascii=False, separators=(",", ":")) for vector in vectors(path.stem, database)]
        (HERE / f"{path.stem}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{path.stem}: {len(lines)}")
        total += len(lines)
    for name in ("multiplex", "values"):
        text_form(ROOT / f"tests/fixtures/dbc/{name}.dbc")
    print(total)


if __name__ == "__main__":
    main()
