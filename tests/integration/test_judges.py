# SPDX-License-Identifier: Apache-2.0
"""The tests' own judges are judged first: a parser that is too kind would let every framing test pass."""

import random

from event_parser import Event, EventParser
from httpd_log import HttpdLog


def parse(data, cuts=()):
    parser = EventParser()
    at = 0
    for cut in [*cuts, len(data)]:
        parser.feed(data[at:cut])
        at = cut
    return parser


# The examples of the standard and its corner cases: bytes, events.
CASES = [
    (b"data: YHOO\ndata: +2\ndata: 10\n\n", [Event("message", "YHOO\n+2\n10", "")]),
    (b": test\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n",
     [Event("message", "first", "1"), Event("message", "second", ""), Event("message", " third", "")]),
    (b"data\n\ndata\ndata\n\ndata:", [Event("message", "", ""), Event("message", "\n", "")]),
    (b"data:test\n\ndata: test\n\n", [Event("message", "test", "")] * 2),
    (b"\xef\xbb\xbfdata: bom\n\n\xef\xbb\xbfdata: no field\n\n", [Event("message", "bom", "")]),
    (b"data: a\rdata: b\r\ndata: c\n\r\n", [Event("message", "a\nb\nc", "")]),
    (b"event: e\nid: 7\n\ndata: x\n\n", [Event("message", "x", "7")]),
    (b"id: 1\0\ndata: x\n\n", [Event("message", "x", "")]),
    (b"event: e\ndata: \xe2\x80\xa8 \xff\n\n", [Event("e", "\u2028 \ufffd", "")]),
    (b"data: unfinished\n", []),
]


def test_parser_knows_the_standard():
    for data, events in CASES:
        assert parse(data).events == events, data


def test_parser_does_not_care_how_bytes_are_cut():
    rng = random.Random(1)
    for data, events in CASES:
        assert parse(data, range(1, len(data))).events == events, data
        for _ in range(20):
            cuts = sorted(rng.sample(range(len(data) + 1), min(3, len(data))))
            assert parse(data, cuts).events == events, (data, cuts)


def test_parser_reads_retry_and_comments():
    parser = parse(b"retry: 3000\nretry: 3x\n:\n: hello\n\n")
    assert parser.retry == 3000
    assert parser.comments == ["", " hello"]
    assert parser.events == []


def test_log_judge_excuses_leaving_workers_only_while_they_leave(tmp_path):
    path = tmp_path / "error.log"
    log = HttpdLog(path)
    line = "[Tue Nov 24 09:00:00.0 2026] [mpm_event:error] [pid 1:tid 2] (9)Bad file descriptor: AH03093: process_socket: failure\n"
    done = "[Tue Nov 24 09:00:00.0 2026] [mpm_event:notice] [pid 1:tid 2] AH00489: configured -- resuming normal operations\n"
    path.write_text(line)
    log.children_leave()
    path.write_text(line + line + done + line)
    assert len(log.problems()) == 2


def test_log_judge_finds_what_was_not_announced(tmp_path):
    path = tmp_path / "error.log"
    path.write_text(
        "[Tue Nov 24 09:00:00.000000 2026] [mpm_event:notice] [pid 1:tid 2] AH00489: resuming normal operations\n"
        "[Tue Nov 24 09:00:00.000000 2026] [sse:warn] [pid 1:tid 2] SSE0001: something\n"
        "[Tue Nov 24 09:00:00.000000 2026] [sse:error] [pid 1] SSE0002: something else\n"
        "a line that is no log line\n"
    )
    log = HttpdLog(path)
    assert len(log.problems()) == 3
    log.expect("SSE0001")
    log.allow("SSE0002")
    assert log.problems() == ["unexpected: a line that is no log line"]
    log.expect("SSE0003")
    assert len(log.problems()) == 2
