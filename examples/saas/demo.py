#!/usr/bin/env python3
"""Runs Syncline on one morning of a small SaaS and checks what came of it. `make demo` calls this.

The driver only does what a user could do: it runs the `syncline` binary, replaces a plugin's file
while events flow, and reads the target modules with a NATS client of its own. What the targets must
hold comes from expected.py, which has never heard of Syncline.
"""

import argparse
import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import takewhile
from pathlib import Path

import nats

import expected as model
import report
import targets
from runtime import PATIENCE, Failed, Runtime, Sender

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
STREAM = "SAAS"
PLUGINS = ("filter-by-field", "redact", "enrich", "route-by-type")
WASM = "wasm32-wasip2"
SWAP_AT = 0.4  # of the morning
HELD_BACK = 0.2  # of the morning, sent slowly until the new version is seen at work


# -- plugins ---------------------------------------------------------------------------------------


def build_plugins(target_dir, into):
    """All components into one folder, and the tier plugin's second version beside its first."""
    # The folder that the tests build their guests in: whichever comes second finds them built.
    target_dir = target_dir / "guests-build"
    built = target_dir / WASM / "guest"
    build_guest(target_dir, *[word for name in PLUGINS for word in ("--package", name)])
    into.mkdir()
    for name in PLUGINS:
        file = name.replace("-", "_") + ".wasm"
        shutil.copy(built / file, into / file)
    tier = ("--manifest-path", str(HERE / "tier" / "Cargo.toml"))
    build_guest(target_dir, *tier)
    shutil.copy(built / "tier.wasm", into / "tier.wasm")
    build_guest(target_dir, *tier, "--features", "rule-2")
    shutil.copy(built / "tier.wasm", into / "tier.next")


def build_guest(target_dir, *arguments):
    command = ["cargo", "build", "--locked", "--profile", "guest", "--target", WASM]
    command += ["--target-dir", str(target_dir), *arguments]
    # Flags in the environment are meant for the host's code.
    environment = {name: value for name, value in os.environ.items() if "RUSTFLAGS" not in name}
    if subprocess.run(command, cwd=ROOT, env=environment).returncode != 0:
        raise Failed(f"the plugins do not build: {' '.join(command)}")


class Swap:
    """Replaces a plugin's file and watches for the first record that the new code made."""

    def __init__(self, plugins):
        self.file = plugins / "tier.wasm"
        self.asked_at = None
        self.seen_at = None
        self.n_meanwhile = 0  # records by the old code after the file was replaced

    def ask(self):
        # A rename is atomic: whoever reads the path finds the old file or the new one, whole.
        os.replace(self.file.with_suffix(".next"), self.file)
        self.asked_at = time.monotonic()

    def is_awaited(self):
        return self.seen_at is None and time.monotonic() - self.asked_at < PATIENCE

    async def watch(self, client):
        # What is published into a stream reaches plain subscribers too.
        await client.subscribe("search.customers.>", cb=self.on_record)

    async def on_record(self, message):
        if self.asked_at is None or self.seen_at is not None or not message.data:
            return
        if json.loads(message.data)["tier_rule"] == "2":
            self.seen_at = time.monotonic()
        else:
            self.n_meanwhile += 1


# -- sending ---------------------------------------------------------------------------------------


async def send_all(runtime, events):
    async with Sender(runtime) as sender:
        for event in events:
            await sender.send(event)


