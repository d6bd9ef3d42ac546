"""Tables from the figures of `run`: medians over the rounds with their spread, and ratios to the C peer of the same round.

report.py FOLDER [CANVOY]     Markdown on standard output. CANVOY: the program, to name the functions of the profiles.
"""

import bisect
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

NAMES = {
    "cangw": "kernel can-gw",
    "c": "C, SCHED_FIFO",
    "tokio": "tokio + socketcan",
    "tokio-fifo": "the same, SCHED_FIFO",
    "route": "Canvoy route",
    "link": "Canvoy link, E2E in and out",
    "canvoy": "Canvoy",
}
CONDITIONS = {"idle": "idle", "load": "under load", "plant": "10 OPC UA clients, 1 scrape/s"}


def read(folder):
    """rows[part][condition][peer][round] = figures by name."""
    rows = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for line in (folder / "results").read_text().splitlines():
        part, turn, peer, condition, figures = line.split("\t")
        named = dict(pair.split("=", 1) for pair in figures.split())
        rows[part][condition][peer][int(turn)] = {name: number(value) for name, value in named.items()}
    return rows


def number(text):
    try:
        return float(text)
    except ValueError:
        return text


def short(value):
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values):
    values = list(values)
    return f"{short(median(values))} ({short(min(values))}..{short(max(values))})" if values else "-"


def ratios(turns, peer_turns, name):
    """Round by round to the peer: what moves the whole machine moves both."""
    both = [(turns[turn][name], peer_turns[turn][name]) for turn in turns if turn in peer_turns and peer_turns[turn][name]]
    return [a / b for a, b in both]


