"""The dashboard, the alerts and the page about them speak of metrics that exist, with labels that these have."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry

from eventspool import QueueUnavailable
from eventspool._operate.exposition import metrics_text
from eventspool._operate.metrics import METRICS, QueueReader
from eventspool.integrations.prometheus import EventSpoolCollector
from promtool import find_promtool

pytestmark = pytest.mark.rotating("deployment", turns=3)

ROOT = Path(__file__).resolve().parents[2]
OF_THE_TARGET = {"job", "instance"}

PROMETHEUS = ROOT / "deploy/prometheus"
[GROUP] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
ALERTS = [rule for rule in GROUP["rules"] if "alert" in rule]
RECORDED = [rule for rule in GROUP["rules"] if "record" in rule]
DASHBOARD = json.loads((ROOT / "deploy/grafana/eventspool.json").read_text())


def read_dashboard(panels):
    """Yield what each panel asks, with Grafana's variables filled in."""
    for panel in panels:
        for target in panel["targets"]:
            yield panel["title"], re.sub(r"\$__\w+", "5m", target["expr"]).replace("$", "")


QUESTIONS = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in GROUP["rules"]] + list(
    read_dashboard(DASHBOARD["panels"])
)


def read_query(expression):
    """Return the metrics that a PromQL expression selects, with the labels asked for, and those it groups by."""
    selected, grouped = [], set()

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            selected.append((node.name, {matcher.name for matcher in node.matchers.matchers}))
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            grouped.update(node.modifier.labels)
        for name in ("lhs", "rhs", "expr", "vector_selector", "args"):
            below = getattr(node, name, None)
            for each in below if isinstance(below, list) else [below]:
                if each is not None:
                    visit(each)

    visit(promql_parser.parse(expression))
    return selected, grouped


@pytest.fixture(scope="module")
def exported():
    """The labels of every metric that the collector exports, by the name that a query uses."""
    registry = CollectorRegistry()
    collector = EventSpoolCollector()
    registry.register(collector)
    families = {family.name: family for family in collector.describe()}
    labels = {metric.prometheus_name: set(metric.labels) for metric in METRICS.values()}
    return {
        name + ("_total" if family.type == "counter" else ""): labels[name]
        for name, family in families.items()
    }


@pytest.fixture(scope="module")
def asked(exported):
    """The labels of what a query can ask for: what is exported, a histogram's series, and what rules record."""
    found = dict(exported)
    for metric in METRICS.values():
        if metric.kind == "histogram":
            found |= {
                f"{metric.prometheus_name}_{part}": {*metric.labels, "le"}
                for part in ("bucket", "count", "sum")
            }
    for rule in RECORDED:
        found[rule["record"]] = {*read_query(rule["expr"])[1], *rule["labels"]}
    return found


@pytest.mark.parametrize(
    ("where", "expression"), QUESTIONS, ids=[f"{i}-{where}" for i, (where, _) in enumerate(QUESTIONS)]
)
def test_every_question_is_promql_about_exported_metrics_and_their_labels(where, expression, asked):
    selected, grouped = read_query(expression)

    assert selected
    for name, labels in selected:
        assert labels <= asked[name], (where, name)
    assert grouped <= set.union(OF_THE_TARGET, *(asked[name] for name, _ in selected)), where


def test_a_metric_that_is_not_exported_would_be_noticed(exported):
    [(name, labels)], grouped = read_query(
        'sum by (nobody) (rate(eventspool_queue_acepted_total{state="x"}[5m]))'
    )

    assert name not in exported
    assert (labels, grouped) == ({"state"}, {"nobody"})


def test_every_alert_says_how_grave_it_is_and_what_to_do():
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["alert"].startswith("Eventspool")
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_names_only_labels_that_its_expression_keeps(rule):
    selected, grouped = read_query(rule["expr"])
    if not grouped:  # nothing is put together: every label of what was recorded stays
        grouped = set().union(
            *({*each["labels"], "queue"} for each in RECORDED if each["record"] == selected[0][0])
        )

    assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= grouped


def test_an_alert_fires_when_the_workers_that_export_the_queue_are_gone(exported):
    """Every other rule compares series that exist, and is silent without them; a queue that is down is still exported."""

    def down():
        raise QueueUnavailable

    [rule] = [rule for rule in ALERTS if rule["expr"].startswith("absent(")]
    name = rule["expr"].removeprefix("absent(").removesuffix(")")

    assert f'{name}{{queue="q"}} 0' in metrics_text({}, [QueueReader("q", down)])
    assert exported[name] == {"queue"}
    assert (rule["for"], rule["labels"]["severity"]) == ("5m", "critical")


def test_every_alert_links_to_its_section_of_the_runbooks_which_has_no_other():
    site = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader=yaml.BaseLoader)["site_url"]
    page = (ROOT / "docs/runbooks.md").read_text()
    headings = re.findall(r"^## (\w+)$", page, re.MULTILINE)

    assert [rule["annotations"]["runbook_url"] for rule in ALERTS] == [
        f"{site}runbooks/#{rule['alert'].lower()}" for rule in ALERTS
    ]
    assert headings == [rule["alert"] for rule in ALERTS]


@pytest.mark.parametrize(
    "arguments", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")]
)
def test_promtool_accepts_the_rules_and_their_tests_pass(arguments):
    done = subprocess.run([find_promtool(), *arguments], cwd=PROMETHEUS, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_in_a_test_and_resolves():
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    resolved = set()
    for test in tests:
        fired = set()
        for question in sorted(test["promql_expr_test"], key=lambda asked: int(asked["eval_time"][:-1])):
            named = set(re.findall(r'alertname="(\w+)"', str(question.get("exp_samples"))))
            resolved |= fired - named
            fired |= named

    assert resolved == {rule["alert"] for rule in ALERTS}


def test_the_dashboard_lays_its_panels_side_by_side():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_dashboard_asks_whichever_data_source_was_chosen():
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    uids = set(re.findall(r'"uid": "([^"]+)"', json.dumps(DASHBOARD["panels"])))
    assert uids == {"${datasource}"}


def test_the_dashboards_variables_come_from_exported_metrics(exported):
    queries = [v["definition"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]

    assert queries
    for query in queries:
        name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()
        assert label in exported[name]


def test_the_page_lists_every_metric_as_it_is_exported(exported):
    page = (ROOT / "docs/observability.md").read_text()
    rows = {
        row[0].strip("`"): (row[1].strip("`"), set(row[2].split(", ")))
        for line in page.splitlines()
        if line.startswith("| `eventspool_")
        for row in [[cell.strip() for cell in line.strip("|").split("|")]]
    }

    assert {name: labels for name, (_, labels) in rows.items() if name != "-"} == exported
    assert {name for name, _ in rows.values() if name != "-"} == {
        metric.full_name for metric in METRICS.values() if metric.goes_to == ("opentelemetry", "prometheus")
    }
