"""deploy/kubernetes.yaml: its schemas, privileges, replicas, network and probes."""

import copy
import re
from typing import Any

import kubernetes_validate
import pytest

from tests.support.containers import (
    CONTAINERS,
    OBJECTS,
    OURS,
    PODS,
    ROOT,
    SERVICES,
    STORES,
    WORKLOADS,
    claims,
    in_image,
    objects,
    selected,
)


# The oldest version that the manifest supports, and the newest with installed schemas.
@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
@pytest.mark.parametrize(
    "item", [pytest.param(o, id=f"{o['kind']}-{o['metadata']['name']}") for o in OBJECTS]
)
def test_each_object_fits_its_schema(item: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(item, version, strict=True)
    assert item["metadata"].get("namespace", item["metadata"]["name"]) == "plumbline"


def test_the_schemas_refuse_a_misspelt_manifest() -> None:
    broken = copy.deepcopy(WORKLOADS["web"])
    broken["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("name", CONTAINERS)
def test_pods_keep_to_the_restricted_profile(name: str) -> None:
    workload, container = CONTAINERS[name]
    pod = PODS[workload]
    user = pod["securityContext"]["runAsUser"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert user == int(in_image("USER").split(":")[0]) if workload in OURS else user > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]
    declared = [*pod.get("volumes", []), *(claim["metadata"] for claim in claims(workload))]
    assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in declared}


def test_replicas() -> None:
    replicas = {name: WORKLOADS[name]["spec"]["replicas"] for name in ("web", "beat", *STORES)}
    assert replicas == {"web": 2, "beat": 1, "postgres": 1, "redis": 1}
    assert WORKLOADS["beat"]["spec"]["strategy"] == {"type": "Recreate"}
    budget = objects("PodDisruptionBudget")["web"]["spec"]
    assert selected(budget["selector"]["matchLabels"]) == {"web"}
    assert 0 < budget["minAvailable"] < replicas["web"]


def test_services_and_workloads_find_their_pods() -> None:
    for name, service in objects("Service").items():
        assert selected(service["spec"]["selector"]) == {name}
        offered = {port["name"] for port in PODS[name]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} == offered
    for name, workload in objects("Deployment", "StatefulSet").items():
        assert selected(workload["spec"]["selector"]["matchLabels"]) == {name}


def test_only_our_pods_reach_the_stores() -> None:
    allowed: dict[str, dict[int, set[str]]] = {name: {} for name in WORKLOADS}
    closed: set[str] = set()
    for policy in objects("NetworkPolicy").values():
        spec = policy["spec"]
        assert spec["policyTypes"] == ["Ingress"]
        targets = selected(spec["podSelector"].get("matchLabels", {}))
        closed |= targets
        for rule in spec.get("ingress", []):
            peers = rule.get("from", [{"podSelector": {"matchLabels": {}}}])
            sources = set().union(*(selected(peer["podSelector"]["matchLabels"]) for peer in peers))
            sources |= set() if "from" in rule else {"anybody"}
            for target in targets:
                allowed[target] |= {port["port"]: sources for port in rule["ports"]}
    assert closed == WORKLOADS.keys()
    assert allowed["postgres"] == {5432: set(OURS)}
    assert allowed["redis"] == {6379: set(OURS)}
    assert allowed["web"] == {8080: {"anybody", *WORKLOADS}}
    assert allowed["worker"] == allowed["beat"] == allowed["migrate"] == {}


def test_an_absent_database_takes_web_out_of_service_but_does_not_restart_it() -> None:
    [web] = PODS["web"]["containers"]
    health = {"path": "/healthz", "port": "http"}
    assert web["ports"] == [{"name": "http", "containerPort": int(in_image("EXPOSE"))}]
    assert web["startupProbe"]["httpGet"] == web["readinessProbe"]["httpGet"] == health
    assert web["livenessProbe"]["tcpSocket"] == {"port": "http"}
    for name in ("worker", "beat", *STORES):
        assert "livenessProbe" not in PODS[name]["containers"][0]


def test_stopping_waits_longer_than_the_programs_do() -> None:
    server = int(
        re.search(
            r"timeout_graceful_shutdown=(\d+)", (ROOT / "config/management/commands/web.py").read_text()
        )[1]
    )
    leaving = int(PODS["web"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert PODS["web"]["terminationGracePeriodSeconds"] > server + leaving
    assert int(SERVICES["web"]["stop_grace_period"].removesuffix("s")) > server
    assert SERVICES["worker"]["stop_grace_period"] == f"{PODS['worker']['terminationGracePeriodSeconds']}s"
