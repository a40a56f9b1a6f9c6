"""The main job in one run: three masters, three MicroPython devices, a client; ends with one table.

    python examples/demo.py [--keep] [--chip-timing]

Every step is what a maker does: a platform, servers as processes of their own, licences, flash images, virtual boards,
a client. Exit code 0 only if all of it held.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from demo_steps import Steps

import upeer_client
from upeer.signalling.initstring import open_init_string
from upeer_board.virtual import VirtualBoard
from upeer_client import errors, files
from upeer_office import licences
from upeer_office.initstring import seal_init_string
from upeer_server.config import Generation

ROOT = Path(__file__).resolve().parent.parent
UPEER = [sys.executable, "-m", "upeer_cli.main"]
FILE_SIZE = 1 << 20
MASTERS = 3
WIFI_NEEDS = 20 << 10  # bytes that a device leaves it of its memory, at any time
BOARDS = 3
LOGIN_S = 30.0


def upeer(*words: str) -> str:
    """Run a command as a user would; return what it printed."""
    done = subprocess.run([*UPEER, *words], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"upeer {words[0]} {words[1]}: {done.stderr.strip()}")
    return done.stdout


def free_port() -> int:
    """Return a UDP port that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class World:
    """All that the demo starts, so that it can be ended again."""

    def __init__(self, folder: Path, chip_timing: bool = False) -> None:
        self.folder = folder
        self.chip_timing = chip_timing
        self.platform = folder / "platform"
        self.servers: list[subprocess.Popen[str]] = []
        self.boards: list[VirtualBoard] = []
        self.dids: list[str] = []

    def start_servers(self) -> str:
        """Make a platform and start each master, with its p2p server and relay, as a process of its own."""
        places = [word for _ in range(MASTERS) for word in ("--master", f"127.0.0.1:{free_port()}")]
        upeer("platform", "init", str(self.platform), *places)
        upeer("platform", "client", str(self.platform), "--out", str(self.folder / "client.json"))
        for number in range(1, MASTERS + 1):
            words = ["serve", str(self.platform), "--master-id", str(number)]
            log = open(self.folder / f"server-{number}.log", "w")  # noqa: SIM115 - the process keeps it
            server = subprocess.Popen([*UPEER, *words], stdout=subprocess.PIPE, stderr=log, text=True)
            self.servers.append(server)
        for server in self.servers:
            assert server.stdout
            if not server.stdout.readline().startswith("ready"):
                raise RuntimeError(f"a server did not start: see {self.folder}")
        return f"{MASTERS} processes, each a master, p2p server and relay"

    def issue_licences(self) -> str:
        """Issue a licence for each board."""
        upeer("licence", "issue", str(self.platform), "--count", str(BOARDS))
        rows = json.loads(upeer("licence", "list", str(self.platform), "--json"))
        self.dids = re.findall(r"[A-Z]{4}-\d{6}-[A-Z]{5}", json.dumps(rows))[:BOARDS]
        return ", ".join(self.dids)

    def setup_code(self, did: str) -> str:
        """Return what the label of a device says."""
        shown = json.loads(upeer("licence", "show", str(self.platform), did, "--setup-code", "--json"))
        return str(shown["setup_code"])

    def image(self, name: str) -> Path:
        """Return the folder of a new flash image for a virtual board."""
        out = self.folder / name
        upeer("image", "build", "--board", "UNIX", "--out", str(out), "--wifi", "demo")
        return out

    def boot(self, name: str, record: dict[str, Any]) -> VirtualBoard:
        """Boot a virtual board with that licence record."""
        board = VirtualBoard.start(self.image(name), licence=record, chip_timing=self.chip_timing)
        self.boards.append(board)
        return board

    def boot_boards(self) -> str:
        """Boot a board for each licence and wait until each is logged in to every master."""
        for number, did in enumerate(self.dids, 1):
            self.boot(f"board{number}", licences.device_record(self.platform, did))
        for board in self.boards:
            for number in range(1, MASTERS + 1):
                board.wait_for(f"online master {number}", LOGIN_S)
        return f"{len(self.boards)} boards, each logged in to {MASTERS} masters"

    def kill_master(self, number: int) -> None:
        """End a master, its p2p server and its relay, without a goodbye."""
        self.servers[number - 1].send_signal(signal.SIGKILL)
        self.servers[number - 1].wait(10)

    def stop(self) -> None:
        """End everything that was started."""
        for board in self.boards:
            board.stop()
        for server in self.servers:
            if server.poll() is None:
                server.send_signal(signal.SIGTERM)
        for server in self.servers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(10)


