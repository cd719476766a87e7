# SPDX-License-Identifier: Apache-2.0
"""What processes have used, from /proc. The load client reads the same for timed phases (load_procs.c)."""

import pathlib


def cpu_us(pid):
    """Time on a processor of all threads, in microseconds."""
    files = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(f.read_text().split()[0]) for f in files) / 1000


def user_memory(root):
    """PSS of a process and its descendants, in bytes."""
    total = 0
    for pid in [root, *_descendants(root)]:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += 1024 * sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total


def _descendants(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_descendants(child)]
    return found
