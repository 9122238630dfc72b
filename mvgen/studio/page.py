"""The page: four tabs over :class:`mvgen.studio.jobs.Jobs`, in plain words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from mvgen.errors import UserError
from mvgen.media.midi import SUFFIXES
from mvgen.studio.examples import Example
from mvgen.studio.jobs import Jobs, Made, Stopped

HEAD = """# mvgen studio
Music for a silent performance, a film to a piece of music, and whether the two belong together."""
FIRST = "The first run of each kind compiles for up to a minute; the next ones go at once."
NO_RECORDS = "Start the studio with `--records DIR`, a folder of records, and search it here."
CSS = """
.gradio-container { width: 100% !important; max-width: 1080px !important; margin: 0 auto !important; }
.told p { color: var(--neutral-600); }
.dark .told p { color: var(--neutral-400); }
footer { display: none !important; }
"""
QUEUE = "model"
"""All jobs wait in one line: there is one model."""


def theme() -> gr.themes.Base:
    """Plain: the system's own fonts, so that no page fetches any, and one colour."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
    return gr.themes.Base(
        primary_hue="red", neutral_hue="zinc", radius_size="lg", font=fonts, font_mono=["ui-monospace", "monospace"]
    ).set(
        button_primary_background_fill="#ce402c",
        button_primary_background_fill_hover="#b23522",
        button_primary_text_color="white",
        block_border_width="1px",
        block_shadow="none",
    )


def page_of(jobs: Jobs, examples: list[Example]) -> gr.Blocks:
    """The whole page.

    Args:
        jobs: what it asks for.
        examples: performances to try.
    """
    with gr.Blocks(
        title="mvgen studio", analytics_enabled=False, fill_width=True, delete_cache=(3600, 24 * 3600)
    ) as page:
        gr.Markdown(HEAD)
        with gr.Tab("Music for a video"):
            _music(jobs, examples)
        with gr.Tab("Film to music"):
            _film(jobs, examples)
        with gr.Tab("In sync?"):
            _sync(jobs, examples)
        with gr.Tab("What fits?"):
            _retrieve(jobs, examples)
    return page


