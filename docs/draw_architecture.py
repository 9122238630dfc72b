"""Draws docs/architecture.svg and docs/architecture.png: the problem and the design in one figure.

    python docs/draw_architecture.py

Coordinates are pixels of the 1800-pixel-wide picture, y downwards; a README shows it at half that width, so words are
at least 19.5 pixels high. The upper half is one performance on one time axis (eight frames, sixteen tokens): the same
ruler cuts every lane of it. The lower half is the model: two towers, the latent space between them, a way out on each
side. The same program draws the same files, byte for byte.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Ellipse, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

WIDTH, HEIGHT = 1800, 1330
PAGE, PANEL, EDGE = "#FAF8F3", "#FFFFFF", "#E3DDD1"
INK, QUIET = "#22303C", "#5D6A75"
PICTURE, PICTURE_SOFT = "#D9572B", "#FBE6DC"  # everything seen is warm
SOUND, SOUND_SOFT = "#12758A", "#DBEFF2"  # everything heard is cool
LATENT, LATENT_SOFT = "#6A4C93", "#EEE9F6"  # where both meet
SKIN, SKIN_DARK = "#D9B08C", "#B98C66"
KEY_WHITE, KEY_DOWN, KEY_BLACK, WOOD = "#FFFDF8", "#B5AC9C", "#2B2B33", "#EFE7D8"

FRAMES, TOKENS = 8, 16
PRESSED = {2: 2, 3: 2, 4: 2, 6: 5, 7: 5}  # frame -> white key that is down
HAND = [0.30, 0.33, 0.36, 0.36, 0.44, 0.60, 0.68, 0.68]  # place of the finger that plays, share of the keyboard's width
ONSETS = (2, 6)  # frames in which a note begins


def text(ax: Axes, x: float, y: float, words: str, size: float = 21, colour: str = INK, **options) -> None:
    """Words at a size given in pixels."""
    ax.text(x, y, words, fontsize=size * 0.72, color=colour, **{"ha": "left", "va": "center", **options})


def heading(ax: Axes, x: float, y: float, parts: list[tuple[str, float, str, str]]) -> None:
    """Words of several kinds on one line, (words, size, colour, weight) each, spaced by their measured widths."""
    for words, size, colour, weight in parts:
        drawn = ax.text(x, y, words, fontsize=size * 0.72, color=colour, weight=weight, ha="left", va="baseline")
        x += drawn.get_window_extent().width + 0.42 * size


def panel(
    ax: Axes, x: float, y: float, w: float, h: float, fill: str = PANEL, edge: str = EDGE, radius: float = 18
) -> None:
    """A rounded rectangle."""
    style = f"round,pad=0,rounding_size={radius}"
    ax.add_patch(FancyBboxPatch((x, y), w, h, boxstyle=style, facecolor=fill, edgecolor=edge, linewidth=1.4))


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = INK, bend: float = 0.0) -> None:
    """An arrow, straight or bent."""
    style = "-|>,head_length=8,head_width=5"
    ax.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle=style,
            color=colour,
            linewidth=3,
            shrinkA=0,
            shrinkB=0,
            connectionstyle=f"arc3,rad={bend}",
        )
    )


def keyboard(
    ax: Axes, x: float, y: float, w: float, h: float, hands: list[float], pressed: set[int], clear: float = 1.0
) -> None:
    """A keyboard from above with hands on it; `clear` below 1 mixes it with noise, as the denoiser sees it."""
    clip = FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0,rounding_size=6", facecolor=WOOD, edgecolor="none")
    ax.add_patch(clip)

    def add(patch) -> None:
        ax.add_patch(patch)
        patch.set_clip_path(clip)

    keys = 8
    top, key = y + 0.10 * h, w / keys
    for i in range(keys):
        # A pressed key goes down: it lies in shade, and its front edge lower.
        fill, length = (KEY_DOWN, 0.60) if i in pressed else (KEY_WHITE, 0.56)
        add(Rectangle((x + i * key, top), key, length * h, facecolor=fill, edgecolor="#CFC6B6", linewidth=0.9))
    for i in (0, 1, 3, 4, 5, 7):
        add(Rectangle((x + (i + 0.70) * key, top), 0.58 * key, 0.32 * h, facecolor=KEY_BLACK, edgecolor="none"))
    for place in hands:
        centre = x + place * w
        for finger in range(5):
            # Fingers fan out from the palm; the second one plays, at `place`.
            tip_x = centre + (finger - 1) * 0.62 * key
            tip_y = y + h * (0.60, 0.47, 0.44, 0.48, 0.56)[finger]
            base_x, base_y = centre + (0.35 + (finger - 1) * 0.42) * key, y + 0.92 * h
            ax.plot(
                [tip_x, base_x],
                [tip_y, base_y],
                color=SKIN,
                linewidth=0.30 * key,
                solid_capstyle="round",
                clip_path=clip,
            )
        add(Ellipse((centre + 0.75 * key, y + 0.98 * h), 2.7 * key, 0.46 * h, facecolor=SKIN, edgecolor="none"))
    if clear < 1:
        rng = np.random.default_rng(round(x * 7 + y * 3))
        noise = rng.uniform(0.15, 0.95, size=(14, round(14 * w / h), 3))
        image = ax.imshow(
            noise, extent=(x, x + w, y + h, y), alpha=1 - clear, zorder=3, interpolation="nearest", aspect="auto"
        )
        image.set_clip_path(clip)
    outline = FancyBboxPatch(
        (x, y), w, h, boxstyle="round,pad=0,rounding_size=6", facecolor="none", edgecolor=QUIET, linewidth=1.2
    )
    outline.set_zorder(4)
    ax.add_patch(outline)


def wave(times: np.ndarray, onsets: tuple[float, ...], seed: int = 3) -> np.ndarray:
    """Amplitude at `times` of notes that begin at `onsets` and ring out (same unit): -1 to 1."""
    rng = np.random.default_rng(seed)
    envelope = 0.02 + sum(np.where(times >= t, np.exp(-(times - t) / 2.2), 0.0) for t in onsets)
    return np.clip(envelope, 0, 1) * rng.uniform(0.35, 1.0, size=times.shape)


def draw_wave(ax: Axes, x: float, y: float, w: float, h: float, onsets: tuple[float, ...], length: float) -> None:
    """A wave as bars around the line y, `length` units of time wide."""
    count = round(w / 6)
    times = (np.arange(count) + 0.5) / count * length
    for i, height in enumerate(wave(times, onsets)):
        half = max(1.5, height * h / 2)
        bar = x + (i + 0.5) * w / count
        ax.plot([bar, bar], [y - half, y + half], color=SOUND, linewidth=2.4, solid_capstyle="round")


def token_colours(rows: int, columns: int, seed: int = 5) -> np.ndarray:
    """Shades of the sound colour, one a token, that change where notes begin: [rows, columns] in 0..1."""
    rng = np.random.default_rng(seed)
    shades = rng.uniform(0.15, 0.5, size=(rows, columns))
    for onset in ONSETS:
        first = 2 * onset
        shades[:, first : first + 3] += np.array([0.5, 0.35, 0.2])[: columns - first]
    return np.clip(shades, 0, 1)


def shade(amount: float) -> tuple[float, float, float]:
    """Between the soft and the full colour of sound."""
    low, high = (np.array(matplotlib.colors.to_rgb(colour)) for colour in (SOUND_SOFT, SOUND))
    return tuple(low + amount * (high - low))


def draw_performance(ax: Axes) -> None:
    """Left of the upper half: someone plays."""
    text(ax, 60, 148, "A performance", 27, weight="bold")
    keyboard(ax, 60, 180, 320, 196, [0.16, 0.60], {1, 5})
    for dx, dy in ((52, 172), (388, 172), (52, 384), (388, 384)):  # the corners of a viewfinder
        sx, sy = (1 if dx < 200 else -1), (1 if dy < 300 else -1)
        ax.plot([dx, dx, dx + 26 * sx], [dy + 26 * sy, dy, dy], color=PICTURE, linewidth=3, solid_capstyle="round")
    text(ax, 60, 412, "the picture", 22, PICTURE, weight="bold")
    draw_wave(ax, 60, 500, 320, 110, (0.6, 3.4, 5.2), 8)
    text(ax, 60, 578, "its sound", 22, SOUND, weight="bold")
    text(ax, 60, 634, "Movements make music.", 22, QUIET)
    text(ax, 60, 664, "What moved is what sounds,", 22, QUIET)
    text(ax, 60, 694, "at the same time.", 22, QUIET)


def draw_lanes(ax: Axes, left: float, width: float) -> None:
    """Middle of the upper half: the lanes of a record over one time axis."""
    frame = width / FRAMES
    label = left - 16
    heading(ax, left - 130, 157, [("data_prep", 27, INK, "bold"), ("puts all of it on one clock", 24, QUIET, "normal")])
    for onset in ONSETS:  # one time, through every lane
        x = left + onset * frame
        ax.plot([x, x], [176, 690], color=LATENT, linewidth=2, linestyle=(0, (2, 3)), zorder=4.5)

    lane = {"frames": 222, "flow": 315, "semantic": 386, "tokens": 545, "sound": 640}
    for name, y in lane.items():
        text(ax, label, y, name, 22, SOUND if name in ("tokens", "sound") else PICTURE, ha="right", weight="bold")

    rng = np.random.default_rng(11)
    for i in range(FRAMES):
        x = left + i * frame
        pressed = {PRESSED[i]} if i in PRESSED else set()
        keyboard(ax, x + 4, 186, frame - 8, 72, [HAND[i]], pressed)
        speed = HAND[i] - HAND[max(0, i - 1)]
        strike = 1.0 if i in ONSETS else 0.0
        panel(ax, x + 4, 274, frame - 8, 82, fill=PICTURE_SOFT, edge="none", radius=6)
        for gx in range(5):
            for gy in range(3):
                near = np.exp(-(((gx + 0.5) / 5 - HAND[i] - 0.06) ** 2) / 0.035) * (0.4 + 0.3 * gy)
                dx, dy = 145 * speed * near, -14 * strike * near
                px, py = x + 4 + (gx + 0.5) * (frame - 8) / 5, 274 + (gy + 0.5) * 82 / 3
                if np.hypot(dx, dy) > 2:
                    ax.annotate(
                        "",
                        (px + dx / 2, py + dy / 2),
                        (px - dx / 2, py - dy / 2),
                        arrowprops={
                            "arrowstyle": "-|>,head_length=0.3,head_width=0.18",
                            "color": PICTURE,
                            "lw": 1.6,
                            "shrinkA": 0,
                            "shrinkB": 0,
                        },
                    )
                else:
                    ax.add_patch(Circle((px, py), 1.6, color=PICTURE, alpha=0.55))
        heights = np.clip(rng.uniform(0.15, 0.8, 9) + 0.25 * strike, 0, 1)
        for j, height in enumerate(heights):
            ax.add_patch(
                Rectangle(
                    (x + 9 + j * (frame - 18) / 9, 406 - 38 * height),
                    (frame - 18) / 9 - 3,
                    38 * height,
                    color=PICTURE,
                    alpha=0.35 + 0.6 * height,
                )
            )

    draw_ruler(ax, left, width, 460)

    shades = token_colours(4, TOKENS)
    cell = width / TOKENS
    for row in range(4):
        for column in range(TOKENS):
            ax.add_patch(
                Rectangle(
                    (left + column * cell + 2, 506 + row * 20),
                    cell - 4,
                    17,
                    facecolor=shade(shades[row, column]),
                    edgecolor="none",
                )
            )
    draw_wave(ax, left, 640, width, 78, tuple(float(o) for o in ONSETS), FRAMES)
    text(
        ax,
        left + (ONSETS[0] + ONSETS[1]) / 2 * frame,
        702,
        "a key goes down, a note begins",
        21,
        LATENT,
        ha="center",
        weight="bold",
    )


def draw_ruler(ax: Axes, left: float, width: float, y: float) -> None:
    """The clock: 25 frames above the line, 50 tokens under it."""
    ax.add_patch(Rectangle((left - 140, y - 30), width + 140 + 14, 60, facecolor=INK, edgecolor="none", zorder=2))
    text(ax, left - 130, y - 14, "25 a second", 19.5, "#FFD9C7", zorder=3)
    text(ax, left - 130, y + 15, "50 a second", 19.5, "#BFE6EC", zorder=3)
    ax.plot([left, left + width], [y, y], color="white", linewidth=1.6, zorder=3)
    for i in range(FRAMES + 1):
        x = left + i * width / FRAMES
        ax.plot([x, x], [y - 28, y + 28], color="white", linewidth=1.8, zorder=3)
        if i < FRAMES:
            text(ax, x + width / FRAMES / 2, y - 14, f"frame {i}", 19.5, "#FFD9C7", ha="center", zorder=3)
    for i in range(TOKENS):
        x = left + i * width / TOKENS
        ax.plot([x, x], [y, y + 14], color="white", linewidth=1.2, zorder=3)
        text(ax, x + width / TOKENS / 2, y + 15, f"{i}", 19.5, "#BFE6EC", ha="center", zorder=3)


def draw_records(ax: Axes) -> None:
    """Right of the upper half: what is kept."""
    text(ax, 1502, 148, "Records", 27, weight="bold")
    for step in (2, 1, 0):
        panel(ax, 1502 + step * 12, 186 + step * 12, 214, 412, fill=PANEL, edge="#B9B2A4", radius=12)
    text(ax, 1520, 222, "TFRecord", 24, weight="bold")
    rows = (
        ("frames", PICTURE),
        ("flow", PICTURE),
        ("semantic", PICTURE),
        ("landmarks", PICTURE),
        ("tokens", SOUND),
        ("notes", LATENT),
        ("source, split", QUIET),
    )
    for i, (name, colour) in enumerate(rows):
        y = 266 + i * 43
        ax.add_patch(Circle((1530, y), 8, color=colour))
        text(ax, 1552, y, name, 22)
    text(ax, 1520, 572, "CRC checked", 20.5, QUIET)
    text(ax, 1502, 664, "open in TFDS and Grain,", 20.5, QUIET)
    text(ax, 1502, 694, "read at random", 20.5, QUIET)


def tower(ax: Axes, x: float, y: float, w: float, h: float, fill: str, name: str, sees: str) -> None:
    """A tower: wide where it sees, narrow where it speaks."""
    ax.add_patch(
        Polygon(
            [(x, y), (x + w, y), (x + w - 22, y + h), (x + 22, y + h)],
            closed=True,
            facecolor=fill,
            edgecolor="none",
            joinstyle="round",
        )
    )
    text(ax, x + w / 2, y + 27, name, 25, "white", ha="center", weight="bold")
    text(ax, x + w / 2, y + 57, sees, 20.5, "white", ha="center")


def draw_latents(ax: Axes) -> None:
    """Middle of the lower half: two towers and the space in which they agree."""
    tower(ax, 604, 812, 288, 82, PICTURE, "video tower", "patches, flow, semantics")
    tower(ax, 908, 812, 288, 82, SOUND, "audio tower", "tokens")
    text(ax, 900, 918, "positions in seconds", 21, QUIET, ha="center")
    panel(ax, 600, 944, 600, 292, fill=LATENT_SOFT, edge="#CFC3E3")
    text(ax, 622, 974, "Coordinated latent space", 25, LATENT, weight="bold")
    arrow(ax, (748, 894), (748, 942), PICTURE)
    arrow(ax, (1052, 894), (1052, 942), SOUND)

    # The performance as a path through the space: picture and sound of the same time lie together.
    turns = np.linspace(0, 1, 200)
    ax.plot(
        640 + 240 * turns,
        1086 - 52 * np.sin(2 * np.pi * turns + 0.5),
        color=LATENT,
        alpha=0.25,
        linewidth=13,
        solid_capstyle="round",
    )
    for share in np.linspace(0.04, 0.96, 7):
        x, y = 640 + 240 * share, 1086 - 52 * np.sin(2 * np.pi * share + 0.5)
        ax.plot([x - 4, x + 5], [y - 9, y + 9], color=LATENT, linewidth=1.6)
        ax.add_patch(Circle((x - 4, y - 9), 8, facecolor=PICTURE, edgecolor="white", linewidth=1.5, zorder=3))
        ax.add_patch(Circle((x + 5, y + 9), 8, facecolor=SOUND, edgecolor="white", linewidth=1.5, zorder=3))
    for tail, head in (((684, 1076), (668, 1124)), ((838, 1088), (862, 1040))):  # not the same time: pushed away
        arrow(ax, tail, head, "#A99BC4")
        away = (head[0] + (head[0] - tail[0]) * 0.25, head[1] + (head[1] - tail[1]) * 0.25)
        ax.add_patch(Circle(away, 8, facecolor=LATENT_SOFT, edgecolor=SOUND, linewidth=2))
    text(ax, 622, 1182, "InfoNCE: same time together,", 20.5)
    text(ax, 622, 1210, "other clips and times apart", 20.5)

    # Similarity of frames and tokens in that space: where it lies along the diagonal, the two belong together.
    left, top, cell = 996, 1022, 11
    for i in range(FRAMES):
        for j in range(TOKENS):
            near = np.exp(-(((j + 0.5) / 2 - (i + 0.5)) ** 2) / 1.6)
            ax.add_patch(
                Rectangle(
                    (left + j * cell, top + i * 1.5 * cell),
                    cell - 1,
                    1.5 * cell - 1,
                    facecolor=LATENT,
                    alpha=0.07 + 0.9 * near,
                    edgecolor="none",
                )
            )
    text(ax, left - 10, top + 66, "frames", 20.5, PICTURE, ha="right")
    text(ax, left + 88, top - 15, "tokens", 20.5, SOUND, ha="center")
    text(ax, left + 88, 1182, "similarity tells", 20.5, ha="center")
    text(ax, left + 88, 1210, "what belongs", 20.5, ha="center")
    text(ax, 900, 1272, "one model, one loss, one checkpoint", 21, QUIET, ha="center")


def draw_music(ax: Axes) -> None:
    """Left of the lower half: silent video in, music out."""
    panel(ax, 40, 800, 500, 490)
    heading(
        ax, 64, 847, [("Silent video", 27, PICTURE, "bold"), ("to", 27, QUIET, "normal"), ("music", 27, SOUND, "bold")]
    )
    text(ax, 64, 890, "Token decoder", 24, weight="bold")
    text(ax, 64, 920, "MusicGen's form; codebooks one step apart", 20.5, QUIET)
    shades = token_colours(4, 12, seed=8)
    cell = 30
    for row in range(4):
        for column in range(14):
            x, y = 64 + column * cell, 946 + row * 25
            token = column - row
            made = column < 9
            if not 0 <= token < 12:
                continue
            face = shade(shades[row, token]) if made else PANEL
            ax.add_patch(
                Rectangle(
                    (x, y),
                    cell - 4,
                    20,
                    facecolor=face,
                    edgecolor=SOUND if not made else "none",
                    linewidth=1,
                    linestyle=(0, (2, 2)),
                )
            )
    ax.add_patch(Rectangle((64 + 9 * cell - 4, 938), cell + 4, 112, facecolor="none", edgecolor=LATENT, linewidth=2.6))
    text(ax, 64, 1074, "attends to the video by a per-head time bias", 20.5, QUIET)
    arrow(ax, (284, 1094), (284, 1124))
    panel(ax, 64, 1128, 452, 44, fill=SOUND_SOFT, edge="none", radius=10)
    text(ax, 290, 1150, "codec: EnCodec, 4 codebooks", 22, SOUND, ha="center", weight="bold")
    draw_wave(ax, 64, 1232, 452, 84, (0.4, 2.0, 4.4, 6.0), 8)


def draw_video(ax: Axes) -> None:
    """Right of the lower half: an image and music in, video out."""
    panel(ax, 1260, 800, 500, 490)
    heading(
        ax,
        1284,
        847,
        [("Image and music", 27, SOUND, "bold"), ("to", 27, QUIET, "normal"), ("video", 27, PICTURE, "bold")],
    )
    text(ax, 1284, 890, "Movement and denoiser", 24, weight="bold")
    text(ax, 1284, 920, "planned first, then painted by diffusion", 20.5, QUIET)
    width, height, gap = 84, 62, 8
    for row, clear in enumerate((0.0, 0.55, 1.0)):
        y = 950 + row * 78
        for column in range(5):
            x = 1284 + column * (width + gap)
            frame = (1, 2, 5, 6, 7)[column]
            keyboard(
                ax,
                x,
                y,
                width,
                height,
                [HAND[frame]],
                {PRESSED[frame]} if frame in PRESSED else set(),
                clear if column else 1.0,
            )
    text(ax, 1282, 1204, "the image", 20.5, PICTURE)
    text(ax, 1284 + 2.95 * (width + gap) - 4, 1204, "noise becomes frames", 20.5, QUIET, ha="center")
    for column in range(1, 5):
        x = 1284 + column * (width + gap)
        for half in range(2):
            ax.add_patch(
                Rectangle(
                    (x + half * width / 2 + 2, 1226),
                    width / 2 - 4,
                    16,
                    facecolor=shade(0.25 + 0.2 * ((column * 3 + half) % 4)),
                    edgecolor="none",
                )
            )
    text(ax, 1284, 1264, "each frame hears the sound around it", 20.5, QUIET)


def draw() -> plt.Figure:
    """The whole figure."""
    figure = plt.figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, facecolor=PAGE)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.axis("off")
    ax.set_xlim(0, WIDTH)
    ax.set_ylim(HEIGHT, 0)
    tagline = "learns how a musician's movements make the music, and uses it both ways"
    heading(ax, 40, 78, [("mvgen", 46, INK, "bold"), (tagline, 30, QUIET, "normal")])
    panel(ax, 40, 112, 1720, 622)
    draw_performance(ax)
    arrow(ax, (394, 278), (432, 278), PICTURE)
    arrow(ax, (394, 478), (432, 478), SOUND)
    draw_lanes(ax, left=580, width=860)
    arrow(ax, (1452, 392), (1494, 392))
    draw_records(ax)
    arrow(ax, (748, 736), (748, 808), PICTURE)
    arrow(ax, (1052, 736), (1052, 808), SOUND)
    text(ax, 900, 772, "mvgen, in JAX", 21, QUIET, ha="center")
    draw_latents(ax)
    arrow(ax, (598, 1090), (544, 1090), LATENT)
    arrow(ax, (1202, 1090), (1256, 1090), LATENT)
    draw_music(ax)
    draw_video(ax)
    ax.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0), aspect="auto")  # images move the limits
    return figure


def main() -> None:
    """Writes both files beside this program."""
    plt.rcParams.update({"font.family": "DejaVu Sans", "svg.fonttype": "path", "svg.hashsalt": "mvgen"})
    figure = draw()
    folder = Path(__file__).parent
    figure.savefig(folder / "architecture.svg", facecolor=PAGE, metadata={"Date": None})
    figure.savefig(folder / "architecture.png", facecolor=PAGE, metadata={"Software": None})


if __name__ == "__main__":
    main()
