"""The same checkpoints in transformers, where it is installed: its configuration classes read config.json and its model
classes compute, with linear layers that quantise as the specification says in place of its own (which has none for most
of these families). So norms, rotation with all its scalings, attention, activation and their order are transformers'.

    python -m venv oracle && oracle/bin/pip install torch transformers pytest && cmake with that Python, ctest -L oracle
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
import reference

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


class TernaryLinear(torch.nn.Module):  # type: ignore[misc,name-defined]
    """y = sum of trit * q, times scale / s, in f32; x normed before where the projection has a norm of its own."""

    def __init__(self, trits: np.ndarray, scale: np.ndarray, gain: np.ndarray | None, eps: float) -> None:
        super().__init__()
        self.trits, self.scale = torch.tensor(trits, dtype=torch.float64), torch.tensor(scale)
        self.gain, self.eps = None if gain is None else torch.tensor(gain), eps

    def forward(self, x: Any) -> Any:
        if self.gain is not None:
            x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.gain
        s = 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
        q = (x * s).round().double()
        if self.scale.ndim < 2:
            return (q @ self.trits.T).float() * (self.scale / s)
        weights = self.trits * self.scale.double().repeat_interleave(self.trits.shape[1] // self.scale.shape[1], 1)
        return (q @ weights.T).float() / s


def model_of(case: families.Case) -> Any:
    config = transformers.AutoConfig.from_pretrained(case.path)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config._attn_implementation = "eager"
    make = transformers.AutoModel if case.embeds else transformers.AutoModelForCausalLM
    with torch.device("cpu"):
        model = make.from_config(config, dtype=torch.float32).eval()
    weights = case.weights
    eps = case.config.get("quantization_config", {}).get("rms_norm_eps", 1e-6)
    missing, unexpected = model.load_state_dict(
        {name: torch.tensor(values) for name, values in weights.dense.items()}, strict=False
    )
    norms = (".norm.weight", ".rms_norm.weight")
    assert all("_proj" in name for name in unexpected), unexpected
    assert all("_proj" in name or name == "lm_head.weight" for name in missing), missing
    if "lm_head.weight" in missing and not case.embeds:
        model.tie_weights()
    for name, trits in weights.trits.items():
        path = name.removesuffix(".weight")
        gain = next((weights.dense[path + n] for n in norms if path + n in weights.dense), None)
        parent, leaf = path.rsplit(".", 1)
        linear = TernaryLinear(trits, weights.scales[name], gain, eps)
        setattr(model.get_submodule(parent), leaf, linear)
    return model


# transformers has no class for 1bitLLM's sub-norms; a GGUF has no config.json.
_HF = [make for make in families.CASES if "gguf" not in make.__name__ and "onebitllm" not in make.__name__]


@pytest.mark.parametrize("make", _HF, ids=lambda make: make.__name__)
def test_transformers_computes_the_same(make: Callable[[Path], families.Case], tmp_path: Path) -> None:
    case = make(tmp_path / "checkpoint")
    model = model_of(case)
    if case.config["model_type"] == "gemma3_text":  # the model is made in f32; its own type may be another
        root = reference.embedding_factor(case.config, case.shape)[0]
        model.get_input_embeddings().embed_scale = torch.tensor(root)
        model.get_input_embeddings().scalar_embed_scale = float(root)
    with torch.no_grad():
        out = model(torch.tensor([families.TOKENS]))
    got = (out.last_hidden_state if case.embeds else out.logits)[0].numpy()
    ours = reference.Reference(case.config, case.shape, case.weights, f16=False)
    compute = ours.hidden if case.embeds else ours.logits
    exact = compute(families.TOKENS)
    bound = reference.tolerance(lambda seed: compute(families.TOKENS, seed), exact)
    off = float(np.abs(got - exact).max())
    print(f"transformers {transformers.__version__}: largest difference {off:.2e}, bound {bound:.2e}")
    assert bound < 1e-3 * float(exact.std())
    assert off <= bound
