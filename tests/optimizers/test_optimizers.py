import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jcnn.errors import UserError
from jcnn.optimizers import Optimizer, fixed_norms, optimizers, schedules, transformations
from jcnn.optimizers.arguments import resolve

SECOND_ORDER = "diagonal_levenberg_marquardt"
STAIRS = {"schedule": "piecewise_constant_schedule", "init_value": 1.0}
SCALES = "learning_rate.boundaries_and_scales"
PARAMS = {"dense_1": {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}}
GRADIENT = jax.tree.map(lambda a: 0.5 * a, PARAMS)


@pytest.fixture(autouse=True)
def _optax_itself_needs_standard_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def _updates(transformation, steps=1):
    state = transformation.init(PARAMS)
    updates = PARAMS
    for _ in range(steps):
        updates, state = transformation.update(GRADIENT, state, PARAMS)
    return updates


def _equal(a, b):
    return jax.tree.all(jax.tree.map(lambda x, y: np.allclose(x, y, rtol=1e-6), a, b))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"name": "sgd", "learning_rate": 0.1}, optax.sgd(0.1)),
        (
            {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
            optax.sgd(0.1, momentum=0.9, nesterov=True),
        ),
        ({"name": "adam", "learning_rate": 1e-3, "b1": 0.8}, optax.adam(1e-3, b1=0.8)),
        (
            {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 0.1},
            optax.adamw(1e-3, weight_decay=0.1),
        ),
    ],
)
def test_optimizer_is_the_one_of_optax(arguments, expected):
    built = Optimizer(**arguments).build(steps_per_epoch=10)
    assert _equal(_updates(built, 3), _updates(expected, 3))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (
            {"schedule": "cosine_decay_schedule", "init_value": 0.1, "decay_steps": "1.5 epochs"},
            optax.cosine_decay_schedule(0.1, 15),
        ),
        (
            {
                "schedule": "piecewise_constant_schedule",
                "init_value": 0.1,
                "boundaries_and_scales": {"1 epoch": 0.1, "15": 0.1},
            },
            optax.piecewise_constant_schedule(0.1, {10: 0.1, 15: 0.1}),
        ),
        (
            {
                "schedule": "join_schedules",
                "schedules": [
                    {"schedule": "constant_schedule", "value": 0.1},
                    {"schedule": "linear_schedule", "init_value": 0.1, "end_value": 0.0}
                    | {"transition_steps": "1 epoch"},
                ],
                "boundaries": ["1 epochs"],
            },
            optax.join_schedules(
                [optax.constant_schedule(0.1), optax.linear_schedule(0.1, 0.0, 10)], [10]
            ),
        ),
    ],
    ids=["cosine", "piecewise", "join"],
)
def test_schedule_counts_epochs_in_steps(schedule, expected):
    built = Optimizer(name="sgd", learning_rate=schedule).build(steps_per_epoch=10)
    for steps in (1, 6, 12, 17):
        assert _equal(_updates(built, steps), _updates(optax.sgd(expected), steps))


def test_words_are_taken_where_optax_takes_words():
    rate = {"schedule": "piecewise_interpolate_schedule", "interpolate_type": "linear"}
    rate |= {"init_value": 1.0, "boundaries_and_scales": {"1 epochs": 0.5}}
    built = Optimizer(name="sgd", learning_rate=rate).build(steps_per_epoch=4)
    assert _equal(_updates(built, 3), _updates(optax.sgd(0.75)))
    assert Optimizer(name="muon", learning_rate=0.1, preconditioning="spectral").build(4)
    with pytest.raises(UserError, match=r"expected frobenius or .*, found 'spectal'"):
        Optimizer(name="muon", learning_rate=0.1, preconditioning="spectal")
    with pytest.raises(UserError, match="must be either 'cosine' or 'linear'"):
        Optimizer(name="sgd", learning_rate={**rate, "interpolate_type": "square"})


def test_some_part_of_an_epoch_is_one_step_at_least():
    """Of no step, Optax's schedules are refused, or stay where they begin."""
    rise = {"schedule": "linear_schedule", "init_value": 0.0, "end_value": 0.1}
    rise["transition_steps"] = "0.1 epochs"
    built = Optimizer(name="sgd", learning_rate=rise).build(steps_per_epoch=3)
    assert _equal(_updates(built, 2), _updates(optax.sgd(0.1)))


