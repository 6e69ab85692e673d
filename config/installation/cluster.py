"""Secrets in Kubernetes, through its API and with the service account of the pod."""

import base64
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

from config.installation.drawing import FOR_STORES, for_owner, for_portal, for_stores, passwords_in

# Where Kubernetes puts the account's token, the API's certificate and the name of the namespace.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PORTAL, STORES, OWNER = "plumbline", "plumbline-stores", "plumbline-owner"
SECONDS = 30


class ClusterError(Exception):
    """The API cannot be used, or what it has cannot; the message holds no secret."""


@dataclass(frozen=True)
class Cluster:
    host: str
    port: int
    account: Path = ACCOUNT

    def secret(self, name: str) -> dict[str, str] | None:
        """The values of a secret, or None if there is none. Raises ClusterError."""
        status, answer = self.ask("GET", f"/{name}")
        if status == HTTPStatus.NOT_FOUND:
            return None
        expect(HTTPStatus.OK, status, answer, f"secret {name} cannot be read")
        return {key: base64.b64decode(value).decode() for key, value in (answer.get("data") or {}).items()}

    def create(self, name: str, values: Mapping[str, str]) -> bool:
        """Create a secret; return False if there is one of that name already. Raises ClusterError."""
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": "Opaque",
            "stringData": dict(values),
        }
        status, answer = self.ask("POST", "", body)
        if status == HTTPStatus.CONFLICT:
            return False
        expect(HTTPStatus.CREATED, status, answer, f"secret {name} cannot be created")
        return True

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Send a request about secrets of this namespace; return status and answer. Raises ClusterError."""
        try:
            namespace = (self.account / "namespace").read_text().strip()
            token = (self.account / "token").read_text().strip()
            trust = ssl.create_default_context(cafile=self.account / "ca.crt")
            connection = HTTPSConnection(self.host, self.port, timeout=SECONDS, context=trust)
            try:
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
                url = f"/api/v1/namespaces/{namespace}/secrets{path}"
                connection.request(method, url, json.dumps(body) if body else None, headers)
                response = connection.getresponse()
                return response.status, json.loads(response.read())
            finally:
                connection.close()
        except (OSError, HTTPException) as error:
            raise ClusterError(f"Kubernetes' API cannot be asked: {error}") from error
        except ValueError as error:
            # Its text may show the header with the token.
            raise ClusterError(
                "Kubernetes' API cannot be asked: the account's files or the answer are invalid"
            ) from error


def expect(status: int, found: int, answer: dict[str, Any], complaint: str) -> None:
    if found != status:
        raise ClusterError(f"{complaint}: status {found}, {answer.get('message', 'without a message')}")


def draw_in(cluster: Cluster) -> list[str]:
    """Create the three secrets where they are missing, never change one, and return those created.

    All have the stores' passwords: what is missing is made to fit what is there. Raises ClusterError.
    """
    portal, owner, stores = (cluster.secret(name) for name in (PORTAL, OWNER, STORES))
    created: list[str] = []
    if stores is None:
        stores = made(cluster, STORES, for_stores(passwords_in(portal or {})), created)
    if portal is None:
        missing = [name for name in FOR_STORES if not stores.get(name)]
        if missing:
            raise ClusterError(f"secret {STORES} lacks {', '.join(missing)}: complete it, or create {PORTAL}")
        portal = made(cluster, PORTAL, for_portal(stores, {}), created)
    if owner is None:
        made(cluster, OWNER, for_owner(portal, stores), created)
    return created


def made(cluster: Cluster, name: str, values: dict[str, str], created: list[str]) -> dict[str, str]:
    """Create a secret and return its values: those of another run of this job, if that was faster."""
    if cluster.create(name, values):
        created.append(name)
        return values
    return cluster.secret(name) or {}
