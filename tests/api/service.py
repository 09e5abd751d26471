"""Discovers the micro service and uses it, as a client in another language does.

    service.py URL
"""

import asyncio
import json
import sys

import nats


async def main(url):
    client = await nats.connect(url)

    async def find(verb, name=None):
        subject = f"$SRV.{verb}" + (f".{name}" if name else "")
        reply = await client.request(subject, b"", timeout=5)
        return json.loads(reply.data)

    ping = await find("PING")
    assert ping["type"] == "io.nats.micro.v1.ping_response", ping
    assert ping["name"] == "syncline", ping
    info = await find("INFO", "syncline")
    subjects = {it["name"]: it["subject"] for it in info["endpoints"]}
    assert subjects["retrieve-crm-v2-customer"] == "modules.v2.crm.customer.retrieve", subjects
    assert "append-crm-v2-customer" not in subjects, subjects

    async def ask(endpoint, body, headers=None):
        data = json.dumps(body).encode()
        reply = await client.request(subjects[endpoint], data, timeout=15, headers=headers)
        found = {name.lower(): value for name, value in (reply.headers or {}).items()}
        code = found.get("nats-service-error-code")
        return int(code or found["status"]), found, reply.data

    status, headers, data = await ask("retrieve-crm-v2-customer", {"key": "a/b"})
    assert (status, data) == (404, b""), (status, headers, data)
    assert "no `customer` with key `a/b`" in headers["nats-service-error"], headers
    assert headers["problem-type"].endswith("#no-such-key"), headers

    entity = {"id": "a/b", "n": 1}
    new = {"key": "a/b", "payload": entity, "if_none_match": "*"}
    again = {"Idempotency-Key": "k-1"}
    status, headers, _ = await ask("upsert-crm-v2-customer", new, again)
    assert status == 201, (status, headers)
    status, headers, _ = await ask("upsert-crm-v2-customer", new, again)
    assert (status, headers["idempotent-replayed"]) == (204, "true"), (status, headers)
    status, headers, data = await ask("retrieve-crm-v2-customer", {"key": "a/b"})
    assert (status, json.loads(data)) == (200, entity), (status, data)
    etag = headers["etag"]
    status, _, data = await ask("retrieve-crm-v2-customer", {"key": "a/b", "fields": "n"})
    assert (status, json.loads(data)) == (200, {"n": 1}), (status, data)

    patch = {"key": "a/b", "payload": {"n": 2}, "if_match": etag}
    status, headers, data = await ask("merge-crm-v2-customer", patch)
    assert (status, json.loads(data)["n"]) == (200, 2), (status, headers, data)
    status, headers, _ = await ask("merge-crm-v2-customer", patch)
    assert status == 412, (status, headers)
    wrong = {"key": "a/b", "payload": {"n": "x"}}
    status, headers, _ = await ask("merge-crm-v2-customer", wrong)
    assert status == 422 and "`/n`" in headers["nats-service-error"], (status, headers)
    status, headers, _ = await ask("merge-crm-v2-customer", {"kez": "a/b"})
    assert status == 400, (status, headers)

    effects = [
        {"target": "crm", "version": 2, "operation": "upsert", "key": "t", "payload": {"n": 3}},
        {"target": "billing", "version": 1, "operation": "upsert", "key": "t", "payload": {"n": 3}},
    ]
    status, headers, _ = await ask("transactions", {"effects": effects})
    assert status == 200, (status, headers)
    status, _, data = await ask("list-billing-v1-_", {"prefix": "t", "limit": 10})
    assert [it["key"] for it in json.loads(data)["entities"]] == ["t"], data
    status, headers, _ = await ask("delete-crm-v2-customer", {"key": "a/b"})
    assert status == 204, (status, headers)

    stats = await find("STATS", "syncline")
    merges = next(it for it in stats["endpoints"] if it["name"] == "merge-crm-v2-customer")
    assert (merges["num_requests"], merges["num_errors"]) == (4, 3), merges
    await client.drain()


asyncio.run(main(sys.argv[1]))
