"""Recordings as people have them, and folders of them."""

import struct

import numpy as np
import pytest

from jcnn.data import SoundFolder
from jcnn.errors import UserError
from tests.data.formats import tone, write_wav
from tests.optional import optional

soundfile, reads_sound = optional("soundfile")
pytestmark = reads_sound
RATE = 8000


def read(path):
    from jcnn.data.sound import read_sound

    return read_sound(path, RATE)


@pytest.mark.parametrize(
    ("ending", "subtype", "form"),
    [
        ("wav", "PCM_16", "WAV"),
        ("wav", "PCM_24", "WAV"),
        ("wav", "PCM_32", "WAV"),
        ("wav", "PCM_U8", "WAV"),
        ("wav", "FLOAT", "WAV"),
        ("wav", "DOUBLE", "WAV"),
        ("wav", "PCM_16", "WAVEX"),
        ("wav", "PCM_24", "WAVEX"),
        ("flac", "PCM_16", "FLAC"),
        ("aiff", "PCM_16", "AIFF"),
    ],
)
def test_a_recording_is_the_same_in_every_format(tmp_path, ending, subtype, form):
    samples, path = tone(440), tmp_path / f"a.{ending}"
    soundfile.write(path, samples, RATE, subtype=subtype, format=form)
    found = read(path)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, samples, atol=1e-2 if subtype == "PCM_U8" else 1e-4)


def test_sixteen_bits_are_read_exactly(tmp_path):
    write_wav(tmp_path / "a.wav", [0.0, 0.5, -1.0])
    np.testing.assert_array_equal(read(tmp_path / "a.wav") * 32768, [0, 16383, -32767])


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([tone(440), np.zeros(4000)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, RATE, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "a.wav"), tone(440) / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [44100, 16000, 4000])
def test_another_sample_rate_is_resampled(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(440, rate=rate), rate, subtype="FLOAT")
    found = read(tmp_path / "a.wav")
    assert len(found) == 4000
    np.testing.assert_allclose(found[200:-200], tone(440)[200:-200], atol=5e-3)


def test_rates_that_share_no_factor_take_no_filter_as_large_as_the_memory(tmp_path, monkeypatch):
    asked = []

    def resampled(samples, up, down):
        asked.append((up, down))
        return samples

    monkeypatch.setattr("scipy.signal.resample_poly", resampled)
    soundfile.write(tmp_path / "a.wav", tone(440), 9_999_991)
    read(tmp_path / "a.wav")
    ((up, down),) = asked
    assert max(up, down) <= 1 << 18
    assert up / down == pytest.approx(RATE / 9_999_991, rel=1e-6)


def test_frequencies_that_the_rate_cannot_carry_are_filtered_out(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(9000, rate=44100), 44100, subtype="FLOAT")
    assert np.abs(read(tmp_path / "a.wav")[200:-200]).max() < 0.01


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF - 36])
def test_a_recording_out_of_a_pipe_does_not_know_its_length(tmp_path, size):
    path = tmp_path / "a.wav"
    write_wav(path, tone(440))
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<I", size)
    path.write_bytes(content)
    assert len(read(path)) == 4000


def test_samples_that_are_no_numbers_are_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", [0.0, np.nan], RATE, subtype="FLOAT")
    with pytest.raises(UserError, match=r"a\.wav holds samples that are not numbers"):
        read(tmp_path / "a.wav")


def test_a_recording_that_announces_more_than_there_can_be_is_no_traceback(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(440), RATE)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F  # of 36 bits that count the samples
    content[22:26] = b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.flac (announces|is not an intact recording)"):
        read(path)
    write_wav(tmp_path / "a.wav", tone(440))
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[24:28] = struct.pack("<I", 1_073_749_824)
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.wav announces 1073749824 samples per second"):
        read(tmp_path / "a.wav")


def test_a_recording_may_have_a_name_of_any_encoding(tmp_path):
    write_wav(tmp_path / "a.wav", tone(440))
    try:
        (tmp_path / "a.wav").rename(tmp_path / "caf\udce9.wav")
    except OSError:
        pytest.skip("this disk takes names in UTF-8 alone")
    assert len(read(tmp_path / "caf\udce9.wav")) == 4000


def test_what_is_no_recording_is_named(tmp_path):
    (tmp_path / "a.wav").write_text("?")
    for name, message in (("a.wav", "is not an intact recording"), ("b.wav", "does not exist")):
        with pytest.raises(UserError, match=message) as raised:
            read(tmp_path / name)
        assert str(raised.value).startswith(str(tmp_path / name))


@pytest.fixture
def folder(own_folder):
    """Two classes of five recordings, of several rates."""
    for c, name in enumerate(("high", "low")):
        (own_folder / "sounds" / name).mkdir(parents=True)
        for k, rate in enumerate((8000, 16000, 44100, 8000, 8000)):
            samples = tone(2000 - 1500 * c, rate=rate)
            soundfile.write(own_folder / "sounds" / name / f"{k}.wav", samples, rate)
    return own_folder / "sounds"


def test_a_folder_of_recordings_is_a_data_set(folder):
    data = SoundFolder(folder="sounds", classes=2, test_share=0.2).load()
    assert data.classes == ("high", "low")
    assert data.train.x.shape == (8, 64, 16)
    assert np.bincount(data.test.y).tolist() == [1, 1]
    bands = data.train.x.mean(axis=1).argmax(axis=1)
    assert bands[data.train.y == 0].min() > bands[data.train.y == 1].max()


def test_the_recordings_of_the_test_set_are_in_its_order(folder):
    config = SoundFolder(folder="sounds", classes=2, test_share=0.4)
    found, examples = config.test_recordings(), config.load().test.x
    assert len(found) == len(examples) == 4
    for recording, x in zip(found, examples, strict=True):
        np.testing.assert_array_equal(config.read_example(recording.path), x)
        assert len(recording.samples()) == recording.sample_rate // 2


def test_a_table_of_labels_serves_recordings_too(folder):
    rows = "".join(f"{c}/{k}.wav,{c}\n" for c in ("high", "low") for k in range(5))
    (folder / "t.csv").write_text("file,label\n" + rows)
    data = SoundFolder(folder="sounds", classes=2, labels="t.csv", test_share=0.4).load()
    assert (len(data.train), len(data.test)) == (6, 4)


def test_a_recording_is_no_image(folder):
    data = SoundFolder(folder="sounds", classes=2, test_share=0.2)
    with pytest.raises(UserError, match="cannot be inverted"):
        data.read_example(folder / "high" / "0.wav", invert=True)
    (folder / "high" / "a.png").write_bytes(b"?")
    with pytest.raises(UserError, match=r"a\.png is a stray file: expected only recordings"):
        data.lists()
