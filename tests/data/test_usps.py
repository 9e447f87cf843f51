import gzip

import numpy as np
import pytest

from jcnn.data import Usps
from jcnn.errors import UserError

ROW = "6.0000 " + " ".join(["-1.0000", "0.5"] * 128) + " \n"


@pytest.fixture
def usps_folder(own_folder):
    folder = own_folder / "usps"
    folder.mkdir()
    (folder / "zip.train.gz").write_bytes(gzip.compress((ROW * 3).encode()))
    (folder / "zip.test").write_text("9 " + " ".join(["1"] * 256) + "\n")
    return folder


def test_rows_become_images(usps_folder):
    data = Usps().load()
    assert data.train.x.shape == (3, 16, 16, 1)
    assert data.train.y.tolist() == [6, 6, 6]
    np.testing.assert_array_equal(data.train.x[0, 2, :4, 0], [-1, 0.5, -1, 0.5])
    assert data.test.y.tolist() == [9]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (ROW + ROW[:900] + "\n", r"line 2: expected a label and 256 values, found \d+ fields"),
        (ROW + ROW.rstrip("\n"), "cut short: its last line, 2, has no end"),
        (ROW.replace("6.0000", "10"), "line 1: expected a label from 0 to 9, found 10"),
        (ROW.replace("6.0000", "1.5"), "line 1: expected a label from 0 to 9, found 1.5"),
        (ROW.replace("6.0000", "nan"), "line 1: expected a label from 0 to 9, found nan"),
        (ROW + ROW.replace("0.5", "1.5"), "line 2: expected values from -1 to 1, found 1.5"),
        (ROW.replace("0.5", "nan"), "line 1: expected values from -1 to 1, found nan as value 2"),
        (ROW.replace("0.5", "zero"), "line 1: expected numbers only.*zero"),
    ],
)
def test_a_damaged_row_is_named(usps_folder, text, message):
    (usps_folder / "zip.test").write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        Usps().load()
    assert "zip.test" in str(raised.value)


def test_a_missing_file_says_how_to_get_it(own_folder):
    with pytest.raises(UserError, match=r"zip\.train\.gz.*`jcnn data fetch usps`"):
        Usps().load()


def test_the_published_files_are_read(data_folder):
    if not (data_folder / "usps").is_dir():
        pytest.skip("no USPS digits there")
    data = Usps().load()
    # the counts of the publishers' zip.info.txt
    train = [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]
    assert np.bincount(data.train.y).tolist() == train
    test = [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]
    assert np.bincount(data.test.y).tolist() == test
