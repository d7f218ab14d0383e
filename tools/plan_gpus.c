#include "tools/plan_gpus.h"

#include <math.h>
#include <stdio.h>

#include "tools/command.h"
#include "train/bill/hardware.h"

/* in the unit of the column; 0 in the table: not known, or the device has no such format */
static void print_figure(double value, double unit_of, int width) {
    if (value > 0) printf(" %*.6g", width, value / unit_of);
    else printf(" %*s", width, "-");
}

static void print_source(const char *what, const char *source) {
    if (source) printf("    %-7s %s\n", what, source);
}

static void print_table(const hardware *list, int count) {
    printf("%-15s %44s %8s %10s %6s %8s\n", "", "dense TFLOP/s", "memory", "bandwidth", "TDP", "USD per");
    printf("%-15s %10s %10s %10s %11s %8s %10s %6s %8s\n", "--gpu", "bf16", "fp32", "tf32", "fp8", "GB", "GB/s", "W",
           "hour");
    for (int i = 0; i < count; i++) {
        const hardware *h = &list[i];
        printf("%-15s", h->key);
        print_figure(h->peak_bf16, 1e12, 10);
        print_figure(h->peak_fp32, 1e12, 10);
        print_figure(h->peak_tf32, 1e12, 10);
        print_figure(h->peak_fp8, 1e12, 11);
        print_figure(h->memory_bytes, 1e9, 8);
        print_figure(h->memory_bytes_per_s, 1e9, 10);
        print_figure(h->tdp_watts, 1, 6);
        print_figure(h->usd_per_hour, 1, 8);
        putchar('\n');
    }
    printf("- not known, or the device has no such format. fp32 is without tensor cores.\n\n");
    for (int i = 0; i < count; i++) {
        const hardware *h = &list[i];
        printf("  %s: %s\n", h->key, h->name);
        print_source("peaks", h->peak_source);
        print_source("memory", h->memory_source);
        print_source("power", h->tdp_source);
        print_source("price", h->price_source);
        if (h->node_link)
            printf("    links   %s; between nodes %s\n", h->node_link->name, h->network ? h->network->name : "none");
    }
}

static status add_text(json_t *o, const char *key, const char *text) {
    return text ? json_add_string(o, key, text) : json_add_number_or_null(o, key, NAN);
}

static status add_device(json_t *o, const hardware *h) {
    const struct {
        const char *key;
        double value;
    } figures[] = {{"peak_bf16_flops_per_s", h->peak_bf16},
                   {"peak_fp32_flops_per_s", h->peak_fp32},
                   {"peak_tf32_flops_per_s", h->peak_tf32},
                   {"peak_fp8_flops_per_s", h->peak_fp8},
                   {"memory_bytes", h->memory_bytes},
                   {"memory_bytes_per_s", h->memory_bytes_per_s},
                   {"tdp_watts", h->tdp_watts},
                   {"usd_per_hour", h->usd_per_hour}};
    TRY(json_add_string(o, "key", h->key));
    TRY(json_add_string(o, "name", h->name));
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        TRY(json_add_number_or_null(o, figures[i].key, figures[i].value > 0 ? figures[i].value : NAN));
    TRY(add_text(o, "peak_source", h->peak_source));
    TRY(add_text(o, "memory_source", h->memory_source));
    TRY(add_text(o, "tdp_source", h->tdp_source));
    TRY(add_text(o, "price_source", h->price_source));
    TRY(add_text(o, "node_link", h->node_link ? h->node_link->name : NULL));
    return add_text(o, "network", h->network ? h->network->name : NULL);
}

static status fill(json_t *o, const hardware *list, int count) {
    json_t *gpus = json_add_array(o, "gpus");
    for (int i = 0; i < count; i++) {
        json_t *item = json_append_object(gpus);
        if (!item) FAIL(MEM, "no memory for the result");
        TRY(add_device(item, &list[i]));
    }
    return STATUS_OK;
}

status plan_gpus(bool json) {
    int count;
    const hardware *list = hardware_list(&count);
    if (!json) {
        print_table(list, count);
        return STATUS_OK;
    }
    json_t *o = json_object();
    return command_print_json(o, fill(o, list, count));
}
