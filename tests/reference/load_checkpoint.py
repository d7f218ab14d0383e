#!/usr/bin/env python3
"""Loads a checkpoint folder (config.json, model.safetensors) with transformers and prints its loss as JSON.

    load_checkpoint.py FOLDER [TOKEN...]     token ids as arguments, else from stdin, between spaces

n+1 ids give the mean loss in nats of n next-token predictions, in float32. Exit 1 if the folder lacks a weight of the
model, holds one that the model has not, or one of another shape."""
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    words = sys.argv[2:] or sys.stdin.read().split()
    ids = torch.tensor([[int(w) for w in words]])
    if ids.numel() < 2:
        print("load_checkpoint.py: expected at least 2 token ids", file=sys.stderr)
        return 2
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(
        sys.argv[1], dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    wrong = {k: sorted(map(str, v)) for k, v in loading.items() if v}
    with torch.no_grad():
        logits = model.eval()(input_ids=ids[:, :-1], use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits[0].double(), ids[0, 1:])
    print(json.dumps(dict(loss=loss.item(), predictions=ids.numel() - 1, parameters=model.num_parameters(), **wrong)))
    return 1 if wrong else 0


sys.exit(main())
