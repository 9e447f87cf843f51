import numpy as np
import pytest
from scipy.signal import chirp

from jcnn.data import Fsdd, MelFrontEnd
from jcnn.data.mel import mel_bank
from jcnn.errors import UserError
from tests.data.formats import tone, write_wav
from tests.optional import optional

soundfile, reads_sound = optional("soundfile")


@pytest.fixture
def recordings(own_folder):
    folder = own_folder / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    for digit in range(2):
        for speaker in ("ada", "bob"):
            for index in range(7):
                samples = tone(300 + 500 * digit, 0.2 + 0.01 * index)
                write_wav(folder / f"{digit}_{speaker}_{index}.wav", samples)
    return folder


@reads_sound
def test_the_official_test_set_is_indices_0_to_4(recordings):
    data = Fsdd().load()
    assert data.train.x.shape == (8, 64, 16)
    assert data.test.x.shape == (20, 64, 16)
    assert data.train.x.dtype == np.float32
    assert sorted(data.test.y.tolist()) == [0] * 10 + [1] * 10


@reads_sound
def test_a_speaker_can_be_held_out(recordings):
    data = Fsdd(held_out_speaker="bob").load()
    assert (len(data.train), len(data.test)) == (14, 14)


@reads_sound
@pytest.mark.parametrize("held_out", [None, "bob"])
def test_the_recordings_of_the_test_set_are_in_its_order(recordings, held_out):
    config = Fsdd(held_out_speaker=held_out)
    found, examples = config.test_recordings(), config.load().test.x
    for recording, x in zip(found, examples, strict=True):
        np.testing.assert_array_equal(config.read_example(recording.path), x)
    assert Fsdd(validation_count=4).test_recordings() is None


def test_an_unknown_speaker_is_named(recordings):
    with pytest.raises(
        UserError, match=r"'bop' \(did you mean 'bob'\?\): expected one of ada, bob"
    ):
        Fsdd(held_out_speaker="bop").load()


@reads_sound
def test_a_validation_set_has_all_speakers(recordings):
    (recordings / "0_ada_5.wav").rename(recordings / "0_ada_9.wav")
    data = Fsdd(validation_count=4).load()
    assert (len(data.train), len(data.test)) == (4, 4)
    assert sorted(data.test.y.tolist()) == [0, 0, 1, 1]


def test_a_stray_file_is_named(recordings):
    (recordings / "notes.txt").write_text("?")
    with pytest.raises(UserError, match=r"notes\.txt is a stray file: .*digit_speaker_index\.wav"):
        Fsdd().load()


@reads_sound
@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: write_wav(p, []), "holds no sound"),
        (lambda p: p.write_bytes(b""), "not an intact recording"),
        (lambda p: p.write_bytes(b"RIFF"), "not an intact recording"),
        (lambda p: p.write_bytes(b"no sound, but text" * 10), "not an intact recording"),
        (lambda p: p.unlink() or p.mkdir(), "is a folder: expected a recording"),
    ],
)
def test_a_wrong_recording_is_named(recordings, write, message):
    write(recordings / "1_bob_3.wav")
    with pytest.raises(UserError, match=message) as raised:
        Fsdd().load()
    assert str(recordings / "1_bob_3.wav") in str(raised.value)


@reads_sound
@pytest.mark.parametrize("length", [-1, -2, -1001, 46])
def test_a_recording_cut_short_is_named(recordings, length):
    path = recordings / "1_bob_3.wav"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match=r"1_bob_3\.wav is cut short: .* announces 3680 bytes"):
        Fsdd().read_example(path)


def test_missing_recordings_say_how_to_get_them(own_folder):
    with pytest.raises(UserError, match="recordings does not exist; `jcnn data fetch fsdd`"):
        Fsdd().load()


@reads_sound
def test_an_example_is_a_recording(recordings):
    example = Fsdd().read_example(recordings / "0_ada_0.wav")
    assert example.shape == Fsdd().input_shape == (64, 16)
    with pytest.raises(UserError, match="cannot be inverted"):
        Fsdd().read_example(recordings / "0_ada_0.wav", invert=True)


