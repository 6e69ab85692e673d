"""Generated requests to every operation: the portal keeps to its OpenAPI document.

Schemathesis draws valid and invalid requests from the document, and judges the answers by all its checks but
three:

- `ignored_auth` sends one and the same wrong credential everywhere, which is answered 429 on purpose after 20
  times in a minute. `tests/matrix` tries every operation with all kinds of bad credentials.
- `unsupported_method` judges requests of its phase "coverage" alone, which would take as long as all others.
  `test_methods_that_the_document_does_not_have` sends them.
- `missing_required_header` does so as well. The document demands no header; a test holds that.
"""

import os
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection

from tests.openapi.document import METHODS, PROBLEM, document, operations
from tests.openapi.relations import Repair
from tests.openapi.world import World
from tests.support.portal import Portal

# For each operation: some three minutes of CPU. `make fuzz` asks for more.
EXAMPLES = int(os.environ.get("EXAMPLES", "50"))
# Faults of single items are named by the receipt of a 201, see `names_faults`.
ITEM_BY_ITEM = ("activity_create", "reading_batch_create", "sensor_data_create")


def generated() -> SchemathesisConfig:
    """The same requests in each run, drawn at random; the document's examples are for `test_document.py`."""
    config = SchemathesisConfig(seed=1)
    project = config.projects.default
    project.generation.deterministic = True
    # Bodies of more than 5 MiB are refused before anything else.
    project.checks.negative_data_rejection.expected_statuses += ["413"]
    project.phases.examples.enabled = project.phases.coverage.enabled = False
    return config


schema = schemathesis.openapi.from_dict(document(), config=generated())


@pytest.fixture(scope="module")
def repair(portal: Portal) -> Iterator[Repair]:
    world = World(portal)
    yield Repair(world)
    # The workers are needed for other tests.
    for table in ("analytics_analysis", "analytics_calculation"):
        portal.query(f"UPDATE {table} SET status = 'cancelled' WHERE status = 'queued'")


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_portal_keeps_to_the_document(case: Case, repair: Repair, session: requests.Session) -> None:
    repair(case)
    portal = repair.world.portal
    headers = {"Authorization": f"Token {portal.admin_token}"}
    answer = case.call(portal.url, session, headers, allow_redirects=False)
    is_taken = names_faults(case, answer) or has_outer_spaces(case) or is_said_twice(case)
    excluded = [ignored_auth, *([negative_data_rejection] if is_taken else [])]
    sent = {"base_url": portal.url, "session": session, "headers": headers}
    case.validate_response(answer, headers=headers, excluded_checks=excluded, transport_kwargs=sent)


def test_methods_that_the_document_does_not_have(portal: Portal, session: requests.Session) -> None:
    session.headers["Authorization"] = f"Token {portal.admin_token}"
    wrong = {}
    for path, item in document()["paths"].items():
        declared = {method.upper() for method in METHODS & item.keys()}
        url = portal.url + path.format_map(examples(item))
        for method in sorted({*map(str.upper, METHODS), "TRACE", "QUERY"} - declared):
            answer = session.request(method, url, allow_redirects=False)
            allowed = {name.strip() for name in answer.headers.get("Allow", "").split(",")}
            found = answer.status_code, answer.headers["Content-Type"], allowed - {"HEAD", "OPTIONS"}
            if found != (405, PROBLEM, declared):
                wrong[f"{method} {path}"] = found
    assert wrong == {}


def examples(item: dict[str, Any]) -> dict[str, str]:
    """Values of a path's parameters that no row has: whether a method is allowed does not depend on that."""
    parameters = (each for method in METHODS & item.keys() for each in item[method].get("parameters", ()))
    kinds = {each["name"]: each["schema"]["type"] for each in parameters if each["in"] == "path"}
    return {name: "1" if kind == "integer" else str(UUID(int=0)) for name, kind in kinds.items()}


def test_the_document_demands_no_header() -> None:
    headers = [
        each
        for it in operations().values()
        for each in it.body.get("parameters", ())
        if each["in"] == "header"
    ]
    assert headers
    assert not [each for each in headers if each.get("required")]


def names_faults(case: Case, answer: requests.Response) -> bool:
    """A receipt refuses faulty items by their index; the request as a whole is not refused."""
    is_receipt = case.operation.definition.raw["operationId"] in ITEM_BY_ITEM and answer.status_code == 201
    return is_receipt and bool(answer.json()["rejected"])


def has_outer_spaces(case: Case) -> bool:
    """They are cut off before the length of a text counts."""
    texts = case.body.values() if isinstance(case.body, dict) else ()
    return any(isinstance(text, str) and text != text.strip() for text in texts)


def is_said_twice(case: Case) -> bool:
    """Tell whether a parameter is in the body, too, where it counts."""
    return isinstance(case.body, dict) and bool({*case.query} & {*case.body})
