#!/usr/bin/env python3
"""Writes the demo's input: one morning of a small SaaS company.

events.ndjson     CloudEvents 1.0 in the JSON format, one per line, in the order they are sent. It
                  begins with the customers that exist already; everything after them is mixed.
malformed.ndjson  messages that no pipeline can use, as subject, headers and body, each with what is
                  wrong with it.

The same seed writes the same bytes. `--check` writes nothing and fails when the files differ.
"""

import argparse
import base64
import json
import random
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

HERE = Path(__file__).parent
START = datetime(2026, 1, 12, 6, 0, tzinfo=timezone.utc)
MORNING = 6 * 3600  # seconds in which everything after the first customers happens

N_CUSTOMERS = 300
N_PROSPECTS = 40  # sign up during the morning
N_TICKETS = 300

FIRST = "Amara Ben Chiara Dmitri Élodie Farid Greta Hiro Inês Jonas Katya Liam Mei Noor".split()
LAST = "Abara Brandt Costa Dubois Eriksen Fischer García Hansen Ivanova Jansen Kowalska".split()
PLACE = "Harbour Nordlicht Zürich Cobalt Maple Alder Summit Lagoon Granite Juniper Łódź".split()
TRADE = "Robotics Logistics Bakery Optics Analytics Textiles Dental Energy Press Foods".split()
# Each region's share, and a range of phone numbers kept free for fiction where there is one.
REGIONS = {
    "eu-west": (26, "+33 1 99 00 {:02d} {:02d}"),
    "eu-central": (22, "+49 30 23125 {:d}{:02d}"),
    "uk": (14, "+44 20 7946 0{:d}{:02d}"),
    "us-east": (18, "+1 202 555 01{:d}{:d}"),
    "us-west": (10, "+1 415 555 01{:d}{:d}"),
    "apac": (10, "+61 2 5550 {:02d}{:02d}"),
}
PLANS = {"free": 0, "team": 9, "business": 19, "enterprise": 39}  # per seat and month
PROBLEMS = [
    "cannot log in after password reset", "invoice shows the wrong address",
    "export stops at 10,000 rows", "calendar is one hour off", "please add a dark theme",
    "webhook answers 500", "seat count looks wrong", "how do I invite a colleague?",
    "search finds archived items", "app is slow since Monday",
]


class Timeline:
    """Everything that happens, each with its time; sorted when all of it is known."""

    def __init__(self, rng):
        self.rng = rng
        self.entries = []

    def add(self, second, source, kind, data):
        self.entries.append((second, len(self.entries), source, kind, dict(data)))

    def events(self):
        for second, _, source, kind, data in sorted(self.entries, key=lambda entry: entry[:2]):
            time = START + timedelta(seconds=second)
            yield {
                "specversion": "1.0",
                "id": f"{self.rng.getrandbits(64):016x}",
                "source": f"https://{source}.example.com",
                "type": kind,
                "subject": data["id"],
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "datacontenttype": "application/json",
                "data": data,
            }


def moments(rng, count, begin=0):
    """`count` distinct seconds of the morning in order, from `begin` on."""
    return sorted(rng.sample(range(begin + 1, MORNING), count))


def person(rng):
    name = f"{rng.choice(FIRST)} {rng.choice(LAST)}"
    plain = name.lower().translate(str.maketrans("éêíóç ", "eeioc."))
    return name, f"{plain}{rng.randrange(100)}@example.{rng.choice(['com', 'net', 'org'])}"


def phone(rng, region):
    _, form = REGIONS[region]
    return form.format(rng.randrange(10), rng.randrange(10))


def new_customer(rng, number):
    shares = [share for share, _ in REGIONS.values()]
    region = rng.choices(list(REGIONS), weights=shares)[0]
    contact, email = person(rng)
    plan = rng.choices(list(PLANS), weights=[3, 4, 3, 1])[0]
    seats = rng.choice([1, 2, 3, 5, 8, 13, 21, 34, 55])
    return {
        "id": f"cus_{number:04d}", "rev": 1, "name": f"{rng.choice(PLACE)} {rng.choice(TRADE)}",
        "contact": contact, "email": email, "phone": phone(rng, region), "region": region,
        "plan": plan, "seats": seats, "mrr": seats * PLANS[plan],
    }


