"""How `data_prep convert` makes records. The other files beside this one change a few fields.

    python -m data_prep convert --input DIR --out DIR --config base

`python -m data_prep bench` says what it costs; docs/data.md has figures.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the base configuration of data preparation (locked: unknown fields are errors)."""
    config = ConfigDict()
    config.codec = "encodec_tiny"  # preset (encodec_tiny, encodec_32khz), folder or hub name in transformers' format
    config.frame_size = (64, 64)  # (height, width) of the pixels in records, centre-cropped to this aspect
    config.flow_size = (16, 16)  # (height, width) of the optical flow in records
    config.flow_method = "dis"  # dis, farneback, raft (needs torchvision) or raft:FILE (its weights)
    config.semantic = "none"  # embeddings of the frames: efficientnet_lite0 (offline, of extra `vision`), clip,
    # siglip2, dinov2, dinov3, a folder or hub name; or none
    config.landmarks = "none"  # where hands are: mediapipe (extra `vision`), mediapipe:FILE.whl; or none
    config.estimate_notes = "none"  # of clips without: basic_pitch or swift_f0 (extra `hearing`); the manifest says so
    config.autoencoder = "none"  # latents for pixels: taesd, taesd3, taef1, sd_vae, a folder or hub name; or none
    config.clips_together = 0  # clips whose sounds and frames share the networks' batches; 0: 16 on a GPU, else 1
    config.single_parts = False  # of URMP: a clip for each player, with that player's sound and notes alone
    config.segment_seconds = 10.0  # a longer clip becomes several records of equal length, none longer than this
    config.test_percent = 10.0  # share of sources (by hash of their id) that go to the test split
    config.shards = 4  # files of each split, at most
    config.keep_standardised = False  # also write clips/ID.mp4 to look at: H.264, 25 frames a second, 44.1 kHz sound
    config.standard_height = 360  # of those, at most: larger pictures are scaled down
    config.standard_quality = 20  # x264's constant rate factor of those; lower is better and larger

    config.limits = ConfigDict()  # what lies outside is refused, with the reason
    config.limits.min_seconds = 0.5  # what picture and sound both cover
    config.limits.max_seconds = 1800.0  # from the first timestamp in the file to the last
    config.limits.max_pixels = 7680 * 4320  # of one source frame
    config.limits.min_sample_rate = 4000  # of the source's sound
    config.limits.max_sample_rate = 384_000
    config.limits.max_processing_seconds = 7200.0  # for one clip, before its process is taken to hang, and ended
    config.limits.links_outside = False  # whether a link, or a manifest's ../, may lead out of the input's folder

    config.lock()
    return config
