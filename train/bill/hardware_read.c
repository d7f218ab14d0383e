#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "train/bill/hardware.h"

status hardware_by_key(const hardware **h, const char *key) {
    int count;
    const hardware *list = hardware_list(&count);
    for (int i = 0; i < count; i++)
        if (!strcasecmp(list[i].key, key)) {
            *h = &list[i];
            return STATUS_OK;
        }
    char keys[512];
    size_t used = 0;
    for (int i = 0; i < count && used < sizeof keys; i++)
        used += (size_t)snprintf(keys + used, sizeof keys - used, "%s%s", i ? ", " : "", list[i].key);
    FAIL(ARG, "'%s' is not a device of the hardware table; expected one of %s", key, keys);
}

/* above this a figure is neither a rounding nor a card with a higher clock */
enum { MOST_PERCENT = 110, SPARSE_FROM = 190, SPARSE_TO = 210 };

status hardware_check_dense(const char *what, const char *name, double flops, double dense) {
    double percent = dense > 0 ? 100 * flops / dense : 0;
    if (percent <= MOST_PERCENT) return STATUS_OK;
    if (percent >= SPARSE_FROM && percent <= SPARSE_TO)
        FAIL(ARG,
             "%s is %.6g TFLOP/s: that is the figure of %s with 2:4 sparsity, which training does not have; expected "
             "the "
             "dense peak, %.6g",
             what, flops * 1e-12, name, dense * 1e-12);
    FAIL(ARG, "%s is %.6g TFLOP/s; the dense peak of %s is %.6g", what, flops * 1e-12, name, dense * 1e-12);
}

/* --- a device of one's own --- */

static status get_number(double *v, const json_t *o, const char *path, const char *key, double scale) {
    *v = 0;
    if (!json_find(o, key)) return STATUS_OK;
    TRY(json_get_double(o, path, key, v));
    if (!(*v > 0) || *v > 1e9) FAIL(DATA, "%s: \"%s\" is %.6g; expected more than 0, at most 1e9", path, key, *v);
    *v *= scale;
    return STATUS_OK;
}

static status get_latency(double *seconds, const json_t *o, const char *path) {
    double us = 0;
    if (json_find(o, "latency_us")) TRY(json_get_double(o, path, "latency_us", &us));
    if (!(us >= 0) || us > 1e6) FAIL(DATA, "%s: \"latency_us\" is %.6g; expected 0 to 1e6", path, us);
    *seconds = us * 1e-6;
    return STATUS_OK;
}

static status only_keys(const json_t *o, const char *path, const char *const *keys, size_t count) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)o, key, value) {
        size_t i = 0;
        while (i < count && strcmp(keys[i], key)) i++;
        if (i == count) FAIL(DATA, "%s: unknown key \"%s\"", path, key);
    }
    return STATUS_OK;
}

static status read_link(hardware_link *l, const hardware_link **used, const json_t *o, const char *path,
                        const char *key, const char *source) {
    static const char *const keys[] = {"gb_per_s", "reached", "latency_us"};
    json_t *link;
    if (!json_find(o, key)) return STATUS_OK;
    TRY(json_get_object(o, path, key, &link));
    TRY(only_keys(link, path, keys, sizeof keys / sizeof *keys));
    *l = (hardware_link){.name = key, .source = source, .reached_source = source, .latency_source = source};
    TRY(get_number(&l->bytes_per_s, link, path, "gb_per_s", 1e9));
    TRY(get_number(&l->reached, link, path, "reached", 1));
    TRY(get_latency(&l->latency_s, link, path));
    if (l->bytes_per_s == 0) FAIL(DATA, "%s: \"%s\" has no \"gb_per_s\"", path, key);
    if (l->reached > 1) FAIL(DATA, "%s: \"reached\" of \"%s\" is %.6g; expected at most 1", path, key, l->reached);
    if (l->reached == 0) l->reached = 1;
    *used = l;
    return STATUS_OK;
}

static status get_text(const char **text, const json_t *o, const char *path, const char *key) {
    const json_t *item = json_find(o, key);
    if (!item) return STATUS_OK;
    const char *value = json_string_or_null(item);
    bool fits = value && *value && strlen(value) <= 200;
    for (const char *c = value; fits && *c; c++) fits = !iscntrl((unsigned char)*c);
    if (!fits) FAIL(DATA, "%s: \"%s\": expected a text of 1 to 200 bytes without control characters", path, key);
    *text = value;
    return STATUS_OK;
}