def serve(page: gr.Blocks, folder: Path, port: int, megabytes: int, wait: bool = True) -> str:
    """Serves the page on 127.0.0.1; of files, only those in the studio's folder.

    Args:
        page: of :func:`page_of`.
        folder: the studio's.
        port: 0 for any that is free.
        megabytes: larger uploads are refused.
        wait: until Ctrl-C; else the page is served by a thread until ``page.close()``.

    Returns:
        Its address.
    """
    for name in ("dropped", "made", "examples"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    address = page.queue(max_size=16, default_concurrency_limit=1).launch(
        server_name="127.0.0.1", server_port=port or None, max_file_size=megabytes * 10**6, share=False, ssr_mode=False,
        allowed_paths=[str(folder / "made"), str(folder / "examples")], theme=theme(), css=CSS, footer_links=[],
        show_error=False, prevent_thread_lock=True, quiet=True,
    )[1]  # fmt: skip
    if wait:
        print(f"the studio is open at {address}; Ctrl-C closes it", flush=True)
        page.block_thread()
    return address


def answered(work: Callable[[], Any], *dropped: str | None) -> Any:
    """What a job gives; what the user can mend is shown in a line, with the names of files as they were dropped."""
    try:
        return work()
    except Stopped:
        gr.Info("Stopped.")
        return None
    except UserError as error:
        line = str(error)
        for path in dropped:
            line = line.replace(path, Path(path).name) if path else line
        raise gr.Error(line, duration=None, title="That did not work", print_exception=False) from None


def _tell(progress: gr.Progress, what: str) -> Callable[[int, int], None]:
    return lambda done, of: progress((done, of), desc=what, unit="steps")


def _buttons(go: str) -> tuple[gr.Button, gr.Button]:
    with gr.Row():
        return gr.Button(go, variant="primary", scale=3), gr.Button("Stop", variant="secondary", scale=1)


def _plot() -> gr.Image:
    """Where the plot will be, once there is one."""
    return gr.Image(label="Onsets over movement", interactive=False, buttons=[], visible=False)


def _files(name: str) -> gr.File:
    """Where what is made is downloaded, once there is something."""
    return gr.File(label="Download", interactive=False, file_count="multiple", elem_id=name, visible=False)


def _score(label: str) -> gr.File:
    """Where a MIDI file is dropped."""
    return gr.File(label=label, file_types=list(SUFFIXES), file_count="single", height=160)


def _wire(jobs: Jobs, go: gr.Button, stop: gr.Button, work: Any, inputs: list[Any], outputs: list[Any]) -> None:
    """A button that runs a job, and one that ends it, whether it runs or waits."""
    event = go.click(
        work, inputs, outputs, concurrency_id=QUEUE, concurrency_limit=1, show_progress_on=outputs[:1],
        api_visibility="private",
    )  # fmt: skip

    def end(request: gr.Request) -> None:
        jobs.stop(str(request.session_hash))

    stop.click(end, None, None, queue=False, cancels=[event], api_visibility="private")


def _music(jobs: Jobs, examples: list[Example]) -> None:
    with gr.Row():
        with gr.Column():
            video = gr.Video(label="A performance", sources=["upload"], height=300, elem_id="music-video")
            with gr.Accordion("Settings", open=False):
                seconds = gr.Number(0, label="Seconds", info="only so much from the start; 0: all of it", minimum=0)
                mix = gr.Slider(0, 1, 0, step=0.05, label="Original sound", info="how much of it stays")
                temperature = gr.Slider(
                    0,
                    1.5,
                    0,
                    step=0.05,
                    label="Temperature",
                    info="0: always the likeliest; above: another take a seed",
                )
                seed = gr.Number(0, label="Seed", precision=0, minimum=0)
                compare = gr.Checkbox(False, label="Also original and result side by side")
                score = _score("A score to follow (MIDI)")
            go, stop = _buttons("Make the music")
            gr.Markdown(FIRST, elem_classes="told")
        with gr.Column():
            result = gr.Video(label="With music", height=300, interactive=False, elem_id="music-result")
            plot = _plot()
            told = gr.Markdown(elem_classes="told")
            files = _files("music-files")
    if examples:
        gr.Examples([[str(each.video)] for each in examples], [video], label="Examples, made by Recital")

    def work(
        name: str | None, length: float, keep: float, warmth: float, number: int, beside: bool,
        notes: str | None, request: gr.Request, progress: gr.Progress = gr.Progress(),  # noqa: B008 - so gradio finds it
    ) -> Any:  # fmt: skip
        made: Made | None = answered(
            lambda: jobs.music(
                str(request.session_hash), name, _tell(progress, "Playing"), seconds=length or 0, temperature=warmth,
                seed=number or 0, mix=keep, compare=beside, notes=notes,
            ),
            name, notes,
        )  # fmt: skip
        return _shown(made, 4)

    _wire(jobs, go, stop, work, [video, seconds, mix, temperature, seed, compare, score], [result, plot, told, files])


def _film(jobs: Jobs, examples: list[Example]) -> None:
    with gr.Row():
        with gr.Column():
            image = gr.Image(label="The first frame", type="filepath", sources=["upload"], height=300, format="png")
            audio = gr.Audio(label="The music", type="filepath", sources=["upload"], editable=False)
            score = _score("or a score (MIDI)")
            with gr.Accordion("Settings", open=False):
                seconds = gr.Number(0, label="Seconds", info="only so much from the start; 0: all of it", minimum=0)
                follow = gr.Slider(1, 4, 1, step=0.25, label="Follow the music", info="above 1: harder, and slower")
                steps = gr.Slider(1, 16, 2, step=1, label="Steps", info="of painting; more take longer")
                seed = gr.Number(0, label="Seed", precision=0, minimum=0)
            go, stop = _buttons("Make the film")
            gr.Markdown(FIRST, elem_classes="told")
        with gr.Column():
            result = gr.Video(label="Filmed", height=300, interactive=False)
            plot = _plot()
            told = gr.Markdown(elem_classes="told")
            files = _files("film-files")
    if examples:
        pairs = [[str(each.image), str(each.sound)] for each in examples]
        gr.Examples(pairs, [image, audio], label="Examples, made by Recital")

    def work(
        picture: str | None, song: str | None, notes: str | None, length: float, hard: float, count: float, number: int,
        request: gr.Request, progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Any:  # fmt: skip
        made: Made | None = answered(
            lambda: jobs.film(
                str(request.session_hash), picture, song, notes, _tell(progress, "Filming"), seconds=length or 0,
                steps=int(count), follow=hard, seed=number or 0,
            ),
            picture, song, notes,
        )  # fmt: skip
        return _shown(made, 4)

    _wire(jobs, go, stop, work, [image, audio, score, seconds, follow, steps, seed], [result, plot, told, files])


def _shown(made: Made | None, count: int) -> Any:
    if made is None:
        return [gr.skip()] * count
    files = gr.update(value=[str(each) for each in made.files], visible=True)
    shown = gr.update(value=str(made.plot), visible=True), made.told, files
    return str(made.video), *shown


def _sync(jobs: Jobs, examples: list[Example]) -> None:
    with gr.Row():
        with gr.Column():
            video = gr.Video(label="A video with sound", sources=["upload"], height=300)
            go, stop = _buttons("Listen and look")
        with gr.Column():
            told = gr.Markdown("How many milliseconds late its sound is, and how sure that is.", elem_classes="told")
            plot = _plot()
    if examples:
        gr.Examples([[str(each.video)] for each in examples], [video], label="Examples, made by Recital")

    def work(name: str | None, request: gr.Request) -> Any:
        found = answered(lambda: jobs.sync(str(request.session_hash), name), name)
        return [gr.skip()] * 2 if found is None else (found[0], gr.update(value=str(found[1]), visible=True))

    _wire(jobs, go, stop, work, [video], [told, plot])


def _retrieve(jobs: Jobs, examples: list[Example]) -> None:
    if not jobs.records:
        gr.Markdown(NO_RECORDS)
        return
    with gr.Row():
        video = gr.Video(label="A performance, whose music is sought", sources=["upload"], height=240)
        audio = gr.Audio(
            label="or music, whose performance is sought", type="filepath", sources=["upload"], editable=False
        )
    go, stop = _buttons("Search")
    heads = ["score", "belongs", "from, s", "to, s", "clip", "labels"]
    table = gr.Dataframe(headers=heads, label="What fits best", interactive=False, elem_id="fits")
    if examples:
        gr.Examples([[str(each.video)] for each in examples], [video], label="Examples, made by Recital")

    def work(name: str | None, song: str | None, request: gr.Request) -> Any:
        answer = answered(lambda: jobs.retrieve(str(request.session_hash), name, song), name, song)
        if answer is None:
            return gr.skip()
        return [[round(one.score, 3), round(one.belongs, 2), one.start_seconds, one.end_seconds, one.clip_id,
                 one.labels] for one in answer.found]  # fmt: skip

    _wire(jobs, go, stop, work, [video, audio], [table])