def change_customer(rng, customer):
    """Never touches name and region: subscriptions are enriched with those, and must not depend on
    which of two pipelines is faster."""
    change = rng.randrange(3)
    if change == 0:
        customer["contact"], customer["email"] = person(rng)
        customer["phone"] = phone(rng, customer["region"])
    elif change == 1:
        customer["plan"] = rng.choice(list(PLANS))
    else:
        customer["seats"] += rng.randrange(1, 12)
    customer["mrr"] = customer["seats"] * PLANS[customer["plan"]]
    customer["rev"] += 1


def customer_life(timeline, rng, customer, begin, leaves):
    n_updates = rng.choice([0, 1, 1, 2, 3, 4])
    for second in moments(rng, n_updates, begin):
        change_customer(rng, customer)
        timeline.add(second, "crm", "crm.customer.updated", customer)
        begin = second
    if leaves:
        customer["rev"] += 1
        timeline.add(begin + rng.randrange(1, 600), "crm", "crm.customer.deleted", customer)


def subscription_life(timeline, rng, number, customer_id):
    subscription = {
        "id": f"sub_{number:04d}", "rev": 1, "customer_id": customer_id,
        "plan": rng.choice(["trial", "team", "business", "enterprise"]), "status": "active",
        "renews": f"2026-{rng.randrange(2, 13):02d}-01",
    }
    last, *later = moments(rng, rng.choice([1, 2, 2, 3, 4]))
    timeline.add(last, "billing", "billing.subscription.created", subscription)
    for second in later:
        subscription["rev"] += 1
        if rng.random() < 0.6:
            subscription["plan"] = rng.choice(["team", "business", "enterprise"])
        else:
            subscription["status"] = rng.choice(["active", "past_due"])
        timeline.add(second, "billing", "billing.subscription.updated", subscription)
        last = second
    if rng.random() < 0.2:
        last += rng.randrange(1, 600)
        subscription.update(rev=subscription["rev"] + 1, status="ended")
        timeline.add(last, "billing", "billing.subscription.deleted", subscription)


def ticket_life(timeline, rng, number, customer_id):
    name, email = person(rng)
    ticket = {
        "id": f"tic_{number:04d}", "rev": 1, "customer_id": customer_id,
        "title": rng.choice(PROBLEMS), "status": "open",
        "priority": rng.choice(["low", "normal", "normal", "high"]),
        "requester": {"name": name, "email": email}, "assignee": None,
    }
    last, *later = moments(rng, rng.choice([1, 2, 3]))
    timeline.add(last, "support", "support.ticket.created", ticket)
    for second in later:
        ticket.update(rev=ticket["rev"] + 1, assignee=rng.choice(FIRST), status="pending")
        timeline.add(second, "support", "support.ticket.updated", ticket)
        last = second
    last += rng.randrange(1, 600)
    ending = rng.random()
    ticket["rev"] += 1
    if ending < 0.7:
        ticket["status"] = "closed"
        timeline.add(last, "support", "support.ticket.closed", ticket)
    elif ending < 0.8:  # spam
        timeline.add(last, "support", "support.ticket.deleted", ticket)


