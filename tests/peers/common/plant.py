"""The plant of the checks: its files, and a `canvoy run --simulate` of it on free ports in a folder of its own.

The one place that knows how Canvoy is configured, started, asked and what its certificate folders are called.
By hand: `plant.py CANVOY [KEY=VALUE...]` starts it with these lines in [opcua], says where it is, and ends with Ctrl-C;
`plant.py CANVOY [KEY=VALUE...] -- COMMAND...` runs a command with --url, --user, --password and more of it, and ends with that.
--alarms and --model before the command are more of its configuration.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
NAMESPACE = "urn:canvoy:plant"
USER, PASSWORD = "operator", "correct horse battery staple"
SECOND_USER, SECOND_PASSWORD = "visitor", "another horse, another staple"
# Seconds for anything to happen on a busy machine of two cores.
LIMIT = 60

# m.Fast comes every millisecond, m.Late later than its deadline: Good for 300 of every 1000 ms, then late.
BUSES = """
[machine]
arm = "at-start"

[bus.m]
virtual = true
fd = true
bit_rate = 500000
data_bit_rate = 2000000
dbc = ["plant.dbc"]
node = "Canvoy"
transmit = ["Command", "Cycle"]
writable = ["Command.*", "Cycle.Level"]
forcible = ["Status.*"]
message.Late.timeout_ms = 300
"""

ANALOG = "m.Status.Speed"  # Double, EURange -3200..3200, rpm
TEMPERATURE = "m.Status.Temperature"
STATE = "m.Status.State"  # MultiStateValueDiscrete, four words
READY = "m.Status.Ready"  # TwoStateDiscrete
BIT = "m.Status.Bit"  # Boolean without words
FAST = "m.Fast.FastCounter"  # UInt32, one more every millisecond
BEAT = "m.Heartbeat.BeatCounter"  # Byte, one more every 200 ms
LATE = "m.Late.Held"  # a selector with one branch, so always 7; Good and late in turn
SINGLE, DOUBLE = "m.Floats.Single", "m.Floats.Double"
ENGINE = "m.EngineSpeed@0.EngSpeed"  # J1939
SETPOINT = "m.Command.Setpoint"  # writable Double, EURange 0..3000
ENABLE = "m.Command.Enable"  # writable Boolean with words
MODE = "m.Command.Mode"  # writable MultiStateValueDiscrete, 0..3
RAMP = "m.Command.Ramp"  # writable Byte, EURange 1..100
LEVEL = "m.Cycle.Level"  # writable UInt16 of a message that is sent every 10 ms
SILENT = "m.Silent.Unused"  # never received, never sent
ARMED = "Canvoy.Machine.Armed"
ALARMS = "Canvoy.Machine.Alarms"  # array of String
# Alarms for the checks of alarms: on what a check can write.
ALARM_LINES = """
[alarm.setpoint]
tag = "m.Command.Setpoint"
hi = 1000
hihi = 2000
severity = { hi = 600, hihi = 900 }
text = "the setpoint is high"

[alarm.level]
tag = "m.Cycle.Level"
hi = 1000
hihi = 2000
lo = 10
exclusive = false

[alarm.enabled]
when = "m.Command.Enable == 1"
severity = 300
text = "the device is enabled"
"""
# What more there is of a model: two devices of a type, areas, plates, and roles: who is USER may all, SECOND_USER sees.
MODEL_LINES = """
[bus.k]
virtual = true
node = "Canvoy"
overlay = ["names.csv"]

[bus.k.device.Pump]
dbc = ["pump.dbc"]
instances = [{ name = "pump1" }, { name = "pump2", id_offset = 0x10 }]
transmit = ["Command"]
writable = ["Command.*"]

[route.over]
from = "m"
to = "k"
message = "Heartbeat"

[role.Engineer]
users = ["operator"]

[role.Observer]
users = ["visitor"]

[opcua.machine]
name = "Press 7"
manufacturer = "Acme"
serial_number = "4711"
product_instance_uri = "urn:acme.example:4711"
location = "Hall 2"

