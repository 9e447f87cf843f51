"""The machine's table: read from the user's folder, or shipped, or refused in one sentence."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import pytest

from jcnn import lowering, processor
from jcnn.errors import UserError
from jcnn.lowering.costs import KINDS
from jcnn.lowering.machine import named, read, table_path, this_machine

TABLES = Path(lowering.__file__).parent / "tables"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user without tables."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("JCNN_MACHINE", raising=False)
    this_machine.cache_clear()
    yield tmp_path
    this_machine.cache_clear()


def copied(path, **changes):
    content = json.loads((TABLES / "plain.json").read_text()) | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    this_machine.cache_clear()


@pytest.mark.parametrize("name", ["avx2", "avx512", "plain", "zen5"])
def test_shipped_tables_hold_every_cost_and_say_where_they_were_measured(name):
    content = json.loads((TABLES / f"{name}.json").read_text())
    assert set(content["costs"]) == set(KINDS)
    assert {"name", "date", "command", "cores", "vector"} <= set(content)
    machine = read(TABLES / f"{name}.json")
    assert hash(machine) == hash(read(TABLES / f"{name}.json"))


@pytest.mark.parametrize(
    ("processor", "instructions", "table"),
    [
        ("AMD EPYC 9555", "AVX-512", "zen5"),
        ("Intel(R) Xeon(R) Platinum 8581C", "AVX-512", "avx512"),
        ("AMD EPYC 7763", "AVX2", "avx2"),
        ("Apple M3", "NEON", "plain"),
    ],
)
def test_each_kind_of_processor_has_its_table(monkeypatch, processor, instructions, table):
    monkeypatch.setattr("jcnn.processor.name", lambda: processor)
    monkeypatch.setattr("jcnn.processor.instructions", lambda: instructions)
    assert named("shipped") == named(table)


def test_the_table_of_tune_goes_before_the_shipped_one(home, monkeypatch):
    shipped = this_machine()
    copied(table_path(), name="mine")
    assert this_machine().name.startswith("mine")
    monkeypatch.setenv("JCNN_MACHINE", "shipped")
    this_machine.cache_clear()
    assert this_machine() == shipped


def test_in_a_home_that_is_closed_the_shipped_table_is_taken(home, monkeypatch):
    def stat(path, *options, **more):
        if str(path).startswith(str(home)):
            raise PermissionError(13, "Permission denied", str(path))
        return found(path, *options, **more)

    found, shipped = os.stat, this_machine()
    monkeypatch.setattr(os, "stat", stat)
    this_machine.cache_clear()
    assert this_machine() == shipped


def test_a_table_of_another_format_is_not_taken_by_itself(home, monkeypatch):
    copied(table_path(), format=0, name="old")
    assert not this_machine().name.startswith("old")
    monkeypatch.setenv("JCNN_MACHINE", str(table_path()))
    this_machine.cache_clear()
    with pytest.raises(UserError, match="expected format 1, found 0"):
        this_machine()


def test_any_table_may_be_named(home, monkeypatch):
    monkeypatch.setenv("JCNN_MACHINE", "avx512")
    assert this_machine().vector == 16


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "it is not JSON"),
        (100_000 * "[", "it is not JSON"),
        ("[]", "holds list, not a table"),
        ('{"format": 1, "name": "a", "costs": {}}', "is damaged"),
        ('{"format": 1, "name": "a", "date": "", "vector": 8, "cores": 2, "costs": {"copied": "x"},'
         ' "problems": []}', "is damaged"),
    ],
)  # fmt: skip
def test_a_damaged_table_is_named(home, text, words):
    table_path().parent.mkdir(parents=True)
    table_path().write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        this_machine()
    assert str(table_path()) in str(caught.value)


def test_a_table_that_nobody_has_named_and_nobody_can_read_is_said_how_to_do_without(home):
    table_path().parent.mkdir(parents=True)
    table_path().write_text("{")
    with pytest.raises(UserError, match="`jcnn tune` writes a new one, and JCNN_MACHINE=shipped"):
        this_machine()


def test_a_path_is_that_file_whatever_lies_beside_it(home, monkeypatch):
    copied(home / "mine", name="mine")
    copied(home / "mine.json", name="another's")
    assert named(str(home / "mine")).name.startswith("mine")
    copied(home / "avx2", name="own")
    monkeypatch.chdir(home)
    assert named("./avx2").name.startswith("own")


def test_a_missing_table_is_named(home, monkeypatch):
    monkeypatch.setenv("JCNN_MACHINE", str(home / "none.json"))
    with pytest.raises(
        UserError, match=r"^JCNN_MACHINE: .*none\.json can't be read \(No such file.* avx2"
    ):
        this_machine()


def test_the_processor_is_described(monkeypatch):
    assert processor.cores() >= 1
    assert processor.cache_bytes() >= 1 << 18
    assert processor.name()
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    assert processor.instructions() != "AVX-512"


@pytest.mark.parametrize(
    ("flags", "instructions"),
    [
        ("", "AVX-512"),
        ("--xla_cpu_max_isa=AVX2 --xla_cpu_max_isa=AVX512", "AVX-512"),
        ("--xla_cpu_max_isa=AMX", "AVX-512"),
        ("--xla_cpu_max_isa=AVX512 --xla_cpu_max_isa=AVX2", "AVX2"),
        ("--xla_cpu_max_isa=AVX", platform.machine()),
        ("--xla_cpu_max_isa=SSE4_2", platform.machine()),
    ],
)
def test_the_processor_is_held_to_what_the_last_flag_says(flags, instructions, monkeypatch):
    monkeypatch.setattr(processor, "_information", lambda key: "avx avx2 avx512f")
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert processor.instructions() == instructions


def test_a_processor_of_arm_s_is_known_by_its_numbers(monkeypatch, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(processor, "_INFORMATION", cpuinfo)
    monkeypatch.setattr(processor, "_information", processor._information.__wrapped__)
    monkeypatch.setattr(processor, "_sysctl", lambda key: "")
    monkeypatch.setattr(processor, "_architecture", lambda: "aarch64")
    monkeypatch.setattr(processor, "cores", lambda: 1)
    for part in ("0xd0c", "0xd40"):
        cpuinfo.write_text(
            "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n"
            f"CPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: {part}\n"
        )
        assert processor.name() == f"aarch64, implementer 0x41, part {part}"
        assert table_path().name.startswith(f"aarch64-implementer-0x41-part-{part}-")


def test_where_the_system_says_nothing_there_are_defaults(monkeypatch, tmp_path):
    monkeypatch.setattr(processor, "_CACHES", tmp_path)
    processor.cache_bytes.cache_clear()
    assert processor.cache_bytes() == processor.CACHE_BYTES
    processor.cache_bytes.cache_clear()


def test_of_a_cache_that_many_cores_share_a_few_have_a_part(monkeypatch, tmp_path):
    monkeypatch.setattr(processor, "_CACHES", tmp_path)
    monkeypatch.setattr(processor, "cores", lambda: 2)
    (tmp_path / "index3").mkdir()
    for size, taken in (("8M", 8 << 20), ("300M", 64 << 20)):
        (tmp_path / "index3" / "size").write_text(size)
        processor.cache_bytes.cache_clear()
        assert processor.cache_bytes() == taken
    processor.cache_bytes.cache_clear()
