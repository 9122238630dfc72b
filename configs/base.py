"""The base configuration: a joint MVGen that two cores train in minutes.

    python -m mvgen.main --config=base --workdir=runs/base --config.data.path=DIR

Every field is here, with its comment; the other presets change a few of them. Override any with
``--config.FIELD=VALUE``.
"""

import math

from ml_collections import ConfigDict

AT_LEAST_0, AT_LEAST_1, SHARE = (0, math.inf), (1, math.inf), (0, 1)
BOUNDS = {
    "seed": (0, 2**32 - 1),
    "data.batch_size": AT_LEAST_1,
    "data.workers": AT_LEAST_0,
    "data.threads": AT_LEAST_0,
    "data.bad_records": AT_LEAST_0,
    "loss.align": AT_LEAST_0,
    "loss.music": AT_LEAST_0,
    "loss.token_head": AT_LEAST_0,
    "loss.video": AT_LEAST_0,
    "loss.movement": AT_LEAST_0,
    "loss.notes": AT_LEAST_0,
    "loss.shifts": AT_LEAST_0,
    "loss.frame_level": AT_LEAST_0,
    "loss.max_shift_seconds": AT_LEAST_0,
    "loss.video_examples": AT_LEAST_0,
    "loss.video_stretches": AT_LEAST_1,
    "loss.condition_dropout": SHARE,
    "loss.history_corruption": SHARE,
    "augment.zoom": AT_LEAST_0,
    "augment.turn": (0, 180),
    "augment.pan": SHARE,
    "augment.shift": AT_LEAST_0,
    "augment.colour": AT_LEAST_0,
    "optimizer.learning_rate": AT_LEAST_0,
    "optimizer.spike": AT_LEAST_0,
    "optimizer.decoder_rate": AT_LEAST_0,
    "optimizer.warmup_steps": AT_LEAST_0,
    "optimizer.weight_decay": AT_LEAST_0,
    "optimizer.b1": SHARE,
    "optimizer.b2": SHARE,
    "optimizer.clip_norm": AT_LEAST_0,
    "optimizer.final_fraction": SHARE,
    "train.steps": AT_LEAST_1,
    "train.ema": SHARE,
    "train.log_every": AT_LEAST_1,
    "train.eval_every": AT_LEAST_0,
    "train.eval_batches": AT_LEAST_1,
    "train.checkpoint_every": AT_LEAST_1,
    "train.keep_checkpoints": AT_LEAST_1,
    "train.stop_after": AT_LEAST_0,
    "train.rollback_after": AT_LEAST_1,
}
"""Smallest and largest value of each number, checked before a run; sizes in ``model`` are checked by the model."""


