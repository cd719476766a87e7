# SPDX-License-Identifier: Apache-2.0
"""The hub without httpd, and workers that misbehave: what does not decode closes its channel and nothing else."""

import array
import fcntl
import json
import os
import random
import socket
import struct
import subprocess
import threading

import pytest
from admin_client import AdminSocket
from event_parser import EventParser
from hub_process import HubProcess
from stage import FLAVOUR, TOP
from waiting import wait_until
from wire_codec import ADMIN, ATTACH, BUSY, HELLO, OK, PARKED, RELEASE, RESERVE, RESUME_USER, STALE, VERSION, encode, sealed_file


@pytest.fixture
def make_hub(stage):
    hubs = []

    def make(**conf):
        hubs.append(HubProcess(stage.hub_program, sanitizer=FLAVOUR, **{"threads": 2, "presence_grace": 0, **conf}))
        return hubs[-1]

    yield make
    problems = []
    for hub in hubs:
        if hub.process.poll() is None and hub.stop() != 0:
            problems.append("the hub ended with %d: %s" % (hub.process.returncode, hub.log.read_text()))
        hub.end()
        problems += hub.problems()
        hub.remove()
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def alive(hub):
    channel = hub.channel()
    assert channel.admin("GET", "/presence").status == 200
    channel.close()


def closed(channel):
    """The hub has closed this channel."""
    channel.sock.settimeout(10)
    try:
        return channel.sock.recv(65536) == b""
    except ConnectionResetError:
        return True


def hand_over(channel, ticket):
    near, far = socket.socketpair()
    near.settimeout(10)
    channel.attach(ticket, far)
    far.close()
    return near


def attach(channel, **reservation):
    reserved = channel.reserve(**reservation)
    assert reserved.verdict == OK
    return hand_over(channel, reserved.ticket)


def read_until(sock, mark):
    text = b""
    while mark not in text:
        chunk = sock.recv(65536)
        assert chunk, text
        text += chunk
    return text


def streams(channel):
    return json.loads(channel.admin("GET", "/presence").body)["streams"]


def test_stream(make_hub):
    channel = make_hub().channel()
    s = attach(channel, user="u", events=["e"])
    read_until(s, b"stream-open")
    reply = channel.admin("POST", "/publish", b'{"event":"e","data":{"a":1}}')
    assert reply.status == 200
    parser = EventParser()
    parser.feed(read_until(s, b"\n\n"))
    assert parser.events[-1].data == '{"a":1}' and parser.events[-1].id == json.loads(reply.body)["id"]


def test_body_in_a_memory_file(make_hub):
    channel = make_hub().channel()
    s = attach(channel, user="u", events=["e"])
    read_until(s, b"stream-open")
    text = json.dumps("z" * 200000)
    assert channel.admin("POST", "/publish", b'{"event":"e","data":%s}' % text.encode()).status == 200
    read_until(s, b"z" * 200000)


def test_as_many_groups_as_may_be(make_hub):
    """A thousand groups with the longest names pass a datagram by far; the stream carries the last of them."""
    channel = make_hub().channel()
    groups = ["%04d" % n + "g" * 636 for n in range(1024)]
    s = attach(channel, user="u", groups=groups)
    read_until(s, b"stream-open")
    text = json.dumps({"event": "e", "data": "to the last", "groups": groups[-1:]})
    assert channel.admin("POST", "/publish", text.encode()).status == 200
    read_until(s, b"to the last")


def test_end_of_the_parent_is_the_end(make_hub):
    hub = make_hub()
    s = attach(hub.channel(), user="u")
    read_until(s, b"stream-open")
    hub.parent.close()
    assert b'"shutdown"' in read_until(s, b"stream-end") + s.recv(65536)
    assert hub.process.wait(20) == 0


