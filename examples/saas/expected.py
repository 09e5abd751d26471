"""What the demo must end in, worked out from its input alone.

A model of what the five pipelines of syncline.toml mean, in plain Python. It shares no code with
Syncline and knows nothing of streams, plugins or retries: it reads the events in the order they
were sent and says what each target holds afterwards and how each event was counted.
"""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
# The pipeline that takes a module's events, beside the one that takes all.
PIPELINE_OF = {"crm": "customers", "billing": "subscriptions", "support": "tickets"}
PIPELINES = ("audit", *PIPELINE_OF.values(), "winback")
EUROPE = {"eu-west", "eu-central", "uk"}

# Monthly revenue from which a tier begins, by the version of the rule.
TIERS = {
    "1": [(1000, "gold"), (200, "silver"), (0, "bronze")],
    "2": [(2000, "platinum"), (1000, "gold"), (200, "silver"), (0, "bronze")],
}
RULES = list(TIERS)

# The words of the law: received is the sum of the others.
ENDINGS = ("done", "filtered", "dead", "parked", "duplicate", "in_flight")


# No structured message among the malformed ones is in order, so only headers count.
REQUIRED = {"ce-specversion", "ce-id", "ce-source", "ce-type"}


def content(body):
    """A payload: JSON where it is JSON, else text with what is no UTF-8 replaced."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def read(name):
    with open(HERE / name, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def with_tier(customer, rule):
    tier = next(name for least, name in TIERS[rule] if customer["mrr"] >= least)
    return customer | {"tier": tier, "tier_rule": rule}


@dataclass
class Step:
    """One record that a log-like target must hold: of a key, the next one."""

    document: dict | None  # None: deleted
    sent: int = 1  # how many times the producer sent the event


@dataclass
class Expected:
    """State of the targets, and the count of every pipeline."""

    crm: dict = field(default_factory=dict)  # without the tier, which depends on the rule
    billing: dict = field(default_factory=dict)
    support: dict = field(default_factory=dict)
    search: dict = field(default_factory=lambda: defaultdict(list))
    analytics: dict = field(default_factory=lambda: defaultdict(list))
    audit: dict = field(default_factory=lambda: defaultdict(list))
    winback: dict = field(default_factory=lambda: defaultdict(list))
    counts: dict = field(default_factory=lambda: defaultdict(Counter))


def expect(events, malformed):
    expected = Expected()
    seen = set()
    handle = {"crm": customer, "billing": subscription, "support": ticket}
    for event in events:
        identity = (event["source"], event["id"])
        again = identity in seen
        seen.add(identity)
        log(expected.audit[event["subject"]], event["data"], again)
        expected.counts["audit"]["done"] += 1
        module = event["type"].split(".")[0]
        ending = handle[module](expected, event["type"], event["data"], again)
        expected.counts[PIPELINE_OF[module]][ending] += 1
        if event["type"] == "billing.subscription.deleted":
            cancelled(expected, event["data"], again)
    for message in malformed:
        module = message["subject"].split(".")[1]
        expected.counts[PIPELINE_OF[module]]["dead"] += 1
        ending = unlooked(expected, message)
        expected.counts["audit"][ending] += 1
    return expected


def unlooked(expected, message):
    """The audit keeps whatever is an event; what its data holds is no business of it."""
    headers = message["headers"]
    if not REQUIRED <= headers.keys():
        return "dead"
    body = base64.b64decode(message["body_base64"])
    log(expected.audit[headers["ce-subject"]], content(body), False)
    return "done"


def customer(expected, kind, data, again):
    if data["region"] not in EUROPE:
        return "filtered"
    document = None
    if kind.endswith(".deleted"):
        expected.crm.pop(data["id"], None)
    else:
        document = data | {"email": "[redacted]", "phone": "[redacted]"}
        expected.crm[data["id"]] = document
    log(expected.search[data["id"]], document, again)
    return "done"


def subscription(expected, kind, data, _again):
    if data["plan"] == "trial":
        return "filtered"
    if kind.endswith(".deleted"):
        expected.billing.pop(data["id"], None)
        return "done"
    document = dict(data)
    # The generator keeps name and region of a customer constant, and no customer with a
    # subscription leaves: whatever else happened to it meanwhile, this is what a lookup finds.
    if found := expected.crm.get(data["customer_id"]):
        document["customer"] = {name: found[name] for name in ("name", "region")}
    expected.billing[data["id"]] = document
    return "done"


def cancelled(expected, data, again):
    """Its module is down: a dead letter, and once it is replayed a record. Copies of one event are one
    dead letter to replay."""
    expected.counts["winback"]["dead"] += 1
    expected.counts["winback"]["done"] += not again
    log(expected.winback[data["id"]], data, again)


def ticket(expected, kind, data, again):
    document = data | {"requester": {"name": data["requester"]["name"]}}
    log(expected.analytics[data["id"]], document, again)
    if kind.endswith(".deleted"):
        expected.support.pop(data["id"], None)
    else:
        expected.support[data["id"]] = document
    return "done"


def log(steps, document, again):
    """A repeated event adds no record: its publish has the same identity as the first one."""
    if again:
        steps[-1].sent += 1
    else:
        steps.append(Step(document))


# -- comparing, with differences that a person can read ------------------------------------------


def differ(where, wanted, found):
    """One line when two documents are not the same."""
    if wanted == found:
        return []
    if not isinstance(wanted, dict) or not isinstance(found, dict):
        return [f"{where}: expected {brief(wanted)}, found {brief(found)}"]
    fields = [
        f"{name} expected {brief(wanted.get(name))}, found {brief(found.get(name))}"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
    ]
    return [f"{where}: " + "; ".join(fields)]


def brief(value):
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def compare_bucket(name, wanted, found):
    differences = []
    for key in sorted(wanted.keys() | found.keys()):
        differences += differ(f"{name} {key}", wanted.get(key), found.get(key))
    return differences


def compare_crm(wanted, found):
    """As a bucket, each record under the rule that it says it was made by."""
    stamped = {}
    for key, document in wanted.items():
        stamped[key] = with_tier(document, rule_of(found.get(key)))
    return compare_bucket("crm", stamped, found)


def compare_log(name, wanted, found):
    """Each key's records in stream order: all of them, in order, none twice."""
    differences = []
    for key in sorted(wanted.keys() | found.keys()):
        steps = [step.document for step in wanted.get(key, [])]
        records = found.get(key, [])
        if len(steps) != len(records):
            differences.append(f"{name} {key}: expected {len(steps)} records, found {len(records)}")
            continue
        for number, (step, record) in enumerate(zip(steps, records), 1):
            differences += differ(f"{name} {key} record {number}", step, record)
    return differences