async def send_morning(runtime, js, swap, events, malformed, rate):
    """At a steady rate; towards the end slowly, as long as the new version has not shown up."""
    malformed = list(malformed)
    swap_at = int(len(events) * SWAP_AT)
    held_back = int(len(events) * (1 - HELD_BACK))
    due = time.monotonic()
    async with Sender(runtime) as sender:
        for number, event in enumerate(events):
            if number == swap_at:
                swap.ask()
            # Spread evenly over the morning.
            if malformed and number % (len(events) // len(malformed) + 1) == 0:
                await send_malformed(js, malformed.pop(0))
            await sender.send(event)
            slow = number >= held_back and swap.is_awaited()
            due = max(due + (0.5 if slow else 1 / rate), time.monotonic() - 0.1)
            await asyncio.sleep(due - time.monotonic())
            if number % 50 == 0:
                runtime.check_alive()
                report.progress(f"{number} of {len(events)} events sent")
    for message in malformed:
        await send_malformed(js, message)
    report.progress("")


async def send_malformed(js, message):
    body = base64.b64decode(message["body_base64"])
    await js.publish(message["subject"], body, headers=message["headers"])


EVERY = [(STREAM, f"syncline-{name}") for name in model.PIPELINES]


async def idle(runtime, js, consumers=EVERY):
    """Until everything that the consumers were given is answered."""
    last, since = None, time.monotonic()
    while True:
        runtime.check_alive()
        left = {}
        for stream, name in consumers:
            consumer = await js.consumer_info(stream, name)
            left[name] = consumer.num_pending + consumer.num_ack_pending
        if not any(left.values()):
            return
        if left != last:
            last, since = left, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            raise Failed(f"no progress for {PATIENCE} s; events left: {left}")
        await asyncio.sleep(0.1)


# -- the story -------------------------------------------------------------------------------------


async def play(runtime, swap, events, malformed, rate):
    """Sends everything; returns what the targets hold then."""
    client = await nats.connect(runtime.url)
    js = client.jetstream()
    await swap.watch(client)
    try:
        # Subscriptions look customers up, and pipelines do not wait for one another: the
        # customers that exist already come first.
        first = list(takewhile(lambda event: event["type"] == "crm.customer.created", events))
        await send_all(runtime, first)
        await idle(runtime, js)
        report.show("customers", f"{len(first):,} events in, all handled")

        began = time.monotonic()
        await send_morning(runtime, js, swap, events[len(first):], malformed, rate)
        await idle(runtime, js)
        report.show(
            "morning",
            f"{len(events) - len(first):,} events and {len(malformed)} malformed messages in, "
            f"all handled after {time.monotonic() - began:.1f} s",
        )
        return await targets.read(js)
    except nats.errors.Error as error:
        raise Failed(f"NATS answers: {error!r}") from error
    finally:
        await client.close()


async def replay(runtime):
    """The win-back module comes up, and what it missed is replayed, twice: returns how many dead
    letters each time, and what the module holds then."""
    client = await nats.connect(runtime.url)
    js = client.jetstream()
    try:
        await js.add_stream(name="WINBACK", subjects=["winback.*"])
        counts = [runtime.replay("winback"), runtime.replay("winback")]
        await idle(runtime, js, [("SYNCLINE_DLQ", "replay-winback")])
        return counts, await targets.read_winback(js)
    except nats.errors.Error as error:
        raise Failed(f"NATS answers: {error!r}") from error
    finally:
        await client.close()


def run(runtime, arguments, work):
    """The whole demo; returns what is not as it should be."""
    if arguments.plugins:
        shutil.copytree(arguments.plugins, work / "plugins")
    else:
        build_plugins(arguments.target_dir, work / "plugins")
        print()
    events, malformed = model.read("events.ndjson"), model.read("malformed.ndjson")
    wanted = model.expect(events, malformed)

    began = time.monotonic()
    runtime.start()
    report.show("runtime", f"ready after {time.monotonic() - began:.1f} s on {runtime.url}")
    swap = Swap(work / "plugins")
    found = asyncio.run(play(runtime, swap, events, malformed, arguments.rate))
    letters = runtime.dead_letters()

    report.show_samples(events, found)
    differences = report.judge_targets(wanted, found)
    differences += report.judge_swap(swap, found["search"])
    differences += report.judge_dead_letters(wanted, letters)
    differences += report.judge_replay(wanted, *asyncio.run(replay(runtime)))
    if arguments.keep:
        wait_for_ctrl_c(runtime)
    differences += report.judge_counts(wanted, runtime.stop())
    return differences


def wait_for_ctrl_c(runtime):
    report.show_running(runtime)
    try:
        while True:
            runtime.check_alive()
            time.sleep(0.5)
    except KeyboardInterrupt:
        print()


def parse_arguments():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    option("--syncline", type=Path, default=target / "debug" / "syncline", help="the binary")
    option("--target-dir", type=Path, default=target, help="where cargo builds the plugins")
    option("--plugins", type=Path, help="a folder of components that are built already")
    option("--rate", type=int, default=300, help="events per second of the morning")
    option("--keep", action="store_true", help="leave it running until ctrl-c")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    # The end of `kill` and of ctrl-c is the same: the runtime is stopped, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="syncline-demo-"))
    runtime = Runtime(arguments.syncline.absolute(), work)
    fine = False
    try:
        differences = run(runtime, arguments, work)
        fine = not differences
        report.show_end(differences, time.monotonic() - began, work)
    except Failed as failure:
        report.show_failure(failure, runtime.log)
    except KeyboardInterrupt:
        report.show_failure("stopped from outside", runtime.log)
    finally:
        runtime.end()
        if fine:
            shutil.rmtree(work)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