def table(title, head, rows):
    print(f"\n### {title}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


def ordered(peers):
    return sorted(peers, key=lambda peer: list(NAMES).index(peer) if peer in NAMES else 99)


def latency(conditions):
    for condition, peers in conditions.items():
        base = conditions["idle"].get("c", {}) if condition == "plant" else peers.get("c", {})
        rows = []
        for peer in ordered(peers):
            turns = peers[peer]
            quantiles = [spread(figures[name] for figures in turns.values()) for name in ("p50", "p99", "p999", "max")]
            compared = [f"{spread(ratios(turns, base, name))}" for name in ("p50", "p999")]
            lost = sum(figures["lost"] for figures in turns.values())
            rows.append([NAMES.get(peer, peer), *quantiles, *compared, short(lost), len(turns)])
        beside = " (ratios to C without clients)" if condition == "plant" else ""
        head = ["", "p50", "p99", "p99.9", "max", "p50 / C", "p99.9 / C", "lost", "rounds"]
        table(f"Latency, {CONDITIONS.get(condition, condition)}, µs at 1,000 frames/s{beside}", head, rows)


def rate(conditions):
    rows = []
    for peer in ordered(conditions["idle"]):
        turns = conditions["idle"][peer]
        limits = sorted({figures["limit"] for figures in turns.values()})
        compared = spread(ratios(turns, conditions["idle"].get("c", {}), "lossless"))
        rows.append([NAMES.get(peer, peer), spread(f["lossless"] for f in turns.values()), compared, ", ".join(limits)])
    table("Lossless rate, frames/s", ["", "lossless", "/ C", "limit"], rows)


def cyclic(conditions):
    rows = []
    for condition in sorted(conditions, key=lambda text: (text.split()[0] != "1ms", text)):
        period, what = condition.split()
        base = conditions[f"{period} idle" if what == "plant" else condition].get("c", {})
        for peer in ordered(conditions[condition]):
            turns = conditions[condition][peer]
            wanted = 1000 * int(period.removesuffix("ms"))
            off = [abs(f["mean"] / wanted - 1) * 100 for f in turns.values()]
            drift = short(median(abs(f["drift"]) for f in turns.values())) if all("drift" in f for f in turns.values()) else "-"
            quantiles = [spread(figures[name] for figures in turns.values()) for name in ("p50", "p99", "p999", "max")]
            compared = spread(ratios(turns, base, "p50"))
            name = NAMES.get(peer, peer)
            rows.append([period, CONDITIONS[what], name, spread(f["mean"] for f in turns.values()), f"{median(off):.3f} %", short(median(f["missed"] for f in turns.values())), drift, *quantiles, compared])
    head = ["cycle", "", "", "mean", "off by", "left out", "drift, ppm", "jitter p50", "p99", "p99.9", "max", "p50 / C"]
    table("Cyclic transmission, µs; jitter: how far an interval is from the cycle", head, rows)


def calls(conditions, folder, canvoy):
    for burst in conditions:
        base = conditions[burst].get("c", {}).get(0)
        rows = []
        for peer in ordered(conditions[burst]):
            figures = conditions[burst][peer][0]
            made = {name.removeprefix("call."): value for name, value in figures.items() if name.startswith("call.")}
            total = sum(made.values())
            compared = short(figures["instructions"] / base["instructions"]) if base else "-"
            listed = ", ".join(f"{name} {value:.2f}" for name, value in sorted(made.items(), key=lambda item: -item[1]))
            rows.append([NAMES.get(peer, peer), short(figures["instructions"]), compared, f"{total:.2f}", listed])
        head = ["", "instructions / frame", "/ C", "calls / frame", "which"]
        table(f"The forwarding thread, {burst.replace('burst ', 'frames in bursts of ')}: user-space instructions and system calls", head, rows)
        for peer in conditions[burst]:
            profile = folder / f"profile.{peer}.{burst.split()[1]}"
            if peer in ("route", "link") and canvoy and profile.exists():
                functions(profile, canvoy, conditions[burst][peer][0]["frames"])
    for file in sorted(folder.glob("strace.*")):
        print(f"\n`strace -c` of the thread, {file.name.removeprefix('strace.')}:\n")
        for line in file.read_text().splitlines():
            print(f"    {line}")


def functions(profile, canvoy, frames):
    """Where the instructions went: the symbols of the program, a line each."""
    listing = subprocess.run(["nm", "-C", "--defined-only", "-n", canvoy], capture_output=True, text=True).stdout
    symbols = [line.split(" ", 2) for line in listing.splitlines() if re.match(r"[0-9a-f]+ [tTwW] ", line)]
    addresses = [int(symbol[0], 16) for symbol in symbols]
    counts = defaultdict(int)
    for line in profile.read_text().splitlines():
        place, offset, count = line.split()
        at = bisect.bisect_right(addresses, int(offset, 16)) - 1
        name = symbols[at][2] if place == "exe" and at >= 0 else f"[{Path(place).name}]"
        counts[re.sub(r"::h[0-9a-f]{16}$", "", name)] += int(count)
    print(f"\n{profile.name}, instructions for each frame by function:\n")
    for name, count in sorted(counts.items(), key=lambda item: -item[1])[:16]:
        print(f"    {count / frames:8.1f}  {name}")


def four(conditions, folder):
    rows = []
    for rate_text, peers in conditions.items():
        for peer in ordered(peers):
            f = peers[peer][0]
            cells = [int(f[name]) for name in ("sent", "received", "lost", "out_of_order")]
            rows.append([NAMES.get(peer, peer), rate_text, f"{f['seconds']:.0f} s", *cells, f"{f['cpu_thread']:.1f} %", f"{f['cpu_process']:.1f} %"])
    head = ["", "rate", "for", "sent", "arrived", "lost", "out of order", "CPU of the thread", "of the process"]
    table("Four buses, eight routes, half of the C peer's lossless rate", head, rows)
    before, after = (metrics(folder / f"four.{when}") for when in ("before", "after"))
    rows = []
    for name in sorted(after):
        if re.search(r"(frames|dropped|overruns|writes|passed|limited|unfit|stale|overflow|busy|not_sent)\w*_total", name):
            change = after[name] - before.get(name, 0)
            if change or "lost" in name or "overrun" in name or "dropped" in name:
                rows.append([f"`{name}`", int(change)])
    table("Canvoy's own account of it, change over the run", ["series", "change"], rows)


def metrics(file):
    if not file.exists():
        return {}
    lines = [line.rsplit(" ", 1) for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def main(folder, canvoy=""):
    folder = Path(folder)
    conditions = (folder / "conditions").read_text().splitlines()
    loads = [float(line) for line in (folder / "loads").read_text().split()]
    print("## Forwarding\n")
    print("\n".join(f"- {line}" for line in conditions))
    if loads:
        print(f"- load average of the host meanwhile: {spread(loads)}")
    print("- figures: median over the rounds (smallest..largest); ratios: of the same round, then the same")
    rows = read(folder)
    parts = {"latency": latency, "rate": rate, "cyclic": cyclic}
    for part, show in parts.items():
        if part in rows:
            show(rows[part])
    if "calls" in rows:
        calls(rows["calls"], folder, canvoy)
    if "four" in rows:
        four(rows["four"], folder)


main(*sys.argv[1:])
