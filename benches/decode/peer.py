"""The peers of benches/decode: C that cantools generates for a DBC file, and cantools itself.

peer.py c DBC WIDTH FOLDER      writes FOLDER/decode.c (generated code, dispatch, main) and FOLDER/members.txt
peer.py python DBC WIDTH FRAMES waits for lines: "frames N" decodes the next N frames and answers with the CPU seconds
                                of one, "values FILE" writes all values.

FRAMES is a file of records { u32 id, bit 31 for 29 bits; u8 length; 3 bytes; WIDTH bytes of data }, as SocketCAN lays
frames out. FILE has, for each frame, a byte and a little-endian double for each signal of its message, in cantools'
order: 1 and the value, 0 and 0 where the signal is absent, 2 and 0 where cantools can't decode the frame.
"""

import pathlib
import struct
import sys
import time

import cantools
from cantools.database.can import c_source
from cantools.database.can.c_source import CodeGenMessage, generate

EXTENDED = 0x80000000

MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "dbc.c"

struct frame { uint32_t id; uint8_t len; uint8_t pad[3]; uint8_t data[WIDTH]; };

@FUNCTIONS@

static double out[MOST + 1];

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

/* Lines on standard input: "all N", "branch N": N passes over the frames, answered with the CPU seconds they took;
   "values FILE": every value, as peer.py documents, the absent ones as whatever the struct held. */
int main(int argc, char **argv)
{
    FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (!file) return 66;
    fseek(file, 0, SEEK_END);
    size_t count = ftell(file) / sizeof(struct frame);
    rewind(file);
    struct frame *frames = malloc(count * sizeof(struct frame) + 1);
    if (fread(frames, sizeof(struct frame), count, file) != count) return 66;
    fclose(file);
    char word[16], rest[4096];
    while (scanf("%15s %4095s", word, rest) == 2) {
        if (word[0] == 'v') {
            FILE *values = fopen(rest, "wb");
            if (!values) return 73;
            for (size_t i = 0; i < count; i++) {
                size_t n = decode_all(&frames[i], out);
                fwrite(out, sizeof(double), n, values);
            }
            fclose(values);
            puts("done");
        } else {
            long passes = atol(rest);
            size_t decoded = 0;
            double start = seconds();
            for (long pass = 0; pass < passes; pass++) {
                if (word[0] == 'a') {
                    for (size_t i = 0; i < count; i++) {
                        decoded += decode_all(&frames[i], out);
                        __asm__ volatile("" : : "r"(out) : "memory");
                    }
                } else {
                    for (size_t i = 0; i < count; i++) {
                        decoded += decode_branch(&frames[i], out);
                        __asm__ volatile("" : : "r"(out) : "memory");
                    }
                }
            }
            printf("%.9f %zu\n", seconds() - start, decoded);
        }
        fflush(stdout);
    }
    return 0;
}
"""


def load(path):
    return cantools.database.load_file(path, strict=False)


def identifier(message):
    return message.frame_id | (EXTENDED if message.is_extended_frame else 0)


def decode_level(name, message, tree, indent):
    """Lines that convert the members of one level of the signal tree, and the selected branch of each multiplexor."""
    lines = []
    pad = "    " * indent
    for entry in tree:
        selector, branches = next(iter(entry.items())) if isinstance(entry, dict) else (entry, None)
        member = message.get_signal_by_name(selector).snake_name
        lines.append(f"{pad}out[n++] = {name}_{member}_decode(m.{member});")
        if branches:
            lines.append(f"{pad}switch (m.{member}) {{")
            for value, level in sorted(branches.items()):
                lines.append(f"{pad}case {value}:")
                lines += decode_level(name, message, level, indent + 1)
                lines.append(f"{pad}    break;")
            lines.append(f"{pad}}}")
    return lines


def function(kind, messages):
    lines = [f"static size_t decode_{kind}(const struct frame *f, double *out)", "{", "    switch (f->id) {"]
    for message in messages:
        name = f"dbc_{message.snake_name}"
        zero = " = {0}" if message.message.is_multiplexed() else ""
        lines.append(f"    case 0x{identifier(message.message):x}u: {{")
        lines.append(f"        struct {name}_t m{zero};")
        lines.append(f"        if ({name}_unpack(&m, f->data, f->len) != 0) return 0;")
        lines.append("        size_t n = 0;")
        if kind == "branch":
            lines += decode_level(name, message, message.message.signal_tree, 2)
        else:
            lines += [f"        out[n++] = {name}_{s.snake_name}_decode(m.{s.snake_name});" for s in message.cg_signals]
        lines += ["        return n;", "    }"]
    return "\n".join([*lines, "    default: return 0;", "    }", "}"])


def generate_c(dbc, width, folder):
    database = load(dbc)
    # the same file on every run, so that it need not be compiled again
    c_source.time.ctime = lambda: "any time"
    header, source, _, _ = generate(database, "dbc", "dbc.h", "dbc.c", "fuzz.c")
    messages = [CodeGenMessage(message) for message in database.messages]
    most = max((len(message.cg_signals) for message in messages), default=0)
    functions = "\n\n".join(function(kind, messages) for kind in ("all", "branch"))
    main = MAIN.replace("@FUNCTIONS@", functions).replace("WIDTH", str(width)).replace("MOST", str(most))
    for name, text in (("dbc.h", header), ("dbc.c", source), ("decode.c", main)):
        path = pathlib.Path(folder, name)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    with open(f"{folder}/members.txt", "w") as file:
        for message in database.messages:
            print(identifier(message), *(signal.name for signal in message.signals), file=file)


def serve(dbc, width, frames):
    database = load(dbc)
    size = 8 + width
    with open(frames, "rb") as file:
        data = file.read()
    records = [struct.unpack_from("<IB3x", data, at) + (at + 8,) for at in range(0, len(data), size)]
    frames = [(i & ~EXTENDED, bool(i & EXTENDED), data[at:at + n]) for i, n, at in records]
    by_id = {(message.frame_id, message.is_extended_frame): message for message in database.messages}
    # as its documentation shows it: identifier and payload to names and values
    decode = database.decode_message
    first = 0
    for line in sys.stdin:
        order, argument = line.split(maxsplit=1)
        if order == "values":
            write_values(frames, by_id, argument.strip())
            print("done", flush=True)
            continue
        part = frames[first:first + int(argument)]
        first = (first + len(part)) % len(frames)
        start = time.process_time()
        for number, is_extended, payload in part:
            try:
                decode(number, payload, force_extended_id=is_extended)
            except cantools.database.DecodeError:
                pass
        print((time.process_time() - start) / len(part), flush=True)


def write_values(frames, by_id, path):
    with open(path, "wb") as file:
        for number, is_extended, payload in frames:
            message = by_id[number, is_extended]
            try:
                decoded = message.decode(payload, decode_choices=False)
            except cantools.database.DecodeError:
                file.write(struct.pack("<Bd", 2, 0.0) * len(message.signals))
                continue
            for signal in message.signals:
                value = decoded.get(signal.name)
                file.write(struct.pack("<Bd", value is not None, 0.0 if value is None else float(value)))


if __name__ == "__main__":
    command, dbc, width, *rest = sys.argv[1:]
    {"c": generate_c, "python": serve}[command](dbc, int(width), *rest)
