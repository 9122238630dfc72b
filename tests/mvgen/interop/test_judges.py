"""Networks that judge, loaded from folders: tiny ones with random weights, made here."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from mvgen.errors import UserError
from mvgen.evaluation.metrics.clips import Clip, Heard, Seen
from mvgen.evaluation.metrics.frechet import divergence, frechet_distance
from mvgen.evaluation.metrics.weighted import judges, parse, score_weighted
from mvgen.interop.judges import sound_classifier, sound_embedder, video_embedder

RATE = 22_050


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    """One folder for each kind of network, as ``save_pretrained`` writes them."""
    made = {}
    torch.manual_seed(0)

    def keep(name: str, model, extractor=None) -> None:
        folder = tmp_path_factory.mktemp(name)
        model.save_pretrained(folder)
        if extractor is not None:
            extractor.save_pretrained(folder)
        made[name] = str(folder)

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    spectrogram = transformers.ASTConfig(
        **small, num_mel_bins=16, max_length=64, patch_size=8, frequency_stride=8, time_stride=8, num_labels=5
    )
    keep("ast", transformers.ASTForAudioClassification(spectrogram),
         transformers.ASTFeatureExtractor(num_mel_bins=16, max_length=64))  # fmt: skip
    clap = transformers.ClapConfig(
        text_config={**small, "vocab_size": 40, "max_position_embeddings": 40},
        audio_config={"spec_size": 64, "num_mel_bins": 16, "window_size": 4, "patch_size": 4, "patch_stride": [4, 4],
                      "patch_embeds_hidden_size": 16, "hidden_size": 32, "depths": [1, 1],
                      "num_attention_heads": [2, 2], "num_hidden_layers": 2, "projection_dim": 8},
        projection_dim=8,
    )  # fmt: skip
    keep(
        "clap",
        transformers.ClapModel(clap),
        transformers.ClapFeatureExtractor(feature_size=16, max_length_s=2, truncation="rand_trunc"),
    )
    keep("videomae", transformers.VideoMAEModel(
        transformers.VideoMAEConfig(**small, image_size=16, patch_size=8, num_frames=4, tubelet_size=2)))  # fmt: skip
    return made


def sounds(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    time = np.arange(RATE) / RATE
    return [(0.3 * np.sin(2 * np.pi * rng.uniform(100, 2000) * time)).astype(np.float32) for _ in range(count)]


def films(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 7, 24, 20, 3)).astype(np.uint8))


def test_sound_embeddings(folders):
    first, second = sounds(2)
    for name, width in (("clap", 8), ("ast", 16)):
        embed = sound_embedder(folders[name])
        assert embed(first).shape == (width,)
        np.testing.assert_allclose(embed(first), embed(first), atol=1e-6)
        assert np.abs(embed(first) - embed(second)).max() > 1e-4


def test_long_sounds_are_heard_piece_by_piece(folders):
    embed = sound_embedder(folders["clap"])  # takes two seconds
    first, second = (np.tile(sound, 2) for sound in sounds(2))
    both = np.concatenate([first, second])
    np.testing.assert_allclose(embed(both), (embed(first) + embed(second)) / 2, atol=0.02)
    np.testing.assert_array_equal(embed(both), embed(both))  # nothing is drawn


def test_clap_is_transformers_own(folders):
    sound = sounds(1)[0]
    whole = transformers.ClapModel.from_pretrained(folders["clap"]).eval()
    extractor = transformers.ClapFeatureExtractor.from_pretrained(folders["clap"])
    import soxr

    heard = extractor(soxr.resample(sound, RATE, 48_000), sampling_rate=48_000, return_tensors="pt")
    with torch.no_grad():
        pooled = whole.audio_model(**heard).pooler_output
        expected = whole.audio_projection(pooled)[0].numpy()
    np.testing.assert_allclose(sound_embedder(folders["clap"])(sound), expected, rtol=1e-4, atol=1e-5)


def test_classes_are_probabilities(folders):
    answer = sound_classifier(folders["ast"])(sounds(1)[0])
    assert answer.shape == (5,) and answer.sum() == pytest.approx(1.0, abs=1e-5) and (answer > 0).all()


def test_video_embeddings_see_the_frames(folders):
    embed = video_embedder(folders["videomae"])
    first, second = films(2)
    assert embed(first).shape == (16,)
    assert np.abs(embed(first) - embed(second)).max() > 1e-4
    assert embed(first[:1]).shape == (16,)  # shorter than the model asks for: frames repeat


def test_scores_of_two_sets(folders):
    weights = parse([f"fad={folders['clap']}", f"kl={folders['ast']}", f"fvd={folders['videomae']}"])
    loaded = judges(weights)
    clips = [Clip(f"clip {k}") for k in range(4)]
    heard = [(Heard(a), Heard(b)) for a, b in zip(sounds(4), sounds(4, seed=1), strict=True)]
    seen = [(Seen(a), Seen(b)) for a, b in zip(films(4), films(4, seed=1), strict=True)]
    table, found = score_weighted(clips, heard, seen, weights, loaded)
    embedded = [np.stack([loaded["fad"](pair[side].sound) for pair in heard]) for side in (0, 1)]
    assert found["fad"]["value"] == pytest.approx(frechet_distance(*embedded), rel=1e-4)
    assert found["fad"]["dimensions"] == 8 and found["fvd"]["clips"] == 4 and found["fad"]["floor"] > 0
    first = divergence(loaded["kl"](heard[0][0].sound), loaded["kl"](heard[0][1].sound))
    assert table.values["kl"][0] == pytest.approx(first, rel=1e-3)
    assert np.isfinite(table.shuffled["kl"]).all()
    same, _ = score_weighted(clips, [(a, a) for a, _ in heard], [], {"kl": weights["kl"]}, {"kl": loaded["kl"]})
    assert np.abs(same.values["kl"]).max() < 1e-6
    words = " ".join(found["lines"])
    assert "ImageBind: not run" in words and "Synchformer" in words and "over 4 clips" in words


def test_what_is_not_named_is_said_not_to_be_run():
    table, found = score_weighted([Clip("a")], [], [], {}, {})
    assert not table.values and sum("not run" in line for line in found["lines"]) == 5


def test_bad_weights_are_one_clear_line(folders, tmp_path):
    for word, said in (("imagebind=x", "own code"), ("vggish=x", "NAME=FOLDER"), ("fad", "NAME=FOLDER")):
        with pytest.raises(UserError, match=said):
            parse([word])
    with pytest.raises(UserError, match="twice"):
        parse(["fad=a", "fad=b"])
    with pytest.raises(UserError, match="no such folder"):
        judges({"fad": str(tmp_path / "nowhere")})
    with pytest.raises(UserError, match="'videomae'"):
        judges({"fad": folders["videomae"]})
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        judges({"kl": str(tmp_path)})
    for file in Path(folders["ast"]).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be loaded"):
        judges({"kl": str(tmp_path)})
    # A pickle in its place is not opened.
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        judges({"kl": str(tmp_path)})


def test_weights_that_lack_tensors_do_not_judge_at_random(folders, tmp_path):
    from safetensors.numpy import load_file, save_file

    for file in Path(folders["videomae"]).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="lack 1 tensors"):
        judges({"fvd": str(tmp_path)})
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "videomae"
