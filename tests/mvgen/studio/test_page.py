"""The studio's page over HTTP, and in a real browser: what it gives out, what it takes, and how it is used."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mvgen
from mvgen.data.records import RecordSpec
from mvgen.errors import UserError
from mvgen.media import probe, write_video
from tests.mvgen.synthetic import preset, write_checkpoint

SPEC = RecordSpec(codebooks=4, codebook_size=512, frame_size=(16, 16), flow_size=(4, 4), codec="encodec_tiny")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serves a page over a model, and gives the folder and its address; closed at the end."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "studio" / "dropped"))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    pytest.importorskip("gradio")
    from mvgen.studio.jobs import Jobs
    from mvgen.studio.page import page_of, serve

    pages = []

    def begin(model: Any) -> tuple[Path, str]:
        folder = tmp_path / "studio"
        pages.append(page_of(Jobs(model, folder, most_seconds=5), []))
        return folder, serve(pages[-1], folder, 0, megabytes=1, wait=False)

    yield begin
    for page in pages:
        page.close()


def asked(address: str, data: bytes | None = None, **headers: str) -> tuple[int, str]:
    """The status and the text of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data, headers), timeout=30) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def upload(address: str, name: str, content: bytes) -> tuple[int, str]:
    head = f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + b"\r\n--edge--\r\n"
    return asked(f"{address}gradio_api/upload", body, **{"Content-Type": "multipart/form-data; boundary=edge"})


def test_only_the_studios_own_folder_is_given_out(studio: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret")
    folder, address = studio(None)
    assert address.startswith("http://127.0.0.1:")
    status, page = asked(address)
    assert status == 200 and "mvgen studio" in page and "fonts.googleapis" not in page
    for path in (secret, Path("/etc/passwd"), Path(mvgen.__file__), folder / ".." / "secret.txt", folder / "index"):
        status, text = asked(f"{address}gradio_api/file={path}")
        assert status in (403, 404) and "a secret" not in text and "root:" not in text
    (folder / "made" / "a.txt").write_text("a result")
    assert asked(f"{address}gradio_api/file={folder / 'made' / 'a.txt'}") == (200, "a result")


def test_uploads_are_bounded_and_lie_in_the_folder(studio: Any) -> None:
    folder, address = studio(None)
    status, text = upload(address, "../../a.mp4", b"x" * 1000)
    assert status == 200 and Path(json.loads(text)[0]).resolve().is_relative_to(folder / "dropped")
    assert upload(address, "b.mp4", b"x" * 1_100_000)[0] == 413


def test_a_request_made_by_hand_names_no_file_of_the_machine(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def music(self: object, session: str, video: str, *_: object, **__: object) -> None:
        read.append(video)
        raise UserError("far enough")

    monkeypatch.setattr("mvgen.studio.jobs.Jobs.music", music)
    _, address = studio(None)
    config = json.loads(asked(f"{address}config")[1])
    event = next(each for each in config["dependencies"] if len(each["inputs"]) == 7)
    dropped = json.loads(upload(address, "a.mp4", b"x" * 1000)[1])[0]
    for number, path in enumerate(["/etc/hostname", mvgen.__file__, dropped]):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        body = {"data": [file, 0, 0, 0, 0, False, None], "fn_index": event["id"], "session_hash": f"byhand{number}"}
        asked(f"{address}gradio_api/queue/join", json.dumps(body).encode(), **{"Content-Type": "application/json"})
        with urllib.request.urlopen(
            f"{address}gradio_api/queue/data?session_hash=byhand{number}", timeout=60
        ) as stream:
            told = (json.loads(line.decode().partition("data:")[2] or "{}") for line in stream)
            assert not next(each for each in told if each.get("msg") == "process_completed")["success"]
    assert [Path(each).name for each in read] == ["a.mp4"]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [1280, 375])
def test_in_a_browser(studio: Any, tmp_path: Path, width: int) -> None:
    """Upload, generate, play, download; a bad file; an end; from a desk, and from a narrow phone."""
    playwright = pytest.importorskip("playwright.sync_api")
    config = preset("debug", "")
    config.model.notes_width = 8
    checkpoint = write_checkpoint(tmp_path / "run", config, SPEC)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (100, 12, 16, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    write_video(tmp_path / "play.mp4", pictures, (0.1 * rng.standard_normal(176_400)).astype(np.float32), 44_100)
    (tmp_path / "text.mp4").write_text("no video at all\n" * 9)
    _, address = studio(mvgen.load(checkpoint))
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 800})
        elsewhere: list[str] = []
        page.on("request", lambda request: elsewhere.append(request.url) if "://127.0.0.1" not in request.url else None)
        page.goto(address)
        go = page.get_by_role("button", name="Make the music")
        go.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        go.click()
        page.get_by_text("Drop a video first.").wait_for()
        page.set_input_files("#music-video input[type=file]", tmp_path / "play.mp4")
        page.locator("#music-video video").wait_for()
        go.click()
        page.locator("#music-files a").first.wait_for(timeout=300_000)
        length = page.locator("#music-result video").evaluate("video => video.play().then(() => video.duration)")
        assert abs(length - 4) < 0.1
        with page.expect_download() as begun:
            page.locator("#music-files a").first.click()
        begun.value.save_as(tmp_path / "got.mp4")
        assert page.locator("#music-files a[href*='.mid']").count()
        assert abs(probe(tmp_path / "got.mp4").duration - 4) < 0.03
        # Another temperature is compiled anew, which leaves time to stop it.
        page.get_by_text("Settings").first.click()
        page.get_by_label("Temperature").first.fill("0.5")
        go.click()
        page.get_by_text("Playing").first.wait_for(timeout=60_000)
        page.get_by_role("button", name="Stop").first.click()
        page.get_by_text("Playing").first.wait_for(state="hidden", timeout=60_000)
        page.locator("#music-video").get_by_label("Clear").click()
        page.set_input_files("#music-video input[type=file]", tmp_path / "text.mp4")
        page.wait_for_timeout(2000)
        go.click()
        page.get_by_text("text.mp4 is text, which is not read as video").wait_for(timeout=60_000)
        browser.close()
    assert [url for url in elsewhere if not url.startswith(("data:", "blob:"))] == []