def test_scales_whose_boundaries_are_the_same_step_are_both_in_force():
    falls = {"schedule": "piecewise_constant_schedule", "init_value": 1.0}
    falls["boundaries_and_scales"] = {"4": 0.5, "2 epochs": 0.1, "1.9 epochs": 0.5}
    built = Optimizer(name="sgd", learning_rate=falls).build(steps_per_epoch=2)
    assert _equal(_updates(built, 6), _updates(optax.sgd(0.025)))


def test_boundaries_may_be_integers_of_python():
    rates = [
        Optimizer(
            name="sgd", learning_rate={**STAIRS, "boundaries_and_scales": {key: np.float32(0.5)}}
        )
        for key in (30, "30", np.int64(30))
    ]
    for optimizer in rates:
        assert resolve("learning_rate", optimizer.arguments["learning_rate"], 10)(31) == 0.5
        assert optimizer.model_dump(mode="json") == rates[0].model_dump(mode="json")


def test_integers_are_known_where_annotations_are_strings():
    with pytest.raises(UserError, match=r"estimate_every_steps: expected a value of at least 0"):
        Optimizer(name=SECOND_ORDER, learning_rate=0.1, estimate_every_steps=-1)


def test_numbers_of_numpy_within_tables_are_pythons():
    entry = {"name": "clip", "max_delta": np.float32(0.5), "only": np.array(["w"])}
    optimizer = Optimizer(
        name="sgd",
        learning_rate={"schedule": "constant_schedule", "value": np.float64(0.5)},
        before=[entry],
        rates={"dense_*": np.float32(0.5)},
    )
    assert type(optimizer.arguments["learning_rate"]["value"]) is float
    assert optimizer.before[0].arguments == {"max_delta": 0.5}
    assert optimizer.rates == {"dense_*": 0.5}


def test_a_layers_rate_leaves_a_fixed_norm_as_it_is():
    sgd = {"name": "sgd", "learning_rate": 0.1, "after": [{"name": "fixed_norms"}]}
    built = Optimizer(**sgd, rates={"dense_*": 0.5}).build(10)
    updates = _updates(built)
    turned = PARAMS["dense_1"]["w"] + updates["dense_1"]["w"]
    assert np.linalg.norm(turned) == pytest.approx(2**0.5)
    half = _updates(Optimizer(**{**sgd, "learning_rate": 0.05}).build(10))
    assert _equal(updates, half)


def test_transformations_before_come_first_and_masks_spare_biases():
    decay = {"name": "add_decayed_weights", "weight_decay": 0.5, "mask": "kernels"}
    built = Optimizer(name="sgd", learning_rate=1.0, before=(decay,)).build(10)
    updates = _updates(built)["dense_1"]
    assert np.allclose(updates["w"], -1.0)
    assert np.allclose(updates["b"], -0.5)


def test_a_transformation_before_may_be_for_some_parameters_only():
    faster = {"name": "scale", "step_size": 64.0, "only": ["b"]}
    updates = _updates(Optimizer(name="sgd", learning_rate=0.1, before=(faster,)).build(10))
    plain = _updates(optax.sgd(0.1))["dense_1"]
    assert _equal(updates, {"dense_1": {"w": plain["w"], "b": 64 * plain["b"]}})


def test_a_transformation_may_be_for_some_layers_only():
    params = {
        "conv_1": {"w": jnp.ones((3, 2, 8)), "b": jnp.ones(8)},
        "conv_2": {"w": jnp.ones((3, 8, 4)), "b": jnp.ones(4)},
        "dense_1": {"w": jnp.ones((4, 8)), "b": jnp.ones(8)},
    }
    doubled = {"name": "scale", "step_size": 2.0, "only": ["w"], "layers": ["conv_*"]}
    frozen = {"name": "scale", "step_size": 0.0, "layers": ["dense_1", "conv_2"]}
    built = Optimizer(name="sgd", learning_rate=1.0, before=(doubled,), after=(frozen,)).build(10)
    updates, _ = jax.jit(built.update)(params, built.init(params), params)
    changed = jax.tree.map(lambda u: float(u.ravel()[0]), updates)
    assert changed == {
        "conv_1": {"w": -2.0, "b": -1.0},
        "conv_2": {"w": 0.0, "b": 0.0},
        "dense_1": {"w": 0.0, "b": 0.0},
    }