def test_a_tone_lies_in_the_band_that_has_its_frequency():
    front_end = MelFrontEnd(normalization="none")
    for hertz in (250, 1000, 3000):
        features = front_end.features(tone(hertz, 0.64))
        bank = mel_bank(front_end)
        expected = bank[round(hertz / 8000 * 256)].argmax()
        assert (features[5:-5].argmax(axis=1) == expected).all()


def test_a_rising_tone_climbs_through_the_bands():
    t = np.arange(5120) / 8000
    features = MelFrontEnd(normalization="none").features(chirp(t, 100, 0.64, 3900))
    peaks = features[2:-2].argmax(axis=1)
    assert (np.diff(peaks) >= 0).all()
    assert peaks[0] <= 2
    assert peaks[-1] == 15


def test_short_recordings_are_padded_and_long_ones_cut_in_the_middle():
    front_end = MelFrontEnd(frame_count=20, padding_value=-3.0)
    short = front_end.features(tone(500, 0.1))
    assert (short[:5] == -3).all()
    assert (short[15:] == -3).all()
    assert (short[5:15] != -3).any(axis=1).all()
    assert front_end.features(tone(500, 2.0)).shape == (20, 16)
    assert MelFrontEnd().features(np.array([0.1])).shape == (64, 16)


@pytest.mark.parametrize("normalization", ["coefficient", "recording"])
def test_normalised_features_are_centred_in_minus_1_to_1_at_any_loudness(normalization):
    front_end = MelFrontEnd(normalization=normalization, frame_count=30)
    loud = np.random.default_rng(0).normal(size=4000) * np.linspace(0, 0.2, 4000)
    features = front_end.features(loud)
    assert np.abs(features).max() == pytest.approx(1)
    assert features.mean() == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(front_end.features(loud / 8), features, atol=1e-5)
    if normalization == "coefficient":
        np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(np.abs(features).max(axis=0), 1, rtol=1e-6)


def test_silence_is_finite():
    assert np.isfinite(MelFrontEnd(normalization="none").features(np.zeros(4000))).all()


@pytest.mark.parametrize("normalization", ["coefficient", "recording"])
def test_silence_of_any_length_is_zero(normalization):
    """The mean of equal numbers may differ from them in the last bit, which must not become 1."""
    front_end = MelFrontEnd(normalization=normalization)
    for frames in range(1, 65):
        assert not front_end.features(np.zeros(80 * frames)).any(), frames


def test_a_band_that_stays_at_the_floor_is_zero():
    front_end = MelFrontEnd(normalization="coefficient", dynamic_range_db=30, padding_value=0)
    tone = np.sin(2 * np.pi * 220 * np.arange(42 * 80) / 8000)
    features = front_end.features(tone)
    assert np.abs(features).max(axis=0).max() == pytest.approx(1)
    assert not features[:, -1].any()


def test_bands_overlap_to_one_between_the_outer_centres():
    total = mel_bank(MelFrontEnd()).sum(axis=1)
    inner = slice(total.argmax(), -25)
    np.testing.assert_allclose(total[inner], 1, atol=1e-9)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"high_hz": 5000}, "high_hz <= sample_rate / 2 = 4000"),
        ({"low_hz": 4000}, "low_hz < high_hz"),
        ({"mel_bands": 200}, "mel_bands = 200 is too many for window_ms = 25"),
        ({"mel_bands": 10**8}, "mel_bands = 100000000 of windows of 200 samples are more"),
        ({"window_ms": 0.1}, "must span"),
        ({"frame_count": 0}, "frame_count"),
        ({"mels": 3}, "mels"),
    ],
)
def test_an_impossible_front_end_is_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        MelFrontEnd(**keys)


@reads_sound
def test_the_published_recordings_are_split_officially(data_folder):
    if not (data_folder / "fsdd").is_dir():
        pytest.skip("no spoken digits there")
    data = Fsdd(train_count=10).load()
    assert np.bincount(data.test.y).tolist() == [30] * 10