def get_config() -> ConfigDict:
    """Returns the base configuration (locked: unknown fields are errors)."""
    config = ConfigDict()
    config.seed = 0  # seeds parameters, data order, noise

    config.data = ConfigDict()
    config.data.path = ""  # folder of records, as `data_prep convert` or `data_prep recital --records` wrote it
    config.data.train_split = "train"
    config.data.eval_split = "test"
    config.data.window_seconds = 2.4  # length of a training example; a multiple of 1/25 s
    config.data.batch_size = 4  # examples a step, over all hosts
    config.data.workers = 0  # loader processes; 0 reads in the main process with threads
    config.data.threads = 4  # reading threads in each process
    config.data.bad_records = 8  # so many damaged records are passed over and named; one more stops the run

    config.model = ConfigDict()
    config.model.dtype = "float32"  # computation: float32 or bfloat16; parameters stay float32
    config.model.width = 192  # channels of towers and token decoder
    config.model.heads = 4
    config.model.video_layers = 2  # video tower
    config.model.audio_layers = 2  # audio tower
    config.model.latent_dim = 64  # the coordinated space, in which the towers are compared
    config.model.patch = 8  # side of a patch of pixels in the video tower
    config.model.use_frames = True  # let the video tower see patches of the frames
    config.model.use_flow = True  # let it see optical flow
    config.model.use_semantic = True  # let it see semantic embeddings, where the records hold them
    config.model.use_landmarks = False  # let it see where hands and what they hold are, where the records say so
    config.model.window_mean = True  # let it see each patch's difference from its mean over the window
    config.model.positions = "rotary"  # towers: none, sinusoid, rotary, alibi, time_bias (a Gaussian for each head)
    config.model.attention_window = 0.5  # seconds that temporal (cross-)attention may look either way; 0: all
    config.model.decoder_layers = 4  # token decoder (MusicGen's form)
    config.model.cross_attention = True  # token decoder attends to the video latents
    config.model.frame_locked = True  # frame-locked addition: each token is also given its own frame's latent
    config.model.token_head = True  # per-frame token head: what that latent alone says is added to the scores
    config.model.previous_timesteps = 6  # timesteps that the previous-timesteps convolution reads; 0: there is none
    config.model.decoder_width = 0  # channels of the token decoder, where it is not as wide as the towers; 0: width
    config.model.decoder_heads = 0  # its heads; 0: heads
    config.model.decoder_hidden = 0  # inner width of its MLPs; 0: four times its channels
    config.model.text_width = 0  # width of embedded words that it can be given beside the video; 0: it reads no text
    config.model.cross_positions = (
        "time_bias"  # of its cross-attention, as for positions but not sinusoid; "": as positions
    )
    config.model.cross_window = -1.0  # seconds it may look either way; 0: all; negative: attention_window
    config.model.movement_width = 128  # channels of the image's reader and of the planner of movement
    config.model.movement_heads = 4
    config.model.movement_layers = 2  # of the image's reader
    config.model.use_latents = False  # film in latents of an image autoencoder, where the records hold them
    config.model.denoiser_width = 128
    config.model.denoiser_layers = 3
    config.model.denoiser_heads = 4
    config.model.denoiser_patch = 8  # side of a patch of pixels in the denoiser
    config.model.denoiser_frames = 8  # frames that are denoised together
    config.model.notes_width = 0  # hidden channels of the note head, which reads notes from the picture; 0: none

    config.init_from = ""  # another run (its --workdir) to start from, or a MusicGen for the token decoder; "": none
    config.init = ConfigDict()
    config.init.codebooks = True  # token embeddings and output layers start from the codec's codebooks, if it is there

    config.loss = ConfigDict()
    config.loss.align = 1.0  # InfoNCE over clips, time shifts and frames; 0 leaves the part out
    config.loss.music = 1.0  # cross-entropy of the audio tokens given the video
    config.loss.token_head = 1.0  # the same, of the per-frame token head; times `music`
    config.loss.video = 1.0  # flow matching of the frames given image and audio tokens
    config.loss.movement = 1.0  # points of the image, planned movement, and the image carried by the true one
    config.loss.notes = 0.0  # which notes start and sound in each frame, where the records know them
    config.loss.shifts = 1.0  # within `align`: weight of InfoNCE over time shifts inside a clip; 0: not learned
    config.loss.frame_level = 1.0  # within `align`: weight of frame-level InfoNCE inside a clip; 0: not learned
    config.loss.max_shift_seconds = 1.0  # time-shift negatives reach this far either way
    config.loss.video_examples = 2  # so many examples of a batch teach the denoiser (it costs most); 0: all
    config.loss.video_stretches = 1  # and each of them with so many stretches of model.denoiser_frames frames
    config.loss.condition_dropout = 0.1  # share of examples whose condition is dropped (for guidance)
    config.loss.history_corruption = (
        0.8  # history corruption: share of examples that begin with the sound of another time
    )

    config.augment = ConfigDict()
    config.augment.zoom = 0.0  # each clip is filmed anew, its flow with it: nearer or farther by up to this share,
    config.augment.turn = 0.0  # turned by up to so many degrees,
    config.augment.pan = 0.0  # and moved by up to this part of the picture
    config.augment.shift = 1  # frames are moved by up to so many pixels (one shift a clip)
    config.augment.colour = 0.1  # gain and bias of each colour are drawn within this much (one draw a clip)

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 1e-3
    config.optimizer.decoder_rate = 2.0  # the token decoder learns at so many times this rate
    config.optimizer.warmup_steps = 50
    config.optimizer.weight_decay = 0.05
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.98
    config.optimizer.clip_norm = 1.0
    config.optimizer.final_fraction = 0.05  # cosine decay ends at this share of learning_rate
    config.optimizer.spike = 0.0  # a step whose gradient is so many times longer than usual is left out; 0: none is

    config.train = ConfigDict()
    config.train.steps = 2250
    config.train.ema = 0.995  # decay of the averaged parameters used for evaluation and generation
    config.train.frozen = ""  # parts that stay as they are, such as "encoder,decoder"; also movement, denoiser, notes
    config.train.log_every = 10  # steps between lines of progress and TensorBoard scalars
    config.train.eval_every = 1125  # steps between evaluations of the losses on eval_split; 0: never
    config.train.eval_batches = 12
    config.train.stop_after = 0  # early stopping: so many evaluations in a row without a lower loss; 0: never
    config.train.samples = False  # each evaluation also plays and films a held-out window, for TensorBoard
    config.train.checkpoint_every = 700  # steps
    config.train.keep_checkpoints = 2
    config.train.rollback_after = 20  # so many steps left out in a row (not finite, spikes): back to the checkpoint
    config.train.remat = "none"  # activations worked out again in the backward pass: none, or layers (all but inputs)
    config.train.scan_layers = False  # towers and denoiser compile one layer and loop over it
    config.train.compilation_cache = ""  # folder of compiled programs; "": in the user's cache folder; "none": none

    config.mesh = ConfigDict()
    config.mesh.data = -1  # devices along the batch; -1: all that are left
    config.mesh.fsdp = 1  # devices over which parameters are split
    config.mesh.tensor = 1  # devices over which heads and hidden units are split
    config.mesh.context = 1  # devices over which long sequences are split inside attention

    config.lock()
    return config