def bad_datagrams():
    good = encode(RESERVE, 1, ("u32", 0), "default", "u", "", ("u64", 0), ("u64", 0), "127.0.0.1", "", ("u32", 0), ("u32", 0))
    rng = random.Random(7)
    yield b"x"
    yield struct.pack("<HHI", VERSION + 1, RESERVE, 1) + good[8:]
    yield struct.pack("<HHI", VERSION, 0, 1)
    yield struct.pack("<HHI", VERSION, 99, 1)
    yield good[:-1]
    yield good + b"\0"
    yield good[:8] + b"\xff" * (len(good) - 8)
    yield encode(RESERVE, 1, ("u32", 0), "default", "u", "short session", ("u64", 0), ("u64", 0), "", "", ("u32", 0), ("u32", 0))
    yield encode(RESERVE, 1, ("u32", 0), "default", "u", "", ("u64", 0), ("u64", 0), "", "", ("u32", 0xFFFFFFFF), ("u32", 0))
    yield encode(RESERVE, 1, ("u32", 0), "r" * 1000, "u", "", ("u64", 0), ("u64", 0), "", "", ("u32", 0), ("u32", 0))
    yield encode(ATTACH, 1, ("u64", 1), ("u32", 0), "", "")  # without a descriptor
    yield encode(ATTACH, 1, ("u64", 1), ("u32", 1), "", "")  # to be sealed, with nothing to seal with
    yield encode(ATTACH, 1, ("u64", 1), ("u32", 9), "", "")  # carried
    yield encode(ATTACH, 1, ("u64", 1), ("u32", 3), "", "HTTP/1.1 200 OK")  # a head that is not for a socket of httpd's in a way that is none
    yield encode(HELLO, 1, ("u32", 1))
    for _ in range(30):
        broken = bytearray(good)
        broken[rng.randrange(2)] ^= 1 << rng.randrange(8)
        yield bytes(broken)


def test_what_does_not_decode_closes_its_channel(make_hub):
    hub = make_hub()
    keeper = attach(hub.channel(), user="u")
    read_until(keeper, b"stream-open")
    for datagram in bad_datagrams():
        channel = hub.channel()
        channel.sock.send(datagram)
        assert closed(channel), datagram
        channel.close()
    alive(hub)


def test_random_bytes_everywhere(make_hub):
    """At the rendezvous, too: only whole HELLOs make channels."""
    hub = make_hub()
    rng = random.Random(3)
    for n in range(300):
        data = rng.randbytes(rng.randint(1, 200))
        if n % 2:
            hub.rendezvous.send(data)
        else:
            near, far = socket.socketpair()
            hub.rendezvous.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [far.fileno()]))])
            far.close()
            near.close()
    alive(hub)


def test_unknown_tickets(make_hub):
    hub = make_hub()
    channel = hub.channel()
    near, far = socket.socketpair()
    near.settimeout(10)
    channel.attach(123456789, far)
    far.close()
    try:
        assert near.recv(1) == b"", "the descriptor is closed unused"
    except ConnectionResetError:
        pass
    other = hub.channel()
    other.release(987654321)
    alive(hub)
    assert streams(hub.channel()) == 0


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def test_the_head_goes_out_with_the_first_bytes(make_hub):
    hub = make_hub()
    channel = hub.channel()
    for reservation in ({"user": "u"}, {"user": "u", "last_id": "unknown"}):  # at the present, and after a look into history
        reserved = channel.reserve(**reservation)
        near, far = socket.socketpair()
        near.settimeout(10)
        channel.attach(reserved.ticket, far, head=HEAD)
        far.close()
        text = read_until(near, b"stream-open")
        assert text.startswith(HEAD + b"retry: ")


def test_a_stream_that_will_not_be_has_its_head(make_hub):
    channel = make_hub().channel()
    near, far = socket.socketpair()
    near.settimeout(10)
    channel.attach(123456789, far, head=HEAD)
    far.close()
    assert near.recv(4096) == HEAD
    assert near.recv(1) == b""


def test_a_ticket_is_used_once(make_hub):
    hub = make_hub()
    channel = hub.channel()
    reserved = channel.reserve(user="u")
    ends = []
    for _ in range(2):
        near, far = socket.socketpair()
        near.settimeout(10)
        channel.attach(reserved.ticket, far)
        far.close()
        ends.append(near)
    read_until(ends[0], b"stream-open")
    try:
        assert ends[1].recv(1) == b""
    except ConnectionResetError:
        pass
    assert streams(hub.channel()) == 1


def test_worker_that_dies_after_reserving(make_hub):
    """Its ticket's place becomes free."""
    hub = make_hub(max_streams=2)
    keeper = hub.channel()
    for _ in range(3):
        channel = hub.channel()
        assert wait_until(lambda c=channel: c.reserve(user="u").verdict == OK, 10, "a place is free")
        channel.close()
    wait_until(lambda: keeper.reserve(user="v").verdict == OK, 10, "the places of dead workers are free")