[opcua.device."k.pump1"]
manufacturer = "Pumps Inc."
model = "P-100"
serial_number = "00815"
"""
MODEL = BUSES.replace("[machine]", "[machine]\nremote_from_plant = true") + MODEL_LINES
READ_ONLY = [ANALOG, TEMPERATURE, STATE, READY, BIT, FAST, BEAT, LATE, SINGLE, DOUBLE, ENGINE]
WRITABLE = [SETPOINT, ENABLE, MODE, RAMP, LEVEL]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def toml(value):
    return json.dumps(value)


class Plant:
    """A running Canvoy; `more` is further text of its configuration, `options` are further keys of [opcua]."""

    buses = BUSES
    simulated = True

    def __init__(self, canvoy, more="", **options):
        self.more = more
        self.canvoy = str(Path(canvoy).resolve())
        self.folder = Path(tempfile.mkdtemp(prefix="canvoy-checks-"))
        self.opcua, self.port = free_port(), free_port()
        self.url, self.http = f"opc.tcp://127.0.0.1:{self.opcua}", f"http://127.0.0.1:{self.port}"
        self.user, self.password = USER, PASSWORD
        self.options = options
        self.state = self.folder / "state"
        self.pki = self.state / "pki"
        self.process = None
        try:
            for file in [*HERE.glob("*.dbc"), *HERE.glob("*.csv")]:
                shutil.copy(file, self.folder)
            self.configure()
            for user, password in ((USER, PASSWORD), (SECOND_USER, SECOND_PASSWORD)):
                self.ask("user", "add", "users", user, text=password + "\n")
        except BaseException:
            self.stop()
            raise

    def configure(self):
        lines = {"listen": f"127.0.0.1:{self.opcua}", "users": "users", **self.options}
        opcua = "".join(f"{key} = {toml(value)}\n" for key, value in lines.items())
        text = f'{self.buses}{self.more}\n[opcua]\n{opcua}\n[http]\nlisten = "127.0.0.1:{self.port}"\n'
        (self.folder / "plant.toml").write_text(text)

    def environment(self):
        return {**os.environ, "XDG_STATE_HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder), "TMPDIR": str(self.folder)}

    def ask(self, *arguments, text=""):
        """A `canvoy` command beside the running one; what it prints."""
        done = subprocess.run(
            [self.canvoy, *arguments], input=text, capture_output=True, text=True, cwd=self.folder, env=self.environment(), timeout=LIMIT
        )
        return done.stdout + done.stderr

    def start(self):
        # whoever ends the checks ends the plant with them
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        command = [self.canvoy, "run", *(["--simulate"] if self.simulated else []), "--state", str(self.state), "plant.toml"]
        with open(self.folder / "log", "wb") as log, open(self.folder / "said", "wb") as said:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL, stdout=said, stderr=log
            )
        self.wait("the plant to serve", self.serves)
        return self

    def serves(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"canvoy ended with {self.process.returncode}:\n{self.log()[-3000:]}")
        try:
            socket.create_connection(("127.0.0.1", self.opcua), 5).close()
            return urllib.request.urlopen(self.http + "/healthz", timeout=5).status == 200
        except OSError:
            return False

    def wait(self, what, found, limit=LIMIT):
        end = time.monotonic() + limit
        while not (answer := found()):
            if time.monotonic() > end:
                raise TimeoutError(f"waited {limit} s for {what}")
            time.sleep(0.05)
        return answer

    def restart(self):
        """All of it ends in order and begins again, with the same files."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(LIMIT)
        return self.start()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                for pid in filter(None, (self.part("plant"), self.part("controller"), self.process.pid)):
                    os.kill(pid, signal.SIGKILL)
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def metrics(self):
        return urllib.request.urlopen(self.http + "/metrics", timeout=20).read().decode()

    def metric(self, series):
        """The value of one series, None where there is none."""
        return next((float(line[len(series) + 1 :]) for line in self.metrics().splitlines() if line.startswith(series + " ")), None)

    def status(self):
        """What the controller says of itself: not by way of the plant process."""
        said = self.ask("status", "--json")
        return json.loads(said[said.index("{") : said.rindex("}") + 1])

    def part(self, word):
        """The process id of `controller` or `plant`; None while there is none."""
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except (OSError, IndexError, ValueError):
                continue
            if parent == self.process.pid and len(words) > 1 and words[1] == word.encode():
                return int(entry.name)
        return None

    # --- certificates ---

    def folders(self, kind):
        """Where certificates of this kind are kept: the standard's folder below it, and the plain one of older versions."""
        return [folder for folder in (self.pki / kind / "certs", self.pki / kind) if folder.is_dir()]

    def put(self, kind, name, der):
        """A certificate in `trusted`, `issuers`, `users_trusted` or `users_issuers`: as a person would put it there."""
        folder = self.pki / kind / "certs"
        if kind == "trusted" and not folder.is_dir():
            folder = self.pki / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.der").write_bytes(der)

    def put_crl(self, kind, name, der):
        folder = self.pki / kind / "crl"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.crl").write_bytes(der)

    def remove(self, kind, name):
        for folder in (self.pki / kind / "certs", self.pki / kind / "crl", self.pki / kind):
            for file in folder.glob(f"{name}.*"):
                file.unlink()

    def rejected(self):
        """Files of refused certificates."""
        return [file for file in (self.pki / "rejected").rglob("*") if file.is_file()]

    def trust_rejected(self, der):
        """Moves this refused certificate to the trusted ones, as a person would; None where it was not kept."""
        for file in self.rejected():
            if file.read_bytes() == der:
                folder = self.folders("trusted")[0]
                return file.rename(folder / file.name)
        return None


if __name__ == "__main__":
    before, command = sys.argv[2:], None
    more = ALARM_LINES if "--alarms" in before else ""
    Plant.buses = MODEL if "--model" in before else BUSES
    before = [word for word in before if word not in ("--alarms", "--model")]
    if "--" in before:
        at = before.index("--")
        before, command = before[:at], before[at + 1 :]
    given = dict(word.partition("=")[::2] for word in before)
    with Plant(sys.argv[1], more, **{key: json.loads(value) for key, value in given.items()}) as started:
        if command:
            where = ["--url", started.url, "--user", started.user, "--password", started.password]
            where += ["--visitor", SECOND_USER, "--visitor-password", SECOND_PASSWORD, "--canvoy", started.canvoy, "--folder", str(started.folder)]
            sys.exit(subprocess.run([*command, *where]).returncode)
        print(f"--url {started.url} --http {started.http} --folder {started.folder}   ({USER}: {PASSWORD})", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            pass
