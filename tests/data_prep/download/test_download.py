"""Downloads against a server on this machine that drops connections, changes files, lies about sizes, loses links."""

import functools
import hashlib
import http.server
import io
import json
import sys
import tarfile
import threading
import types

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.download.command import download
from data_prep.download.datasets import DATASETS, Dataset, find_dataset
from data_prep.download.fetch import DeadLink, FetchFailed, Item, fetch
from data_prep.download.ids import Video, read_ids
from data_prep.sources import find_clips
from mvgen.errors import UserError
from mvgen.media import read_picture
from tests.mvgen.media.flashes import constant_times, flashes_in, write_flashes

DATA = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
SHA = hashlib.sha256(DATA).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """``files``: path to bytes. ``cuts``: path to the bytes after which connections drop, one a connection."""

    files: dict[str, bytes]
    cuts: dict[str, list[int]]
    asked: list[tuple[str, str | None]]
    plain = False  # knows nothing of ranges
    tag = '"one"'

    def do_GET(self):
        self.asked.append((self.path, self.headers.get("Range")))
        if self.path not in self.files:
            return self.send_error(503 if self.path.startswith("/busy") else 404)
        data, first = self.files[self.path], 0
        wanted = self.headers.get("Range")
        if wanted and not self.plain and self.headers.get("If-Range", self.tag) == self.tag:
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
            if first >= len(data):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("ETag", self.tag)
        if not self.path.startswith("/endless"):
            self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        cut = self.cuts.get(self.path) or [len(data)]
        self.wfile.write(data[first : first + cut.pop(0)])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    handler = type("Handler", (Server,), {"files": {"/a.bin": DATA}, "cuts": {}, "asked": []})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=functools.partial(running.serve_forever, poll_interval=0.02), daemon=True).start()
    handler.address = f"http://127.0.0.1:{running.server_address[1]}"
    yield handler
    running.shutdown()
    running.server_close()


def get(server, folder, path="/a.bin", most=10**6, **known):
    return fetch(Item(server.address + path, "sub/a.bin", **known), folder, most, wait=0.001)


def test_a_file_whose_connections_drop_arrives_whole(server, tmp_path):
    server.cuts["/a.bin"] = [100_000, 1, 50_000]
    assert get(server, tmp_path, size=len(DATA), sha256=SHA).read_bytes() == DATA
    assert [asked for _, asked in server.asked] == [None, "bytes=100000-", "bytes=100001-", "bytes=150001-"]
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.bin"]
    get(server, tmp_path, size=len(DATA), sha256=SHA)
    assert len(server.asked) == 4  # what is there and right is not asked for again


def test_a_server_that_stalls_is_given_up_and_gone_on_with(server, tmp_path):
    server.cuts["/a.bin"] = [70_000, 0, 0, 0, 0, 0]
    with pytest.raises(FetchFailed, match=r"the connection dropped \(5 attempts\)"):
        get(server, tmp_path)
    assert (tmp_path / "sub" / "a.bin.part").stat().st_size == 70_000
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.asked[-1][1] == "bytes=70000-"


def test_no_ranges_and_another_version_begin_anew(server, tmp_path):
    server.cuts["/a.bin"], server.plain = [70_000], True
    assert get(server, tmp_path).read_bytes() == DATA
    server.plain = False
    server.cuts["/a.bin"] = [70_000, 0, 0, 0, 0, 0]
    (tmp_path / "sub" / "a.bin").unlink()
    with pytest.raises(FetchFailed):
        get(server, tmp_path)
    server.tag, server.files["/a.bin"] = '"two"', DATA[::-1]
    assert get(server, tmp_path).read_bytes() == DATA[::-1]
    # A part that is longer than the file can be: begun anew.
    (tmp_path / "sub" / "a.bin").unlink()
    (tmp_path / "sub" / "a.bin.part").write_bytes(DATA + DATA)
    assert get(server, tmp_path).read_bytes() == DATA[::-1]


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"sha256": "0" * 64}, "its sha256 is"),
        ({"md5": "0" * 32}, "its md5 is"),
        ({"size": 300_001}, "300000, not 300001|dropped"),
        ({"size": 2_000_000}, "over the limit"),
    ],
)
def test_what_is_not_what_it_should_be_is_not_kept(server, tmp_path, known, message):
    with pytest.raises(FetchFailed, match=message):
        get(server, tmp_path, **known)
    assert not (tmp_path / "sub" / "a.bin").exists()


def test_sizes_are_bounded_whatever_the_server_says(server, tmp_path):
    server.files["/endless.bin"] = DATA
    for path in ("/a.bin", "/endless.bin"):
        with pytest.raises(FetchFailed, match="over the limit of 1000"):
            get(server, tmp_path, path, most=1000)
        assert not list((tmp_path / "sub").iterdir())
    assert get(server, tmp_path, "/endless.bin").read_bytes() == DATA