def test_worker_that_dies_with_a_feed_granted(make_hub):
    hub = make_hub(max_streams=1)
    keeper = hub.channel()
    channel = hub.channel()
    assert channel.admin("GET", "/presence/feed").ticket
    assert keeper.reserve(user="v").verdict == BUSY
    channel.close()
    wait_until(lambda: keeper.reserve(user="v").verdict == OK, 10, "the feed's place is free")


def test_released_ticket_is_free(make_hub):
    channel = make_hub(max_streams=1).channel()
    for _ in range(5):
        reserved = channel.reserve(user="u")
        assert reserved.verdict == OK
        channel.release(reserved.ticket)
    reserved = channel.reserve(user="u")
    assert reserved.verdict == OK
    refused = channel.reserve(user="v")
    assert refused.verdict == BUSY and refused.retry_after >= 1 and b"stream-end" in refused.body


def test_file_of_a_large_message_must_be_sealed_and_bounded(make_hub):
    hub = make_hub()
    message = encode(ADMIN, 1, "default", "POST", "/publish", "", "application/json", "", "", "", b"{}")
    for size, seal in ((0, False), (200 * 1024 * 1024, True)):
        fd = os.memfd_create("message", os.MFD_ALLOW_SEALING)
        os.write(fd, message)
        if size:
            os.ftruncate(fd, size)
        if seal:
            fcntl.fcntl(fd, 1033, 0x000F)
        channel = hub.channel()
        channel.sock.sendmsg([message[:8]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        os.close(fd)
        assert closed(channel)
        channel.close()
    alive(hub)


def test_release_of_garbage(make_hub):
    hub = make_hub()
    channel = hub.channel()
    channel.sock.send(struct.pack("<HHI", 1, RELEASE, 1))
    assert closed(channel)
    alive(hub)


def test_only_httpds_user_may_say_hello(make_hub):
    """A process of another user that got hold of the rendezvous is not heard. (Root runs this: it can be somebody else.)"""
    hub = make_hub(uid=os.getuid())
    alive(hub)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            hub.rendezvous.sendmsg(
                [encode(HELLO, 0, ("u32", os.getpid()))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [far.fileno()]))]
            )
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    far.close()
    near.settimeout(10)
    try:
        assert near.recv(100) == b""
    except ConnectionResetError:
        pass
    alive(hub)


# ---- the command line ----


def run_hub(stage, *arguments, conf=None):
    fds = ()
    if conf is not None:
        fd = sealed_file(conf)
        arguments = (*arguments, "--config-fd", str(fd))
        fds = (fd,)
    env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1"}
    done = subprocess.run([stage.hub_program, *arguments], pass_fds=fds, capture_output=True, text=True, timeout=30, env=env, stdin=subprocess.DEVNULL)
    for fd in fds:
        os.close(fd)
    assert "Sanitizer" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize(
    "conf, words",
    [
        ("", ["not JSON"]),
        ("{", ["not JSON", "byte 1"]),
        ("[]", ["not a JSON object"]),
        ('{"unknown": 1}', ['unknown member "unknown"']),
        ('{"threads": "two"}', ['"threads"', "whole number"]),
        ('{"threads": -1}', ['"threads"', "from 0 to 1024"]),
        ('{"broker": 5}', ['"broker"', "string"]),
        ('{"max_age": 1.5}', ['"max_age"', "whole number"]),
        ('{"broker": "pigeon://x", "state_dir": "STATE"}', ["pigeon"]),
    ],
)
def test_wrong_configuration_is_named(stage, tmp_path, conf, words):
    done = run_hub(stage, conf=conf.replace("STATE", str(tmp_path)).encode())
    assert done.returncode == 1, done.returncode
    for word in ["SSE0200", *words]:
        assert word in done.stderr, (word, done.stderr)


def test_wrong_command_lines(stage):
    for arguments in (("--config-fd",), ("--config-fd", "x"), ("--config-fd", "99"), ("--no-such-option",), ("extra",)):
        done = run_hub(stage, *arguments)
        assert done.returncode not in (0, -6, -11), (arguments, done.returncode)
        assert done.stderr.strip()


