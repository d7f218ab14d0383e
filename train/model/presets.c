#include "train/model/presets.h"

#include "runtime/text.h"

typedef struct {
    const char *name;
    architecture arch;
    i64 L, C, H, K, D, F, V, context;
    float norm_eps;
    double theta, rope_factor; /* rope_factor 0: positions are not scaled */
    bool tied;
    double init_std;
} preset;

/* As in the config.json that was published with each model: GPT-2 by OpenAI (2019), llama-*m the stories models of
 * karpathy/llama2.c (2023), SmolLM2 by Hugging Face (2024; its 1.7B has another RoPE base), Qwen2.5 (2024) and Qwen3
 * (2025) by Alibaba, base models, Llama by Meta (2023, 2024), TinyLlama by Zhang et al. (2024). llama-3m is ours, for a
 * first run on a laptop: with a byte vocabulary it has 2.7 million parameters. */
/* clang-format off */
static const preset presets[] = {
    /* name             arch        L   C     H   K   D    F      V       context eps    theta  factor tied   init */
    {"gpt2-124m",       ARCH_GPT2,  12, 768,  12, 12, 64,  3072,  50257,  1024,   1e-5f, 0,     0,     true,  0.02},
    {"gpt2-355m",       ARCH_GPT2,  24, 1024, 16, 16, 64,  4096,  50257,  1024,   1e-5f, 0,     0,     true,  0.02},
    {"gpt2-774m",       ARCH_GPT2,  36, 1280, 20, 20, 64,  5120,  50257,  1024,   1e-5f, 0,     0,     true,  0.02},
    {"gpt2-1558m",      ARCH_GPT2,  48, 1600, 25, 25, 64,  6400,  50257,  1024,   1e-5f, 0,     0,     true,  0.02},
    {"llama-3m",        ARCH_LLAMA, 6,  192,  6,  6,  32,  512,   257,    1024,   1e-5f, 1e4,   0,     true,  0.02},
    {"llama-15m",       ARCH_LLAMA, 6,  288,  6,  6,  48,  768,   32000,  256,    1e-5f, 1e4,   0,     true,  0.02},
    {"llama-42m",       ARCH_LLAMA, 8,  512,  8,  8,  64,  1376,  32000,  1024,   1e-5f, 1e4,   0,     true,  0.02},
    {"llama-110m",      ARCH_LLAMA, 12, 768,  12, 12, 64,  2048,  32000,  1024,   1e-5f, 1e4,   0,     true,  0.02},
    {"smollm2-135m",    ARCH_LLAMA, 30, 576,  9,  3,  64,  1536,  49152,  8192,   1e-5f, 1e5,   0,     true,  1 / 24.0},
    {"smollm2-360m",    ARCH_LLAMA, 32, 960,  15, 5,  64,  2560,  49152,  8192,   1e-5f, 1e5,   0,     true,  0.02},
    {"smollm2-1.7b",    ARCH_LLAMA, 24, 2048, 32, 32, 64,  8192,  49152,  8192,   1e-5f, 1.3e5, 0,     true,  0.02},
    {"qwen2.5-0.5b",    ARCH_QWEN2, 24, 896,  14, 2,  64,  4864,  151936, 32768,  1e-6f, 1e6,   0,     true,  0.02},
    {"qwen2.5-1.5b",    ARCH_QWEN2, 28, 1536, 12, 2,  128, 8960,  151936, 131072, 1e-6f, 1e6,   0,     true,  0.02},
    {"qwen2.5-3b",      ARCH_QWEN2, 36, 2048, 16, 2,  128, 11008, 151936, 32768,  1e-6f, 1e6,   0,     true,  0.02},
    {"qwen2.5-7b",      ARCH_QWEN2, 28, 3584, 28, 4,  128, 18944, 152064, 131072, 1e-6f, 1e6,   0,     false, 0.02},
    {"qwen3-0.6b",      ARCH_QWEN3, 28, 1024, 16, 8,  128, 3072,  151936, 40960,  1e-6f, 1e6,   0,     true,  0.02},
    {"qwen3-1.7b",      ARCH_QWEN3, 28, 2048, 16, 8,  128, 6144,  151936, 40960,  1e-6f, 1e6,   0,     true,  0.02},
    {"tinyllama-1.1b",  ARCH_LLAMA, 22, 2048, 32, 4,  64,  5632,  32000,  2048,   1e-5f, 1e4,   0,     false, 0.02},
    {"llama3.2-1b",     ARCH_LLAMA, 16, 2048, 32, 8,  64,  8192,  128256, 131072, 1e-5f, 5e5,   32,    true,  0.02},
    {"llama3.2-3b",     ARCH_LLAMA, 28, 3072, 24, 8,  128, 8192,  128256, 131072, 1e-5f, 5e5,   32,    true,  0.02},
    {"llama2-7b",       ARCH_LLAMA, 32, 4096, 32, 32, 128, 11008, 32000,  4096,   1e-5f, 1e4,   0,     false, 0.02},
    {"llama2-13b",      ARCH_LLAMA, 40, 5120, 40, 40, 128, 13824, 32000,  4096,   1e-5f, 1e4,   0,     false, 0.02},
    {"llama2-70b",      ARCH_LLAMA, 80, 8192, 64, 8,  128, 28672, 32000,  4096,   1e-5f, 1e4,   0,     false, 0.02},
    {"codellama-34b",   ARCH_LLAMA, 48, 8192, 64, 8,  128, 22016, 32000,  16384,  1e-5f, 1e6,   0,     false, 0.02},
    {"llama3.1-8b",     ARCH_LLAMA, 32, 4096, 32, 8,  128, 14336, 128256, 131072, 1e-5f, 5e5,   8,     false, 0.02},
};
/* clang-format on */

