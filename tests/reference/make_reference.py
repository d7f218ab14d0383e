#!/usr/bin/env python3
"""Reference values for tests: tiny models of Hugging Face transformers, trained ten steps in float32 on the CPU.

    make_reference.py [NAME...]          writes NAME.safetensors and NAME.json beside this script (default: all)
    make_reference.py --check [NAME...]  makes them again in memory and compares with the files; prints TAP

What a fixture holds is in README.md. Needs torch, transformers >= 5, safetensors, numpy."""
import argparse
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

FOLDER = os.path.dirname(os.path.abspath(__file__))
STEPS, B, T, V = 10, 2, 16, 61
LR, BETAS, EPS, DECAY, CLIP = 1e-3, (0.9, 0.95), 1e-8, 0.1, 1.0

LLAMA3_ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=128)
YARN_ROPE = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=4.0, beta_slow=1.0)
LLAMA_LIKE = dict(vocab_size=V, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                  attention_dropout=0.0)

# Sizes mostly differ from each other, so that a mixed-up dimension cannot pass, and keep a file below 200 kB.
CONFIGS = {
    "gpt2-tiny": GPT2Config(vocab_size=V, n_positions=T, n_layer=2, n_embd=24, n_head=3, n_inner=72, resid_pdrop=0.0,
                            embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None),
    "llama-tiny-tied": LlamaConfig(**LLAMA_LIKE, hidden_size=32, head_dim=8, intermediate_size=28, rms_norm_eps=1e-5,
                                   rope_theta=10000.0, max_position_embeddings=64, tie_word_embeddings=True),
    "llama-tiny-untied": LlamaConfig(**LLAMA_LIKE, hidden_size=32, head_dim=8, intermediate_size=24, rms_norm_eps=1e-5,
                                     rope_theta=100.0, rope_scaling=LLAMA3_ROPE, max_position_embeddings=1024,
                                     tie_word_embeddings=False),
    "qwen2-tiny": Qwen2Config(**LLAMA_LIKE, hidden_size=32, intermediate_size=28, rms_norm_eps=1e-6, rope_theta=1000.0,
                              max_position_embeddings=64, tie_word_embeddings=True),
    "qwen3-tiny": Qwen3Config(**LLAMA_LIKE, hidden_size=24, head_dim=16, intermediate_size=20, rms_norm_eps=1e-6,
                              rope_theta=1000.0, max_position_embeddings=64, tie_word_embeddings=True),
    "llama-tiny-biases": LlamaConfig(**LLAMA_LIKE, hidden_size=16, head_dim=8, intermediate_size=20, rms_norm_eps=1e-5,
                                     rope_theta=100.0, rope_scaling=YARN_ROPE, max_position_embeddings=64,
                                     attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "mistral-tiny": MistralConfig(**LLAMA_LIKE, hidden_size=16, head_dim=6, intermediate_size=20, rms_norm_eps=1e-5,
                                  rope_theta=1000.0, max_position_embeddings=64, sliding_window=5,
                                  rope_scaling=dict(rope_type="dynamic", factor=2.0), tie_word_embeddings=False),
    "qwen3-tiny-window": Qwen3Config(**LLAMA_LIKE, hidden_size=16, head_dim=6, intermediate_size=20, rms_norm_eps=1e-6,
                                     rope_theta=1000.0, max_position_embeddings=64, attention_bias=True,
                                     rope_scaling=dict(rope_type="linear", factor=2.5), use_sliding_window=True,
                                     sliding_window=3, max_window_layers=1, tie_word_embeddings=True),
    "gpt2-tiny-documents": GPT2Config(vocab_size=V, n_positions=T, n_layer=2, n_embd=16, n_head=2, n_inner=24,
                                      resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None,
                                      eos_token_id=None),
    "mistral-tiny-documents": MistralConfig(**LLAMA_LIKE, hidden_size=16, head_dim=6, intermediate_size=20,
                                            rms_norm_eps=1e-5, rope_theta=1000.0, max_position_embeddings=64,
                                            sliding_window=4, tie_word_embeddings=True),
}
DOCUMENTS = {"gpt2-tiny-documents", "mistral-tiny-documents"}  # rows hold documents, which are masked from each other
# transformers 5 writes rope_parameters; the checkpoints of before, which are most, have rope_theta and rope_scaling.
OLD_ROPE_KEYS = {"llama-tiny-untied", "qwen3-tiny", "llama-tiny-biases"}

KEPT_KEYS = """model_type architectures vocab_size n_positions n_embd n_layer n_head n_inner activation_function
layer_norm_epsilon hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim
hidden_act max_position_embeddings rms_norm_eps rope_parameters tie_word_embeddings attention_bias mlp_bias
use_sliding_window sliding_window max_window_layers layer_types""".split()


def make_config_json(name):
    full = json.loads(CONFIGS[name].to_json_string(use_diff=False))
    kept = {k: full[k] for k in KEPT_KEYS if full.get(k) is not None}
    if full["model_type"].startswith("qwen") and not full["use_sliding_window"]:
        for key in "use_sliding_window", "sliding_window", "max_window_layers", "layer_types":
            kept.pop(key, None)
    kept["architectures"] = [type(make_model(name, torch.float32)).__name__]
    if name in OLD_ROPE_KEYS:
        rope = kept.pop("rope_parameters")
        kept["rope_theta"] = rope.pop("rope_theta")
        if rope["rope_type"] != "default":
            kept["rope_scaling"] = rope
    return kept


def make_model(name, dtype):
    model = AutoModelForCausalLM.from_config(CONFIGS[name], dtype=dtype, attn_implementation="eager")
    return model.train()


def randomise(model, generator):
    """Every number random, gains and biases too, so that no error hides behind a 0 or 1; all exact in bf16. Sums of
    four random integers are near to normal and, unlike torch.randn, the same on every CPU."""
    for name, p in model.named_parameters():
        noise = torch.randint(-500, 501, (4, *p.shape), generator=generator).sum(0) / 578.0
        gain = p.dim() == 1 and name.endswith(".weight")
        value = 1 + 0.2 * noise if gain else (0.15 if p.dim() > 1 else 0.1) * noise
        p.data.copy_(value.bfloat16())


def draw_starts(generator):
    """[STEPS,B,T]: for each token, the first position of its document in the row."""
    begins = torch.rand((STEPS, B, T), generator=generator) < 0.2
    begins[:, :, 0] = True
    return torch.cummax(torch.where(begins, torch.arange(T), 0), dim=-1).values


def masked(model, starts):
    """The arguments that keep attention inside documents, and in the model's window, with positions from their starts."""
    i, j = torch.arange(T)[:, None], torch.arange(T)[None, :]
    window = getattr(model.config, "sliding_window", None) or T
    seen = (j <= i) & (j > i - window) & (j >= starts[:, :, None])
    lowest = torch.finfo(model.dtype).min
    mask = torch.where(seen, 0.0, lowest).to(model.dtype)[:, None]
    return dict(attention_mask=mask, position_ids=torch.arange(T) - starts)


def mean_loss(model, tokens, targets, starts=None):
    arguments = {} if starts is None else masked(model, starts)
    logits = model(input_ids=tokens, use_cache=False, **arguments).logits
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten()), logits


