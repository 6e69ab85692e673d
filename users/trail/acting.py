"""Who acts, told to PostgreSQL before each statement that writes: the triggers of the trail read it there.

It is set for the transaction alone, so a pooler in front of PostgreSQL may give the connection to others.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Facts = dict[str, Any]

SETTING = "plumbline.acting"
WRITES = re.compile(
    r"\s*(INSERT|UPDATE|DELETE|MERGE|TRUNCATE|WITH\b.*\b(INSERT|UPDATE|DELETE|MERGE))\b", re.I | re.S
)

# Asked at each statement: who makes a request is known only after it began.
current: ContextVar[Callable[[], Facts] | None] = ContextVar("acting", default=None)


@contextmanager
def acting(facts: Callable[[], Facts]) -> Iterator[None]:
    """Name who acts within the block. Facts: source, actor_id, actor, credential, address, request_id."""
    before = current.set(facts)
    try:
        yield
    finally:
        current.reset(before)


@contextmanager
def named_unless_known(look_up: Callable[[], Facts]) -> Iterator[None]:
    """Name who acts within the block, unless somebody is named already; looks it up once."""
    if current.get() is not None:
        yield
        return
    found = look_up()
    with acting(lambda: found):
        yield


def begin(source: str) -> None:
    """Name what acts from now on, in this thread: a command or a task."""
    current.set(lambda: {"source": source})


def facts() -> Facts:
    describe = current.get()
    return describe() if describe else {}


def watch_connection(connection: Any, **_: Any) -> None:
    """Watch a new connection to the portal's database; the trail is there."""
    if connection.alias == "default" and name_actor not in connection.execute_wrappers:
        connection.execute_wrappers.append(name_actor)


def name_actor(execute: Callable, sql: Any, params: Any, many: bool, context: Any) -> Any:
    """Run a statement of Django's; one that writes is preceded by who acts, in the same round trip."""
    # A named cursor reads, and would put its DECLARE in front of all.
    is_named = getattr(context["cursor"], "name", None)
    if current.get() is None or is_named or not isinstance(sql, str) or not WRITES.match(sql):
        return execute(sql, params, many, context)
    # ASCII, in which quotes are the only characters that mean something to PostgreSQL.
    literal = json.dumps(facts()).replace("\\u0000", "").replace("'", "''")
    if params is not None:
        literal = literal.replace("%", "%%")
    return execute(f"SELECT set_config('{SETTING}', '{literal}', true); {sql}", params, many, context)
