# SPDX-License-Identifier: Apache-2.0
"""Calls before migrations have run, named as what they are."""

from contextlib import contextmanager
from typing import Any, Iterator

from django.db import DatabaseError, OperationalError, ProgrammingError, connections, router

from .exceptions import NotMigrated


@contextmanager
def needs_table(model: Any) -> Iterator[None]:
    """NotMigrated instead of the database's own words where the model's table is not there."""
    try:
        yield
    except (OperationalError, ProgrammingError) as err:
        if table_is_missing(model):
            raise NotMigrated(f"the database has no table {model._meta.db_table}: run manage.py migrate") from err
        raise


def table_is_missing(model: Any) -> bool:
    try:
        return model._meta.db_table not in connections[router.db_for_read(model)].introspection.table_names()
    except DatabaseError:
        return False  # inside a transaction that has failed, or no database at all
