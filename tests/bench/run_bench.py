# SPDX-License-Identifier: Apache-2.0
"""Runs scenarios round by round, every server once a round, and writes what came out. Called by script/bench after it has built."""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "support"))

import bench_hubs  # noqa: E402
import bench_report as report  # noqa: E402
from bench_hosts import mod_sse_hosts, nchan_hosts  # noqa: E402
from bench_logins import ModSseLogin, NchanLogin, PlainHttpd  # noqa: E402
from bench_procs import user_memory  # noqa: E402
from bench_scenarios import SCENARIOS, SETS  # noqa: E402
from bench_servers import ModSse, Nchan, Raw  # noqa: E402
from bench_tls import ModSseTls, NchanTls  # noqa: E402
from stage import Stage  # noqa: E402


class Bench:
    """What the servers share: where programs are and how mod_sse is configured beyond its defaults."""

    def __init__(self, programs, directives):
        self.programs = programs
        self.directives = directives
        self.id_length = 16
        self._stage = None

    @property
    def hub_program(self):
        return self.stage.hub_program

    @property
    def stage(self):
        """The installed release build; only mod_sse needs it."""
        self._stage = self._stage or Stage("release")
        return self._stage

    def close(self):
        if self._stage:
            self._stage.remove()

    def make(self, name, scenario, streams):
        kind, _, count = name.rpartition("-")
        if kind == "mod_sse-on":
            return mod_sse_hosts(self, int(count))
        if kind == "nchan-on":
            return nchan_hosts(self, int(count))
        makers = {
            "raw": lambda: Raw(self),
            "nchan-1": lambda: Nchan(self, 1),
            "nchan-2": lambda: Nchan(self, 2),
            "httpd, a file": lambda: PlainHttpd(self),
            "nchan+Django": lambda: NchanLogin(self, streams),
            "nchan-tls-1": lambda: NchanTls(self, 1),
            "nchan-tls-2": lambda: NchanTls(self, 2),
            "mod_sse-tls": lambda: ModSseTls(self, "tls", streams),
            "mod_sse-relay": lambda: ModSseTls(self, "relay", streams),
            "mod_sse-h2": lambda: ModSseTls(self, "h2", streams),
            "mod_sse": lambda: ModSseLogin(self, streams) if scenario.logins else ModSse(self),
        }
        return makers[name]()

    def measure(self, name, scenario, streams):
        kind, _, count = name.rpartition("-")
        if kind == "hubs":
            return bench_hubs.bare(self, streams, int(count))
        if kind == "foreign":
            return bench_hubs.foreign(self, streams, int(count))
        server = self.make(name, scenario, streams)
        try:
            server.start()
            baseline = sum(user_memory(pid) for pid in server.pids())
            server.prepare(scenario, streams)
            command = [str(self.programs / "bench-load"), "--baseline", str(baseline)]
            for port in server.ports():
                command += ["--server", f"127.0.0.1:{port}"]
            for pid in server.pids():
                command += ["--root", str(pid)]
            for pid in server.aside():
                command += ["--aside", str(pid)]
            command += server.load_args(scenario) + scenario.arguments(streams, name)
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)
            if done.returncode:
                raise AssertionError(f"{name}: {done.stderr.strip()}\n{server.problems()}")
            result = json.loads(done.stdout)
            for phase in ("connect", "again"):
                if phase in result:
                    result[phase]["cpu_us_of"] = name_kinds(result[phase]["cpu_us_of"], server.kinds)
            if streams < 100:
                del result["connect"]  # of so few it says nothing
            if not scenario.memory:
                del result["memory_open"], result["memory_used"]
            return result
        finally:
            server.stop()


def name_kinds(used, names):
    named = {}
    for kind, value in used.items():
        named[names.get(kind, kind)] = named.get(names.get(kind, kind), 0) + value
    return named


def machine():
    models = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {"cpus": os.cpu_count(), "model": models[0] if models else platform.machine(), "kernel": platform.release()}


def run(bench, scenario, streams, rounds, servers, out_dir):
    print(f"\n== {scenario.name}: {scenario.title}; {streams} streams, median of {rounds} rounds, µs", flush=True)
    runs = {name: [] for name in scenario.servers if not servers or name in servers}
    for _ in range(rounds):
        for name in runs:
            runs[name].append(bench.measure(name, scenario, streams))
    judged = report.judge(runs)
    print(report.table(runs))
    print(report.verdicts(judged), flush=True)
    result = {
        "scenario": scenario.name,
        "title": scenario.title,
        "streams": streams,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "load_average": os.getloadavg(),
        "targets": judged,
        "medians": {s: {path: report.median(r, path) for _, path, _ in report.COLUMNS if report.median(r, path) is not None}
                    for s, r in runs.items()},
        "runs": runs,
    }  # fmt: skip
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / f"{scenario.name}-{streams}.json").write_text(json.dumps(result, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(prog="script/bench")
    parser.add_argument("what", nargs="*", default=["quick"], help=f"{', '.join(SETS)}, or scenarios: {', '.join(SCENARIOS)}; report: what is in build/bench, as Markdown")
    parser.add_argument("--full", action="store_true", help="numbers of streams and rounds as in full")
    parser.add_argument("--streams", type=int, help="instead of the scenario's numbers of streams")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--server", action="append", help="only these of the scenario's servers (the columns)")
    parser.add_argument("--directive", action="append", default=[], help='a line for httpd.conf, such as "SSEHistory 0"')
    parser.add_argument("--programs", type=lambda p: pathlib.Path(p).resolve(), required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    out_dir = TOP / "build" / "bench"
    if options.what == ["report"]:
        for path in sorted(out_dir.glob("*.json")):
            print(report.page(json.loads(path.read_text())) + "\n")
        return
    mode = "full" if options.full or "full" in options.what else "quick"
    names = []
    for what in options.what:
        names += SETS.get(what, (what,))
    unknown = [n for n in names if n not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    bench = Bench(options.programs, "\n".join(options.directive))
    try:
        for name in names:
            scenario = SCENARIOS[name]
            for streams in (options.streams,) if options.streams else scenario.streams[mode]:
                rounds = options.rounds or scenario.rounds[mode]
                run(bench, scenario, streams, rounds, options.server, out_dir)
    finally:
        bench.close()


if __name__ == "__main__":
    main()