void presets_apply_architecture(model_config *c, architecture arch) {
    bool gpt2 = arch == ARCH_GPT2;
    c->arch = arch;
    c->layer_norm = c->learned_positions = c->attn_bias = c->mlp_bias = gpt2;
    c->swiglu = !gpt2;
    c->qkv_bias = gpt2 || arch == ARCH_QWEN2;
    c->qk_norm = arch == ARCH_QWEN3;
}

int presets_count(void) { return (int)(sizeof presets / sizeof *presets); }
const char *presets_name(int i) { return presets[i].name; }

void presets_get(model_config *c, int i) {
    const preset *p = &presets[i];
    *c = (model_config){.L = p->L,
                        .C = p->C,
                        .H = p->H,
                        .K = p->K,
                        .D = p->D,
                        .F = p->F,
                        .V = p->V,
                        .context = p->context,
                        .norm_eps = p->norm_eps,
                        .tied = p->tied,
                        .init_std = p->init_std};
    snprintf(c->name, sizeof c->name, "%s", p->name);
    presets_apply_architecture(c, p->arch);
    c->rope.theta = p->theta;
    if (p->rope_factor > 0)
        c->rope = (rope_scaling){.theta = p->theta,
                                 .type = ROPE_LLAMA3,
                                 .factor = p->rope_factor,
                                 .low_freq_factor = 1,
                                 .high_freq_factor = 4,
                                 .original_context = 8192};
}

void model_config_print_presets(FILE *out) {
    fprintf(out, "%-16s %10s %6s %8s %11s %9s %12s %10s %8s\n", "model", "parameters", "layers", "channels", "heads",
            "head size", "feed-forward", "vocabulary", "context");
    for (int i = 0; i < presets_count(); i++) {
        model_config c;
        presets_get(&c, i);
        char heads[24];
        snprintf(heads, sizeof heads, c.H == c.K ? "%d" : "%d (%d kv)", (int)c.H, (int)c.K);
        fprintf(out, "%-16s %10s %6d %8d %11s %9d %12d %10d %8d\n", c.name,
                text_count((double)model_config_parameters(&c)).text, (int)c.L, (int)c.C, heads, (int)c.D, (int)c.F,
                (int)c.V, (int)c.context);
    }
}