def tell(rng):
    """The whole story without its accidents."""
    timeline = Timeline(rng)
    customers = [new_customer(rng, number) for number in range(1, N_CUSTOMERS + 1)]
    for index, customer in enumerate(customers):
        timeline.add(index - N_CUSTOMERS, "crm", "crm.customer.created", customer)
    for index, customer in enumerate(customers):
        subscribed = rng.random() < 0.75
        # Only customers without a subscription leave, for the reason given at change_customer.
        customer_life(timeline, rng, customer, 0, leaves=not subscribed and rng.random() < 0.5)
        if subscribed:
            subscription_life(timeline, rng, index + 1, customer["id"])
    for number in range(N_CUSTOMERS + 1, N_CUSTOMERS + N_PROSPECTS + 1):
        prospect = new_customer(rng, number)
        begin = rng.randrange(1, MORNING // 2)
        timeline.add(begin, "crm", "crm.customer.created", prospect)
        customer_life(timeline, rng, prospect, begin, leaves=rng.random() < 0.4)
    for number in range(1, N_TICKETS + 1):
        ticket_life(timeline, rng, number, rng.choice(customers)["id"])
    return list(timeline.events())


def repeat_some(rng, events, share=0.025):
    """A producer that heard no answer sends the same event again, a moment later."""
    sent = []
    again = []  # what will be repeated, and after how many further events
    for event in events:
        # At the latest before its entity's next event: an older copy would turn back the clock.
        due = [entry for entry in again if entry[0] == 0 or entry[1]["subject"] == event["subject"]]
        sent += [copy for _, copy in due]
        again = [(left - 1, copy) for left, copy in again if (left, copy) not in due]
        sent.append(event)
        if rng.random() < share:
            again.append((rng.randrange(3), event))
    return sent + [copy for _, copy in again]


SUBJECTS = {
    "crm": "saas.crm.customer.updated",
    "billing": "saas.billing.subscription.updated",
    "support": "saas.support.ticket.updated",
}
# One event per pipeline that is in order but for its data, or for a type that nobody routes.
UNUSABLE = {
    "crm": ("crm.customer.updated", {"id": "cus_9999", "region": "uk", "mrr": "plenty"}),
    "billing": ("billing.subscription.updated", {"id": "sub_9999", "customer_id": ["cus_0001"]}),
    "support": ("support.survey.answered", {"id": "tic_9999", "status": "open"}),
}


def malformed():
    """Each kind of fault, twice in each pipeline."""
    for turn in range(2):
        for source, (kind, data) in UNUSABLE.items():
            attributes = {
                "specversion": "1.0", "id": f"bad-{turn}", "type": kind,
                "source": f"https://{source}.example.com", "subject": f"bad_{source}",
                "datacontenttype": "application/json",
            }
            for fault, headers, body in faults(attributes, data):
                yield {
                    "fault": fault, "subject": SUBJECTS[source], "headers": headers,
                    "body_base64": base64.b64encode(body).decode(),
                }


def faults(attributes, data):
    structured = {"content-type": "application/cloudevents+json"}

    def binary(**changes):
        return {f"ce-{name}": value for name, value in (attributes | changes).items() if value}

    turn = attributes["id"]
    no_source = {name: value for name, value in attributes.items() if name != "source"}
    whole = json.dumps(attributes | {"data": data}).encode()
    text = json.dumps(data).encode()
    yield "structured, cut off in the middle", structured, whole[:60]
    sourceless = json.dumps(no_source | {"data": data}).encode()
    yield "structured, without a source", structured, sourceless
    yield "binary, without an id", binary(id=None), text
    latin = '{"id": "Müller"}'.encode("latin-1")
    yield "binary, JSON that is not UTF-8", binary(id=f"{turn}-latin"), latin
    yield "binary, JSON that is empty", binary(id=f"{turn}-empty"), b""
    yield "a proper event that no plugin understands", binary(id=f"{turn}-data"), text


def ndjson(records):
    lines = [json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in records]
    return "".join(line + "\n" for line in lines).encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--check", action="store_true", help="only compare with what is there")
    arguments = parser.parse_args()

    rng = random.Random(arguments.seed)
    events = repeat_some(rng, tell(rng))
    bad = list(malformed())
    stale = []
    for name, content in [("events.ndjson", ndjson(events)), ("malformed.ndjson", ndjson(bad))]:
        if not arguments.check:
            (HERE / name).write_bytes(content)
        elif (HERE / name).read_bytes() != content:
            stale.append(name)
    if stale:
        sys.exit(f"not what the generator writes: {' and '.join(stale)}; run it without --check")
    print(f"{len(events)} events, {len(bad)} malformed messages")


if __name__ == "__main__":
    main()