def test_kernels_turned_by_muon_keep_their_norm():
    """So a step turns a kernel by the learning rate."""
    w = jax.random.normal(jax.random.key(0), (3, 3, 4, 8))
    params = {"conv_1": {"w": w}, "dense_1": {"w": w[0, 0]}}
    where = {"only": ["w"], "layers": ["conv_*"]}
    muon = {"name": "scale_by_muon", "weight_dimension_numbers": "convolutions", **where}
    fixed = {"name": "fixed_norms", **where}
    built = Optimizer(name="sgd", learning_rate=0.1, before=(muon,), after=(fixed,)).build(10)
    state = built.init(params)
    update = jax.jit(built.update)
    for seed in range(2):
        gradients = jax.tree.map(
            lambda a, s=seed: jax.random.normal(jax.random.key(s), a.shape), params
        )
        updates, state = update(gradients, state, params)
        before, params = params, jax.tree.map(jnp.add, params, updates)
    norm = jnp.linalg.norm
    kernel, previous = params["conv_1"]["w"].ravel(), before["conv_1"]["w"].ravel()
    assert np.isclose(norm(kernel), 8**0.5)
    angle = np.arccos(kernel @ previous / (norm(kernel) * norm(previous)))
    assert 0.05 < angle < 0.13  # Muon's polynomial: singular values of 0.7 to 1.2
    assert np.array_equal(updates["dense_1"]["w"], -0.1 * gradients["dense_1"]["w"])


def test_a_kernel_of_nothing_but_zeros_stays_and_a_bias_is_no_kernel():
    params = {"w": jnp.zeros((2, 3), jnp.bfloat16), "b": jnp.ones(3)}
    fix = fixed_norms()
    updates, _ = fix.update(params, fix.init(params), {**params, "b": jnp.zeros(3)})
    assert updates["w"].dtype == jnp.bfloat16
    assert not np.asarray(updates["w"], np.float32).any()
    assert np.array_equal(updates["b"], params["b"])


def _muon(**arguments):
    return Optimizer(name="muon", learning_rate=1.0, adam_learning_rate=0.5, **arguments)


def _adam(params):
    adam = optax.adamw(0.5, nesterov=True, weight_decay=0.0)
    return adam.update(params, adam.init(params), params)[0]


def test_muon_makes_a_kernel_orthogonal_as_a_matrix_with_a_column_per_feature():
    w = jax.random.normal(jax.random.key(0), (3, 3, 2, 8))
    params = {"conv_1": {"w": w, "b": jnp.ones(8)}, "dense_1": {"w": w[0, 0, :1]}}
    built = _muon(muon_weight_dimension_numbers="kernels", ns_steps=8).build(10)
    updates, _ = jax.jit(built.update)(params, built.init(params), params)
    matrix = np.asarray(updates["conv_1"]["w"]).reshape(18, 8)
    values = np.linalg.svd(matrix, compute_uv=False)
    assert ((values > 0.6) & (values < 1.3)).all(), values  # Muon's polynomial: 1, roughly
    row = np.linalg.norm(updates["dense_1"]["w"])  # as a matrix of one row: scaled to √(8 / 1)
    assert 0.6 * 8**0.5 < row < 1.3 * 8**0.5
    assert np.allclose(updates["conv_1"]["b"], _adam(params)["conv_1"]["b"])


def test_muon_may_be_for_convolutions_alone():
    params = {"conv_1": {"w": jnp.ones((3, 2, 8))}, "dense_1": {"w": jnp.ones((4, 8))}}
    built = _muon(muon_weight_dimension_numbers="convolutions").build(10)
    updates, _ = jax.jit(built.update)(params, built.init(params), params)
    adam = _adam(params)
    assert np.allclose(updates["dense_1"]["w"], adam["dense_1"]["w"])
    assert not np.allclose(updates["conv_1"]["w"], adam["conv_1"]["w"])


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop", "lion", "lamb", "adagrad"])
def test_common_optimizers_run_under_strict_promotion_with_a_schedule(name):
    schedule = {
        "schedule": "warmup_cosine_decay_schedule",
        "init_value": 0.0,
        "peak_value": 0.1,
        "warmup_steps": "1 epochs",
        "decay_steps": "3 epochs",
    }
    with jax.numpy_dtype_promotion("strict"):
        updates = _updates(Optimizer(name=name, learning_rate=schedule).build(2), steps=3)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("schedule_free_sgd", "expected training.average_decay, .* beside 'sgd'"),
        ("schedule_free_adamw", "expected training.average_decay, .* beside 'adamw'"),
        ("sophia", "expected 'diagonal_levenberg_marquardt'"),
        ("dpsgd", "needs each example's own gradient"),
        ("polyak_sgd", "expected 'momo'"),
    ],
)
def test_optimizers_that_training_cannot_serve_are_refused_with_the_reason(name, reason):
    assert name not in optimizers()
    with pytest.raises(UserError, match=f"Optimizer: name: {name} .*{reason}"):
        Optimizer(name=name, learning_rate=0.1)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lookahead", "made of other transformations"),
        ("stateless", "takes a function"),
        ("scale_by_zoom_linesearch", "along a line"),
        ("differentially_private_aggregate", "each example's own gradient"),
    ],
)
def test_transformations_that_no_file_can_write_are_refused_with_the_reason(name, reason):
    assert name not in transformations()
    with pytest.raises(UserError, match=f"before.0.name: {name} .*{reason}"):
        Optimizer(name="sgd", learning_rate=0.1, before=[{"name": name}])


