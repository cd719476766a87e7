# SPDX-License-Identifier: Apache-2.0
"""The hub dies: httpd keeps serving, the hub is back within a second, clients return; while it is away nobody is told for good."""

import json
import os
import resource
import signal
import threading
import time

import pytest
from event_stream import EventStream
from httpd_server import ADMIN, STREAM
from waiting import wait_until


@pytest.fixture
def running(make_httpd, each_mpm):
    httpd = make_httpd(each_mpm)
    httpd.log.expect("SSE01")  # the parent says that its hub died
    return httpd.configure(locations=STREAM + ADMIN).start()


def kill_hub(httpd):
    pid = wait_until(httpd.hub_pid, 10, "there is a hub")
    os.kill(pid, signal.SIGKILL)
    return pid


def opens(httpd):
    try:
        with EventStream(httpd.address, "/events?event=load", timeout=5) as s:
            assert s.status == 200, s.status
            return s.next(5).type == "stream-open"
    except (AssertionError, OSError):
        return False


def test_back_within_a_second(running):
    with running.stream() as s:
        s.opened()
        old = kill_hub(running)
        began = time.monotonic()
        s.rest(5)
    wait_until(lambda: opens(running), 5, "streams open again", step=0.01)
    assert time.monotonic() - began < 1.0
    assert running.hub_pid() not in (None, old)
    assert running.fetch("/index.html").status == 200


def test_killed_under_load(running):
    """Streams, publishes and plain pages go on around three deaths of the hub. A stream request is never answered by a status that
    would stop EventSource, an admin request by nothing but 2xx and 503 with Retry-After, a page always."""
    stop = threading.Event()
    failures, seen = [], {"stream": 0, "publish": 0, "away": 0, "page": 0}

    def guarded(job):
        def run():
            try:
                while not stop.is_set():
                    job()
            except BaseException as e:
                failures.append(repr(e))
                stop.set()

        return run

    def follow():
        try:
            with EventStream(running.address, "/events?event=load", timeout=5) as s:
                assert s.status == 200, "EventSource stops at %d" % s.status
                for _ in range(50):
                    if s.next(5).type == "load":
                        seen["stream"] += 1
                    if stop.is_set():
                        break
        except AssertionError as e:
            assert "EventSource" not in str(e), e
        except OSError:
            pass

    def publish():
        answer = running.admin().request("POST", "/publish", {"event": "load", "data": 1})
        if answer.status == 503:
            assert int(answer.head.get("retry-after")) >= 1
            seen["away"] += 1
        else:
            assert answer.status == 200, answer.body
            seen["publish"] += 1

    def page():
        answer = running.fetch("/index.html")
        assert answer.body == b"a plain page\n"
        seen["page"] += 1

    threads = [threading.Thread(target=guarded(job)) for job in (follow, follow, follow, publish, page)]
    for t in threads:
        t.start()
    for n in range(3):
        before = dict(seen)
        wait_until(lambda: seen["stream"] > before["stream"] + 20 or failures, 15, "messages flow")
        kill_hub(running)
        wait_until(lambda: running.hub_pid() or failures, 5, "there is a hub again")
    before = dict(seen)
    wait_until(lambda: seen["stream"] > before["stream"] + 20 or failures, 15, "messages flow again")
    stop.set()
    for t in threads:
        t.join(30)
        assert not t.is_alive()
    assert not failures, failures
    assert seen["page"] > 20 and seen["publish"] > 20


