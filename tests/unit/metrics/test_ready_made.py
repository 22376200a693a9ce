"""The alert rules and the dashboard of `config/`: each does what it says, over metrics that there are."""

import json
import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.journals import open_journal
from tests.metrics import exposition

CONFIG = Path(__file__).parents[3] / "config"
ALERTS, DASHBOARD = CONFIG / "prometheus" / "alerts.yml", CONFIG / "grafana" / "dashboard.json"
OURS = re.compile(r"\b(?:quiesce|process)_[a-z_]+\b")


def promtool(*words: str | Path) -> str:
    """What promtool says; fails when it finds something wrong."""
    ended = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def names(sqlite_url: str) -> set[str]:
    """The names of all series that there are."""
    with closing(open_journal(sqlite_url)) as journal:
        families = list(text_string_to_metric_families(exposition(journal)))
    return {sample.name for family in families for sample in family.samples}


def test_the_rules_are_rules_and_each_alerts_when_it_should(tmp_path: Path) -> None:
    shutil.copy(ALERTS, tmp_path)
    tests = shutil.copy(Path(__file__).with_name("alerts_test.yml"), tmp_path)
    assert "8 rules found" in promtool("check", "rules", ALERTS)
    promtool("test", "rules", tests)
    alerts = set(re.findall(r"alert: (\w+)", ALERTS.read_text()))
    tried = set(re.findall(r"alertname: (\w+)", Path(tests).read_text()))
    assert alerts == tried


def test_the_rules_ask_for_metrics_that_there_are(names: set[str]) -> None:
    asked = OURS.findall(" ".join(re.findall(r"expr: (.*)", ALERTS.read_text())))
    assert len(asked) == 7
    assert set(asked) <= names


def test_each_query_of_the_dashboard_asks_for_metrics_that_there_are(names: set[str]) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    for panel in panels:
        for target in panel["targets"]:
            asked = OURS.findall(target["expr"])
            assert asked, panel["title"]
            assert set(asked) <= names, panel["title"]
    told = {name for panel in panels for target in panel["targets"] for name in OURS.findall(target["expr"])}
    assert {"quiesce_stuck", "quiesce_frozen_seconds", "quiesce_last_good_run_timestamp_seconds"} <= told


def test_each_query_of_the_dashboard_is_one(tmp_path: Path) -> None:
    """As rules, for promtool has no other way to look at a query."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"].replace("$__rate_interval", "5m") for panel in panels for target in panel["targets"]]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(queries)} rules found" in promtool("check", "rules", file)
