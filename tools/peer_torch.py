#!/usr/bin/env python3
"""One training step of a GPT-2 or Llama-style model in plain PyTorch on the CPU, timed: what one would write instead.

    peer_torch.py --model gpt2-124m --batch 4 --seq-len 256 [--precision fp32|bf16] [--compile] [--steps 5]

Scaled-dot-product attention, fused AdamW, gradients clipped at norm 1; bf16 is autocast over f32 weights. Random
tokens. Prints one JSON line. tools/bench_peers sets the environment it runs best in. Needs torch >= 2.5."""
import argparse
import contextlib
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

# family, layers, channels, heads, kv heads, head size, feed-forward, vocabulary, tied: as `tally`'s presets
MODELS = {
    "gpt2-124m": ("gpt2", 12, 768, 12, 12, 64, 3072, 50257, True),
    "gpt2-355m": ("gpt2", 24, 1024, 16, 16, 64, 4096, 50257, True),
    "gpt2-774m": ("gpt2", 36, 1280, 20, 20, 64, 5120, 50257, True),
    "llama-15m": ("llama", 6, 288, 6, 6, 48, 768, 32000, True),
    "llama-42m": ("llama", 8, 512, 8, 8, 64, 1376, 32000, True),
    "llama-110m": ("llama", 12, 768, 12, 12, 64, 2048, 32000, True),
    "smollm2-135m": ("llama", 30, 576, 9, 3, 64, 1536, 49152, True),
    "smollm2-360m": ("llama", 32, 960, 15, 5, 64, 2560, 49152, True),
    "qwen2.5-0.5b": ("qwen2", 24, 896, 14, 2, 64, 4864, 151936, True),
    "qwen3-0.6b": ("qwen3", 28, 1024, 16, 8, 128, 3072, 151936, True),
    "tinyllama-1.1b": ("llama", 22, 2048, 32, 4, 64, 5632, 32000, False),
    "llama3.2-1b": ("llama", 16, 2048, 32, 8, 64, 8192, 128256, True),
}


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Block(nn.Module):
    def __init__(self, family, C, H, K, D, hidden):
        super().__init__()
        self.gpt2, self.H, self.K, self.D = family == "gpt2", H, K, D
        norm = nn.LayerNorm if self.gpt2 else nn.RMSNorm
        self.norm1, self.norm2 = norm(C), norm(C)
        self.qkv = nn.Linear(C, (H + 2 * K) * D, bias=family in ("gpt2", "qwen2"))
        self.qnorm, self.knorm = (nn.RMSNorm(D), nn.RMSNorm(D)) if family == "qwen3" else (None, None)
        self.proj = nn.Linear(H * D, C, bias=self.gpt2)
        self.up = nn.Linear(C, hidden if self.gpt2 else 2 * hidden, bias=self.gpt2)
        self.down = nn.Linear(hidden, C, bias=self.gpt2)

    def attention(self, x, cos, sin):
        B, T, _ = x.shape
        H, K, D = self.H, self.K, self.D
        q, k, v = (t.view(B, T, -1, D).transpose(1, 2) for t in self.qkv(x).split((H * D, K * D, K * D), -1))
        if self.qnorm is not None:
            q, k = self.qnorm(q), self.knorm(k)
        if not self.gpt2:
            q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=K != H)
        return self.proj(y.transpose(1, 2).reshape(B, T, H * D))

    def feed_forward(self, x):
        h = self.up(x)
        if self.gpt2:
            return self.down(F.gelu(h, approximate="tanh"))
        gate, up = h.chunk(2, -1)
        return self.down(F.silu(gate) * up)

    def forward(self, x, cos, sin):
        x = x + self.attention(self.norm1(x), cos, sin)
        return x + self.feed_forward(self.norm2(x))


class Model(nn.Module):
    def __init__(self, name, T):
        super().__init__()
        family, L, C, H, K, D, hidden, V, tied = MODELS[name]
        self.wte = nn.Embedding(V, C)
        self.wpe = nn.Embedding(max(T, 1024), C) if family == "gpt2" else None
        self.blocks = nn.ModuleList(Block(family, C, H, K, D, hidden) for _ in range(L))
        self.norm = (nn.LayerNorm if family == "gpt2" else nn.RMSNorm)(C)
        self.head = nn.Linear(C, V, bias=False)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)
        if tied:
            self.head.weight = self.wte.weight
        angles = torch.outer(torch.arange(T), 10000.0 ** (-torch.arange(0, D, 2) / D))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens, targets):
        x = self.wte(tokens)
        if self.wpe is not None:
            x = x + self.wpe.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1).float(), targets.flatten())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="gpt2-124m")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seq-len", type=int, default=256)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    o = parser.parse_args()
    if o.precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        sys.exit("torch has no fast bf16 products for this CPU (dy @ w: 0.9 GFLOP/s on Zen 3, fp32: 300); use fp32")
    torch.manual_seed(0)
    model = Model(o.model, o.seq_len)
    V = model.wte.num_embeddings
    decay = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    adamw = torch.optim.AdamW([dict(params=decay, weight_decay=0.1), dict(params=others, weight_decay=0.0)],
                              lr=3e-4, betas=(0.9, 0.95), fused=True)
    loss_of = torch.compile(model) if o.compile else model
    text = torch.randint(0, V, (o.batch, o.seq_len + 1))
    tokens, targets = text[:, :-1].contiguous(), text[:, 1:].contiguous()
    step_ms = []
    for _ in range(o.warmup + o.steps):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16) if o.precision == "bf16" else contextlib.nullcontext():
            loss = loss_of(tokens, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()
        adamw.zero_grad(set_to_none=True)
        step_ms.append((time.perf_counter() - start) * 1e3)
    step_ms = step_ms[o.warmup:]
    median_ms = statistics.median(step_ms)
    print(json.dumps(dict(
        peer="torch " + torch.__version__.split("+")[0] + (" compiled" if o.compile else ""), model=o.model,
        parameters=sum(p.numel() for p in model.parameters()), precision=o.precision, batch=o.batch, seq_len=o.seq_len,
        threads=torch.get_num_threads(), step_ms=[round(t, 2) for t in step_ms], median_ms=round(median_ms, 2),
        tokens_per_s=round(o.batch * o.seq_len / median_ms * 1e3, 1), loss=round(loss.item(), 4))), flush=True)


main()
