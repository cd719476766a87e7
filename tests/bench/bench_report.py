# SPDX-License-Identifier: Apache-2.0
"""Medians, ratios and the table of a benchmark. Only numbers of one run are compared: the machine may be doing other things, and
does them to every server alike."""

import statistics


def at(result, path):
    """result["a"]["b"] for "a.b"; None if it is not there."""
    for part in path.split("."):
        if not isinstance(result, dict) or part not in result:
            return None
        result = result[part]
    return result


def median(runs, path):
    values = [v for v in (at(run, path) for run in runs) if v is not None]
    return statistics.median(values) if values else None


def ratio(runs, path, server, others):
    """Median over the rounds of server's value by the best of the others' in the same round; "a by b": its a by their b."""
    ratios = []
    path, _, other_path = path.partition(" by ")
    for i, run in enumerate(runs.get(server, ())):
        mine = at(run, path)
        theirs = [v for v in (at(runs[o][i], other_path or path) for o in others if i < len(runs.get(o, ()))) if v]
        if mine is not None and theirs:
            ratios.append(mine / min(theirs))
    return statistics.median(ratios) if ratios else None


# Processes whose share of a connect is shown where there are several kinds.
KINDS = ("httpd", "hub", "nginx", "Django", "postgres")

COLUMNS = (
    ("connects/s", "connect.per_second", 0),
    ("µs CPU/connect", "connect.cpu_us", 1),
    *((f"  of it {kind}", f"connect.cpu_us_of.{kind}", 1) for kind in KINDS),
    ("load client beside it", "connect.client_us", 1),
    ("come again: connects/s", "again.per_second", 0),
    ("µs CPU/connect", "again.cpu_us", 1),
    *((f"  of it {kind}", f"again.cpu_us_of.{kind}", 1) for kind in KINDS),
    ("load client beside it", "again.client_us", 1),
    ("µs Redis/connect", "connect.aside_us", 1),
    ("bytes/stream", "memory_open.user_bytes", 0),
    ("after messages", "memory_used.user_bytes", 0),
    ("deliveries/s", "closed.deliveries_per_second", 0),
    ("µs CPU/delivery", "closed.cpu_us", 2),
    ("burst", "burst.cpu_us", 2),
    ("first p50", "paced.first.p50", 0),
    ("p99", "paced.first.p99", 0),
    ("max", "paced.first.max", 0),
    ("by admin socket p50", "socket.first.p50", 0),
    ("p99", "socket.first.p99", 0),
    ("max", "socket.first.max", 0),
    ("last p50", "paced.last.p50", 0),
    ("p99", "paced.last.p99", 0),
    ("max", "paced.last.max", 0),
    ("1 at a time: publishes/s", "one.messages_per_second", 0),
    ("µs CPU", "one.cpu_us", 1),
    ("arrives p50", "one.last.p50", 0),
    ("p99", "one.last.p99", 0),
    ("8 publishers: publishes/s", "eight.messages_per_second", 0),
    ("µs CPU", "eight.cpu_us", 1),
    ("1 publisher/s", "p1.messages_per_second", 0),
    ("µs CPU", "p1.cpu_us", 1),
    ("8/s", "p8.messages_per_second", 0),
    ("µs CPU", "p8.cpu_us", 1),
    ("µs Redis", "p8.aside_us", 1),
    ("64/s", "p64.messages_per_second", 0),
    ("µs CPU", "p64.cpu_us", 1),
    ("µs Redis", "p64.aside_us", 1),
    ("1 × batch 100/s", "p1b100.messages_per_second", 0),
    ("8 × batch 100/s", "p8b100.messages_per_second", 0),
    ("µs CPU", "p8b100.cpu_us", 1),
    ("µs Redis", "p8b100.aside_us", 1),
    ("replayed/s", "storm.replayed_per_second", 0),
    ("s", "storm.seconds", 2),
    ("µs CPU/message", "storm.cpu_us", 2),
    ("live p50", "storm.live_last.p50", 0),
    ("live p99", "storm.live_last.p99", 0),
    ("live max", "storm.live_last.max", 0),
    ("publishes/s", "single.messages_per_second", 0),
    ("µs CPU", "single.cpu_us", 1),
    ("µs Redis", "single.aside_us", 1),
    ("in batches of 100/s", "batch.messages_per_second", 0),
    ("µs CPU", "batch.cpu_us", 1),
    ("µs Redis", "batch.aside_us", 1),
    ("to a stream of each hub/s", "carried.messages_per_second", 0),
    ("µs CPU", "carried.cpu_us", 1),
    ("µs Redis", "carried.aside_us", 1),
    ("opens/s", "open.per_second", 0),
    ("µs CPU/open", "open.cpu_us", 1),
    ("µs Redis/open", "open.aside_us", 1),
    ("bytes/stream", "open.user_bytes", 0),
    ("Redis' bytes/stream", "open.aside_bytes", 0),
    ("deliveries/s", "fan_out.deliveries_per_second", 0),
    ("µs CPU/delivery", "fan_out.cpu_us", 2),
    ("the hub alone: µs CPU/s", "idle.cpu_us_per_second", 0),
    ("with foreign publishes", "foreign.cpu_us_per_second", 0),
    ("foreign publishes/s", "foreign.messages_per_second", 0),
    ("more µs CPU/foreign publish", "foreign.cpu_us", 3),
    ("µs Redis/foreign publish", "foreign.aside_us", 1),
    ("bytes more in the hub", "foreign_bytes", 0),
    ("then µs CPU/own delivery", "own.cpu_us", 2),
)

