"""Who publishes each data set, where, and the SHA-256 of what must arrive.

The hash of a ``file`` is that of its content, uncompressed, so that it holds for whichever
compression the file has; the hash of a folder is :func:`jcnn.data.fetch.folder_hash`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Download:
    """One thing to download.

    Attributes:
        urls: where it is published, tried in order.
        sha256: the hash of the download as it arrives; None where the publisher may compress it
            anew (the content is checked in any case).
        members: for an archive, the folder inside it that holds the files; None for a plain file.
        files: what it brings, seen from the data set's folder, and each one's hash.
    """

    urls: tuple[str, ...]
    sha256: str | None
    members: str | None
    files: dict[str, str]


@dataclass(frozen=True)
class Source:
    """A published data set.

    Attributes:
        folder: its folder in the data folder.
        downloads: what to get.
    """

    folder: str
    downloads: tuple[Download, ...]


def _mnist(stem: str, compressed: str, content: str) -> Download:
    mirrors = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    return Download(tuple(f"{m}{stem}.gz" for m in mirrors), compressed, None, {stem: content})


# Hashes of both forms as widely published with these mirrors, and computed from the files.
MNIST = Source(
    "mnist",
    (
        _mnist(
            "train-images-idx3-ubyte",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        _mnist(
            "train-labels-idx1-ubyte",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        _mnist(
            "t10k-images-idx3-ubyte",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        _mnist(
            "t10k-labels-idx1-ubyte",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
)


def _usps(stem: str, content: str) -> Download:
    publishers = (
        "https://hastie.su.domains/ElemStatLearn/datasets/",
        "https://web.stanford.edu/~hastie/ElemStatLearn/datasets/",
    )
    return Download(tuple(f"{p}{stem}.gz" for p in publishers), None, None, {stem: content})


# The publishers give no hashes; these were computed from a copy of their files.
USPS = Source(
    "usps",
    (
        _usps("zip.train", "abc9f5c75b997cabe66b5d01727d5a681c69298e1641a8d37b55433a52129dc0"),
        _usps("zip.test", "6bde17b4f1cd68e0630cd2751d6495b5795d9165ab2dc4a0be8b7002b732f4cc"),
    ),
)

# Computed from the tag v1.0.10 of the publisher's repository (git tree d04322e3 of recordings/).
# GitHub may compress an archive anew, so there is no hash of the archive itself.
FSDD = Source(
    "fsdd",
    (
        Download(
            (
                "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/"
                "v1.0.10.tar.gz",
            ),
            None,
            "free-spoken-digit-dataset-1.0.10",
            {"recordings": "a2e8a660492f28d9eed6270b290d26cbc5c81d6077ce87d3c0ad5adf4d4ee696"},
        ),
    ),
)

# The publisher's page gives the archive's MD5, c32a1d4ab5d03f1284b67883e8d87530. The SHA-256 of the
# archive is the one that TensorFlow Datasets registers, those of the files are torchvision-ruby's.
_CIFAR10_FILES = {
    "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
CIFAR10 = Source(
    "cifar-10-batches-bin",
    (
        Download(
            ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            "cifar-10-batches-bin",
            {f"{stem}.bin": content for stem, content in _CIFAR10_FILES.items()},
        ),
    ),
)

# the digits that come with scikit-learn: pixels row by row, then labels, a byte each
DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"

SOURCES: dict[str, Source] = {"mnist": MNIST, "usps": USPS, "fsdd": FSDD, "cifar10": CIFAR10}