def test_two_hubs_on_one_state_directory(make_hub):
    """The second one waits, answering nothing but "not yet", and goes on by itself when the first one leaves."""
    first = make_hub()
    position = json.loads(first.channel().admin("POST", "/publish", b'{"event":"e","data":1}').body)["id"]
    second = make_hub(state_dir=str(first.dir / "state"))
    with AdminSocket(second.admin_path) as a:
        assert a.call("GET", "/health")["status"] == 503
        answer = a.call("POST", "/publish", {"event": "e", "data": 2})
        assert answer["status"] == 503 and int(answer["headers"]["Retry-After"]) >= 1
        alive(first)
        assert first.stop() == 0
        wait_until(lambda: a.call("GET", "/health")["status"] == 200, 20, "the second hub has the store")
        assert a.call("POST", "/publish", {"event": "e", "data": 3})["body"]["id"].split("-")[0] == position.split("-")[0]


def test_channel_helper_matches_the_tree():
    """The codec in Python speaks the version that the C headers have."""
    text = (TOP / "src" / "core" / "wire.h").read_text()
    assert "#define SSE_WIRE_VERSION %d\n" % VERSION in text


# ---- between the steps of opening a stream, and beside other streams ----


def read_rest(sock):
    text = b""
    while chunk := sock.recv(65536):
        text += chunk
    return text


def events_in(text):
    parser = EventParser()
    parser.feed(text)
    return parser.events


def post(channel, path, **body):
    reply = channel.admin("POST", path, json.dumps(body).encode())
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


def test_feed_takes_no_position_from_streams(make_hub):
    """An end tells a position (and the mark that keeps the client away) also while a presence feed is open in the realm."""
    channel = make_hub(threads=1).channel()
    s = attach(channel, user="u")
    read_until(s, b"stream-open")
    feed = hand_over(channel, channel.admin("GET", "/presence/feed").ticket)
    read_until(feed, b"stream-open")
    post(channel, "/disconnect", user="u")
    last = events_in(read_rest(s))[-1]
    assert json.loads(last.data)["reason"] == "disconnected"
    assert last.id


def test_feed_of_the_socket_beside_other_requests(make_hub):
    """Changes that come while a request of the feed's connection waits for its answer are told after it."""
    hub = make_hub()
    channel = hub.channel()
    follower = AdminSocket(hub.admin_path)
    assert follower.call("GET", "/presence/feed")["status"] == 200
    slow = [{"event": "e", "data": n} for n in range(500)]
    for n in range(40):
        reserved = channel.reserve(user="u%d" % n)
        follower.send("POST", "/publish", slow)
        with hand_over(channel, reserved.ticket) as s:
            read_until(s, b"stream-open")
    lines = [follower.receive() for _ in range(40 + 80)]
    assert sum(len(line["body"]["ids"]) for line in lines if "status" in line) == 40 * 500
    for n in range(40):
        assert [line["online"] for line in lines if line.get("user") == "u%d" % n] == [True, False]
    follower.close()


def test_feed_that_is_not_read_is_ended(make_hub):
    """A follower that does not read piles up no more than any other slow client."""
    channel = make_hub(threads=1, stream_buffer=65536).channel()
    feed = hand_over(channel, channel.admin("GET", "/presence/feed").ticket)
    read_until(feed, b"stream-open")
    for n in range(1500):
        attach(channel, user="%d-" % n + "n" * 240).close()
    reason = json.loads(events_in(read_rest(feed))[-1].data)["reason"]
    assert reason == "slow"


def test_an_ending_stream_takes_no_place(make_hub):
    """A stream that cannot get its last bytes out must not push the user's new one away."""
    hub = make_hub(threads=1, max_streams_per_user=1)
    channel = hub.channel()
    stuck = attach(channel, user="u", events=["e"])
    read_until(stuck, b"stream-open")
    for _ in range(3):
        post(channel, "/publish", event="e", data="x" * 200000)
    with attach(channel, user="u", events=["f"]) as second:
        read_until(second, b"stream-open")
    hub.wait_streams(1, channel)
    third = attach(channel, user="u", events=["f"])
    assert b"stream-end" not in read_until(third, b"stream-open")
    post(channel, "/publish", event="f", data=1)
    assert b"stream-end" not in read_until(third, b"event: f\n")
    stuck.close()