@pytest.mark.filterwarnings("ignore")  # Optax warns of some of its own
def test_every_optimizer_that_is_offered_can_be_made_and_descends():
    for name in optimizers():
        built = Optimizer(name=name, learning_rate=0.1).build(10)
        updates, _ = built.update(
            PARAMS,
            built.init(PARAMS),
            PARAMS,
            value=jnp.float32(1.0),
            curvature=lambda: PARAMS,
        )
        assert float(sum(u.sum() for u in jax.tree.leaves(updates))) <= 0, name


def test_optax_offers_what_is_expected():
    assert {"sgd", "adam", "adamw", "lars", "muon"} <= set(optimizers())
    assert {"add_decayed_weights", "clip_by_global_norm", "centralize"} <= set(transformations())
    assert {"cosine_decay_schedule", "exponential_decay"} <= set(schedules())
    assert not set(optimizers()) & set(transformations())
    assert not [name for name in {**optimizers(), **transformations()} if name.startswith("_")]


@pytest.mark.parametrize(
    ("arguments", "path", "message"),
    [
        ({"name": "sdg"}, "name", "did you mean 'sgd'"),
        ({"name": "lbfgs"}, "name", "lbfgs needs the loss along a line"),
        ({"name": "scale_by_rprop"}, "name", "did you mean 'rprop'"),
        ({"name": "adadelta"}, "learning_rate", "optax.adadelta needs this argument"),
        ({"name": "sgd"}, "learning_rate", "optax.sgd needs this argument"),
        ({"momentm": 1.0}, "momentm", "did you mean 'momentum'"),
        ({"befor": []}, "befor", "did you mean 'before'"),
        ({"rate": {}}, "rate", "did you mean 'rates'"),
        ({"zzz": 1}, "zzz", "and beside it there may be before, after, rates"),
        ({"before": [{"name": "centralize", "layer": ["a"]}]}, "layer", "did you mean 'layers'"),
        ({"momentum": "high"}, "momentum", "expected a number, found 'high'"),
        ({"momentum": "3 epochs"}, "momentum", "expected a number, found '3 epochs'"),
        ({"momentum": True}, "momentum", "expected a number, found true"),
        ({"nesterov": 1}, "nesterov", "expected true or false, found 1"),
        ({"learning_rate": {"schedule": "cosine_decay"}}, "learning_rate.schedule", "did you mean"),
        (
            {"learning_rate": {"schedule": "constant_schedule", "valu": 1}},
            "learning_rate.valu",
            "did you mean 'value'",
        ),
        (
            {"learning_rate": {"schedule": "cosine_decay_schedule", "init_value": 1}},
            "learning_rate.decay_steps",
            "optax.cosine_decay_schedule needs this argument",
        ),
        (
            {
                "learning_rate": {
                    "schedule": "cosine_decay_schedule",
                    "init_value": 1,
                    "decay_steps": "ten epochs",
                }
            },
            "learning_rate.decay_steps",
            'expected a number of steps or "N epochs"',
        ),
        (
            {"before": [{"name": "fixed_norms"}]},
            "before.0.name",
            "fixed_norms changes the optimizer's updates: expected it in optimizer.after",
        ),
        (
            {"after": [{"name": "fixed_norms", "norm": 1}]},
            "norm",
            "unknown argument of jcnn.fixed_norms; it takes none",
        ),
        (
            {"name": "muon", "learning_rate": [0.1]},
            "learning_rate",
            "expected a number or a schedule, found [0.1]",
        ),
        (
            {"name": "adamw", "learning_rate": 0.1, "b1": [0.9, 0.8]},
            "b1",
            "expected a number, found [0.9, 0.8]",
        ),
        *(
            ({"learning_rate": table}, "learning_rate", "without the key 'schedule'")
            for table in ({}, {"init_value": 0.1, "decay_steps": "60 epochs"})
        ),
        (
            {"name": "adamw", "learning_rate": 0.1, "weight_decay": {"value": 0.9}},
            "weight_decay",
            "without the key 'schedule'",
        ),
        (
            {"learning_rate": {"schedule": "constant_schedule", "value": {}}},
            "learning_rate.value",
            "expected a number or a schedule, found a table without the key 'schedule'",
        ),
        *(
            ({"learning_rate": {**STAIRS, "boundaries_and_scales": scales}}, key, message)
            for scales, key, message in (
                ({"30": "half"}, f"{SCALES}.30", "expected a number, found 'half'"),
                ({"2 epochs": True}, f"{SCALES}.2 epochs", "expected a number, found true"),
                ({"30": {}}, f"{SCALES}.30", "expected a number, found a table"),
                ({"30": -1.0}, f"{SCALES}.30", "expected a value of at least 0, found -1.0"),
                ({"x": 0.5}, f"{SCALES}.x", 'expected a step or "N epochs" as the key'),
                ({30.5: 0.5}, f"{SCALES}.30.5", 'expected a step or "N epochs" as the key'),
                ({"9" * 20: 0.5}, f"{SCALES}.{'9' * 20}", "a step of less than 2147483648"),
                ([30, 0.5], SCALES, "expected a table of steps and scales, found [30, 0.5]"),
            )
        ),
        ({"learning_rate": {30: 0.1}}, "learning_rate", "without the key 'schedule'"),
        (
            {"learning_rate": {"schedule": "constant_schedule", "value": 1, 3: 4}},
            "learning_rate.3",
            "expected a name as the key",
        ),
        ({"learning_rate": 10**400}, "learning_rate", "expected less than 2147483648, found 1000"),
        ({"momentum": 1e39}, "momentum", "expected at most 3.4e+38 (float32), found 1e+39"),
        ({"momentum": -(10**400)}, "momentum", "expected less than 2147483648, found -1000"),
        (
            {"name": "muon", "learning_rate": 0.1, "adam_learning_rate": -0.1},
            "adam_learning_rate",
            "expected a value of at least 0, found -0.1",
        ),
        (
            {"name": "adamw", "learning_rate": 0.1, "mask": "biases"},
            "mask",
            "expected \"kernels\", found 'biases'",
        ),
        (
            {"name": "muon", "learning_rate": 0.1, "muon_weight_dimension_numbers": "dense"},
            "muon_weight_dimension_numbers",
            'expected "kernels" or "convolutions", found \'dense\'',
        ),
        (
            {"name": "muon", "learning_rate": 0.1, "muon_weight_dimension_numbers": 2},
            "muon_weight_dimension_numbers",
            'expected "kernels" or "convolutions", found 2',
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, path, message):
    arguments = {
        "name": "sgd",
        **({"learning_rate": 0.1} if "name" not in arguments else {}),
    } | arguments
    with pytest.raises(UserError) as caught:
        Optimizer(**arguments)
    assert re.match(rf"Optimizer: (\w+\.\d+\.)?{re.escape(path)}: ", str(caught.value))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "muon", "learning_rate": 0.1, "ns_coeffs": [2.0, -1.5]},
        {"name": "muon", "learning_rate": 0.1, "ns_coeffs": [2.0, -1.5],
         "muon_weight_dimension_numbers": "convolutions"},
        {"name": "muon", "learning_rate": 0.1, "ns_coeffs": [2.0],
         "muon_weight_dimension_numbers": "kernels"},
        *({"name": "sgd", "learning_rate": 0.1,
           "before": [{"name": "scale", "step_size": [1.0], "only": [only]}]}
          for only in ("w", "b", "scale", "offset", "slope")),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_for_some_parameters_alone_is_tried_when_the_file_is_read(optimizer):
    with pytest.raises(UserError, match="refuses its arguments"):
        Optimizer(**optimizer)


def test_what_optax_itself_refuses_is_refused_when_the_file_is_read():
    with pytest.raises(UserError, match="refuses its arguments"):
        Optimizer(
            name="sgd",
            learning_rate={"schedule": "cosine_decay_schedule", "init_value": 1, "decay_steps": 0},
        )
