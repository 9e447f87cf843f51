import functools
import gzip
import hashlib
import http.server
import io
import tarfile
import threading

import pytest

from jcnn.data import fetch as fetching
from jcnn.data.fetch import fetch, folder_hash, unpack, verify
from jcnn.data.sources import SOURCES, Download, Source
from jcnn.errors import UserError


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def publisher(tmp_path_factory):
    """A folder, and the address of a server on this machine that publishes it."""
    folder = tmp_path_factory.mktemp("published")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def plain(publisher, own_folder, monkeypatch):
    """A data set of one gzipped file, whose first mirror is gone."""
    folder, url = publisher
    (folder / "numbers.gz").write_bytes(gzip.compress(b"1 2 3"))
    arriving = sha256((folder / "numbers.gz").read_bytes())
    download = Download(
        (f"{url}gone.gz", f"{url}numbers.gz"), arriving, None, {"numbers": sha256(b"1 2 3")}
    )
    monkeypatch.setitem(SOURCES, "plain", Source("plain", (download,)))
    return folder


def make_archive(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc"
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content or b""))


@pytest.fixture
def archived(publisher, own_folder, monkeypatch):
    """A data set that is a folder in an archive."""
    folder, url = publisher
    members = {"set-1.0/sounds/a.wav": b"a", "set-1.0/sounds/b.wav": b"b", "set-1.0/README": b"r"}
    make_archive(folder / "set.tar.gz", members)
    whole = hashlib.sha256()
    for name, content in (("a.wav", b"a"), ("b.wav", b"b")):
        whole.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    download = Download((f"{url}set.tar.gz",), None, "set-1.0", {"sounds": whole.hexdigest()})
    monkeypatch.setitem(SOURCES, "archived", Source("archived", (download,)))
    return folder


def verdicts(name):
    return [v.verdict for v in verify(name)]


def left_behind(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


def test_a_file_is_downloaded_from_the_mirror_that_has_it(plain, own_folder):
    assert verdicts("plain") == ["missing"]
    reports = []
    assert [tuple(v) for v in fetch("plain", reports.append)] == [
        (own_folder / "plain" / "numbers.gz", "intact")
    ]
    assert len(reports) == 1
    assert gzip.decompress((own_folder / "plain" / "numbers.gz").read_bytes()) == b"1 2 3"
    assert not left_behind(own_folder)


def test_what_is_intact_is_not_downloaded_again(plain, own_folder):
    (own_folder / "plain").mkdir()
    (own_folder / "plain" / "numbers").write_bytes(b"1 2 3")  # not compressed: the same content
    reports = []
    assert fetch("plain", reports.append)[0].intact
    assert reports == []


def test_another_compression_of_the_same_content_is_intact(plain, own_folder):
    (own_folder / "plain").mkdir()
    (own_folder / "plain" / "numbers.gz").write_bytes(gzip.compress(b"1 2 3", 1, mtime=5))
    assert verdicts("plain") == ["intact"]


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"1 2 4"), b"no gzip", gzip.compress(b"1 2 3")[:-4]],
    ids=["other content", "no gzip", "cut short"],
)
def test_a_damaged_file_is_found_and_replaced(plain, own_folder, content):
    (own_folder / "plain").mkdir()
    (own_folder / "plain" / "numbers.gz").write_bytes(content)
    assert verdicts("plain") == ["differs from the published file"]
    assert fetch("plain")[0].intact


def test_a_download_with_another_hash_is_refused(plain, own_folder):
    (plain / "numbers.gz").write_bytes(gzip.compress(b"evil"))
    with pytest.raises(UserError, match="the SHA-256 of what arrived is not"):
        fetch("plain")
    assert verdicts("plain") == ["missing"]
    assert not left_behind(own_folder)


def test_without_a_connection_there_is_one_sentence(plain, own_folder, monkeypatch):
    download = Download(("http://127.0.0.1:9/numbers.gz",), None, None, {"numbers": "0"})
    monkeypatch.setitem(SOURCES, "plain", Source("plain", (download,)))
    with pytest.raises(
        UserError, match=r"no download succeeded \(http.*: no connection\)"
    ) as raised:
        fetch("plain")
    assert "\n" not in str(raised.value)


def test_a_file_that_the_publisher_lacks_is_named(plain, own_folder):
    (plain / "numbers.gz").unlink()
    with pytest.raises(UserError, match=r"numbers\.gz: 404"):
        fetch("plain")


def test_a_folder_that_cannot_be_written_is_named(plain, own_folder, monkeypatch):
    (own_folder / "file").write_text("")
    monkeypatch.setenv("JCNN_DATA", str(own_folder / "file" / "data"))
    with pytest.raises(
        UserError, match=r"'plain' cannot be written to .*file/data: Not a directory"
    ):
        fetch("plain")