def test_revoked_while_the_position_is_looked_up(make_hub):
    """?resume=user asks the broker twice; a disconnect between the answers ends the stream like any other."""
    hub = make_hub(threads=1)
    worker, admin = hub.channel(), hub.channel()
    for n in range(150):
        user = "u%d" % n
        thread = threading.Thread(target=post, args=(admin, "/disconnect"), kwargs={"user": user})
        thread.start()
        reserved = worker.reserve(user=user, flags=RESUME_USER, looked_up=1)
        thread.join()
        if reserved.verdict == STALE:
            continue
        assert reserved.verdict == OK
        s = hand_over(worker, reserved.ticket)
        assert b'"disconnected"' in read_rest(s), user


def damage(hub):
    """The database is found damaged at the next look and replaced by a new one."""
    path = hub.dir / "state" / "broker.db"
    with open(path, "r+b") as f:
        f.write(os.urandom(path.stat().st_size))
    for name in ("broker.db-wal", "broker.db-shm"):
        beside = hub.dir / "state" / name
        if beside.exists():
            with open(beside, "r+b") as f:
                f.write(os.urandom(beside.stat().st_size))


def test_positions_that_step_back_while_reserved(make_hub):
    """A stream that was reserved before the broker lost its positions carries what comes after, and is told."""
    hub = make_hub(threads=1)
    channel = hub.channel()
    for n in range(50):
        post(channel, "/publish", event="e", data=n)
    reserved = channel.reserve(user="u", events=["e"])
    assert reserved.verdict == OK
    witness = attach(channel, user="w", events=["e"])
    read_until(witness, b"stream-open")
    damage(hub)

    def published():
        return channel.admin("POST", "/publish", b'{"event":"f","data":1}').status == 200 and "SSE0305" in hub.log.read_text()

    wait_until(published, 30, "the hub has a new database")
    read_until(witness, b"broker-reset")
    s = hand_over(channel, reserved.ticket)
    read_until(s, b"broker-reset")
    post(channel, "/publish", event="e", data=99)
    assert b"data: 99" in read_until(s, b"data: 99\n")


def test_end_before_the_beginning_tells_of_a_reset(make_hub):
    """A stream that ends before it opened gives a position: that its own was unknown must not get lost by it."""
    channel = make_hub(parked_streams=0).channel()
    reserved = channel.reserve(user="u", last_id="nonsense")
    near, far = socket.socketpair()
    near.settimeout(20)
    channel.attach(reserved.ticket, far, PARKED)
    far.close()
    reset, end = events_in(read_rest(near))
    assert (reset.type, json.loads(reset.data)["reason"]) == ("stream-reset", "unknown-id")
    assert (end.type, json.loads(end.data)["reason"], end.id) == ("stream-end", "busy", reset.id)


def test_deep_data_in_an_answer_of_the_socket(make_hub):
    """Data as deep as may be, published by httpd's way, is still JSON in the socket's history."""
    hub = make_hub()
    data = "[" * 63 + "\n" + "]" * 63
    assert hub.channel().admin("POST", "/publish", b'{"event":"deep","data":%s}' % data.encode()).status == 200
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(hub.admin_path)
        s.sendall(b'{"method":"GET","path":"/events/deep/history"}\n')
        answer = json.loads(read_until(s, b"\n"))
    assert answer["body"]["messages"][0]["data"] == json.loads(data)


def test_streams_that_break_while_a_message_goes_out(make_hub):
    """The write is what tells that a client is gone: the message reaches every other one, and the broken are closed."""
    hub = make_hub(threads=1)
    channel = hub.channel()
    clients = [attach(channel, user="u%d" % (n // 2), events=["e"]) for n in range(10)]
    for s in clients:
        read_until(s, b"stream-open")
    for s in clients[1::3]:
        s.shutdown(socket.SHUT_RD)
    post(channel, "/publish", event="e", data=1)
    hub.wait_streams(len(clients) - len(clients[1::3]), channel)
    post(channel, "/publish", event="e", data=2)
    for n, s in enumerate(clients):
        if n % 3 != 1:
            read_until(s, b"data: 2\n\n")
        s.close()
