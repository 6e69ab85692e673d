"""deploy/kubernetes.yaml: its schemas, privileges, replicas, network and probes."""

import copy
import re
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml

from config.installation.drawing import FOR_POSTGRES
from tests.deploy.containers import (
    CONTAINERS,
    DRAWN,
    KUBERNETES_TEXT,
    LABELS,
    MOUNTED,
    OBJECTS,
    OURS,
    PODS,
    PROJECT,
    ROLES,
    ROOT,
    SECRETS,
    SERVICES,
    STORES,
    WORKLOADS,
    claims,
    in_image,
    objects,
    selected,
    settings_under,
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
    ours = workload in (*OURS, SECRETS)
    assert pod["securityContext"]["runAsNonRoot"]
    assert user == int(in_image("USER").split(":")[0]) if ours else user > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is (workload == SECRETS)
    assert pod["enableServiceLinks"] is False
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


def chosen(selector: dict[str, Any]) -> set[str]:
    """The workloads that a policy's selector chooses."""
    found = selected(selector.get("matchLabels", {}))
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "In"
        found &= {name for name, own in LABELS.items() if own.get(each["key"]) in each["values"]}
    return found


def ends_of(peer: dict[str, Any]) -> set[str]:
    """The workloads that a peer of a rule names; of another namespace, that one."""
    if "namespaceSelector" not in peer:
        return chosen(peer["podSelector"])
    assert peer["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    return {peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]}


def permitted(direction: str, peers: str) -> dict[str, dict[int, set[str]]]:
    """{workload: {port: who is at the other end}} of one direction; all policies together close it."""
    allowed: dict[str, dict[int, set[str]]] = {name: {} for name in WORKLOADS}
    closed: set[str] = set()
    for policy in objects("NetworkPolicy").values():
        spec = policy["spec"]
        if direction not in spec["policyTypes"]:
            continue
        targets = chosen(spec["podSelector"])
        closed |= targets
        for rule in spec.get(direction.lower(), []):
            ends = set().union(*(ends_of(peer) for peer in rule.get(peers, [])))
            for target in targets:
                allowed[target] |= {port["port"]: ends or {"anybody"} for port in rule["ports"]}
    assert closed == WORKLOADS.keys()
    return allowed


def test_only_our_pods_reach_the_stores() -> None:
    assert permitted("Ingress", "from") == {
        **{key: {} for key in ("worker", "beat", "migrate", SECRETS, ROLES)},
        "postgres": {5432: {*OURS, ROLES}},
        "redis": {6379: set(OURS)},
        "web": {8080: {"anybody"}},
    }


def test_pods_reach_the_stores_and_nothing_else() -> None:
    names = {53: {"kube-system"}}
    assert permitted("Egress", "to") == {
        **dict.fromkeys(OURS, names | {5432: {"postgres"}, 6379: {"redis"}}),
        ROLES: names | {5432: {"postgres"}},
        # Kubernetes' API, wherever it is.
        SECRETS: names | {443: {"anybody"}, 6443: {"anybody"}},
        **{key: {} for key in STORES},
    }


def test_an_absent_database_takes_web_out_of_service_but_does_not_restart_it() -> None:
    [web] = PODS["web"]["containers"]
    health = {"path": "/healthz", "port": "http"}
    assert web["ports"] == [{"name": "http", "containerPort": int(in_image("EXPOSE"))}]
    assert web["startupProbe"]["httpGet"] == web["readinessProbe"]["httpGet"] == health
    assert web["livenessProbe"]["httpGet"] == health | {"path": "/livez"}
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


def test_the_job_may_create_secrets_and_read_its_own_and_nothing_else() -> None:
    account = PODS[SECRETS]["serviceAccountName"]
    assert not objects("ServiceAccount")[account]["automountServiceAccountToken"]
    [binding] = objects("RoleBinding").values()
    [role] = objects("Role").values()
    assert objects("ClusterRole", "ClusterRoleBinding") == {}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [(subject["kind"], subject["name"]) for subject in binding["subjects"]] == [
        ("ServiceAccount", account)
    ]
    create, read = role["rules"]
    assert create == {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}
    assert read == create | {"verbs": ["get"], "resourceNames": sorted(DRAWN)}
    others = {name: pod.get("serviceAccountName") for name, pod in PODS.items() if name != SECRETS}
    assert set(others.values()) == {None}


def test_each_pod_gets_its_own_passwords_and_no_others() -> None:
    ours = {name: [source["secretRef"]["name"] for source in secret_sources(name)] for name in OURS}
    portal = ["plumbline"]
    # Of two sources the last one counts.
    assert ours == {**dict.fromkeys(OURS, portal), "migrate": [*portal, "plumbline-owner"]}
    for name, keys in {
        "postgres": ["POSTGRES_PASSWORD"],
        "redis": ["REDIS_PASSWORD"],
        ROLES: list(FOR_POSTGRES),
    }.items():
        [volume] = [volume for volume in PODS[name]["volumes"] if "secret" in volume]
        assert set(keys) <= DRAWN[volume["secret"]["secretName"]].keys()
        assert volume["secret"]["items"] == [{"key": key, "path": key} for key in keys]
        [container] = PODS[name]["containers"]
        assert {"name": volume["name"], "mountPath": MOUNTED, "readOnly": True} in container["volumeMounts"]


def secret_sources(name: str) -> list[dict[str, Any]]:
    return [source for source in PODS[name]["containers"][0]["envFrom"] if "secretRef" in source]


def test_port_forward_is_answered_over_plain_http() -> None:
    """`kubectl port-forward service/web 8080`: the same port here and there, and cookies that come back."""
    [port] = objects("Service")["web"]["spec"]["ports"]
    assert port["port"] == 8080
    environment = objects("ConfigMap")["plumbline"]["data"] | DRAWN["plumbline"]
    settings, _ = settings_under(environment)
    assert {"localhost", "127.0.0.1"} <= set(settings["ALLOWED_HOSTS"])
    assert not settings["SESSION_COOKIE_SECURE"]
    assert not settings["CSRF_COOKIE_SECURE"]


def test_the_image_is_renamed_by_the_one_command_of_the_head() -> None:
    [command] = re.findall(
        r"^#   (sed .*) deploy/kubernetes.yaml \| kubectl apply", KUBERNETES_TEXT, re.MULTILINE
    )
    renamed = subprocess.run(
        ["bash", "-c", command], input=KUBERNETES_TEXT, capture_output=True, text=True, check=True
    ).stdout
    ours = f"{PROJECT['name']}:{PROJECT['version']}"

    def moved(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                key: f"registry.example.com/{ours}" if key == "image" and value == ours else moved(value)
                for key, value in node.items()
            }
        return [moved(value) for value in node] if isinstance(node, list) else node

    assert list(yaml.safe_load_all(renamed)) == moved(OBJECTS)
