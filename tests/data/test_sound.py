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


@pytest.mark.parametrize(
    ("form", "ending"),
    [
        *((form, form.lower()) for form in ("WAV", "AIFF", "AU", "W64", "FLAC", "CAF", "MP3")),
        *(("WAVEX", "wav"), ("RF64", "wav")),
    ],
)
def test_a_recording_that_is_cut_short_is_refused_and_a_whole_one_read(
    tmp_path, capfd, form, ending
):
    samples = tone(440, seconds=2) + 0.2 * np.random.default_rng(0).normal(size=2 * RATE)
    path, written = tmp_path / f"a.{ending}", 0
    for subtype in soundfile.available_subtypes(form):
        if subtype.startswith("DWVW"):  # libsndfile does not read its own
            continue
        try:
            soundfile.write(path, np.clip(samples, -1, 1), RATE, subtype=subtype, format=form)
        except soundfile.LibsndfileError:  # named and not implemented
            continue
        assert 2 * RATE <= len(read(path)) < 2.1 * RATE, subtype
        written += 1
        content = path.read_bytes()
        for share in (0.5, 0.9):
            path.write_bytes(content[: int(share * len(content))])
            with pytest.raises(UserError, match=r" is (cut short|not an intact recording): "):
                read(path)
    assert written
    assert capfd.readouterr().err == ""


def first_frame(content):
    """Bytes of the first frame of an MP3 of 8,000 samples per second."""
    rates = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    return 72 * 1000 * rates[content[2] >> 4] // RATE + (content[2] >> 1 & 1)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_that_says_not_how_long_it_is_is_read(tmp_path, mode):
    """Of variable rate, its length is guessed far too long."""
    path, quiet = tmp_path / "a.mp3", np.zeros(2 * RATE)
    samples = np.concatenate([quiet, tone(440), np.random.default_rng(0).normal(size=RATE) / 4])
    with soundfile.SoundFile(
        path, "w", RATE, 1, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode=mode
    ) as file:
        file.write(samples)
    content = path.read_bytes()
    path.write_bytes(content[first_frame(content) :])
    assert len(samples) <= len(read(path)) < len(samples) + 2304


def test_titles_before_and_behind_an_mp3_are_passed_over(tmp_path):
    path = tmp_path / "a.mp3"
    soundfile.write(path, tone(440, seconds=2), RATE)
    content, title = path.read_bytes(), b"ID3\3\0\0\0\0\1\2" + bytes(130)
    path.write_bytes(title + title + content + b"TAG" + bytes(125))
    assert len(read(path)) == 2 * RATE
    path.write_bytes(title + title + content[: len(content) // 2])
    with pytest.raises(
        UserError, match=r"a\.mp3 is cut short: its header announces \d+ bytes of s"
    ):
        read(path)


def test_an_mp3_that_lacks_frames_and_few_bytes_is_refused(tmp_path):
    path = tmp_path / "a.mp3"
    soundfile.write(path, tone(440, seconds=2), RATE)
    path.write_bytes(path.read_bytes()[:-700] + b"APETAGEX" + bytes(600))
    with pytest.raises(UserError, match=r"a\.mp3 is cut short: its header announces \d+ samples"):
        read(path)


@pytest.mark.parametrize(("form", "place"), [("AIFF", b"SSND"), ("AU", b".snd")])
def test_other_recordings_out_of_a_pipe_do_not_know_their_length(tmp_path, form, place):
    path = tmp_path / f"a.{form.lower()}"
    soundfile.write(path, tone(440), RATE, format=form, subtype="PCM_16", endian="BIG")
    content = bytearray(path.read_bytes())
    start = content.index(place) + (4 if form == "AIFF" else 8)
    content[start : start + 4] = struct.pack(">I", 0x7F000000 if form == "AIFF" else 0xFFFFFFFF)
    path.write_bytes(content)
    assert len(read(path)) == 4000


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
