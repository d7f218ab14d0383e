#!/usr/bin/env python3
"""Random tiny models of every family, made, trained and loaded again by Hugging Face transformers; see tests/test_families.sh.

    families.py make FOLDER     the models: FOLDER/NAME in several files, NAME-f16 in one; of each NAME.values.safetensors with ids
                                and logits; FOLDER/text.txt to train on; prints the names
    families.py check FOLDER    compares the runs FOLDER/NAME-run, which trained on text.txt: losses, weights; loads their last
                                checkpoints in transformers and writes NAME-run.values.safetensors; prints TAP"""
import glob
import json
import os
import shutil
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config)

STEPS, ROWS, T, V = 10, 3, 24, 264
LR, BETAS, EPS, DECAY, CLIP = 1e-3, (0.9, 0.95), 1e-8, 0.1, 1.0
END = 256  # the byte tokenizer's end-of-text

SIZES = dict(vocab_size=V, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
             max_position_embeddings=64, initializer_range=0.3)
GROUPED = dict(SIZES, num_key_value_heads=2)
LLAMA3 = dict(rope_type="llama3", rope_theta=1000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", rope_theta=1000.0, factor=4.0, original_max_position_embeddings=16, mscale=1.5,
            mscale_all_dim=0.5, truncate=False)
CONFIGS = {
    "gpt2": GPT2Config(vocab_size=V, n_positions=64, n_layer=2, n_embd=36, n_head=3, resid_pdrop=0.0, embd_pdrop=0.0,
                       attn_pdrop=0.0, initializer_range=0.3),
    "gpt2-untied": GPT2Config(vocab_size=V, n_positions=64, n_layer=2, n_embd=36, n_head=3, n_inner=50, resid_pdrop=0.0,
                              embd_pdrop=0.0, attn_pdrop=0.0, initializer_range=0.3, tie_word_embeddings=False,
                              activation_function="gelu_pytorch_tanh"),
    "llama2": LlamaConfig(**SIZES),
    "llama3": LlamaConfig(**GROUPED, rope_parameters=LLAMA3),
    "llama-biases": LlamaConfig(**GROUPED, attention_bias=True, mlp_bias=True, rope_parameters=YARN),
    "llama-dynamic": LlamaConfig(**GROUPED, rope_parameters=dict(rope_type="dynamic", rope_theta=500.0, factor=3.0)),
    "smollm2": LlamaConfig(**GROUPED, tie_word_embeddings=True,
                           rope_parameters=dict(rope_type="linear", rope_theta=500.0, factor=3.0)),
    "mistral": MistralConfig(**GROUPED, sliding_window=7),
    "qwen2": Qwen2Config(**GROUPED, tie_word_embeddings=True),
    "qwen2-window": Qwen2Config(**GROUPED, use_sliding_window=True, sliding_window=5, max_window_layers=1),
    "qwen3": Qwen3Config(**GROUPED, head_dim=12, tie_word_embeddings=True),
    "qwen3-biases": Qwen3Config(**GROUPED, head_dim=12, attention_bias=True, use_sliding_window=True, sliding_window=4,
                                layer_types=["sliding_attention", "full_attention"]),
}


def text_ids():
    """One document: ROWS * T bytes and its end, which make ROWS windows."""
    generator = torch.Generator().manual_seed(7)
    return torch.cat((torch.randint(97, 123, (ROWS * T,), generator=generator), torch.tensor([END])))


def save_values(model, path):
    ids = text_ids()[:T]
    with torch.no_grad():
        logits = model.float().eval()(input_ids=ids[None], use_cache=False).logits[0]
    save_file(dict(ids=ids.float(), logits=logits.contiguous()), path)


def randomise(model):
    """Biases and gains too: transformers makes them 0 and 1, which would hide that they are lost."""
    for name, p in model.named_parameters():
        if p.dim() == 1:
            p.data.add_(0.3 * torch.randn(p.shape))


