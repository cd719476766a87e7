# SPDX-License-Identifier: Apache-2.0
"""A database that goes on answering, and says no: look-ups that fail for hours must not fill its memory, nor httpd's."""

import subprocess

import pytest
from backends import PostgresServer
from event_stream import EventStream
from httpd_server import ADMIN
from waiting import wait_until

STREAM = """
<Location /events>
    SetHandler sse-stream
    SSESession db
    SSESecretKeyFile "{dir}/secret"
</Location>
"""
DATABASE = """
DBDriver pgsql
DBDParams "host=127.0.0.1 port=%d dbname=site user=reader connect_timeout=2 tcp_user_timeout=3000 options='-c statement_timeout=3000'"
DBDMin 1
DBDKeep 1
DBDMax 1
"""
ONE_CHILD = "StartServers 1\nServerLimit 1\nThreadsPerChild 5\nMaxRequestWorkers 5\nMinSpareThreads 1\nMaxSpareThreads 5\n"
TABLES = """
CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, expire_date timestamptz NOT NULL);
CREATE TABLE auth_user (id integer PRIMARY KEY, password varchar(128) NOT NULL, is_active boolean NOT NULL);
CREATE TABLE auth_group (id integer PRIMARY KEY, name varchar(150) NOT NULL);
CREATE TABLE auth_user_groups (user_id integer NOT NULL, group_id integer NOT NULL);
CREATE ROLE reader LOGIN;
GRANT SELECT ON django_session, auth_user, auth_group, auth_user_groups TO reader;
"""
COOKIE = {"Cookie": "sessionid=" + "k" * 32}


class Database(PostgresServer):
    """It logs every statement."""

    def __init__(self):
        super().__init__()
        self.create_database("site")
        self.sql(TABLES)
        for setting in ("logging_collector = on", "log_directory = 'log'", "log_statement = 'all'"):
            self.sql("ALTER SYSTEM SET " + setting)
        self.stop()
        self.start()

    def sql(self, text):
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, "-d", "site", "-v", "ON_ERROR_STOP=1"]
        subprocess.run([self.bin / "psql", *where, "-q"], input=text, text=True, check=True, capture_output=True)

    def statements(self, word):
        return sum(line.count(" statement:  " + word) + line.count(" statement: " + word) for f in (self.dir / "data" / "log").iterdir() for line in f.read_text().splitlines())


@pytest.fixture
def database():
    database = Database()
    yield database
    database.remove()


def look_up(httpd):
    """The status, and how a stream that is one ends."""
    with EventStream(httpd.address, headers=COOKIE, timeout=20) as s:
        return s.status, s.rest()[-1].type if s.status == 200 else None


def test_refusals_are_not_prepared_for_again_and_again(httpd, database):
    (httpd.dir / "secret").write_text("a-secret-key\n")
    httpd.log.expect("SSE0502")
    httpd.log.expect("SSE0120")
    httpd.configure(server=DATABASE % database.port, locations=STREAM + ADMIN, mpm_settings=ONE_CHILD).start()
    assert look_up(httpd) == (403, None)
    database.sql("REVOKE SELECT ON django_session FROM reader")
    for _ in range(30):
        assert look_up(httpd) == (200, "stream-end")
    prepared, dropped = database.statements("PREPARE sse_"), database.statements("DEALLOCATE sse_")
    assert prepared <= 8, prepared
    assert prepared - dropped <= 2, (prepared, dropped)
    database.sql("GRANT SELECT ON django_session TO reader")
    assert look_up(httpd) == (403, None)
    # The connection is lost, and all that was prepared with it: one look-up finds out, and asks again.
    database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'")
    wait_until(lambda: look_up(httpd) == (403, None), 15, "the database is used again", step=0.2)
