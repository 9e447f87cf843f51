"""Pictures: signs, tiles, scales, and what they say in words."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from jcnn.report import pictures


def pixels(picture: pictures.Picture) -> np.ndarray:
    data = base64.b64decode(picture.uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def test_signs_are_colours_and_zero_is_the_page():
    shown = pixels(pictures.plane(np.array([[2.0, -2.0, 0.0, 1.0]], np.float32), "values"))
    assert tuple(shown[0, 0]) == (*pictures.POSITIVE, 255)
    assert tuple(shown[0, 1]) == (*pictures.NEGATIVE, 255)
    assert shown[0, 2, 3] == 0
    assert tuple(shown[0, 3, :3]) == pictures.POSITIVE
    assert 100 < shown[0, 3, 3] < 200


def test_many_channels_show_the_strongest_and_say_so():
    array = np.zeros((3, 3, 40), np.float32)
    array[1, 1, 30] = -5
    picture = pictures.signed(array, "δ")
    assert picture.alt == "δ: 16 of 40 channels of 3×3, from −5 to 0"
    assert pixels(picture).shape == (15, 15, 4)
    assert 30 in pictures.strongest(array)


def test_one_channel_is_said_to_be_one():
    assert pictures.signed(np.ones((3, 3, 1), np.float32), "z").alt.startswith(
        "z: 1 channel of 3×3"
    )


@pytest.mark.parametrize("shape", [(7,), (100,), (12, 4), (5, 4, 3), (4, 5, 4, 2)])
def test_arrays_of_any_rank_are_shown(shape):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert pixels(pictures.signed(array, "z")).size
    example = pictures.example(array, None, "x")
    assert example.alt == "x"
    assert pixels(pictures.over(array, array, "g")).size


def test_nothing_is_shown_of_zeros():
    assert not pixels(pictures.plane(np.zeros((2, 2), np.float32), "nothing"))[..., 3].any()


def test_an_image_is_shown_in_its_own_shades():
    x = (np.array([[[0.0], [1.0]]], np.float32) - 0.5) / 0.25
    shown = pixels(pictures.example(x, ((0.5,), (0.25,)), "x"))
    assert shown[0, :, 0].tolist() == [0, 255]


def test_a_large_matrix_keeps_its_largest_values():
    array = np.zeros((1000, 400), np.float32)
    array[777, 333] = -3
    picture = pictures.matrix(array, "∂L/∂W")
    assert max(picture.size) <= 160
    assert (pixels(picture)[..., 3] == 255).sum() == 1


def test_kernels_of_colours_signals_and_planes():
    generator = np.random.default_rng(0)
    for shape in [(3, 3, 3, 8), (5, 16, 4), (3, 3, 6, 70)]:
        w = generator.normal(size=shape).astype(np.float32)
        assert "kernel" in pictures.kernels(w, "kernels").alt


def test_a_waveform_shows_how_far_the_sound_goes_to_either_side():
    samples = np.concatenate([np.zeros(8000), np.tile([0.5, -0.25], 4000)]).astype(np.float32)
    picture = pictures.waveform(samples, 8000, "Test example 3")
    assert picture.alt == "Test example 3: 2 s of sound, from −0.25 to 0.5"
    shown = pixels(picture)
    height, width = shown.shape[:2]
    silent, loud = shown[:, : width // 2 - 1, 3] > 0, shown[:, width // 2 + 1 :, 3] > 0
    assert silent.sum(axis=0).max() <= 2
    assert loud.sum(axis=0).min() in (height // 2 + height // 4, height // 2 + height // 4 + 1)
    assert tuple(shown[0, -1, :3]) == pictures.POSITIVE
    assert tuple(shown[height // 2 + 2, -1, :3]) == pictures.NEGATIVE


@pytest.mark.parametrize("count", [1, 3, 160])
def test_a_short_recording_is_shown_too(count):
    picture = pictures.waveform(np.full(count, 0.1, np.float32), 8000, "short")
    assert picture.size[0] == min(count, 160)
