"""Sends events through an unmodified analytics-python and prints what the SDK handed to its queue, one JSON object a line.

Usage: send.py --host URL --write-key KEY --tracks N [--gzip] [--hazards]
With --hazards, values that Python's json module writes and strict JSON does not know are mixed in between.
Exits 1 when the SDK reports a batch as not delivered.
"""

import argparse
import datetime
import json
import sys

import segment.analytics as analytics

options = argparse.ArgumentParser()
options.add_argument("--host", required=True)
options.add_argument("--write-key", required=True)
options.add_argument("--tracks", type=int, required=True)
options.add_argument("--gzip", action="store_true")
options.add_argument("--hazards", action="store_true")
args = options.parse_args()

undelivered = []
client = analytics.Client(
    args.write_key,
    host=args.host,
    gzip=args.gzip,
    max_queue_size=100_000,
    on_error=lambda error, items: undelivered.append((str(error), len(items))),
)


def sent(result):
    """Prints the message as the SDK queued it: its own id, timestamp and library are in there."""
    queued, message = result
    assert queued, message
    print(json.dumps(message, default=str))


# Every type, with the members that are special to it.
when = datetime.datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=datetime.timezone.utc)
sent(client.identify("user-1", {"email": "a@example.com", "plan": "pro", "größe": "läng"}))
sent(client.track("user-1", "Order Completed", {"total": 12.5, "products": [{"sku": "a", "n": 1}], "big": 2**70}, timestamp=when))
sent(client.page("user-1", "Docs", "Install", {"url": "https://example.com/a?b=c&d=<e>", "none": None}))
sent(client.screen("user-1", "Main", "Settings", {"tab": 3}))
sent(client.group("user-1", "group-7", {"name": "Initech", "employees": 329}))
sent(client.alias("anonymous-1", "user-1"))
sent(client.track(anonymous_id="anonymous-2", event="Anonymous", context={"ip": "203.0.113.9", "locale": "de"}))
sent(client.track(42, "Number As Id", {"quote": 'a "b" \\ / \u0000 \u2028', "deep": {"a": {"b": [[], {}, 0.30000000000000004]}}}))
sent(client.track("user-1", "Own Id", {}, message_id="own-id-äöü"))

for n in range(args.tracks):
    sent(client.track(f"user-{n % 17}", "Step", {"n": n, "half": n / 2, "text": "x" * (n % 300)}))
    if args.hazards and n % 100 == 50:
        sent(client.track("user-1", "Not A Number", {"n": n, "nan": float("nan"), "inf": [float("inf"), -float("inf")]}))
        sent(client.track("user-1", "Lone Surrogate", {"n": n, "text": "before \ud800 after"}))

client.flush()
client.join()
sys.stdout.flush()
if undelivered:
    sys.exit(f"not delivered: {undelivered}")
