"""What the demo shows, and its verdict on what it found."""

import json
import os
import sys
from collections import Counter

import expected as model

TERMINAL = sys.stdout.isatty()
COLOURS = TERMINAL and "NO_COLOR" not in os.environ
INDENT = " " * 13
LOGS = ("search", "analytics", "audit")  # the targets that keep every record


# -- screen ----------------------------------------------------------------------------------------


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOURS else text


def bold(text):
    return paint("1", text)


def dim(text):
    return paint("2", text)


def good(text):
    return paint("32;1", text)


def bad(text):
    return paint("31;1", text)


def show(title, *lines, style=bold):
    print(style(title) + INDENT[len(title):] + lines[0])
    for line in lines[1:]:
        print(INDENT + line)
    sys.stdout.flush()


def progress(text):
    """One line that the next one replaces."""
    if TERMINAL:
        print(f"\r\033[K{dim(text)}", end="", flush=True)


def table(rows):
    """Columns as wide as they need; all but the first to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        line = "  ".join(cells)
        print("  " + (line if number else dim(line)))
    print(flush=True)


# -- a look at some events -------------------------------------------------------------------------


def show_samples(events, found):
    """A few events, and what the targets hold because of them."""
    print()
    enriched = {key for key, held in found["billing"].items() if "customer" in held}
    for kind, wanted in [
        ("crm.customer.updated", lambda data: data["id"] in found["crm"]),
        ("crm.customer.updated", lambda data: data["region"] not in model.EUROPE),
        ("billing.subscription.updated", lambda data: data["id"] in enriched),
        ("support.ticket.deleted", lambda data: True),
    ]:
        # The last one of its kind, so that the targets hold what it left.
        event = next(e for e in reversed(events) if e["type"] == kind and wanted(e["data"]))
        print(f"  {kind}  {describe(event['data'])}")
        for line in outcome(event["data"], found):
            print(f"    {dim('->')} {line}")
    print(flush=True)


def outcome(data, found):
    key = data["id"]
    if key.startswith("cus_") and data["region"] not in model.EUROPE:
        return ["filtered by only-europe"]
    bucket, log = {
        "cus": ("crm", "search"), "sub": ("billing", None), "tic": ("support", "analytics"),
    }[key[:3]]
    held = found[bucket].get(key)
    lines = [f"{bucket}: {describe(held) if held else key + ' is gone'}"]
    if log:
        lines.append(f"{log}: {len(found[log][key])} records of {key}")
    return lines


def describe(document):
    names = "region email mrr tier tier_rule plan status customer".split()
    shown = [f"{name}={plain(document[name])}" for name in names if name in document]
    return "  ".join([document["id"], *shown])


def plain(value):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# -- verdicts: each shows what it judged and returns the differences -------------------------------


def judge_targets(wanted, found):
    differences = {
        "crm": model.compare_crm(wanted.crm, found["crm"]),
        "billing": model.compare_bucket("billing", wanted.billing, found["billing"]),
        "support": model.compare_bucket("support", wanted.support, found["support"]),
        "search": model.compare_search(wanted.search, found["search"])
        + model.compare_in_step(found["crm"], found["search"]),
        "analytics": model.compare_log("analytics", wanted.analytics, found["analytics"]),
        "audit": model.compare_log("audit", wanted.audit, found["audit"]),
    }
    rows = [("target", "kind", "records", "against expected")]
    for name, of_target in differences.items():
        n_records = sum(map(len, found[name].values())) if name in LOGS else len(found[name])
        verdict = f"{len(of_target)} DIFFERENCES" if of_target else "equal"
        rows.append((name, "subject" if name in LOGS else "kv", f"{n_records:,}", verdict))
    table(rows)
    return sum(differences.values(), [])


def judge_swap(swap, search):
    """What the comparison of `search` left open: that both versions were at work."""
    records = [record for of_key in search.values() for record in of_key if record]
    rules = Counter(record.get("tier_rule") for record in records)
    if swap.seen_at is None or not rules["1"] or not rules["2"]:
        return [f"plugin swap: both rules should have been at work, found {dict(rules)}"]
    show(
        "plugin swap",
        "tier 1.0.0 -> 2.0.0 while events flowed, "
        f"{swap.seen_at - swap.asked_at:.1f} s from the new file to its first record",
        f"{rules['1']:,} records by rule 1, {swap.n_meanwhile:,} of them after the file was there; "
        f"{rules['2']:,} by rule 2",
    )
    return []


def judge_dead_letters(wanted, letters):
    found = Counter(letter["pipeline"] for letter in letters)
    summary = ", ".join(f"{found[name]} from {name}" for name in sorted(found))
    show("dead letters", summary or "none")
    differences = []
    for name, counts in wanted.counts.items():
        dead = counts["dead"]
        if dead != found[name]:
            differences.append(f"{name}: expected {dead} dead letters, listed {found[name]}")
    if letters:
        letter = letters[-1]
        print(f"{INDENT}one of them, {letter['id']}")
        print(f"{INDENT}{letter['reason']}: {letter['error']}")
    print(flush=True)
    return differences


def judge_replay(wanted, counts, found):
    """That a module which was down has what it missed, in order and once."""
    differences = model.compare_log("winback", wanted.winback, found)
    n_wanted = sum(map(len, wanted.winback.values()))
    if counts != [n_wanted, 0]:
        differences.append(f"replay: expected {n_wanted} and then 0 dead letters, found {counts}")
    show(
        "replay",
        f"{counts[0]} of winback, whose module was down: each is there once, in order"
        if not differences else f"{len(differences)} DIFFERENCES",
    )
    print(flush=True)
    return differences


def judge_counts(wanted, account):
    endings = model.ENDINGS
    rows = [("pipeline", "received", *(ending.replace("_", " ") for ending in endings), "law")]
    for name in model.PIPELINES:
        received = account.get(name, {}).get("received", 0)
        numbers = [account.get(name, {}).get(ending, 0) for ending in endings]
        law = "holds" if sum(numbers) == received else "BROKEN"
        rows.append((name, *(f"{number:,}" for number in [received, *numbers]), law))
    table(rows)
    return model.compare_counts(wanted.counts, account)


# -- the end ---------------------------------------------------------------------------------------


def show_running(runtime):
    show(
        "running",
        f"until ctrl-c, at {runtime.url}; from another terminal:",
        f"{runtime.binary} dlq list --nats {runtime.url}",
        f"tail -f {runtime.log}",
    )


def show_end(differences, seconds, work):
    for difference in differences[:20]:
        print(f"  {bad('differs')} {difference}")
    if len(differences) > 20:
        print(f"  and {len(differences) - 20} more")
    if differences:
        show("failed", f"{len(differences)} differences; log and data are in {work}", style=bad)
    else:
        text = f"nothing lost, nothing twice, every key in order; {seconds:.0f} s"
        show("ok", text, style=good)


def show_failure(failure, log):
    progress("")
    show("failed", str(failure), style=bad)
    if log.exists():
        print(dim(f"the end of {log}:"))
        for line in log.read_text(errors="replace").splitlines()[-20:]:
            print(f"  {line}")
