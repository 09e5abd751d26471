"""The `syncline` binary, used from outside as any user would."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

CONFIG = Path(__file__).parent / "syncline.toml"
PATIENCE = 60  # seconds without progress before the demo gives up


class Failed(Exception):
    """The demo cannot go on; the message is for the person who ran it."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def in_session(leader):
    """The processes of a session; none where there is no /proc."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name, which may hold anything: state, parent, group, session.
            session = stat.read_text().rpartition(")")[2].split()[3]
            if int(session) == leader:
                yield int(stat.parent.name)


class Runtime:
    """`syncline dev` as a child, which runs a nats-server of its own at a free port."""

    def __init__(self, binary, work):
        self.binary = str(binary)
        self.url = f"nats://127.0.0.1:{free_port()}"
        self.environment = os.environ | {
            "SYNCLINE_DEMO_NATS": self.url,
            "SYNCLINE_DEMO_PLUGINS": str(work / "plugins"),
        }
        # `ready` is a line at level info.
        self.environment.pop("RUST_LOG", None)
        self.log = work / "runtime.log"
        self.output = work / "runtime.json"
        self.store = work / "store"
        self.child = None

    def command(self, *arguments):
        return [self.binary, *arguments, "-c", str(CONFIG)]

    def start(self):
        if not os.access(self.binary, os.X_OK):
            raise Failed(f"there is no {self.binary}; `make demo` builds it")
        command = self.command("dev", "--json", "--store", str(self.store))
        with open(self.log, "wb") as log, open(self.output, "wb") as output:
            # A session of its own: ctrl-c reaches the driver, which stops the child in order.
            self.child = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=output, stderr=log, start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while not re.search(rb"\bready\b", self.log.read_bytes()):
            self.check_alive()
            if time.monotonic() > deadline:
                raise Failed(f"the runtime was not ready within {PATIENCE} s")
            time.sleep(0.05)

    def check_alive(self):
        if self.child.poll() is not None:
            raise Failed(f"the runtime ended by itself with status {self.child.returncode}")

    def dead_letters(self):
        return [json.loads(line) for line in self.dlq("list").splitlines()]

    def replay(self, pipeline):
        """Hands a pipeline its dead letters again; returns how many."""
        return json.loads(self.dlq("replay", "--pipeline", pipeline))["replayed"]

    def dlq(self, *arguments):
        command = self.command("dlq", *arguments, "--json")
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"{' '.join(command[1:])} failed: {done.stderr.strip()}")
        return done.stdout

    def stop(self):
        """Drains; returns the runtime's own account of every pipeline."""
        self.check_alive()
        self.child.send_signal(signal.SIGTERM)
        try:
            status = self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f"the runtime did not drain within {PATIENCE} s of SIGTERM") from None
        if status != 0:
            raise Failed(f"the runtime ended with status {status}")
        try:
            return json.loads(self.output.read_text().splitlines()[-1])["pipelines"]
        except (IndexError, KeyError, ValueError) as error:
            raise Failed(f"the runtime printed no account of its run: {error!r}") from None

    def end(self):
        """Leaves nothing running, whatever happened before."""
        if self.child is None:
            return
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        # A runtime that died could not end the server that it had started.
        for pid in in_session(self.child.pid):
            os.kill(pid, signal.SIGTERM)


class Sender:
    """`syncline send`, fed line by line. Leaving the block waits until every event is stored."""

    def __init__(self, runtime):
        # Some events come twice, and both are to be stored: that is what the demo is about.
        self.command = runtime.command("send", "saas.{type}", "--no-dedupe")
        self.environment = runtime.environment
        self.child = None

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self.child = await asyncio.create_subprocess_exec(
            *self.command, env=self.environment,
            stdin=pipe, stdout=asyncio.subprocess.DEVNULL, stderr=pipe,
        )
        return self

    async def send(self, event):
        line = json.dumps(event, ensure_ascii=False) + "\n"
        self.child.stdin.write(line.encode())
        try:
            await self.child.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            await self.finish()

    async def finish(self):
        self.child.stdin.close()
        try:
            _, errors = await asyncio.wait_for(self.child.communicate(), PATIENCE)
        except asyncio.TimeoutError:
            raise Failed(f"syncline send was not done {PATIENCE} s after its last event") from None
        if self.child.returncode != 0:
            raise Failed(f"syncline send failed: {errors.decode().strip()}")

    async def __aexit__(self, kind, *_):
        try:
            if kind is None:
                await self.finish()
        finally:
            if self.child.returncode is None:
                self.child.kill()
                await self.child.wait()
