"""Reading weights in the layouts they are published in."""

from __future__ import annotations

import pytest
import torch

from sgovss.errors import InputError
from sgovss.modeling.clip_weights import read_weights
from tests.modeling.published import LAYOUTS, bare, openai_archive, small_clip, training_checkpoint, transformers_clip

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_keys_and_values_of_open_clip(tmp_path, name):
    clip = small_clip()
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    LAYOUTS[name](clip, path)
    state = read_weights(path, small_clip()).state
    assert state.keys() == clip.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in clip.state_dict().items())


def test_training_state_is_left_out_and_named(tmp_path):
    training_checkpoint(small_clip(), tmp_path / "epoch_20.pt")
    weights = read_weights(tmp_path / "epoch_20.pt", small_clip())
    assert (weights.layout, weights.dtype) == ("open_clip", "float32")
    assert weights.left_out == ("epoch", "name", "optimizer", "scaler")


def test_an_archive_of_openai_is_read_without_its_settings(tmp_path):
    clip = openai_archive(tmp_path / "ViT-B-32.pt")
    weights = read_weights(tmp_path / "ViT-B-32.pt", small_clip())
    assert (weights.layout, weights.dtype) == ("openai", "float16")
    assert weights.state.keys() == clip.state_dict().keys() - {"input_resolution"}
    assert {value.dtype for value in weights.state.values()} == {torch.float32}


@torch.no_grad()
@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_weights_of_transformers_give_the_embeddings_that_transformers_gives(tmp_path, activation):
    pytest.importorskip("transformers")
    source = transformers_clip(tmp_path / "pytorch_model.bin", activation)
    weights = read_weights(tmp_path / "pytorch_model.bin", small_clip())
    assert weights.layout == "transformers"
    clip = small_clip(quick_gelu=activation == "quick_gelu")
    clip.load_state_dict(weights.state)
    images, texts = torch.rand(2, 3, 64, 64), torch.randint(1, 49000, (2, 16))
    texts[:, -1] = 49407  # end of text, the largest id, where both models read the embedding
    expected = source(pixel_values=images, input_ids=texts)
    for found, wanted in zip(clip(images, texts)[:2], (expected.image_embeds, expected.text_embeds), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"no file .*clip\.pt"):
        read_weights(tmp_path / "clip.pt", small_clip())


@pytest.mark.parametrize("kept", [0, 100, 100_000, -2000])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_damaged_file_is_one_line(tmp_path, kept, suffix):
    path = tmp_path / f"clip{suffix}"
    bare(small_clip(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="copy it again") as caught:
        read_weights(path, small_clip())
    assert "\n" not in str(caught.value)


class Intruder:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_python_objects_are_refused_and_not_run(tmp_path):
    torch.save({"state_dict": small_clip().state_dict(), "args": Intruder(str(tmp_path / "ran"))}, tmp_path / "clip.pt")
    with pytest.raises(InputError, match="holds Python objects"):
        read_weights(tmp_path / "clip.pt", small_clip())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"epoch": 3}, [torch.zeros(1)], torch.zeros(2)])
def test_a_file_of_something_else_is_one_line(tmp_path, content):
    torch.save(content, tmp_path / "clip.pt")
    with pytest.raises(InputError, match=r"clip\.pt: no state dict in this file"):
        read_weights(tmp_path / "clip.pt", small_clip())
