"""`manage.py draw_secrets --kubernetes`, run as the job runs it, against a stand-in of Kubernetes' API."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.cluster import PATH, StandIn, api_stand_in
from tests.deploy.containers import (
    DRAWN,
    FOR_ALL_STORES,
    IMAGE_ENVIRONMENT,
    PODS,
    ROOT,
    SAMPLE,
    objects,
    settings_under,
)

pytestmark = pytest.mark.integration

PORTAL, OWNER, STORES = "plumbline", "plumbline-owner", "plumbline-stores"
OTHER = "0f" * 32


@pytest.fixture
def api(tmp_path: Path) -> Iterator[StandIn]:
    with api_stand_in(tmp_path) as running:
        yield running


def draw(api: StandIn, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run the job's command; it has no setting but what Kubernetes sets in every pod."""
    [container] = PODS["secrets"]["containers"]
    assert not {"env", "envFrom"} & container.keys()
    environment = {
        **IMAGE_ENVIRONMENT,
        "PATH": os.environ["PATH"],
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(api.port),
        # A cluster's nodes may have a proxy; the API is not behind it.
        "https_proxy": "http://127.0.0.1:9",
        **changed,
    }
    command = [sys.executable, "manage.py", *container["args"], "--account", str(api.account)]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_first_run_creates_the_secrets_and_the_second_keeps_them(api: StandIn) -> None:
    first = draw(api)
    assert first.returncode == 0, first.stderr
    assert api.asked == [
        *(("GET", f"{PATH}/{name}") for name in (PORTAL, OWNER, STORES)),
        *[("POST", PATH)] * 3,
    ]
    created = api.secrets.copy()
    assert {name: values.keys() for name, values in created.items()} == {
        name: values.keys() for name, values in DRAWN.items()
    }
    values = [value for secret in created.values() for value in secret.values()]
    assert not [value for value in values if value in first.stdout + first.stderr]
    second = draw(api)
    assert second.returncode == 0, second.stderr
    assert "All secrets are there already." in second.stdout
    assert api.secrets == created
    assert {method for method, _ in api.asked[6:]} == {"GET"}


def test_the_pods_start_with_what_was_created(api: StandIn) -> None:
    assert draw(api).returncode == 0
    settings, _ = settings_under(objects("ConfigMap")["plumbline"]["data"] | api.secrets[PORTAL])
    assert not settings["DEMO"]
    stores = api.secrets[STORES]
    assert settings["DATABASES"]["default"]["PASSWORD"] == stores["RUNTIME_PASSWORD"]
    assert settings["REDIS_URL"] == f"redis://:{stores['REDIS_PASSWORD']}@redis:6379"


def test_a_missing_secret_of_the_portal_fits_the_stores_that_exist(api: StandIn) -> None:
    stores = FOR_ALL_STORES | {"RUNTIME_PASSWORD": "of/some@body"}
    api.secrets = {STORES: stores.copy()}
    assert draw(api).returncode == 0
    assert api.secrets[STORES] == stores
    portal = api.secrets[PORTAL]
    assert portal["DATABASE_URL"] == "postgresql://plumbline_runtime:of%2Fsome%40body@postgres:5432/plumbline"
    assert portal["REDIS_URL"] == f"redis://:{SAMPLE}@redis:6379"


def test_a_missing_secret_of_the_stores_fits_the_portal_that_exists(api: StandIn) -> None:
    portal = DRAWN[PORTAL] | {"REDIS_URL": f"redis://:{OTHER}@redis:6379"}
    api.secrets = {PORTAL: portal.copy()}
    assert draw(api).returncode == 0
    assert api.secrets[PORTAL] == portal
    assert api.secrets[STORES].items() >= {"RUNTIME_PASSWORD": SAMPLE, "REDIS_PASSWORD": OTHER}.items()
    assert f":{api.secrets[STORES]['OWNER_PASSWORD']}@" in api.secrets[OWNER]["DATABASE_URL"]


def test_an_installation_with_one_role_keeps_it(api: StandIn) -> None:
    url = f"postgresql://plumbline:{OTHER}@postgres:5432/plumbline"
    old = {PORTAL: DRAWN[PORTAL] | {"DATABASE_URL": url}}
    old[STORES] = {"POSTGRES_PASSWORD": OTHER, "REDIS_PASSWORD": SAMPLE}
    api.secrets = old.copy()
    assert draw(api).returncode == 0
    assert api.secrets == old | {OWNER: {"DATABASE_URL": url}}


def test_the_password_of_a_server_elsewhere_stays_in_the_portals_secret(api: StandIn) -> None:
    elsewhere = {"DATABASE_URL": f"postgresql://someone:{OTHER}@db.example.com/plumbline"}
    api.secrets = {PORTAL: DRAWN[PORTAL] | elsewhere}
    assert draw(api).returncode == 0
    assert OTHER not in api.secrets[STORES].values()
    assert api.secrets[STORES]["REDIS_PASSWORD"] == SAMPLE
    assert api.secrets[OWNER] == elsewhere


def test_a_run_that_was_overtaken_keeps_what_the_other_created(api: StandIn) -> None:
    stores = dict.fromkeys(FOR_ALL_STORES, OTHER)
    api.meanwhile = {STORES: stores}
    assert draw(api).returncode == 0
    assert api.secrets[STORES] == stores
    assert f":{OTHER}@postgres" in api.secrets[PORTAL]["DATABASE_URL"]
    api.secrets, api.meanwhile = {}, dict(DRAWN)
    assert draw(api).returncode == 0
    assert api.secrets == DRAWN


@pytest.mark.parametrize("password", ["", None])
def test_a_stores_secret_without_a_password_is_named(api: StandIn, password: str | None) -> None:
    stores = {name: SAMPLE for name in FOR_ALL_STORES if name != "REDIS_PASSWORD"}
    stores |= {} if password is None else {"REDIS_PASSWORD": password}
    api.secrets = {STORES: stores.copy()}
    refused = draw(api)
    assert refused.returncode != 0
    assert "secret plumbline-stores lacks REDIS_PASSWORD" in refused.stderr
    assert api.secrets == {STORES: stores}


def test_a_refusal_of_the_api_ends_the_run_in_words(api: StandIn) -> None:
    api.forbidden = True
    refused = draw(api)
    assert refused.returncode != 0
    assert "secret plumbline cannot be read: status 403, secrets is forbidden" in refused.stderr
    assert "Traceback" not in refused.stderr
    api.forbidden = False
    (api.account / "token").write_text("old")
    assert "status 401" in draw(api).stderr
    (api.account / "token").write_text("old\nSECRET\n")
    assert "SECRET" not in draw(api).stderr
    assert api.secrets == {}


def test_the_api_must_show_the_clusters_certificate(
    api: StandIn, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with api_stand_in(tmp_path_factory.mktemp("other")) as other:
        assert "certificate verify failed" in draw(api, KUBERNETES_SERVICE_PORT=str(other.port)).stderr
    assert other.asked == []


def test_outside_a_cluster_it_says_so(api: StandIn) -> None:
    assert "works in a pod of Kubernetes only" in draw(api, KUBERNETES_SERVICE_PORT="").stderr
    (api.account / "token").unlink()
    assert "cannot be asked" in draw(api).stderr