def add_bytes(path):
    """In -f16 the causal masks as bytes, as earlier versions of transformers saved them; in -bytes a weight"""
    file = path + "-f16/model.safetensors"
    tensors = load_file(file)
    for i in range(2):
        tensors[f"transformer.h.{i}.attn.bias"] = torch.ones(64, 64).tril()[None, None].to([torch.uint8, torch.bool][i])
    save_file(tensors, file, dict(format="pt"))
    shutil.copytree(path + "-f16", path + "-bytes")
    tensors["transformer.wte.weight"] = tensors["transformer.wte.weight"].to(torch.uint8)
    save_file(tensors, path + "-bytes/model.safetensors", dict(format="pt"))


def make(folder):
    with open(os.path.join(folder, "text.txt"), "wb") as file:
        file.write(bytes(text_ids()[:-1].tolist()))
    for i, (name, config) in enumerate(CONFIGS.items()):
        torch.manual_seed(i)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
        randomise(model)
        path = os.path.join(folder, name)
        model.save_pretrained(path, max_shard_size="20KB")
        save_values(model, path + ".values.safetensors")
        model.half().save_pretrained(path + "-f16")
        save_values(load(path + "-f16"), path + "-f16.values.safetensors")
        if name == "gpt2":
            add_bytes(path)
        print(name)


def load(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")


def trained(folder, name):
    """transformers' model after STEPS steps of PyTorch's AdamW, and the losses on the way"""
    model = load(os.path.join(folder, name)).train()
    ids = text_ids()
    tokens, targets = ids[:-1].view(ROWS, T), ids[1:].view(ROWS, T)
    parameters = list(model.parameters())
    adamw = torch.optim.AdamW([dict(params=[p for p in parameters if p.dim() >= 2], weight_decay=DECAY),
                               dict(params=[p for p in parameters if p.dim() < 2], weight_decay=0.0)],
                              lr=LR, betas=BETAS, eps=EPS, foreach=False)
    losses = []
    for _ in range(STEPS):
        adamw.zero_grad()
        logits = model(input_ids=tokens, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(parameters, CLIP, foreach=False)
        adamw.step()
    return model.eval(), losses


def comparable(name, p):
    """GPT-2's bias of k has a gradient of zero but for rounding, which Adam scales up"""
    if not name.endswith("attn.c_attn.bias"):
        return p
    C = p.numel() // 3
    return torch.cat((p[:C], p[2 * C:]))


def problems(folder, name):
    run = os.path.join(folder, name + "-run")
    theirs, losses = trained(folder, name)
    with open(os.path.join(run, "metrics.jsonl")) as file:
        ours = [line["loss"] for line in map(json.loads, file) if "loss" in line]
    # some 50 roundings of 2^-24 a token on either side, and ten updates that differ by as much
    far = [f"loss of step {i + 1} is {a:.8g}, PyTorch's {b:.8g}" for i, (a, b) in enumerate(zip(ours, losses))
           if abs(a - b) > 1e-5 * b]
    if len(ours) != STEPS or far:
        yield "; ".join(far) or f"{len(ours)} steps"
    checkpoint, = glob.glob(os.path.join(run, "checkpoints", f"step-{STEPS}"))
    loaded, report = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager",
                                                          output_loading_info=True)
    for what in "missing_keys", "unexpected_keys", "mismatched_keys":
        if report[what]:
            yield f"{what}: {report[what]}"
    again = dict(loaded.named_parameters())
    for key, p in theirs.named_parameters():
        a, b = comparable(key, again[key].detach()), comparable(key, p.detach())
        if not (a - b).norm() <= 1e-4 * b.norm():
            yield f"{key} is {((a - b).norm() / b.norm()).item():.3g} from PyTorch's after {STEPS} steps"
    if type(loaded) is not type(theirs):
        yield f"is loaded as {type(loaded).__name__}, was {type(theirs).__name__}"
    save_values(loaded, run + ".values.safetensors")


def check(folder):
    for i, name in enumerate(CONFIGS, 1):
        wrong = list(problems(folder, name))
        print("\n".join([f"{'not ok' if wrong else 'ok'} {i} - {name}"] + ["# " + line for line in wrong]), flush=True)


torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
{"make": make, "check": check}[sys.argv[1]](sys.argv[2])
