"""The start from the codec's codebooks: what it puts where, and what it does when the codec does not fit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mvgen.errors import UserError
from mvgen.interop.encodec import load_codebooks, load_encodec
from mvgen.training import step
from mvgen.training.initialisation import HEAD_SIZE, read_codebooks, start_from_codebooks
from tests.mvgen.synthetic import SPEC, tiny


def test_the_codebooks_alone_are_those_of_the_whole_codec():
    books = load_codebooks("encodec_tiny")
    whole = nnx.to_pure_dict(load_encodec("encodec_tiny").state)
    np.testing.assert_array_equal(books, whole["entries"])
    with pytest.raises(UserError, match="no codec"):
        load_codebooks("nowhere/to/be/found")


def test_codebooks_that_do_not_fit_are_left_alone_with_a_warning(capsys):
    assert read_codebooks(SPEC) is None  # 64 entries where the codec has 512
    assert "4x512" in capsys.readouterr().err
    fitting = dataclasses.replace(SPEC, codebook_size=512)
    np.testing.assert_allclose(read_codebooks(fitting).mean(axis=1), 0, atol=1e-5)
    assert capsys.readouterr().err == ""


def test_embeddings_keep_the_codebooks_geometry():
    config = tiny("")
    config.model.width = 512  # a random projection keeps distances when it has room
    spec = dataclasses.replace(SPEC, codebook_size=512)
    books = read_codebooks(spec)
    params = jax.tree.map(jnp.array, nnx.to_pure_dict(nnx.state(step.make_model(config, spec), nnx.Param)))
    pads = [table["embedding"][512:] for table in params["decoder"]["embeddings"].values()]
    params = start_from_codebooks(params, books, jax.random.key(0))

    def distances(points):
        return np.linalg.norm(points[:100, None] - points[None, :100], axis=-1)[np.triu_indices(100, 1)]

    whole = 0.0
    for number, pad in enumerate(pads):
        heard = np.asarray(params["encoder"]["audio"]["embeddings"][number]["embedding"])
        written = params["decoder"]["embeddings"][number]["embedding"]
        np.testing.assert_array_equal(written[:512], heard)
        np.testing.assert_array_equal(written[512:], pad)
        assert np.corrcoef(distances(heard), distances(books[number]))[0, 1] > 0.9
        first_guess = params["decoder"]["token_head"]["heads"][number]["kernel"]
        np.testing.assert_array_equal(first_guess, params["decoder"]["heads"][number]["kernel"])
        lengths = np.linalg.norm(params["decoder"]["heads"][number]["kernel"], axis=0)
        np.testing.assert_allclose(np.sqrt((lengths**2).mean()), HEAD_SIZE, rtol=0.15)
        whole += heard.var()
    np.testing.assert_allclose(whole, 1.0, rtol=0.15)


def test_a_run_starts_from_them_only_where_asked(monkeypatch):
    seen = []
    monkeypatch.setattr(step, "read_codebooks", lambda spec: seen.append(spec))
    config = tiny("")
    program = step.build(config, SPEC, step.sharding.make_mesh())
    program.init()
    assert seen == [SPEC]
    config.init.codebooks = False
    step.build(config, SPEC, step.sharding.make_mesh()).init()
    assert len(seen) == 1
