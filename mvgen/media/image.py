"""Still pictures of any usual kind: upright, eight bits a channel, nothing transparent, all tiles of them."""

from __future__ import annotations

import io
import os
import warnings
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from mvgen.errors import UserError
from mvgen.media.container import regular_file
from mvgen.media.crop import GROUND, Cropper, Size, laid_on_ground
from mvgen.media.kinds import kind_of_file
from mvgen.media.picture import shrink, working_size

try:
    from pillow_heif import register_heif_opener
except ImportError:  # phones' pictures are not read then, and the answer to them says so
    READS_HEIC = False
else:
    register_heif_opener()
    READS_HEIC = True

READ = "a picture is read from PNG, JPEG, WebP, TIFF, BMP, GIF, HEIC and AVIF, and as the first frame of a video"
DEEP = ("I", "F")
"""Pillow's modes of one channel with more than eight bits, by their first letter: it cuts their values off at 255."""
BRIGHTEST = 16.0
"""Floats up to here are shares of white, brighter ones cut off; above, they count as those of 8 or 16 bits."""
TIFF = (b"II*\0", b"MM\0*")
"""How its files begin."""
ORIENTATION = 274
"""The tag of EXIF that says how a picture lies."""
MOST_BOXES = 1 << 18
"""Bytes at the beginning of an HEIF file in which its boxes lie."""
BITS_PER_SAMPLE, SAMPLE_FORMAT, SIGNED = 258, 339, 2
"""Two tags of TIFF, and a value of the second."""


def read_image(path: str | os.PathLike[str], size: Size) -> np.ndarray:
    """One picture from an image file, cropped and averaged as frames of a video are.

    Returns:
        uint8 ``[H, W, 3]`` RGB.

    Raises:
        UserError: no such file or not an image.
    """
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size must be (height, width) of at least one pixel, not {size}")
    name = regular_file(path)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(_opened(name)), format="rgb24")
    return shrink(Cropper(working_size(size))(frame, Fraction(1)), size)


def read_whole_image(path: str | os.PathLike[str]) -> np.ndarray:
    """One picture from an image file as large as it is, upright, uint8 ``[H, W, 3]`` RGB.

    Raises:
        UserError: no such file or not an image.
    """
    return _opened(regular_file(path))


def _opened(name: str) -> np.ndarray:
    """The whole picture upright, uint8 ``[H, W, 3]``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pictures that are large, or odd: what cannot be read raises
            with Image.open(name) as image:
                turn = image.info.get("original_orientation")
                if turn and not _turned_by_boxes(name):
                    image.getexif()[ORIENTATION] = turn
                return _eight_bits(_in_srgb(ImageOps.exif_transpose(image)), _most(image))
    except UnidentifiedImageError:
        picture = _by_opencv(name)
        if picture is not None:
            return picture
        kind = kind_of_file(name)
        if not READS_HEIC and Path(name).suffix.lower() in (".heic", ".heif"):
            raise UserError(f"{name} is a picture (HEIC), which pillow-heif reads: pip install pillow-heif") from None
        said = f"is {kind}, which is not read as a picture" if kind else "is not a readable picture"
        raise UserError(f"{name} {said}; {READ}") from None
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UserError(f"{name}: a picture of more than {most} pixels is not read") from None
    except MemoryError:
        raise UserError(f"{name}: its picture does not fit into memory") from None
    # Pillow's readers meet damage with errors of every kind.
    except Exception as error:
        picture = _by_opencv(name)
        if picture is not None:
            return picture
        raise UserError(f"{name}: its picture is damaged: {error}") from None


def _turned_by_boxes(name: str) -> bool:
    """Whether an HEIF file says by boxes of its own how its picture lies: then its EXIF only repeats it, and
    pillow-heif has turned it."""
    with open(name, "rb") as file:
        head = file.read(MOST_BOXES)
    return b"irot" in head or b"imir" in head


def _in_srgb(image: Image.Image) -> Image.Image:
    """A picture with its colours as sRGB has them, where a profile says that they are others (phones: Display P3)."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA"):
        return image
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(given).lower():
            return image
        made = ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError, ValueError):  # a profile that is broken, or of other colours
        return image
    return image if made is None else made


def _eight_bits(image: Image.Image, most: float) -> np.ndarray:
    """uint8 ``[H, W, 3]`` of a picture of any mode; ``most``: see :func:`from_deep`."""
    if image.mode[0] in DEEP:
        values = np.asarray(image)
        picture = np.repeat(from_deep(values, most)[..., None], 3, axis=2)
        if isinstance(hidden := image.info.get("transparency"), int):  # the one value that does not show
            picture[values == hidden] = GROUND
        return picture
    if image.has_transparency_data:
        return laid_on_ground(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def _most(image: Image.Image) -> float:
    """What stands for white in a deep picture of whole numbers."""
    if image.mode == "I" and image.format == "TIFF":
        tags = dict(getattr(image, "tag_v2", {}))
        bits, form = (np.ravel(tags.get(tag, usual))[0] for tag, usual in ((BITS_PER_SAMPLE, 32), (SAMPLE_FORMAT, 1)))
        return 2.0 ** (bits - (form == SIGNED)) - 1
    return 65535.0


def from_deep(values: np.ndarray, most: float) -> np.ndarray:
    """Eight bits out of deeper values of any shape; ``most`` is white where they are whole numbers."""
    if values.dtype.kind == "f":
        values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
        largest = values.max(initial=0.0)
        most = 1.0 if largest <= BRIGHTEST else 255.0 if largest <= 255 else max(65535.0, largest)
    elif values.dtype.kind == "i" and most > 2**31:
        values = values.view(np.uint32)  # Pillow has no unsigned mode of 32 bits
    return np.rint(np.clip(values / most, 0, 1) * 255).astype(np.uint8)


def _by_opencv(name: str) -> np.ndarray | None:
    """Deep pictures of several channels, which Pillow does not know: uint8 ``[H, W, 3]``, or None."""
    try:
        data = np.fromfile(name, np.uint8)
        if bytes(data[:4]) not in TIFF:
            return None  # others Pillow knows better
        values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error):
        return None
    if values is None:
        return None
    values = values if values.dtype == np.uint8 else from_deep(values, float(2 ** (8 * values.dtype.itemsize) - 1))
    if values.ndim == 2 or values.shape[2] == 1:
        return np.repeat(values.reshape(*values.shape[:2], 1), 3, axis=2)
    if values.shape[2] == 4:
        return laid_on_ground(cv2.cvtColor(values, cv2.COLOR_BGRA2RGBA))
    return cv2.cvtColor(values[..., :3], cv2.COLOR_BGR2RGB)