def train(name, weights, tokens, targets, starts, precision):
    """Ten AdamW steps. The masters are f32; under bf16 each step runs on a bf16 copy of them."""
    model = make_model(name, torch.float32)
    model.load_state_dict(weights)
    masters = dict(model.named_parameters())
    active = model if precision == torch.float32 else make_model(name, precision)
    groups = [dict(params=[p for p in masters.values() if p.dim() >= 2], weight_decay=DECAY),
              dict(params=[p for p in masters.values() if p.dim() < 2], weight_decay=0.0)]
    adamw = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS, foreach=False)
    out = dict(losses=[], grad_norms=[])
    for step in range(STEPS):
        if active is not model:
            active.load_state_dict(model.state_dict())
        active.zero_grad()
        loss, logits = mean_loss(active, tokens[step], targets[step], None if starts is None else starts[step])
        loss.backward()
        for key, p in active.named_parameters():
            masters[key].grad = p.grad.float().clone()
        if step == 0:
            out["logits"] = logits.detach().float().clone()
            out["grad"] = {k: p.grad.clone() for k, p in masters.items()}
        out["losses"].append(loss.detach())
        out["grad_norms"].append(torch.nn.utils.clip_grad_norm_(masters.values(), CLIP, foreach=False))
        adamw.step()
    out["final"] = {k: p.detach().clone() for k, p in masters.items()}
    return out


