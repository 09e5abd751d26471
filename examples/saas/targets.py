"""What the target modules hold, read by a NATS client that is not Syncline's."""

import json
from collections import defaultdict

from nats.js.api import DeliverPolicy

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
    """Every key that has a value, by the stream below the bucket: the client's own watcher takes a
    bucket for empty when the server has sent all of it before the client has looked."""
    found = {}
    prefix = f"$KV.{bucket}."
    state = (await js.stream_info(f"KV_{bucket}")).state
    if state.messages == 0:
        return found
    subscription = await js.subscribe(
        f"{prefix}>",
        stream=f"KV_{bucket}",
        ordered_consumer=True,
        deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
    )
    async for message in subscription.messages:
        if "KV-Operation" not in (message.headers or {}):
            found[message.subject.removeprefix(prefix)] = json.loads(message.data)
        if message.metadata.sequence.stream >= state.last_seq:
            break
    await subscription.unsubscribe()
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
