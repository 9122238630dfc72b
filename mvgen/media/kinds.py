"""What a file that is not read is, told from its first bytes: so that the answer to it says what to do.

Nothing is opened by this but the file's beginning: a list of signatures, no parser.
"""

from __future__ import annotations

import os

READ = (
    "video is read from MP4, MOV, MKV, WebM, AVI, TS, MPEG, OGV and their like, sound also from WAV, FLAC, MP3, Ogg, "
    "AAC, AIFF, CAF and AU"
)
"""What is read, to go behind a reason why something is not."""

_SIGNATURES = (
    (0, b"wvpk", "a sound (WavPack)"),
    (0, b"MAC ", "a sound (Monkey's Audio)"),
    (0, b"TTA1", "a sound (True Audio)"),
    (0, b"DSD ", "a sound (DSD)"),
    (0, b"FRM8", "a sound (DSD)"),
    (0, b"MPCK", "a sound (Musepack)"),
    (0, b"MP+", "a sound (Musepack)"),
    (0, b"OFR ", "a sound (OptimFROG)"),
    (0, b"tBaK", "a sound (TAK)"),
    (0, b"#!AMR", "a sound (AMR)"),
    (0, b"\x0b\x77", "a sound (Dolby AC-3)"),
    (0, b"\x7f\xfe\x80\x01", "a sound (DTS)"),
    (0, b".RMF", "a recording (RealMedia)"),
    (0, b".ra\xfd", "a sound (RealAudio)"),
    (0, b"Creative Voice File", "a sound (VOC)"),
    (0, b"MThd", "a score (MIDI)"),
    (0, b"DKIF", "a video (IVF)"),
    (0, b"YUV4MPEG2", "a video (YUV4MPEG)"),
    (0, b"BIKi", "a video (Bink)"),
    (0, b"\x89PNG", "a picture (PNG)"),
    (0, b"\xff\xd8\xff", "a picture (JPEG)"),
    (0, b"BM", "a picture (BMP)"),
    (0, b"II*\0", "a picture (TIFF)"),
    (0, b"MM\0*", "a picture (TIFF)"),
    (8, b"WEBP", "a picture (WebP)"),
    (0, b"\0\0\x01\0", "a picture (ICO)"),
    (0, b"8BPS", "a picture (Photoshop)"),
    (0, b"\x76\x2f\x31\x01", "a picture (OpenEXR)"),
    (0, b"\xff\x0a", "a picture (JPEG XL)"),
    (0, b"\0\0\0\x0cJXL ", "a picture (JPEG XL)"),
    (0, b"\0\0\0\x0cjP  ", "a picture (JPEG 2000)"),
    (0, b"%PDF", "a document (PDF)"),
    (0, b"PK\x03\x04", "an archive (ZIP)"),
    (0, b"\x1f\x8b", "an archive (gzip)"),
    (0, b"7z\xbc\xaf", "an archive (7z)"),
    (0, b"Rar!", "an archive (RAR)"),
    (0, b"#EXTM3U", "a playlist, which only names other files"),
    (0, b"ffconcat", "a list for ffmpeg, which only names other files"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, without the file that it stands for (git lfs pull)"),
)


def kind_of_file(path: str | os.PathLike[str]) -> str | None:
    """What a file is, with its article, such as "a sound (WavPack)"; None where its first bytes do not tell."""
    try:
        with open(path, "rb") as file:
            head = file.read(64)
    except OSError:
        return None
    if head[:3] == b"ID3":
        return None  # a tag, behind which may lie anything
    found = next((kind for at, sign, kind in _SIGNATURES if head[at : at + len(sign)] == sign), None)
    if found is None and head and all(byte >= 32 or byte in b"\t\r\n" for byte in head) and head.isascii():
        return "text"
    return found
