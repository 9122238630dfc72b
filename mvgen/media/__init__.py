"""Picture and sound in and out, on the one clock: shared by preparation, generation and evaluation."""

from mvgen.media.flow import optical_flow
from mvgen.media.image import read_image, read_whole_image
from mvgen.media.picture import frames_and_flow, read_picture, read_picture_and_flow, working_size
from mvgen.media.probe import MediaInfo, probe
from mvgen.media.sound import covered_frames, native_sound, read_sound
from mvgen.media.timeline import check_span, span
from mvgen.media.write import WavStream, write_video, write_wav

__all__ = [
    "MediaInfo",
    "WavStream",
    "check_span",
    "covered_frames",
    "frames_and_flow",
    "native_sound",
    "optical_flow",
    "probe",
    "read_image",
    "read_picture",
    "read_picture_and_flow",
    "read_sound",
    "read_whole_image",
    "span",
    "working_size",
    "write_video",
    "write_wav",
]
