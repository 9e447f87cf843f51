"""What a model needs at least, on one device and on each of several."""

from __future__ import annotations

import pytest

from jcnn.errors import UserError
from jcnn.training import memory
from jcnn.training.mesh import layout_of

LAYERS = [
    {"type": "conv", "features": 4, "window": 3, "padding": "SAME"},
    {"type": "relu"},
    {"type": "flatten"},
    {"type": "dense", "features": 16},
    {"type": "relu"},
    {"type": "dense", "features": 10},
]
BATCH, OUTPUT = 32, 8 * 8 * 4
COLUMNS, ROWS = 8 * (256 * 16 + 16), 8 * (16 * 10 + 10)


def needs(tiny, mesh=None):
    experiment = tiny({"layers": LAYERS, **({"mesh": mesh} if mesh else {})})
    layout = layout_of(experiment)
    return memory._needs(experiment, layout)


@pytest.fixture
def own_memories(monkeypatch):
    """As though each of the virtual devices were a chip with a memory of its own."""
    monkeypatch.setattr(memory, "_together", lambda layout: 1)


def test_a_device_needs_memory_for_its_own_share(tiny, own_memories):
    one = needs(tiny)
    assert one["conv_1"] == (8 * (9 * 4 + 4), 4 * BATCH * OUTPUT)
    assert (one["dense_1"][0], one["dense_2"][0]) == (COLUMNS, ROWS)
    data = needs(tiny, {"data": 4})
    assert data == {name: (weights, y // 4) for name, (weights, y) in one.items()}
    model = needs(tiny, {"data": 2, "model": 2})
    assert [model[name][1] for name in one] == [y // 4 for _, y in one.values()]
    assert (model["dense_1"][0], model["dense_2"][0]) == (COLUMNS // 2, ROWS // 2)
    assert model["conv_1"][0] == one["conv_1"][0]
    space = needs(tiny, {"data": 2, "space": 2})
    assert [one[name][1] // space[name][1] for name in one] == [4, 4, 2, 2, 2, 2]


def test_virtual_devices_share_the_machines_memory(tiny):
    one = needs(tiny)
    for mesh in ({"data": 4}, {"data": 2, "model": 2}, {"data": 2, "space": 2}):
        assert needs(tiny, mesh) == one


def test_what_fits_on_each_of_several_devices_is_not_refused(tiny, own_memories, monkeypatch):
    there = 2 * 4 * 100_000
    monkeypatch.setattr(memory, "memory_bytes", lambda: there)
    overrides = {"layers": LAYERS, "training.batch_size": 2048}
    for mesh, said in (({}, "and there are 800.0 KB"), ({"mesh.data": 2}, "each device has 800.0")):
        experiment = tiny({**overrides, **mesh})
        with pytest.raises(UserError, match=rf"layers\.0 .*{said}.*smaller training\.batch_size"):
            memory.check_fits(experiment, layout_of(experiment))
    experiment = tiny({**overrides, "mesh.data": 4})
    memory.check_fits(experiment, layout_of(experiment))
