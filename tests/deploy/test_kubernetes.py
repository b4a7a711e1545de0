"""
The manifests, the chart and KEDA's object: valid for Kubernetes, and what they run runs.

Helm itself lints and renders the chart, as a library: in a process of its own, which it fills with Go's threads. No package
has a schema of KEDA's object, so its fields are compared with those that its documentation names. No cluster takes anything.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import kubernetes_validate
import promql_parser
import pytest
import yaml

from eventspool._cli.health import METRICS_PATH, PATHS

from .conftest import DEPLOY

pytestmark = pytest.mark.rotating("deployment", turns=3)

CHART = DEPLOY / "helm/eventspool"
VERSIONS = ["1.30", "1.37"]
NEEDED = {"EVENTSPOOL_WRITE_KEY", "EVENTSPOOL_QUEUE"}
HELM = """
import json, sys
import helm_python as helm
chart, values = sys.argv[1], json.loads(sys.argv[2])
report = helm.lint(chart, values, strict=True)
if report["messages"] or report["errors"]:
    sys.exit(json.dumps(report))
print(json.dumps(helm.Chart.load(chart).render(values, name="prod")))
"""
has_helm = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="Helm's library comes for Linux on x86-64 alone",
)


def helm(values):
    return subprocess.run(
        [sys.executable, "-c", HELM, str(CHART), json.dumps(values)], capture_output=True, text=True
    )


def render(**values):
    """Return the objects that the chart makes, by kind and part."""
    done = helm(values)
    assert done.returncode == 0, done.stderr
    return named(yaml.safe_load_all("\n---\n".join(json.loads(done.stdout).values())))


def named(objects):
    """Return *objects* by their kind and the end of their name."""
    return {(each["kind"], each["metadata"]["name"].rpartition("-")[2]): each for each in objects if each}


def read(name):
    return named(yaml.safe_load_all((DEPLOY / name).read_text()))


@pytest.fixture(params=["kubernetes.yaml", pytest.param("chart", marks=has_helm)])
def objects(request):
    return render() if request.param == "chart" else read(request.param)


def pod(objects, part):
    template = objects["Deployment", part]["spec"]["template"]
    [container] = template["spec"]["containers"]
    return template, container


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(objects, version):
    for each in objects.values():
        kubernetes_validate.validate(each, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_would_be_found():
    wrong = read("kubernetes.yaml")["Deployment", "worker"]
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_the_worker_runs_is_probed_and_may_drain(objects, understand):
    template, worker = pod(objects, "worker")
    env = {each["name"]: each.get("value", "redis://localhost") for each in worker["env"]}
    env.pop("EVENTSPOOL_ENCRYPTION_KEY")
    name, options = understand(worker["args"], **env)
    wait = int(worker["lifecycle"]["preStop"]["exec"]["command"][1])
    [port] = worker["ports"]

    assert name == "worker"
    assert template["spec"]["terminationGracePeriodSeconds"] > wait + options["grace"]
    assert env.keys() >= NEEDED
    for probe, path in (("livenessProbe", "live"), ("readinessProbe", "ready"), ("startupProbe", "live")):
        assert worker[probe]["httpGet"] == {"path": PATHS[path], "port": port["name"]}


def test_the_exporter_runs_apart_from_the_workers_and_says_that_it_does(objects, understand):
    _, metrics = pod(objects, "metrics")
    [port] = metrics["ports"]
    name, options = understand(metrics["args"], EVENTSPOOL_QUEUE="redis://localhost")

    assert (name, options["host"], options["port"]) == ("metrics", "0.0.0.0", port["containerPort"])
    assert metrics["livenessProbe"]["httpGet"] == {"path": PATHS["live"], "port": port["name"]}


@pytest.mark.parametrize("part", ["worker", "metrics"])
def test_every_pod_is_scraped_confined_and_has_its_secrets_from_a_secret(objects, part):
    template, container = pod(objects, part)
    spec = template["spec"]

    assert template["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(container["ports"][0]["containerPort"]),
        "prometheus.io/path": METRICS_PATH,
    }
    assert (spec["automountServiceAccountToken"], spec["securityContext"]["runAsNonRoot"]) == (False, True)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    secret = {each["name"] for each in container["env"] if "secretKeyRef" in each.get("valueFrom", {})}
    assert secret >= {each["name"] for each in container["env"]} & {*NEEDED, "EVENTSPOOL_ENCRYPTION_KEY"}
    assert not container["image"].endswith(":latest")
    assert container["resources"].keys() == {"requests", "limits"}


def test_workers_are_spread_kept_while_nodes_are_drained_and_reached_on_no_other_port(objects):
    template, _ = pod(objects, "worker")
    labels = template["metadata"]["labels"].items()
    spread = template["spec"]["topologySpreadConstraints"]
    [budget] = [each for (kind, _), each in objects.items() if kind == "PodDisruptionBudget"]
    [policy] = [each for (kind, _), each in objects.items() if kind == "NetworkPolicy"]
    ports = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]

    assert [each["topologyKey"] for each in spread] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    for selector in (budget["spec"]["selector"], *(each["labelSelector"] for each in spread)):
        assert selector["matchLabels"].items() <= labels
    assert ports == [8181, 8182]
    assert {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]} == {53, 6379, 443}


@pytest.fixture(params=["keda.yaml", pytest.param("chart", marks=has_helm)])
def scaled(request):
    found = read("keda.yaml") if request.param == "keda.yaml" else render(autoscaling={"enabled": True})
    return found["ScaledObject", "worker"]


def test_workers_scale_with_the_depth_and_with_the_lag(scaled):
    spec = scaled["spec"]

    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert spec.keys() == {
        "scaleTargetRef",
        "minReplicaCount",
        "maxReplicaCount",
        "pollingInterval",
        "cooldownPeriod",
        "fallback",
        "advanced",
        "triggers",
    }
    for trigger, metric in zip(spec["triggers"], ("queue_events", "queue_oldest_age_seconds"), strict=True):
        assert trigger["type"] == "prometheus"
        assert trigger["metadata"].keys() <= {"serverAddress", "query", "threshold", "activationThreshold"}
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
        assert f"eventspool_{metric}{{" in trigger["metadata"]["query"]
        promql_parser.parse(trigger["metadata"]["query"])


@has_helm
def test_the_chart_scales_what_it_deploys_and_lets_it_be_scaled():
    objects = render(autoscaling={"enabled": True})
    worker = objects["Deployment", "worker"]

    assert objects["ScaledObject", "worker"]["spec"]["scaleTargetRef"]["name"] == worker["metadata"]["name"]
    assert "replicas" not in worker["spec"]


@has_helm
def test_the_charts_values_arrive():
    digest = "sha256:" + "a" * 64
    objects = render(
        image={"repository": "r.example/e", "digest": digest},
        queue={"name": "orders", "maxJobs": 2_000_000},
        worker={"grace": 60, "args": ["--concurrency", "16"], "podDisruptionBudget": {"enabled": False}},
        networkPolicy={"enabled": False},
        tolerations=[{"key": "spot", "operator": "Exists"}],
    )
    template, worker = pod(objects, "worker")
    env = {each["name"]: each.get("value") for each in worker["env"]}

    assert worker["image"] == f"r.example/e@{digest}"
    assert (env["EVENTSPOOL_QUEUE_NAME"], env["EVENTSPOOL_MAX_JOBS"]) == ("orders", "2000000")
    assert worker["args"] == ["worker", "--multi", "--grace", "60", "--concurrency", "16"]
    assert template["spec"]["terminationGracePeriodSeconds"] == 75
    assert template["spec"]["tolerations"] == [{"key": "spot", "operator": "Exists"}]
    assert {kind for kind, _ in objects} == {"Deployment"}


@has_helm
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicaCount": 3}, "replicaCount"),
        ({"image": {"repository": "r", "digest": "latest"}}, "digest"),
        (
            {"autoscaling": {"enabled": True}, "metrics": {"enabled": False}},
            "autoscaling needs metrics.enabled",
        ),
    ],
)
def test_the_chart_refuses_values_that_cannot_work(values, said):
    done = helm(values)

    assert done.returncode != 0
    assert said in done.stderr
