"""What the target modules hold, read by a NATS client that is not Syncline's."""

import json
from collections import defaultdict

from expected import content


async def read(js):
    return {
        "crm": await read_bucket(js, "crm"),
        "billing": await read_bucket(js, "billing"),
        "support": await read_bucket(js, "support"),
        "search": await read_log(js, "SEARCH", lambda subject, _: subject.split(".")[2]),
        "analytics": await read_log(js, "ANALYTICS", lambda _, record: record["id"]),
        "audit": await read_log(js, "AUDIT", lambda subject, _: subject.split(".")[1]),
    }


async def read_winback(js):
    return await read_log(js, "WINBACK", lambda subject, _: subject.split(".")[1])


async def read_bucket(js, bucket):
    """Every key that has a value."""
    found = {}
    watcher = await (await js.key_value(bucket)).watchall(ignore_deletes=True)
    async for entry in watcher:
        if entry is None:  # that was all of it
            break
        found[entry.key] = json.loads(entry.value)
    await watcher.stop()
    return found


async def read_log(js, stream, key_of):
    """Every record of a stream, in order, by key; None for a deletion."""
    found = defaultdict(list)
    state = (await js.stream_info(stream)).state
    if state.messages == 0:
        return found
    subscription = await js.subscribe(">", stream=stream, ordered_consumer=True)
    async for message in subscription.messages:
        deleted = message.headers.get("Syncline-Operation") == "delete"
        record = None if deleted else content(message.data)
        found[key_of(message.subject, record)].append(record)
        if message.metadata.sequence.stream >= state.last_seq:
            break
    await subscription.unsubscribe()
    return found