def make_fixture(name):
    generator = torch.Generator().manual_seed(1 + list(CONFIGS).index(name))
    model = make_model(name, torch.float32)
    randomise(model, generator)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    text = torch.randint(0, V, (STEPS, B, T + 1), generator=generator)
    tokens, targets = text[:, :, :-1].contiguous(), text[:, :, 1:].contiguous()
    starts = draw_starts(generator) if name in DOCUMENTS else None
    full = train(name, weights, tokens, targets, starts, torch.float32)
    half = train(name, weights, tokens, targets, starts, torch.bfloat16)
    fixture = dict(tokens=tokens.float(), targets=targets.float(), logits=full["logits"], loss=full["losses"][0],
                   losses=torch.stack(full["losses"]), grad_norms=torch.stack(full["grad_norms"]),
                   losses_bf16=torch.stack(half["losses"]))
    if starts is not None:
        fixture["starts"] = starts.float()
    for key, p in model.named_parameters():
        fixture["weights." + key] = p.detach().bfloat16()
        fixture["grad." + key] = full["grad"][key]
        fixture["grad_bf16." + key] = half["grad"][key].bfloat16()
        fixture["final." + key] = full["final"][key]
    return {k: v.contiguous() for k, v in fixture.items()}


def tolerance(key):
    """By norm, for another CPU, number of threads or torch, whose sums have another order (across AVX2 and SSE, one
    and three threads: f32 values differ by 1e-6). final: one element with a gradient near rounding noise is enough,
    since Adam moves it by lr all the same. bf16: four of its roundoffs, as torch sums rows in bf16. Inputs: 0."""
    if key.startswith("weights.") or key in ("tokens", "targets", "starts"):
        return 0.0
    if "bf16" in key:
        return 2.0**-6
    return 1e-4 if key.startswith("final.") else 4e-6


def comparable(name, key, value):
    """GPT-2's bias of k has a gradient of zero (softmax ignores a shift), so what is left of it is rounding noise,
    which Adam then scales up to steps of about lr: it is left out."""
    value = value.double().flatten()
    if name.startswith("gpt2") and key.endswith("attn.c_attn.bias") and not key.startswith("weights."):
        C = value.numel() // 3
        return torch.cat((value[:C], value[2 * C:]))
    return value


def differences(name):
    stored = load_file(os.path.join(FOLDER, name + ".safetensors"))
    fresh = make_fixture(name)
    if stored.keys() != fresh.keys():
        yield "tensors: " + " ".join(sorted(stored.keys() ^ fresh.keys()))
        return
    for key, value in fresh.items():
        if value.shape != stored[key].shape or value.dtype != stored[key].dtype:
            yield f"{key}: {stored[key].dtype} {list(stored[key].shape)}, expected {value.dtype} {list(value.shape)}"
            continue
        a, b = comparable(name, key, stored[key]), comparable(name, key, value)
        distance = ((a - b).norm() / b.norm().clamp_min(1e-30)).item()
        if not distance <= tolerance(key):
            yield f"{key}: relative distance {distance:.3g}, tolerance {tolerance(key):.3g}"
    with open(os.path.join(FOLDER, name + ".json")) as file:
        if json.load(file) != make_config_json(name):
            yield name + ".json differs"


def write(name):
    path = os.path.join(FOLDER, name)
    metadata = dict(torch=torch.__version__.split("+")[0], transformers=transformers.__version__)
    save_file(make_fixture(name), path + ".safetensors", metadata)
    with open(path + ".json", "w") as file:
        json.dump(make_config_json(name), file, indent=2)
        file.write("\n")
    print(path + ".safetensors", os.path.getsize(path + ".safetensors"), "bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files")
    parser.add_argument("names", nargs="*", metavar="NAME", help=" ".join(CONFIGS))
    options = parser.parse_args()
    unknown = [n for n in options.names if n not in CONFIGS]
    if unknown:
        parser.error(f"unknown: {' '.join(unknown)}; known: {' '.join(CONFIGS)}")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    names, failed = options.names or list(CONFIGS), 0
    for i, name in enumerate(names, 1):
        if not options.check:
            write(name)
            continue
        wrong = list(differences(name))
        print("\n".join([f"{'not ok' if wrong else 'ok'} {i} - {name}"] + ["# " + line for line in wrong]), flush=True)
        failed += bool(wrong)
    if options.check:
        print(f"1..{len(names)}")
    return 1 if failed else 0


sys.exit(main())