def test_dead_links_and_busy_servers_are_told_apart(server, tmp_path):
    with pytest.raises(DeadLink, match="404"):
        get(server, tmp_path, "/missing.bin")
    with pytest.raises(FetchFailed, match="503"):
        get(server, tmp_path, "/busy.bin")


@pytest.mark.parametrize("path", ["../x", "/tmp/x", "a/../../x", "", "link/x", "."])
def test_nothing_lies_outside_of_the_folder(server, tmp_path, path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="does not lie in"):
        fetch(Item(server.address + "/a.bin", path), tmp_path / "out", 10**6)
    with pytest.raises(ValueError, match="not an http"):
        fetch(Item("file:///etc/passwd", "x"), tmp_path / "out", 10**6)


def tar_of(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if isinstance(data, str):
                info.type, info.linkname = tarfile.SYMTYPE, data
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_a_data_set_of_files_and_archives(server, tmp_path, capsys):
    server.files["/videos.tar.gz"] = tar_of(("videos/a.mp4", b"aa"), ("videos/link", "/etc"), ("videos/b.mp4", b"bb"))
    server.files["/bad.tar.gz"] = tar_of(("ok.txt", b"x"), ("../escaped.txt", b"x"))
    server.files["/broken.tar.gz"] = DATA
    files = [
        {"url": f"{server.address}/{name}", "path": name}
        for name in ("videos.tar.gz", "missing.txt", "bad.tar.gz", "broken.tar.gz", "a.bin")
    ]
    files[-1] |= {"size": len(DATA), "sha256": SHA}
    (tmp_path / "own.json").write_text(json.dumps({"licence": "CC0", "files": files}))
    command = ["download", "--dataset", str(tmp_path / "own.json"), "--out", str(tmp_path / "out")]
    assert main(command) == 1
    assert "2 done, 1 dead, 2 failed" in capsys.readouterr().out
    assert (tmp_path / "out" / "videos" / "b.mp4").read_bytes() == b"bb"
    assert not (tmp_path / "out" / "videos" / "link").is_symlink() and not (tmp_path / "escaped.txt").exists()
    told = {
        one["path"]: one for one in map(json.loads, (tmp_path / "out" / "downloads.jsonl").read_text().splitlines())
    }
    assert [told[name["path"]]["status"] for name in files] == ["done", "dead", "failed", "failed", "done"]
    assert told["a.bin"]["sha256"] == SHA and "outside of its folder" in told["bad.tar.gz"]["reason"]
    # Again: only what failed is asked for; dead links when that is wished.
    server.asked.clear()
    main(command)
    assert {path for path, _ in server.asked} == {"/bad.tar.gz", "/broken.tar.gz"}
    server.files["/missing.txt"] = b"found"
    server.files["/bad.tar.gz"] = server.files["/broken.tar.gz"] = tar_of(("ok.txt", b"x"))
    assert main([*command, "--retry-dead"]) == 0


IDS = ["aaaaaaaaaaa", "bbbbbbbbb-B", "ccccccccc_C"]


def test_lists_as_data_sets_publish_them(tmp_path):
    def read(name, text):
        (tmp_path / name).write_text(text)
        return read_ids(tmp_path / name)

    music = read("m.json", json.dumps({"videos": {"flute": IDS[:2], "cello acoustic_guitar": [IDS[2], IDS[0]]}}))
    assert [(one.id, one.labels) for one in music] == [
        (IDS[0], ("cello", "acoustic_guitar")), (IDS[1], ("flute",)), (IDS[2], ("cello", "acoustic_guitar")),
    ]  # fmt: skip
    solos = read("s.json", json.dumps({"DoubleBass": {IDS[0]: [[12, 240]]}, "Violin": IDS[1:]}))
    assert [one.labels for one in solos] == [("doublebass",), ("violin",), ("violin",)]
    atin = read("a.csv", f"vid,start_time,duration\n{IDS[0]},0.0,88.5\n{IDS[1]},2,10\n")
    assert atin == [Video(IDS[0], end=88.5), Video(IDS[1], start=2.0, end=12.0)]
    sound = read("v.csv", f'{IDS[0]},30,playing drum kit,train\n{IDS[0]},50,"playing, cello",test\n')
    assert sound[1] == Video(IDS[0], ("playing, cello",), "test", 50.0, 60.0)
    assert len({one.name for one in sound}) == 2
    for name, text, message in [
        ("x.json", "{", "not JSON"),
        ("x.json", "[]", "names of instruments"),
        ("x.json", '{"flute": ["../../etc"]}', "not a video id"),
        ("x.csv", "name\nx\n", "no column"),
        ("x.csv", f"id,start\n{IDS[0]},soon\n", "not a time"),
        ("x.csv", f"id,start,end\n{IDS[0]},5,4\n", "before it starts"),
        ("x.csv", "", "lists no video"),
    ]:
        with pytest.raises(UserError, match=message):
            read(name, text)


def stand_in(server):
    """A module in place of yt-dlp that fetches over plain HTTP, and says of a 404 what yt-dlp says of such a video."""
    import urllib.error
    import urllib.request

    class DownloadError(Exception):
        pass

    class YoutubeDL:
        def __init__(self, settings):
            self.settings = settings

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def extract_info(self, url, download):
            try:
                data = urllib.request.urlopen(url).read()
            except urllib.error.HTTPError as error:
                raise DownloadError(
                    "ERROR: Video unavailable" if error.code == 404 else f"ERROR: HTTP Error {error.code}"
                ) from None
            if len(data) <= self.settings["max_filesize"]:
                with open(self.settings["outtmpl"]["default"].replace("%(ext)s", "mp4"), "wb") as file:
                    file.write(data)

    utils = types.SimpleNamespace(DownloadError=DownloadError, download_range_func=lambda chapters, ranges: ranges)
    return types.SimpleNamespace(YoutubeDL=YoutubeDL, utils=utils)


def test_a_data_set_of_ids(server, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yt_dlp", stand_in(server))
    write_flashes(tmp_path / "film.mp4", constant_times(25, 1))
    film = (tmp_path / "film.mp4").read_bytes()
    server.files |= {f"/watch/{IDS[0]}": film, "/list.json": json.dumps({"flute": IDS}).encode()}
    server.files[f"/watch/{IDS[2]}"] = b"no video"
    dataset = Dataset(
        "own", "CC0", lists=(Item(f"{server.address}/list.json", "list.json"),), labels=("music",),
        address=server.address + "/watch/{id}",
    )  # fmt: skip
    counts = download(dataset, tmp_path / "out", wait=0.001)
    assert counts == {"done": 1, "dead": 1, "failed": 1}
    (clip,) = find_clips(tmp_path / "out")
    assert (clip.clip_id, clip.source_id, clip.labels, clip.licence) == (
        IDS[0],
        f"own/{IDS[0]}",
        ("music", "flute"),
        "CC0",
    )
    assert clip.path.read_bytes() == film and clip.path.is_relative_to(tmp_path / "out")
    server.asked.clear()
    server.files[f"/watch/{IDS[2]}"] = film
    assert download(dataset, tmp_path / "out", most=len(film) - 1, wait=0.001)["failed"] == 1
    assert download(dataset, tmp_path / "out", most=len(film), wait=0.001) == {"done": 2, "dead": 1}
    assert [path for path, _ in server.asked] == [f"/watch/{IDS[2]}"] * 2
    assert len(find_clips(tmp_path / "out")) == 2


def test_stretches_of_a_video_are_cut_where_the_list_says(server, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yt_dlp", stand_in(server))
    write_flashes(tmp_path / "film.mp4", constant_times(25, 5))
    server.files[f"/watch/{IDS[0]}"] = (tmp_path / "film.mp4").read_bytes()
    (tmp_path / "list.csv").write_text(f"id,start,end\n{IDS[0]},0,2\n{IDS[0]},1.5,4.5\n")
    dataset = Dataset("own", "CC0", address=server.address + "/watch/{id}")
    assert download(dataset, tmp_path / "out", tmp_path / "list.csv", wait=0.001) == {"done": 2}
    assert len(server.asked) == 1 and not (tmp_path / "out" / "videos" / ".whole").exists()
    one, other = find_clips(tmp_path / "out")
    assert one.source_id == other.source_id
    whole = flashes_in(read_picture(tmp_path / "film.mp4", (16, 16)))
    wanted = [time - 1.5 for time in whole if 1.5 <= time < 4.5]
    np.testing.assert_allclose(flashes_in(read_picture(other.path, (16, 16))), wanted, atol=0.02)


def test_what_cannot_be_fetched_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    (tmp_path / "list.csv").write_text(f"id\n{IDS[0]}\n")
    for arguments, message in [
        (["--dataset", "urmp"], "cannot be fetched by program: Dryad"),
        (["--dataset", "avsync15"], "--list FILE.csv"),
        (["--dataset", "avsync15", "--list", str(tmp_path / "list.csv")], r"pip install 'mvgen\[download\]'"),
        (["--dataset", "nothing"], "no data set is called 'nothing'; there are fair-play"),
        (["--dataset", "solos", "--limit", "0"], "must be positive"),
    ]:
        with pytest.raises(UserError, match=message):
            main(["download", *arguments, "--out", str(tmp_path / "out")])
    (tmp_path / "bad.json").write_text('{"files": [{"path": "x"}]}')
    with pytest.raises(UserError, match="does not describe a data set"):
        find_dataset(str(tmp_path / "bad.json"))
    assert all(one.files or one.lists or one.by_hand for one in DATASETS.values())
