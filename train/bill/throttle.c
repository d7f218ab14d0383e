#include "train/bill/throttle.h"

#include <stdio.h>
#include <string.h>

#include "runtime/log.h"
#include "runtime/text.h"

enum { POWER_CAP = 0x004 };

/* the bits of NVML's nvmlClocksEventReasons (nvmlClocksThrottleReasons before R535), NVML API Reference Guide */
static const struct {
    uint64_t bit;
    const char *name, *words; /* in metrics.jsonl; in the log */
    bool harmless;
} throttles[] = {
    {0x001, "idle", "idle", true},
    {0x002, "app_clocks", "the application clock setting", true},
    {POWER_CAP, "sw_power_cap", "its power limit", true},
    {0x008, "hw_slowdown", "a hardware slowdown", false},
    {0x010, "sync_boost", "the slowest GPU of its sync boost group", true},
    {0x020, "sw_thermal", "heat (software slowdown)", false},
    {0x040, "hw_thermal", "heat (hardware slowdown)", false},
    {0x080, "hw_power_brake", "the power brake of its host", false},
    {0x100, "display_clocks", "the display clock setting", true},
};
enum { THROTTLES = sizeof throttles / sizeof *throttles };

throttle_text throttle_names(uint64_t reasons) {
    throttle_text t = {.text = ""};
    size_t n = 0;
    for (int i = 0; i < THROTTLES; i++) {
        if (!(reasons & throttles[i].bit)) continue;
        n += (size_t)snprintf(t.text + n, sizeof t.text - n, "%s%s", n ? "," : "", throttles[i].name);
        reasons &= ~throttles[i].bit;
    }
    if (reasons) n += (size_t)snprintf(t.text + n, sizeof t.text - n, "%s0x%lx", n ? "," : "", reasons);
    if (!n) strcpy(t.text, "none");
    return t;
}

static const nvml_state *of_rank(const nvml_state *first, size_t stride, int rank) {
    return (const nvml_state *)((const char *)first + (size_t)rank * stride);
}

/* first rank with the bit; `ranks`: none */
static int first_with(uint64_t bit, const nvml_state *first, size_t stride, int ranks) {
    int r = 0;
    while (r < ranks && !(of_rank(first, stride, r)->reasons & bit)) r++;
    return r;
}

static short_text held_at(const nvml_state *s) {
    short_text t = {.text = ""};
    if (s->sm_mhz >= 0 && s->sm_max_mhz >= 0)
        snprintf(t.text, sizeof t.text, ", %d of %d MHz", s->sm_mhz, s->sm_max_mhz);
    return t;
}

static void say_begin(int i, const nvml_state *s, int rank) {
    char heat[24] = "";
    if (s->temperature_c >= 0) snprintf(heat, sizeof heat, ", %d C", s->temperature_c);
    log_line("throttling begins: the GPU of rank %d is slowed by %s%s%s", rank, throttles[i].words, held_at(s).text,
             heat);
}

void throttle_look(throttle_watch *w, const nvml_state *first, size_t stride, int ranks) {
    for (int i = 0; i < THROTTLES; i++) {
        uint64_t bit = throttles[i].bit;
        int rank = first_with(bit, first, stride, ranks);
        bool now = rank < ranks, before = w->lasting & bit;
        if (bit == POWER_CAP && now && !w->capped) {
            w->capped = true;
            log_line("power: the GPU of rank %d is at its power limit%s; this is normal under load and is logged once",
                     rank, held_at(of_rank(first, stride, rank)).text);
        }
        if (throttles[i].harmless || now == before) continue;
        if (now) say_begin(i, of_rank(first, stride, rank), rank);
        else log_line("throttling ends: no GPU is slowed by %s any more", throttles[i].words);
        w->lasting ^= bit;
    }
}