def compare_search(wanted, found):
    """As a log, though code was swapped meanwhile: one event meets one version, and of a key the
    versions only go up. An event that was sent twice may have met the old version the first time
    and the new one the second: then its two answers differ and both are there, once each."""
    differences = []
    unwanted = {key: records for key, records in found.items() if key not in wanted}
    differences += compare_log("search", {}, unwanted)
    for key, steps in sorted(wanted.items()):
        records = list(found.get(key, []))
        differences += rules_go_up(key, records)
        for number, step in enumerate(steps, 1):
            if not take_step(step, records):
                record = records[0] if records else None
                wanted_record = stamp(step.document, rule_of(record))
                differences += differ(f"search {key} record {number}", wanted_record, record)
                break
        else:
            differences += [f"search {key}: one record too many" for _ in records]
    return differences


def take_step(step, records):
    """Takes what one event left at the head of `records`; returns how many that were."""
    rules = []
    while records and len(rules) < step.sent:
        rule = rule_of(records[0])
        if rule in rules or records[0] != stamp(step.document, rule):
            break
        rules.append(rule)
        records.pop(0)
    return len(rules)


def stamp(document, rule):
    return None if document is None else with_tier(document, rule)


def rule_of(record):
    """The rule that a record says it was made by; the first where it says nothing we know."""
    rule = record.get("tier_rule") if record else None
    return rule if rule in RULES else RULES[0]


def rules_go_up(key, records):
    rules = [record["tier_rule"] for record in records if record and "tier_rule" in record]
    return [] if rules == sorted(rules) else [f"search {key}: rules in the order {rules}"]


def compare_in_step(crm, search):
    """The last record about a customer in one target is the record in the other."""
    differences = []
    for key, records in sorted(search.items()):
        differences += differ(f"crm against search, {key}", records[-1], crm.get(key))
    return differences


def compare_counts(wanted, found):
    """The counts of a finished run: the law holds, and each is what it should be."""
    differences = []
    for name in sorted(wanted.keys() | found.keys()):
        counts, report = wanted.get(name, Counter()), found.get(name, {})
        total = sum(report.get(ending, 0) for ending in ENDINGS)
        received = report.get("received")
        if received != total:
            differences.append(f"{name}: received {received} but {total} accounted for")
        for ending in ENDINGS:
            if report.get(ending) != counts[ending]:
                differences.append(
                    f"{name}: {ending} expected {counts[ending]}, found {report.get(ending)}"
                )
    return differences
