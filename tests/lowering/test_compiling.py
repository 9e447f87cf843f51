"""What XLA is asked for when it compiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import processor
from jcnn.lowering import compiler_options
from tests.tolerances import tolerance

WIDE = {"xla_cpu_prefer_vector_width": 512}


@pytest.fixture
def machine(monkeypatch):
    def is_a(name, instructions="AVX-512"):
        monkeypatch.delenv("XLA_FLAGS", raising=False)
        monkeypatch.setattr(processor, "name", lambda: name)
        monkeypatch.setattr(processor, "instructions", lambda: instructions)

    return is_a


def test_amds_with_avx_512_get_its_vectors(machine):
    machine("AMD EPYC 9755")
    assert compiler_options() == WIDE


@pytest.mark.parametrize(
    ("name", "instructions"),
    [("Intel(R) Xeon(R) Platinum", "AVX-512"), ("AMD EPYC 7B13", "AVX2"), ("Apple M4", "arm64")],
)
def test_others_keep_what_xla_chooses(machine, name, instructions):
    machine(name, instructions)
    assert compiler_options() == {}


def test_what_the_user_asks_xla_for_wins(machine, monkeypatch):
    machine("AMD EPYC 9755")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_prefer_vector_width=256")
    assert compiler_options() == {}


def test_an_accelerator_is_asked_for_nothing(machine, monkeypatch):
    machine("AMD EPYC 9755")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiler_options() == {}


def test_xla_knows_the_option():
    a = jnp.linspace(-2, 2, 1000)
    wide = jax.jit(jnp.tanh, compiler_options=WIDE)(a)
    np.testing.assert_allclose(wide, jnp.tanh(a), **tolerance(a.dtype))
