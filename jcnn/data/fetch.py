"""Download published data sets, and verify what lies in the data folder against SHA-256 hashes."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from jcnn.data.folder import data_folder, find_file, read_content
from jcnn.data.sources import DIGITS_SHA256, SOURCES, Download, Source
from jcnn.errors import UserError, nearest
from jcnn.remains import temporary_folder

INTACT = "intact"
ABSENT = "missing"
DIFFERENT = "differs from the published file"
EMBEDDED = "digits"
OWN = ("image_folder", "sound_folder")
TIMEOUT_SECONDS = 30


class Verdict(NamedTuple):
    """What became of one published file: a pair (file, verdict)."""

    file: Path
    verdict: str

    @property
    def intact(self) -> bool:
        """Whether the file is there and has the published content."""
        return self.verdict == INTACT


def fetch(name: str, report: Callable[[str], None] | None = None) -> list[Verdict]:
    """Download what is missing or damaged of a data set into the data folder.

    A file comes into place only after its hash was found right; what is intact already is kept.

    Args:
        name: a data set.
        report: called with a sentence before each download.

    Raises:
        UserError: no such data set, no connection, not what was published, or no place to write.
    """
    source = _find_source(name)
    if source is None:
        return verify(name)
    root = data_folder()
    folder = root / source.folder
    for download in source.downloads:
        if all(v.intact for v in _verify_download(folder, download)):
            continue
        if report:
            report(f"downloading {download.urls[0]}")
        try:
            root.mkdir(parents=True, exist_ok=True)
            # on the same disk as where the files go, which may be behind a link
            place = folder.resolve() if folder.is_dir() else root
            with temporary_folder(place, ".fetch-") as staging:
                _fetch_download(download, folder, staging)
        except OSError as error:
            raise UserError(
                f"data set '{name}' cannot be written to {root}: {error.strerror or error}"
            ) from None
    return verify(name)


def verify(name: str) -> list[Verdict]:
    """Compare each file of a data set with what was published.

    Raises:
        UserError: no such data set, or a file cannot be read.
    """
    source = _find_source(name)
    if source is None:
        return [_verify_embedded()]
    folder = data_folder() / source.folder
    return [v for download in source.downloads for v in _verify_download(folder, download)]


def folder_hash(folder: Path) -> str:
    """SHA-256 over a folder: of each visible file, in the names' order, the name and SHA-256."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if not path.name.startswith("."):
            whole.update(
                os.fsencode(path.name) + b"\0" + hashlib.sha256(path.read_bytes()).digest()
            )
    return whole.hexdigest()


def published() -> tuple[str, ...]:
    """The names of the data sets that :func:`verify` knows."""
    return (EMBEDDED, *SOURCES)


def _find_source(name: str) -> Source | None:
    if name in OWN:
        raise UserError(
            f"data set '{name}' is a folder of your own files: nothing publishes it, and "
            "`jcnn data check FOLDER` looks through it"
        )
    if name != EMBEDDED and name not in SOURCES:
        known = [EMBEDDED, *SOURCES]
        raise UserError(
            f"there is no data set '{name}'{nearest(name, known)}: expected one of "
            f"{', '.join(known)}"
        )
    return SOURCES.get(name)


def _verify_embedded() -> Verdict:
    import sklearn

    from jcnn.data.digits import read_embedded

    content = b"".join(part.tobytes() for part in read_embedded())
    matches = hashlib.sha256(content).hexdigest() == DIGITS_SHA256
    return Verdict(Path(sklearn.__file__).parent, INTACT if matches else DIFFERENT)


def _verify_download(folder: Path, download: Download) -> list[Verdict]:
    verdicts = []
    for stem, expected in download.files.items():
        path = find_file(folder, stem)
        if path is None:
            verdicts.append(Verdict(folder / stem, ABSENT))
        else:
            verdicts.append(Verdict(path, INTACT if _matches(path, expected) else DIFFERENT))
    return verdicts


def _matches(path: Path, expected: str) -> bool:
    try:
        if path.is_dir():
            return folder_hash(path) == expected
        return hashlib.sha256(read_content(path)).hexdigest() == expected
    except (UserError, IsADirectoryError, FileNotFoundError):
        return False  # damaged compression, a folder where a file belongs, a link to nowhere


def _fetch_download(download: Download, folder: Path, staging: Path) -> None:
    """Take it from the first address that sends what was published."""
    failures = []
    for number, url in enumerate(download.urls):
        place = staging / str(number)
        place.mkdir()
        try:
            fetched = _published(download, url, place)
        except UserError as error:
            failures.append(str(error))
        else:
            _move(fetched, folder, download)
            return
    raise UserError(f"no download succeeded ({'; '.join(failures)})")


def _published(download: Download, url: str, place: Path) -> Path:
    """Download and unpack; return the folder with what is as it was published."""
    arrived = _retrieve(url, download.sha256, place)
    if download.members is None:
        (stem,) = download.files
        fetched = place / "plain"
        fetched.mkdir()
        arrived.replace(fetched / f"{stem}.gz")
    else:
        fetched = place / "unpacked"
        unpack(arrived, fetched, download.members)
    for verdict in _verify_download(fetched, download):
        if not verdict.intact:
            raise UserError(
                f"{url} is not what was published: its {verdict.file.name} "
                f"{'is missing' if verdict.verdict == ABSENT else verdict.verdict}; try again later"
            )
    return fetched


def _retrieve(url: str, sha256: str | None, place: Path) -> Path:
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    download_http: Any = pooch.HTTPDownloader(timeout=TIMEOUT_SECONDS)
    known = None if sha256 is None else f"sha256:{sha256}"
    try:
        return Path(
            pooch.retrieve(url, known, fname="download", path=place, downloader=download_http)
        )
    except requests.exceptions.RequestException as error:
        raise UserError(f"{url}: {_reason(error)}") from None
    except ValueError:  # pooch's word for another hash; it has removed the file
        raise UserError(f"{url}: the SHA-256 of what arrived is not {sha256}") from None


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.exceptions.HTTPError):
        return str(error).split(" for url")[0]
    if isinstance(error, requests.exceptions.Timeout):
        return f"no answer within {TIMEOUT_SECONDS} seconds"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection"
    return str(error)


def unpack(archive: Path, folder: Path, members: str) -> None:
    """Unpack the plain files below ``members`` of a tar archive, without that prefix.

    Nothing else is written, and nothing outside ``folder``: links and devices are left out, and a
    name that leads out of the archive refuses the whole of it.

    Raises:
        UserError: not an intact archive, or a hostile one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise UserError(
                        f"{archive} is refused: its member '{member.name}' leads out of the archive"
                    )
                if member.isfile() and name.is_relative_to(members):
                    _write_member(opened, member, folder / name.relative_to(members))
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{archive} is not an intact archive: {error}") from None


def _write_member(opened: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    content = opened.extractfile(member)
    assert content is not None  # true of every plain file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.read())


def _move(fetched: Path, folder: Path, download: Download) -> None:
    for stem in download.files:
        path = find_file(fetched, stem)
        assert path is not None  # verified just before
        for part in sorted(path.rglob("*")) if path.is_dir() else [path]:
            target = folder / part.relative_to(fetched)
            target.parent.mkdir(parents=True, exist_ok=True)
            part.chmod(0o644)  # a download arrives readable by its owner alone
            part.replace(target)
        if not _matches(find_file(folder, stem) or folder / stem, download.files[stem]):
            raise UserError(
                f"{folder / stem} holds more than what was published, which is all there now: "
                "expected nothing else; move what is yours away"
            )
