import tomllib

from jcnn.config.toml import to_toml


def test_document_is_read_back_by_tomllib():
    document = {
        "escaped": 'quote " backslash \\ tab \t newline \n bell \x07 delete \x7f',
        "beyond ASCII": "snow \u2603 clef \U0001d11e",
        "integer": -3,
        "number": 1e-05,
        "whole": 1.0,
        "yes": True,
        "empty": [],
        "ragged": [[0, 1], [2]],
        "long": list(range(100)),
        "table": {"a": 1, "inner": {"b c": "x", "3 epochs": 0.1}, "tables": [{"x": 1}, {"y": {}}]},
        "tables": [{"type": "relu"}, {"type": "conv", "window": [3, 3], "layers": [{"a": [{}]}]}],
    }
    assert tomllib.loads(to_toml(document)) == document