def test_the_second_mirror_is_asked_where_the_first_sends_something_else(
    plain, own_folder, monkeypatch
):
    """A page that asks to log in comes with the status of a success."""
    (_, good), *_ = (d.urls for d in SOURCES["plain"].downloads)
    (plain / "login.gz").write_text("<html>")
    bad = good.replace("numbers", "login")
    download = Download((bad, good), None, None, {"numbers": sha256(b"1 2 3")})
    monkeypatch.setitem(SOURCES, "plain", Source("plain", (download,)))
    assert fetch("plain")[0].intact


def test_a_folder_that_is_a_link_is_filled_where_it_leads(plain, own_folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (own_folder / "plain").symlink_to(tmp_path / "elsewhere")
    assert fetch("plain")[0].intact
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == ["numbers.gz"]


def test_a_link_to_nowhere_in_a_folder_is_a_difference(archived, own_folder):
    fetch("archived")
    (own_folder / "archived" / "sounds" / "b.wav").unlink()
    (own_folder / "archived" / "sounds" / "b.wav").symlink_to("nowhere")
    assert verdicts("archived") == ["differs from the published file"]
    assert fetch("archived")[0].intact


def test_what_lies_beside_the_published_files_of_a_folder_is_named(archived, own_folder):
    fetch("archived")
    (own_folder / "archived" / "sounds" / "mine.wav").write_bytes(b"m")
    with pytest.raises(UserError, match="sounds holds more than what was published"):
        fetch("archived")


def test_an_archive_is_unpacked_into_place(archived, own_folder):
    assert fetch("archived")[0].intact
    assert (own_folder / "archived" / "sounds" / "a.wav").read_bytes() == b"a"
    assert sorted(p.name for p in (own_folder / "archived").iterdir()) == ["sounds"]
    assert not left_behind(own_folder)


def test_a_folder_with_a_lost_file_is_mended(archived, own_folder):
    fetch("archived")
    (own_folder / "archived" / "sounds" / "a.wav").unlink()
    assert verdicts("archived") == ["differs from the published file"]
    assert fetch("archived")[0].intact


def test_an_archive_with_other_content_is_refused(archived, own_folder):
    make_archive(archived / "set.tar.gz", {"set-1.0/sounds/a.wav": b"evil"})
    with pytest.raises(UserError, match="not what was published: its sounds differs"):
        fetch("archived")
    make_archive(archived / "set.tar.gz", {"set-2.0/sounds/a.wav": b"a"})
    with pytest.raises(UserError, match="not what was published: its sounds is missing"):
        fetch("archived")
    (archived / "set.tar.gz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="not an intact archive"):
        fetch("archived")
    assert not (own_folder / "archived").exists()


@pytest.mark.parametrize("name", ["../evil", "set/../../evil", "/tmp/evil"])
def test_a_hostile_archive_is_refused(tmp_path, name):
    make_archive(tmp_path / "a.tar.gz", {"set/good": b"g", name: b"evil"})
    with pytest.raises(UserError, match="leads out of the archive"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "inside", "set")
    assert not (tmp_path / "evil").exists()


def test_links_in_an_archive_are_left_out(tmp_path):
    make_archive(tmp_path / "a.tar.gz", {"set/link": None, "set/link/evil": b"e", "set/good": b"g"})
    unpack(tmp_path / "a.tar.gz", tmp_path / "inside", "set")
    assert not (tmp_path / "inside" / "link").is_symlink()
    assert (tmp_path / "inside" / "good").read_bytes() == b"g"


def test_an_archive_cut_short_is_named(tmp_path):
    make_archive(tmp_path / "a.tar.gz", {"set/good": bytes(range(256)) * 100})
    path = tmp_path / "a.tar.gz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"a\.tar\.gz is not an intact archive"):
        unpack(path, tmp_path / "inside", "set")


def test_the_embedded_digits_need_no_download(own_folder):
    assert fetch("digits")[0].intact


@pytest.mark.parametrize("act", [fetch, verify])
def test_an_unknown_data_set_is_named(act):
    with pytest.raises(UserError, match=r"no data set 'minst' \(did you mean 'mnist'\?\)"):
        act("minst")
    with pytest.raises(UserError, match="'image_folder' is a folder of your own files"):
        act("image_folder")


def test_a_folder_hash_knows_names_and_contents(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    first = folder_hash(tmp_path)
    (tmp_path / ".hidden").write_bytes(b"")
    assert folder_hash(tmp_path) == first
    (tmp_path / "a").rename(tmp_path / "b")
    assert folder_hash(tmp_path) != first


@pytest.mark.parametrize("name", ["mnist", "usps", "fsdd"])
def test_the_real_files_are_those_that_were_published(data_folder, name):
    if not (data_folder / SOURCES[name].folder).is_dir():
        pytest.skip(f"no {name} there")
    assert all(v.intact for v in verify(name))


def test_every_source_names_sha256_hashes():
    for source in SOURCES.values():
        for download in source.downloads:
            hashes = [*download.files.values(), download.sha256 or "0" * 64]
            assert all(len(h) == 64 and int(h, 16) >= 0 for h in hashes)
            assert all(url.startswith("https://") for url in download.urls)
    assert fetching.TIMEOUT_SECONDS > 0
