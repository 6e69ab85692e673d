"""Pytest plugin (see conftest.py): each test is of one kind, and the summary counts the kinds.

A mark in the test's module decides. Without one: tests with a portal are end to end, tests with a database or
a broker are integration tests, and the others are unit tests. The kind decides, too, when a file is run and
whether coverage measures.
"""

import sys
from collections import Counter
from collections.abc import Iterator

import pytest

KINDS = {"unit": "unit", "integration": "integration", "e2e": "end to end"}
FIXTURES = {
    "e2e": {"portal", "first_start"},
    "integration": {"db", "transactional_db", "broker", "chdb", "other", "server", "servers"},
}
OUTCOMES = ("passed", "failed", "error", "skipped")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if not any(item.get_closest_marker(kind) for kind in KINDS):
            item.add_marker(kind_of(item))
    if hasattr(config, "workerinput"):
        long_files_first(items)


def long_files_first(items: list[pytest.Item]) -> None:
    """Put files with end-to-end tests, which take longest, first: short ones last end at the same time."""
    long = {item.path for item in items if item.get_closest_marker("e2e")}
    items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    """Pause coverage in an end-to-end test: what it tests runs elsewhere, and tracing doubles its work."""
    if item.get_closest_marker("e2e") is None:
        return (yield)
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


def kind_of(item: pytest.Item) -> str:
    fixtures = set(getattr(item, "fixturenames", ()))
    for kind, names in FIXTURES.items():
        if fixtures & names:
            return kind
    return "integration" if item.get_closest_marker("django_db") else "unit"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("kinds of tests")
    for kind, name in KINDS.items():
        counts = Counter(
            outcome
            for outcome in OUTCOMES
            for report in terminalreporter.stats.get(outcome, ())
            if kind in getattr(report, "keywords", ())
        )
        told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
        terminalreporter.line(f"{name:12} {told or 'none'}")
