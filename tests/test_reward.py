"""Verdicts for programs: the JSON, its schema, and the example of docs/reward.md."""

import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from loopnest.check import SCHEMA, Verdict
from loopnest.check.records import OUTCOMES, TRICKS, schema

PAGE = Path(__file__).parents[1] / "docs" / "reward.md"
RIGHT = "def matmul(a, b):\n    return a @ b\n"
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the judge needs Linux")


def command(file, *options):
    return [sys.executable, "-m", "loopnest", "check", str(file), "--op", "matmul", "--json", *options]


def test_the_schema_file_is_what_the_records_say():
    made = msgspec.json.format(msgspec.json.encode(schema())).decode() + "\n"
    assert SCHEMA.read_text(encoding="utf-8") == made, (
        "The records have changed. If a field went or changed its meaning, raise Verdict.schema. Then: python -c "
        "'import msgspec; from loopnest.check.records import *; "
        'SCHEMA.write_text(msgspec.json.format(msgspec.json.encode(schema())).decode() + "\\n")\''
    )


def test_the_schema_names_every_outcome_and_every_field_of_the_page():
    fields = schema()["$defs"]["Verdict"]["properties"]
    assert fields["outcome"]["enum"] == list(OUTCOMES)
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"(?m)^\| (`.*?) \|", PAGE.read_text(encoding="utf-8"))))
    assert "share_of_limit" in named
    assert set(named) <= set(fields)


@needs_linux
@pytest.mark.slow
def test_the_commands_json_follows_the_schema_and_has_what_a_program_asks_for(tmp_path):
    (tmp_path / "mine.py").write_text(RIGHT)
    run = subprocess.run(
        command(tmp_path / "mine.py", "--dtype", "float32", "--seconds", "0.2"), capture_output=True, check=True
    )
    verdict = msgspec.json.decode(run.stdout, type=Verdict)  # by the types that the schema is made of
    given = json.loads(run.stdout)
    assert set(given) == set(schema()["$defs"]["Verdict"]["properties"])
    assert (given["schema"], given["outcome"], given["exit_code"], given["fault"]) == (1, "right", 0, None)
    assert verdict.timing is not None
    assert verdict.share_of_limit == verdict.timing.own.share


def test_what_is_derived_is_true_to_its_parts():
    cached = Verdict("matmul", "mine.py", "wrong", False, "cached-by-pointer", "…")
    assert (cached.exit_code, cached.trick, cached.share_of_limit) == (18, True, None)
    assert not Verdict("matmul", "mine.py", "wrong", False, "last-row", "…").trick
    assert "cached-by-pointer" in TRICKS


@pytest.mark.slow
@needs_linux
def test_the_pages_reward_is_an_order_of_kernels(tmp_path):
    (code,) = re.findall(r"(?s)```python\n(.*?)```", PAGE.read_text(encoding="utf-8"))
    assert len(code.splitlines()) <= 30
    names = {}
    exec(code, names)
    reward = names["reward"]

    def of(text, *options):
        file = tmp_path / "mine.py"
        file.write_text(text)
        return reward(file, "matmul", "--dtype", "float32", *options)

    assert 0.2 <= of(RIGHT, "--seconds", "0.3") <= 1  # 0.2 where the machine is too busy
    assert of(RIGHT, "--seconds", "0") == 0.2
    assert of("def matmul(a, b):\n    return 0 * (a @ b)\n") == 0
    assert of("import time\ntime.perf_counter = lambda: 0.0\n" + RIGHT) == -1
    with pytest.raises(RuntimeError, match="no operation is called"):
        reward(tmp_path / "mine.py", "matmull")