class Demo:
    """What the client shows, one step a method; each returns the line for the table or raises."""

    def __init__(self, world: World, client: upeer_client.Client) -> None:
        self.world = world
        self.client = client
        self.source = world.folder / "source.bin"
        self.source.write_bytes(secrets.token_bytes(FILE_SIZE))
        self.hash = hashlib.sha256(self.source.read_bytes()).hexdigest()

    async def pair(self) -> str:
        """Pair with every device by the code on its label."""
        for number, did in enumerate(self.world.dids, 1):
            pair = await self.client.pair(did, self.world.setup_code(did), name=f"board{number}")
            if pair.role != "owner":
                raise RuntimeError(f"{did} made us {pair.role}")
        return "by setup code; owner of each device"

    async def ping(self) -> str:
        """Connect to every device and measure one command's round trip."""
        times = []
        for did in self.world.dids:
            async with await self.client.connect(did) as device:
                start = time.perf_counter()
                status, _ = await device.command("status")
                times.append((time.perf_counter() - start) * 1000)
                if status:
                    raise RuntimeError("status refused")
        return f"status command answered in {min(times):.1f} to {max(times):.1f} ms"

    async def _round_trip(self, did: str, mode: str) -> dict[str, Any]:
        target = self.world.folder / "back.bin"
        async with await self.client.connect(did, mode=mode) as device:
            start = time.perf_counter()
            await files.put(device, self.source, "demo.bin")
            await files.get(device, "demo.bin", target)
            seconds = time.perf_counter() - start
            stats = device.stats()
        self._check(target)
        kind = stats["path"]["kind"]
        return {"kind": kind, "text": f"1 MiB there and back in {seconds:.1f} s over {kind}, equal hashes"}

    async def direct(self) -> str:
        """Put and get a file over the best path."""
        result = await self._round_trip(self.world.dids[0], "all")
        if result["kind"] == "relay":
            raise RuntimeError("no direct path on one machine")
        return str(result["text"])

    async def relay(self) -> str:
        """The same over a relay and nothing else."""
        result = await self._round_trip(self.world.dids[1], "relay")
        if result["kind"] != "relay":
            raise RuntimeError(f"went over {result['kind']}")
        return str(result["text"])

    def _check(self, path: Path) -> None:
        if hashlib.sha256(path.read_bytes()).hexdigest() != self.hash:
            raise RuntimeError("the hashes differ")

    async def upgrade(self) -> str:
        """Start on a relay, allow direct paths in mid-transfer, lose nothing."""
        target = self.world.folder / "moved.bin"
        kinds = []
        async with await self.client.connect(self.world.dids[0], mode="relay") as device:

            def on_progress(_size: int) -> None:
                if not kinds:
                    device.allow("all")
                kinds.append(device.path["kind"])

            await files.get(device, "demo.bin", target, on_progress)
        self._check(target)
        if kinds[0] != "relay" or kinds[-1] == "relay" or not device.upgraded:
            raise RuntimeError(f"the path went from {kinds[0]} to {kinds[-1]}")
        return f"{kinds[0]} to {kinds[-1]} in mid-transfer, not a byte lost"

    async def kill_masters(self) -> str:
        """Kill a master, then a second, in mid-transfer; then connect through the last one."""
        target = self.world.folder / "survived.bin"
        received = [0]
        async with await self.client.connect(self.world.dids[2]) as device:
            await files.put(device, self.source, "demo.bin")

            def on_progress(size: int) -> None:
                before = received[0] * 4 // FILE_SIZE
                received[0] += size
                for quarter in range(before + 1, min(received[0] * 4 // FILE_SIZE, 2) + 1):
                    self.world.kill_master(quarter)

            await files.get(device, "demo.bin", target, on_progress)
        self._check(target)
        async with await self.client.connect(self.world.dids[1]) as device:
            await device.command("status")
        return "after 1/4 and 1/2 of a file, which came whole; new connection through the third"

    async def memory(self) -> str:
        """Ask every device how much of its memory all of this took, and left Wi-Fi."""
        found = []
        for did in self.world.dids:
            async with await self.client.connect(did) as device:
                found.append(json.loads(bytes((await device.command("status"))[1]))["memory"])
        peak = max(memory["peak"] for memory in found)
        least = min(memory["reserve_least"] for memory in found)
        if least < WIFI_NEEDS or any(memory["refused"] for memory in found):
            raise RuntimeError(f"a device left Wi-Fi {least} bytes, at most {peak} in use: {found}")
        return f"at most {peak >> 10} KB of {found[0]['limit'] >> 10} in use, {least >> 10} KB left for Wi-Fi"


async def stolen_did(world: World) -> str:
    """A device with a DID that exists, and another licence key."""
    record = licences.device_record(world.platform, world.dids[0])
    record["licence_key"] = secrets.token_bytes(32)
    board = world.boot("thief", record)
    await asyncio.to_thread(board.wait_for, "offline master 3: refused", LOGIN_S)
    if "online" in board.output:
        raise RuntimeError("it was let in")
    return "refused by every master that is up"


async def wrong_crc_key(world: World) -> str:
    """A device of another platform's key: nobody answers it."""
    record = licences.device_record(world.platform, world.dids[0])
    forged = secrets.token_bytes(32)
    record["init_string"] = _sealed_under(record, forged)
    record["crc_key"] = forged
    board = world.boot("stranger", record)
    await asyncio.to_thread(board.wait_for, "offline master 3: no answer", 60.0)
    if "online" in board.output:
        raise RuntimeError("it was let in")
    return "servers stay silent"


def _sealed_under(record: dict[str, Any], crc_key: bytes) -> str:
    """Return the device's own list of masters sealed under another CRCKey, so that only the login can fail."""
    masters = open_init_string(record["init_string"], "device", record["crc_key"], record["p2p_key"])
    keys = Generation(record["key_id"], crc_key, record["p2p_key"])
    return seal_init_string("device", keys, [(*master, b"") for master in masters])


async def wrong_keys(world: World) -> str:
    """A client with a P2PKey that is not the platform's: its InitString does not open."""
    document = json.loads((world.folder / "client.json").read_text())
    document["p2p_key"] = secrets.token_bytes(32).hex()
    forged = world.folder / "forged.json"
    forged.write_text(json.dumps(document))
    try:
        async with upeer_client.Client(config=forged, home=world.folder / "nobody"):
            pass
    except errors.ClientError as error:
        return str(error).split(": ")[-1]
    raise RuntimeError("the InitString opened")


async def show(world: World, steps: Steps) -> None:
    """Run all that needs a client."""
    config = world.folder / "client.json"
    async with upeer_client.Client(config=config, home=world.folder / "home") as client:
        demo = Demo(world, client)
        await steps.run("pair", "R1.10", demo.pair())
        await steps.run("ping", "R0.3", demo.ping())
        await steps.run("file, direct", "R0.3 R2.2", demo.direct())
        await steps.run("file, relay only", "R0.2", demo.relay())
        await steps.run("relay, then direct", "R2.3", demo.upgrade())
        await steps.run("two masters die", "R0.1", demo.kill_masters())
        await steps.run("memory of the boards", "R2.8", demo.memory())
    await steps.run("stolen DID", "R0.5a A2", stolen_did(world))
    await steps.run("wrong CRCKey", "R0.5c", wrong_crc_key(world))
    await steps.run("wrong P2PKey", "R0.5b R0.5d", wrong_keys(world))


def keep(world: World) -> None:
    """Leave everything running and say what to try."""
    lines = [
        f"export UPEER_CLIENT={world.folder / 'client.json'} UPEER_HOME={world.folder / 'home'}",
        f"upeer ping {world.dids[0]}",
        f"upeer ls {world.dids[0]}",
        f"echo hello | upeer connect {world.dids[0]} --service echo",
        f"upeer status {world.platform}",
        f"mpremote connect {world.boards[0].pty} repl",
    ]
    print("\nStill running; try, in another terminal:\n  " + "\n  ".join(lines) + "\nCtrl-C ends it.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description="Servers, three virtual boards and a client, in one run.")
    parser.add_argument("--keep", action="store_true", help="leave it all running and print commands to try")
    parser.add_argument("--chip-timing", action="store_true", help="boards that load, wait and collect like a chip")
    options = parser.parse_args()
    os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    folder = Path(tempfile.mkdtemp(prefix="upeer-demo-"))
    world = World(folder, options.chip_timing)
    steps = Steps()
    try:
        steps.call("platform, servers", "R0.1 R0.6", world.start_servers)
        steps.call("licences", "R0.5a", world.issue_licences)
        steps.call("images, boards", "R0.7 R2.8", world.boot_boards)
        asyncio.run(show(world, steps))
        print(steps.table())
        if options.keep and steps.held:
            keep(world)
    except KeyboardInterrupt:
        return 130
    finally:
        world.stop()
        if steps.held:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"logs are in {folder}", file=sys.stderr)
    return 0 if steps.held else 1


if __name__ == "__main__":
    sys.exit(main())
