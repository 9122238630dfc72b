"""``mvgen COMMAND ...``, and ``python -m mvgen COMMAND ...``: the same as ``python -m mvgen.COMMAND ...``."""

from __future__ import annotations

import runpy
import sys

COMMANDS = {
    "generate": "music for a silent performance, or a film to music",
    "sync": "how late the sound of a video is",
    "retrieve": "the music of a video, or the video of a music, among records",
    "studio": "all of that as a page in the browser",
    "train": "train a model, or score it on held-out records",
    "evaluate": "score a folder of videos against their originals",
    "export": "write a model for other tools",
    "robustness": "scores under changes of camera, light and tempo",
    "ablate": "what each part of the method does",
    "bench": "speed",
    "train_compile": "compile training for machines that are not here",
}
MODULES = {"train": "main"}
"""Where a command's module has another name."""


def main() -> None:
    """Runs a command as if by ``python -m``."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in ("", "-h", "--help"):
        print("mvgen COMMAND ...; each command has --help\n")
        print("\n".join(f"  {name:14s} {told}" for name, told in COMMANDS.items()))
        sys.exit(0 if command else 2)
    if command == "--version":
        from mvgen import __version__

        print(__version__)
        sys.exit(0)
    if command not in COMMANDS:
        print(f"error: there is no command {command!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    del sys.argv[1]
    runpy.run_module(f"mvgen.{MODULES.get(command, command)}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
