# SPDX-License-Identifier: Apache-2.0
"""What a publisher may say never becomes a field that it did not mean: checked byte for byte and by the standard's parser."""

import json

import pytest
from httpd_server import ADMIN, STREAM


@pytest.fixture(scope="module")
def server(make_shared_httpd):
    return make_shared_httpd().configure(locations=STREAM + ADMIN).start()


@pytest.fixture(scope="module")
def admin(server):
    return server.admin()


def publish_text(admin, event, data_text, **members):
    """Publishes with `data` exactly as this JSON text."""
    head = json.dumps(dict(members, event=event))
    body = head[:-1] + ', "data": ' + data_text + "}"
    return admin.post("/publish", body.encode("utf-8", "surrogatepass"))["id"]


def received(server, admin, event, data_text, **members):
    """The event and the block's bytes, as a stream got them."""
    with server.stream("/events?event=" + event) as s:
        s.opened()
        start = len(s.raw)
        position = publish_text(admin, event, data_text, **members)
        got = s.expect(event, timeout=20)
        assert got.id == position
        return got, s.raw[start:]


# What goes in as raw strings; what a browser then has. CR and CRLF become LF, as the format has no other line end.
STRINGS = {
    "plain": "plain",
    "empty": "",
    "lf": "a\nb",
    "cr": "a\rb",
    "crlf": "a\r\nb",
    "lf at the end": "a\n",
    "only line ends": "\n\r\n\r",
    "lf lf": "a\n\nb",
    "field": "x\nevent: evil\ndata: y\n\nevent: evil2\ndata: z\n\n",
    "field after cr": "x\revent: evil\rid: 99\r\rdata: z\r\r",
    "id": "x\nid: 1\nretry: 1\n:comment",
    "nul": "a\0b",
    "nul lf": "a\0\nid: b\0",
    "bom": "\ufeffa\n\ufeffb",
    "u2028": "a\u2028b\u2029c\u0085d\x0be\x0cf",
    "spaces": "  a  \n  b  ",
    "colon": ": no comment\n:",
    "astral": "\U0001f600\u00e9",
    "del and c1": "\x7f\x9b",
}


@pytest.mark.parametrize("name", STRINGS)
def test_raw_string(server, admin, name):
    text = STRINGS[name]
    got, raw = received(server, admin, "framing", json.dumps(text), raw=True)
    assert got.data == text.replace("\r\n", "\n").replace("\r", "\n")
    fields = raw.split(b"\n")
    assert b"\r" not in raw
    assert all(f == b"" or f.split(b":")[0] in (b"id", b"event", b"data") for f in fields), raw
    assert raw.count(b"\nevent:") + raw.startswith(b"event:") == 1
    assert raw.count(b"\nid:") + raw.startswith(b"id:") == 1
    assert raw.endswith(b"\n\n")


# JSON texts pass as text: only white space between tokens may go.
JSON_TEXTS = [
    "{}",
    "[]",
    "null",
    "true",
    '""',
    '"a\\nb\\rc\\u0000"',
    '{"b":1,"a":2,"b":3}',
    "1234567890123456789012345678901234567890",
    "0.1000000000000000055511151231257827021181583404541015625",
    "-0",
    "1e400",
    "1E+2",
    '{"n":[1.0,1.00,10000000000000000000000000000000000000000]}',
    '"\\ud83d\\ude00"',
    '"\\ud800"',
    '"\\/"',
    '"<script>&amp;</script>"',
    '"\u2028\u2029\ufeff"',
    '{"\\u0000":"\\u0000"}',
    '{"":""}',
]


@pytest.mark.parametrize("text", JSON_TEXTS)
def test_json_passes_as_text(server, admin, text):
    got, _ = received(server, admin, "framing:json", text)
    assert got.data == text


def test_json_white_space_between_tokens(server, admin):
    got, raw = received(server, admin, "framing:json", '{ "a" :\r\n [ 1.00 ,\t2 ] ,\n "b c" : " d\\n e " }')
    assert "".join(got.data.split()) == '{"a":[1.00,2],"bc":"d\\ne"}'
    assert '"b c"' in got.data and '" d\\n e "' in got.data
    assert all(line.split(b":")[0] in (b"id", b"event", b"data", b"") for line in raw.split(b"\n"))


def test_quarter_of_a_mebibyte(server, admin):
    """The largest message that the default allows, once as one line and once as nothing but line ends."""
    one_line = '"' + "x" * (256 * 1024 - 200) + '"'
    got, _ = received(server, admin, "framing:big", one_line)
    assert got.data == one_line
    text = "\n" * 60000
    got, _ = received(server, admin, "framing:big", json.dumps(text), raw=True)
    assert got.data == text


def test_every_control_character_raw(server, admin):
    text = "".join(map(chr, range(0x20))) + "\x7f" + "".join(map(chr, range(0x80, 0xA0)))
    got, _ = received(server, admin, "framing:control", json.dumps(text), raw=True)
    assert got.data == text.replace("\r", "\n")


def test_raw_wants_a_string(admin):
    answer = admin.request("POST", "/publish", {"event": "framing", "data": {"a": 1}, "raw": True})
    assert answer.status == 400


BAD_JSON = [
    b"",
    b"{",
    b"{}x",
    b"\xef\xbb\xbf{}",
    b"[1,]",
    b'{"event":"e","data":NaN}',
    b'{"event":"e","data":Infinity}',
    b'{"event":"e","data":01}',
    b'{"event":"e","data":+1}',
    b'{"event":"e","data":.5}',
    b'{"event":"e","data":1.}',
    b"{'event':'e','data':1}",
    b'{"event":"e","data":"a\nb"}',
    b'{"event":"e","data":"\x00"}',
    b'{"event":"e","data":"\xff"}',
    b'{"event":"e","data":"\xed\xa0\x80"}',
    b'{"event":"e","data":"\xc0\xaf"}',
    b'{"event":"e","data":1 /* comment */}',
    b'{"event":"e","data":1}\0',
    b'{"event":"e","data":' + b"[" * 10000 + b"]" * 10000 + b"}",
    b'{"event":"e","data":tru}',
    b'{"event":"e","data":"\\x"}',
    b'{"event":"e","data":"\\u12"}',
    b'{"event":"e",,"data":1}',
]


@pytest.mark.parametrize("body", BAD_JSON, ids=range(len(BAD_JSON)))
def test_malformed_json(admin, body):
    answer = admin.request("POST", "/publish", body)
    assert answer.status == 400, answer.body
    assert answer.head.get("content-type") == "application/problem+json"
    assert answer.json["status"] == 400


def test_frames_of_one_message_are_the_same_bytes(server, admin):
    streams = [server.stream("/events?event=same") for _ in range(3)]
    blocks = set()
    for s in streams:
        s.opened()
    marks = [len(s.raw) for s in streams]
    admin.publish("same", {"a": [1, 2, "x\ny"]})
    for s, mark in zip(streams, marks):
        s.expect("same")
        blocks.add(s.raw[mark:])
        s.close()
    assert len(blocks) == 1
