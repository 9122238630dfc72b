"""Tests of models of the hub: pushed to and pulled from a server that stands in for it, and a folder."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mvgen.errors import UserError
from mvgen.interop.hub import folder_of, push

hub = pytest.importorskip("huggingface_hub")
constants = importlib.import_module("huggingface_hub.constants")


class Stub(BaseHTTPRequestHandler):
    """As much of the hub as its client asks for: repositories in memory, files as plain blobs of git."""

    repositories: dict[str, dict[str, bytes]] = {}
    private: dict[str, bool] = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name.startswith("forbidden/"):
                return self._answer({"error": "You don't have the rights"}, 403)
            self.repositories.setdefault(name, {})
            self.private[name] = bool(asked.get("private", asked.get("visibility") == "private"))
            return self._answer({"url": f"http://{self.headers['Host']}/{name}"})
        if self.path == "/api/validate-yaml":
            front = json.loads(body)["content"].split("---\n")[1]
            assert "license: " in front
            return self._answer({"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            files = json.loads(body)["files"]
            modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            return self._answer({"files": modes})
        if found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.repositories[found[1]][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"http://{self.headers['Host']}/{found[1]}/commit/{SHA}"
            return self._answer({"success": True, "commitOid": SHA, "commitUrl": url, "hookOutput": ""})
        self._answer({"error": self.path}, 404)

    def do_GET(self) -> None:
        self.path = self.path.split("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/main)?", self.path):
            if found[1] not in self.repositories:
                return self._answer({"error": "Repository not found"}, 404)
            siblings = [{"rfilename": name} for name in self.repositories[found[1]]]
            return self._answer({"id": found[1], "sha": SHA, "siblings": siblings})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", self.path):
            files = self.repositories[found[1]].items()
            return self._answer([{"type": "file", "path": n, "size": len(d), "oid": _oid(d)} for n, d in files])
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", self.path):
            return self._answer(self.repositories[found[1]][found[2]])
        self._answer({"error": self.path}, 404)

    do_HEAD = do_GET

    def _answer(self, content: Any, status: int = 200) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if content is data else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{_oid(data)}"')
        self.send_header("X-Repo-Commit", SHA)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *words: Any) -> None:
        pass


SHA = "5" * 40


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Stub]]:
    """The hub's client asks a stub on this machine, and keeps what it gets in a folder of the test."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{running.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + template[template.index("/{repo_id}") :])
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "stub")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    Stub.repositories, Stub.private = {}, {}
    yield Stub
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder of files such as an export writes."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: cc0-1.0\n---\n# A model\n")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(200)))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_pushed_is_pulled_again(server: type[Stub], model: Path) -> None:
    said = push(model, "hub:somebody/a-model", "a message")
    assert said.endswith(f"/somebody/a-model/commit/{SHA}")
    assert server.repositories == {"somebody/a-model": contents(model)}
    assert server.private == {"somebody/a-model": True}
    pulled = Path(folder_of("hub:somebody/a-model", ("*.json", "*.safetensors")))
    assert contents(pulled) == {name: data for name, data in contents(model).items() if name != "README.md"}


def test_what_the_hub_refuses_is_one_line(server: type[Stub], model: Path) -> None:
    with pytest.raises(UserError, match="cannot push to hub:forbidden/a-model: .*403") as raised:
        push(model, "hub:forbidden/a-model", "a message")
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="cannot fetch somebody/nothing: .*404"):
        folder_of("hub:somebody/nothing", ("*.json",))


def test_a_path_is_a_path_and_never_asked_for(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server: whoever asks fails."""
    monkeypatch.setattr(hub, "snapshot_download", lambda *words, **more: pytest.fail("the hub was asked"))
    monkeypatch.chdir(model.parent)
    for name in (str(model), "model", "model/misspelt", "./no/such"):
        assert folder_of(name, ("*.json",)) == name
    with pytest.raises(UserError, match="no folder modle/x; if the model of the .* hub is meant, write hub:modle/x"):
        folder_of("modle/x", ("*.json",))
    with pytest.raises(UserError, match="no folder modle/x; .* write hub:modle/x"):
        push(model, "modle/x", "")
    with pytest.raises(UserError, match="hub:x: a model of the Hugging Face hub is named hub:OWNER/MODEL"):
        folder_of("hub:x", ("*.json",))


def test_a_folder_is_pushed_to_as_a_repository_is(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "there"
    assert push(model, str(target), "") == str(target) and contents(target) == contents(model)
    (target / "kept").write_text("kept")
    (model / "config.json").write_text("[]")
    push(model, str(target), "")
    assert contents(target) == contents(model) | {"kept": b"kept"}
    (target / "config.json").unlink()
    (target / "config.json").mkdir()
    with pytest.raises(UserError, match="config.json cannot be written"):
        push(model, str(target), "")