/* A device of the table under a name of one's own choice has the table's dense peaks. */
static status check_peaks(const hardware *h, const char *path) {
    const hardware *known = hardware_find(DEVICE_CUDA, h->name);
    int count;
    const hardware *list = hardware_list(&count);
    for (int i = 0; i < count && !known; i++)
        if (!strcasecmp(h->name, list[i].key) || !strcasecmp(h->name, list[i].name)) known = &list[i];
    if (!known) return STATUS_OK;
    const struct {
        const char *key;
        double flops, dense;
    } peaks[] = {{"peak_bf16_tflops", h->peak_bf16, known->peak_bf16},
                 {"peak_fp32_tflops", h->peak_fp32, known->peak_fp32},
                 {"peak_tf32_tflops", h->peak_tf32, known->peak_tf32},
                 {"peak_fp8_tflops", h->peak_fp8, known->peak_fp8}};
    for (size_t i = 0; i < sizeof peaks / sizeof *peaks; i++) {
        char what[400];
        snprintf(what, sizeof what, "%s: \"%s\"", path, peaks[i].key);
        TRY(hardware_check_dense(what, known->name, peaks[i].flops, peaks[i].dense));
    }
    return STATUS_OK;
}

static status read_device(hardware_file *f, const char *path) {
    static const char *const keys[] = {"name",
                                       "source",
                                       "peak_bf16_tflops",
                                       "peak_fp32_tflops",
                                       "peak_tf32_tflops",
                                       "peak_fp8_tflops",
                                       "memory_gb",
                                       "memory_bandwidth_gb_per_s",
                                       "tdp_watts",
                                       "usd_per_hour",
                                       "node_link",
                                       "network"};
    hardware *h = &f->hardware;
    const json_t *o = f->json;
    if (!json_is_object(o)) FAIL(DATA, "%s: expected a JSON object that describes one device", path);
    TRY(only_keys(o, path, keys, sizeof keys / sizeof *keys));
    const char *source = NULL;
    TRY(get_text(&h->name, o, path, "name"));
    TRY(get_text(&source, o, path, "source"));
    if (!h->name) FAIL(DATA, "%s: \"name\" is missing", path);
    if (!source) {
        json_t *text = json_string(path);
        if (!text || json_object_set_new(f->json, "source", text)) FAIL(DATA, "%s: the path is not UTF-8", path);
        source = json_string_value(text);
    }
    h->key = h->name;
    h->peak_source = h->memory_source = h->tdp_source = h->price_source = source;
    TRY(get_number(&h->peak_bf16, o, path, "peak_bf16_tflops", 1e12));
    TRY(get_number(&h->peak_fp32, o, path, "peak_fp32_tflops", 1e12));
    TRY(get_number(&h->peak_tf32, o, path, "peak_tf32_tflops", 1e12));
    TRY(get_number(&h->peak_fp8, o, path, "peak_fp8_tflops", 1e12));
    TRY(check_peaks(h, path));
    TRY(get_number(&h->memory_bytes, o, path, "memory_gb", 1e9));
    TRY(get_number(&h->memory_bytes_per_s, o, path, "memory_bandwidth_gb_per_s", 1e9));
    if ((h->memory_bytes > 0) != (h->memory_bytes_per_s > 0))
        FAIL(DATA, "%s: expected \"memory_gb\" and \"memory_bandwidth_gb_per_s\", or neither", path);
    TRY(get_number(&h->tdp_watts, o, path, "tdp_watts", 1));
    TRY(get_number(&h->usd_per_hour, o, path, "usd_per_hour", 1));
    TRY(read_link(&f->node_link, &h->node_link, o, path, "node_link", source));
    return read_link(&f->network, &h->network, o, path, "network", source);
}

status hardware_read(hardware_file *f, const char *path) {
    *f = (hardware_file){0};
    TRY(json_read_file(&f->json, path));
    status_code st = read_device(f, path);
    if (st != STATUS_OK) {
        status_trace(st, __FILE__, __LINE__);
        hardware_read_free(f);
    }
    return st;
}

void hardware_read_free(hardware_file *f) {
    json_decref(f->json);
    *f = (hardware_file){0};
}
