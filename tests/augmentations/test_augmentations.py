"""Augmentation: random changes that keep what they must keep."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn.augmentations import Affine, Color, Crop, Cutout, Flip, Shift, augment
from jcnn.augmentations.base import marks
from jcnn.errors import UserError

pytestmark = pytest.mark.usefixtures("mathematics")

KEY = jax.random.key(3)


@pytest.fixture
def images():
    return jnp.asarray(np.random.default_rng(0).uniform(1, 2, (50, 6, 7, 2)).astype(np.float32))


@pytest.mark.parametrize("fill", [-1.0, "mirror"])
def test_shift_moves_whole_images_and_fills(fill, images):
    shifted = np.asarray(Shift(pixels=2, fill=fill).apply(KEY, images))
    seen = set()
    how = {"mode": "reflect"} if fill == "mirror" else {"constant_values": fill}
    for image, moved in zip(np.asarray(images), shifted, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), **how)
        places = {
            (i - 2, j - 2): padded[4 - i : 10 - i, 4 - j : 11 - j]
            for i in range(5)
            for j in range(5)
        }
        found = [place for place, image in places.items() if np.array_equal(image, moved)]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 10


def test_an_image_is_mirrored_by_no_more_than_it_has():
    Shift(pixels=5, fill="mirror").check_input((6, 7, 2))
    with pytest.raises(UserError, match="expected fewer than the 6 elements"):
        Shift(pixels=6, fill="mirror").check_input((6, 7, 2))


def test_flip_mirrors_with_its_probability(images):
    assert np.array_equal(Flip(probability=1.0).apply(KEY, images), images[:, :, ::-1])
    assert np.array_equal(Flip(probability=0.0).apply(KEY, images), images)
    mirrored = (np.asarray(Flip().apply(KEY, images)) != np.asarray(images)).any(axis=(1, 2, 3))
    assert 10 < mirrored.sum() < 40


def test_an_alternate_flip_shows_each_image_both_ways_by_turns(images):
    """The same one first in whatever batch it is, and whatever is drawn."""
    chosen = [Flip(alternate=True)]
    epochs = [augment(chosen, jax.random.key(n), images, epoch=jnp.int32(n)) for n in range(4)]
    mirrored = (epochs[0] != images).any(axis=(1, 2, 3))
    assert 10 < mirrored.sum() < 40
    for n, seen in enumerate(epochs):
        assert np.array_equal(seen, epochs[0] if n % 2 == 0 else epochs[0][:, :, ::-1])
    order = np.random.default_rng(1).permutation(len(images))[:20]
    assert np.array_equal(augment(chosen, KEY, images[order]), epochs[0][order])


def test_an_alternate_flip_does_not_see_what_moves_the_image(images):
    moved = [augment([Shift(pixels=2), Flip(alternate=True)], KEY, images, epoch=n) for n in (0, 1)]
    assert np.array_equal(moved[0], moved[1][:, :, ::-1])


def test_marks_differ_where_images_do(images):
    alike = jnp.concatenate([images, images[:, ::-1], images[:, :, ::-1], images + 1e-6])
    found = np.asarray(marks(alike))
    assert len(np.unique(found)) == len(alike)
    assert 80 < (found % 2).sum() < 120
    assert np.array_equal(marks(images[7:9]), found[7:9])


def test_an_alternate_flip_has_no_probability():
    with pytest.raises(ValueError, match=r"expected no probability beside it, found 0\.3"):
        Flip(alternate=True, probability=0.3)


def test_cutout_covers_one_square(images):
    covered = np.asarray(Cutout(size=3, fill=9.0).apply(KEY, images))[..., 0] == 9.0
    assert covered.sum(axis=(1, 2)).max() == 9
    assert covered.sum(axis=(1, 2)).min() >= 4  # a corner: the centre lies in the image
    for mask in covered:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask.sum() == len(rows) * len(columns)


def test_affine_of_nothing_is_the_image(images):
    np.testing.assert_array_equal(Affine().apply(KEY, images), images)


def test_affine_by_quarter_turn_is_a_rotation(monkeypatch):
    image = jnp.arange(25, dtype=jnp.float32).reshape(1, 5, 5, 1)
    monkeypatch.setattr(jax.random, "uniform", lambda *_: jnp.ones((4, 1), jnp.float32))
    turned = Affine(degrees=90.0).apply(KEY, image)
    expected = [np.rot90(image[0], turns) for turns in (1, 3)]
    assert any(np.allclose(turned[0], one, atol=1e-4) for one in expected)


def test_affine_fills_from_outside(images):
    moved = np.asarray(Affine(pixels=30.0, fill=5.0).apply(KEY, images))
    assert (moved == 5.0).all(axis=(1, 2, 3)).any()
    assert moved.max() <= 5.0 + 1e-5


def test_a_list_is_applied_in_its_order_and_by_its_key(images):
    chosen = [Shift(pixels=1), Flip(), Cutout(size=2), Affine(degrees=5.0)]
    again, other = (augment(chosen, key, images) for key in (KEY, jax.random.key(4)))
    assert np.array_equal(augment(chosen, KEY, images), again)
    assert not np.array_equal(again, other)
    assert again.shape == images.shape
    assert again.dtype == images.dtype


def test_an_empty_list_changes_nothing(images):
    assert augment([], KEY, images) is images


def test_a_crop_of_the_whole_is_the_image(images):
    np.testing.assert_allclose(Crop(smallest=1.0).apply(KEY, images), images, rtol=1e-6)


def test_a_crop_is_a_part_of_the_image_made_as_large(images):
    """A ramp stays a ramp, with a slope of ``smallest`` to 1, within its bounds."""
    ramp = jnp.broadcast_to(jnp.arange(7, dtype=jnp.float32)[:, None], (50, 6, 7, 1))
    cut = np.asarray(Crop(smallest=0.5).apply(KEY, ramp))
    slopes = np.diff(cut[..., 0], axis=2)
    np.testing.assert_allclose(slopes, slopes[:, :1, :1] + 0 * slopes, atol=1e-5)
    assert slopes.min() >= 0.5 - 1e-5
    assert slopes.max() <= 1 + 1e-5
    assert np.ptp(slopes) > 0.2
    assert cut.min() >= 0
    assert cut.max() <= 6


def test_colour_changes_nothing_unless_it_is_told(images):
    np.testing.assert_allclose(Color().apply(KEY, images), images, rtol=1e-6)


def test_brightness_adds_the_same_to_a_whole_image(images):
    difference = np.asarray(Color(brightness=0.3).apply(KEY, images) - images)
    np.testing.assert_allclose(difference, difference[:, :1, :1, :1] + 0 * difference, atol=1e-6)
    assert 0.2 < np.abs(difference).max() <= 0.3 + 1e-6
    assert difference.min() < 0 < difference.max()


def test_contrast_keeps_the_mean_and_saturation_each_pixels(images):
    flatter = np.asarray(Color(contrast=0.5).apply(KEY, images))
    np.testing.assert_allclose(flatter.mean((1, 2, 3)), images.mean((1, 2, 3)), rtol=1e-5)
    ratio = flatter.std((1, 2, 3)) / np.asarray(images).std((1, 2, 3))
    assert 0.5 <= ratio.min() < 0.8 < 1.2 < ratio.max() <= 1.5 + 1e-5
    paler = np.asarray(Color(saturation=0.5).apply(KEY, images))
    np.testing.assert_allclose(paler.mean(-1), images.mean(-1), rtol=1e-5)
    assert not np.allclose(paler, images)
    gray = images[..., :1]
    np.testing.assert_allclose(Color(saturation=0.5).apply(KEY, gray), gray, rtol=1e-6)