NCHAN = ("nchan-1", "nchan-2")
NCHAN_TLS = ("nchan-tls-1", "nchan-tls-2")


def beside_nchan(nchan):
    return (
        ("CPU per delivery by nchan", "closed.cpu_us", nchan, 0.8),
        ("p99 to the first receiver by nchan", "paced.first.p99", nchan, 1.0),
        ("p99 to the first receiver, by admin socket, by nchan", "socket.first.p99 by paced.first.p99", nchan, 1.0),
        ("p99 to the last receiver by nchan", "paced.last.p99", nchan, 1.0),
        ("p99 of all deliveries by nchan", "paced.delivery.p99", nchan, 1.0),
    )


MEMORY = ("bytes per stream", "memory_open.user_bytes", None, 1024)

# What is to be reached by a server: label, value, against whom (None: the value itself), at most; a negative number: at least.
TARGETS = {
    "mod_sse": (
        ("CPU per delivery by raw", "closed.cpu_us", ("raw",), 1.15),
        *beside_nchan(NCHAN),
        ("connects per second with a new login, times nchan asking Django", "connect.per_second", ("nchan+Django",), -10),
        ("CPU per connect with a new login by nchan asking Django", "connect.cpu_us", ("nchan+Django",), 0.1),
        ("connects per second of users who come again, times nchan asking Django", "again.per_second", ("nchan+Django",), -10),
        ("CPU per connect of users who come again by nchan asking Django", "again.cpu_us", ("nchan+Django",), 0.1),
        MEMORY,
    ),
    "mod_sse-tls": (
        ("CPU per delivery by clear", "closed.cpu_us", ("mod_sse",), 1.2),
        ("CPU per delivery by nchan", "closed.cpu_us", NCHAN_TLS, 0.8),
        MEMORY,
    ),
    "mod_sse-on-2": (*beside_nchan(("nchan-on-2",)), MEMORY),
    "mod_sse-on-4": (*beside_nchan(("nchan-on-4",)), MEMORY),
}


def judge(runs):
    judged = []
    for server, targets in TARGETS.items():
        for label, path, others, most in targets:
            value = ratio(runs, path, server, others) if others else median(runs.get(server, ()), path)
            if value is not None:
                met = value <= most if most >= 0 else value >= -most
                judged.append({"what": f"{server}: {label}", "value": round(value, 3), "target": most, "met": met})
    return judged


def _rows(runs):
    """The table's head, then a row for each column of numbers that there is."""
    servers = list(runs)
    rows = []
    for label, path, digits in COLUMNS:
        values = [median(runs[s], path) for s in servers]
        if any(v is not None for v in values):
            rows.append([label] + ["" if v is None else f"{v:,.{digits}f}".replace(",", " ") for v in values])
    return [["", *servers], *rows]


def table(runs):
    rows = _rows(runs)
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        lines.append(row[0].ljust(widths[0]) + "".join("  " + c.rjust(w) for c, w in zip(row[1:], widths[1:])))
    return "\n".join(lines)


def page(result):
    """A scenario's numbers as docs/benchmarks.md shows them."""
    head, *rows = (" | ".join(["", *row, ""]).strip() for row in _rows(result["runs"]))
    rounds = max(len(r) for r in result["runs"].values())
    load = f"load average {result['load_average'][0]:.1f}, {result['when'][:10]}"
    title = f"`{result['scenario']}`: {result['title']}"
    counts = f"Streams: {result['streams']}; rounds: {rounds}; {load}."
    return "\n".join([f"**{title}.** {counts}", "", head, "|---" * (head.count("|") - 1) + "|", *rows])


def verdicts(judged):
    lines = []
    for j in judged:
        bound = f"at most {j['target']:g}" if j["target"] >= 0 else f"at least {-j['target']:g}"
        lines.append(f"  {j['what']}: {j['value']:g} (to reach: {bound}){'' if j['met'] else '  MISSED'}")
    return "\n".join(lines)