def test_while_the_hub_is_away(running):
    """A stopped hub answers nobody: each request waits no longer than its time-out and says what EventSource survives."""
    pid = wait_until(running.hub_pid, 10)
    os.kill(pid, signal.SIGSTOP)
    running.log.allow("SSE")
    answers = {}

    def stream():
        with EventStream(running.address, timeout=30) as s:
            answers["head"], answers["end"], answers["retry"] = s.head, s.rest(30)[-1], s.retry

    def publish():
        answers["publish"] = running.admin().request("POST", "/publish", {"event": "e", "data": 1}, timeout=30)

    def health():
        answers["health"] = running.admin().request("GET", "/health", key=None, timeout=30)

    try:
        began = time.monotonic()
        threads = [threading.Thread(target=job) for job in (stream, publish, health)]
        for t in threads:
            t.start()
        assert running.fetch("/index.html").status == 200
        for t in threads:
            t.join(60)
        assert time.monotonic() - began < 20
        assert answers["head"].status == 200
        assert answers["head"].get("content-type") == "text/event-stream"
        assert int(answers["head"].get("retry-after")) >= 1
        assert answers["end"].type == "stream-end" and json.loads(answers["end"].data) == {"reason": "unavailable"}
        assert answers["retry"] > 3000
        assert answers["publish"].status == 503
        assert int(answers["publish"].head.get("retry-after")) >= 1
        assert answers["publish"].head.get("content-type") == "application/problem+json"
        assert answers["health"].status == 503
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: opens(running), 10, "streams open again")
    # What the hub found in its channels after the pause belongs to workers that had given up: nobody was attached by it.
    kill_hub(running)
    wait_until(lambda: running.log.matching("SSE0118"), 10, "the parent has noticed")


def test_hub_that_cannot_live_is_not_restarted_in_a_circle(httpd):
    """Back-off: a hub that dies at once is tried again more and more slowly, and httpd serves its pages meanwhile."""
    broken = httpd.dir / "broken-hub"
    starts = httpd.dir / "run" / "starts"
    starts.write_text("")
    starts.chmod(0o666)
    broken.write_text("#!/bin/sh\necho start >>%s\nexit 1\n" % starts)
    broken.chmod(0o755)
    httpd.log.allow("SSE")
    httpd.configure(server='SSEHubProgram "%s"' % broken)
    httpd.start(hub=False)
    wait_until(lambda: len(starts.read_text().splitlines()) >= 2, 10, "the hub is tried again")
    began, first = time.monotonic(), len(starts.read_text().splitlines())
    wait_until(lambda: time.monotonic() - began > 3, 5)
    assert len(starts.read_text().splitlines()) - first < 15
    assert httpd.fetch("/index.html").status == 200
    assert httpd.fetch("/events").status == 200


def test_hub_dies_with_its_parent(httpd):
    """kill -9 of httpd's parent: the hub ends by itself."""
    httpd.configure().start()
    hub = wait_until(httpd.hub_pid, 10)
    with httpd.stream() as s:
        s.opened()
        family = httpd.family() - {httpd.process.pid, hub}
        os.kill(httpd.process.pid, signal.SIGKILL)
        httpd.process.wait()
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        end = s.rest(10)[-1]
        assert end.type == "stream-end" and json.loads(end.data)["reason"] == "shutdown"
    wait_until(lambda: not os.path.exists("/proc/%d" % hub), 10, "the hub has ended")


def test_parent_that_cannot_start_another_tries_again(httpd):
    """A parent without a descriptor to spare when its hub dies starts another once it has."""
    httpd.log.expect("SSE0118")
    httpd.log.expect("SSE0117")
    httpd.configure().start()
    parent = httpd.process.pid
    soft, hard = resource.prlimit(parent, resource.RLIMIT_NOFILE)
    used = {int(fd) for fd in os.listdir("/proc/%d/fd" % parent)}
    free = next(n for n in range(len(used) + 1) if n not in used)
    resource.prlimit(parent, resource.RLIMIT_NOFILE, (free, hard))
    try:
        os.kill(httpd.hub_pid(), signal.SIGKILL)
        wait_until(lambda: httpd.log.matching("SSE0117"), 20, "the parent has failed")
    finally:
        resource.prlimit(parent, resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(httpd.healthy, 30, "another hub serves")
    assert opens(httpd)
