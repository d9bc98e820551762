"""What one example costs to train on, in floating-point operations: counted from the network, not measured.

Three times the forward pass. Texts: `6 N sum(l) + 12 L d sum(l^2)` with N the weights of the linear layers,
L layers of width d and l real tokens; layers with a local window see `min(l, 2 w + 1)`. Images: the forward
pass as PyTorch counts it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy
import torch
import transformers


def flops_per_example(rows: datasets.Dataset, start: Path) -> float:
    """Mean over the rows; of texts only their real tokens count."""
    if "text" not in rows.column_names:
        return _of_image(start)
    network: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
        start, local_files_only=True
    )
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(start, local_files_only=True)
    found = tokenizer(rows["text"][:], truncation=True)["input_ids"]
    lengths = numpy.array([len(ids) for ids in found], dtype=numpy.float64)
    linear = sum(
        module.weight.numel()
        for name, module in network.named_modules()
        # What stands behind the encoder sees one position of each text.
        if isinstance(module, torch.nn.Linear)
        and not name.startswith(("classifier", "head", "pre_classifier"))
        and "pooler" not in name
    )
    return float((6 * linear * lengths + _attention(network.config, lengths)).mean())


def _attention(config: Any, lengths: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
    layers, width = config.num_hidden_layers, config.hidden_size
    every = getattr(config, "global_attn_every_n_layers", 1) or 1
    seen_everywhere = -(-layers // every)
    window = (getattr(config, "local_attention", 0) or 0) + 1
    found = 12 * width * seen_everywhere * lengths**2
    if seen_everywhere < layers:
        found = found + 12 * width * (layers - seen_everywhere) * lengths * numpy.minimum(lengths, window)
    return numpy.asarray(found)


def _of_image(start: Path) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    options: dict[str, Any] = {"local_files_only": True, "attn_implementation": "eager"}
    network: Any = transformers.AutoModelForImageClassification.from_pretrained(start, **options)
    size = transformers.AutoImageProcessor.from_pretrained(start, local_files_only=True).size
    network.eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, size["height"], size["width"]))
    return 3.0 * counter.get_total_flops()
