"""What all tests share: strict dtypes, four devices, and where real data is found."""

import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import jax
import pytest

from tests.optimisations import few_optimisations

os.environ.setdefault("JCNN_MACHINE", "avx2")  # the same choices on every machine
os.environ.setdefault("JCNN_NATIVE", "0")  # whatever this user has built
jax.config.update("jax_num_cpu_devices", 4)  # before JAX starts: a mesh of two axes needs them
jax.config.update("jax_numpy_dtype_promotion", "strict")
# What a script starts with & or under nohup inherits, and what tests start would.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)  # as before here, the default in other programs
jax.devices()  # JAX starts: no test that asks for more devices gives them to the others


def pytest_addoption(parser):
    """How many cases ``tests/ops/test_drawn.py`` draws, beyond its 300; and a short run."""
    parser.addoption("--drawn", type=int, default=0, metavar="N", help="draw N cases of operations")
    parser.addoption("--every", type=int, default=1, metavar="N", help="run each test's Nth cases")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """With ``--every N`` leave out all but the first case of each test and every Nth after it."""
    every, seen, kept, others = config.getoption("every"), Counter(), [], []
    for item in items:
        name = item.nodeid.partition("[")[0]
        (others if seen[name] % every else kept).append(item)
        seen[name] += 1
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = kept


@pytest.fixture
def data_folder(monkeypatch):
    """The folder with real data sets; tests that need it skip where there is none."""
    folder = Path(os.environ.get("JCNN_DATA", Path.home() / ".cache" / "jcnn"))
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}: set JCNN_DATA, or run `jcnn data fetch NAME`")
    return folder


@pytest.fixture
def mathematics(request):
    """Compile with few optimisations, which saves a third of the time of small programs.

    For tests that hold formulas against each other. What XLA makes of the programs that users run
    is held against whole numbers in ``tests/proof``. Slow tests are large: there it would cost.
    """
    with few_optimisations(request.node.get_closest_marker("slow") is None):
        yield


@pytest.fixture
def x64():
    """Run the test in double precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a small network's finished run; who changes it copies it first."""
    from jcnn.config import load_experiment
    from jcnn.training import train
    from tests.small import CONFIG

    folder = tmp_path_factory.mktemp("small")
    (folder / "small.toml").write_text(CONFIG)
    with few_optimisations():
        train(load_experiment(folder / "small.toml"), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window; tests skip where it or Playwright is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield chromium
        chromium.close()
