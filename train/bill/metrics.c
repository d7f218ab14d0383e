#include "train/bill/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/durable.h"
#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/text.h"
#include "train/bill/throttle.h"

double metrics_use(double flops, double seconds, double peak) {
    return peak > 0 && seconds > 0 ? flops / seconds / peak : NAN;
}

static double or_nan(const nvml_state *gpu, int value) { return gpu->known && value >= 0 ? value : NAN; }

static status add_bookings(json_t *o, const step_record *r) {
    json_t *usd = NULL;
    if (isnan(r->usd)) return json_add_number_or_null(o, "usd_by_booking", NAN);
    if (!(usd = json_add_object(o, "usd_by_booking"))) FAIL(MEM, "no memory for a line of metrics.jsonl");
    for (int b = 0; b < BOOKINGS; b++)
        if (r->usd_by_booking[b] != 0)
            TRY(json_add_number_or_null(usd, meter_booking_key((booking)b), r->usd_by_booking[b]));
    return STATUS_OK;
}

static status record_json(json_t *o, const step_record *r) {
    double model = (double)r->flops_model, executed = (double)r->flops_executed;
    const struct {
        const char *key;
        double value;
    } numbers[] = {
        {"unix_time_s", r->unix_time_s},
        {"loss", r->loss},
        {"val_loss", r->val_loss},
        {"lr", r->lr},
        {"grad_norm", r->grad_norm},
        {"step_ms", r->step_s * 1e3},
        {"tokens_per_s", r->tokens_per_s},
        {"mfu", metrics_use(model, r->step_s, r->peak_datasheet)},
        {"mfu_palm", metrics_use(r->flops_palm, r->step_s, r->peak_datasheet)},
        {"hfu", metrics_use(executed, r->step_s, r->peak_datasheet)},
        {"mfu_of_measured_peak", metrics_use(model, r->step_s, r->peak_measured)},
        {"hfu_of_measured_peak", metrics_use(executed, r->step_s, r->peak_measured)},
        {"peak_measured_flops", r->peak_measured > 0 ? r->peak_measured : NAN},
        {"exposed_ms", r->exposed_s * 1e3},
        {"skew", r->skew},
        {"energy_j", r->energy_j},
        {"energy_window_s", r->energy_window_s},
        {"energy_total_j", r->energy_total_j},
        {"gpu_sm_mhz", or_nan(&r->gpu, r->gpu.sm_mhz)},
        {"gpu_sm_max_mhz", or_nan(&r->gpu, r->gpu.sm_max_mhz)},
        {"gpu_memory_mhz", or_nan(&r->gpu, r->gpu.memory_mhz)},
        {"gpu_memory_max_mhz", or_nan(&r->gpu, r->gpu.memory_max_mhz)},
        {"gpu_temperature_c", or_nan(&r->gpu, r->gpu.temperature_c)},
        {"usd_step", r->usd_step},
        {"usd", r->usd},
        {"usd_per_mtok", r->usd_per_mtok},
        {"wall_s", r->wall_s},
        {"drift_time", r->drift_time},
        {"drift_memory", r->drift_memory},
        {"drift_usd", r->drift_usd},
    };
    TRY(json_add_u64(o, "step", r->step));
    TRY(json_add_u64(o, "tokens", r->tokens));
    TRY(json_add_u128(o, "flops_model", r->flops_model));
    TRY(json_add_u128(o, "flops_executed", r->flops_executed));
    TRY(json_add_u64(o, "memory_bytes", r->memory_bytes));
    TRY(json_add_u64(o, "ranks", (uint64_t)r->ranks));
    TRY(json_add_u128(o, "bytes_sent", r->bytes_sent));
    TRY(json_add_u64(o, "slowest_rank", (uint64_t)r->slowest_rank));
    TRY(json_add_bool(o, "skipped", r->skipped));
    TRY(json_add_bool(o, "energy_coarse", r->energy_window_s < 1));
    TRY(json_add_string(o, "energy_source", r->energy_source));
    if (r->gpu.reasons_known) TRY(json_add_string(o, "gpu_throttle", throttle_names(r->gpu.reasons).text));
    else TRY(json_add_number_or_null(o, "gpu_throttle", NAN));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        TRY(json_add_number_or_null(o, numbers[i].key, numbers[i].value));
    return add_bookings(o, r);
}

status metrics_open(FILE **f, const char *path, bool keep) {
    *f = NULL;
    int fd = -1;
    if (keep) fd = open(path, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && (!keep || errno == ENOENT)) TRY(file_create(&fd, path));
    struct stat info = {0};
    if (fd < 0 || fstat(fd, &info) || !S_ISREG(info.st_mode)) {
        int code = errno;
        if (fd >= 0) close(fd);
        if (fd < 0 && code != ELOOP) FAIL(IO, "%s: %s", path, strerror(code));
        FAIL(ARG, "%s: is a link, a folder or a device, expected a regular file", path);
    }
    if (!(*f = fdopen(fd, "a"))) {
        close(fd);
        FAIL(MEM, "%s: no memory", path);
    }
    return STATUS_OK;
}

status metrics_sync(FILE *f, const char *path) {
    if (fflush(f)) FAIL(IO, "%s: %s", path, strerror(errno));
    return durable_sync(fileno(f), path);
}

status metrics_line_of(json_t **line, const step_record *r) {
    if (!(*line = json_object())) FAIL(MEM, "no memory for a line of metrics.jsonl");
    status_code st = record_json(*line, r);
    if (!st) return st;
    json_decref(*line);
    *line = NULL;
    return st;
}

status metrics_append(FILE *f, const char *path, const json_t *line) {
    char *text;
    TRY(json_print(&text, line, JSON_ONE_LINE));
    bool failed = fprintf(f, "%s\n", text) < 0 || fflush(f) != 0;
    int code = errno;
    free(text);
    if (failed) FAIL(IO, "%s: %s", path, strerror(code));
    return STATUS_OK;
}

static void print_drift(FILE *f, const step_record *r) {
    const struct {
        const char *what;
        double drift;
    } list[] = {{"time", r->drift_time}, {"memory", r->drift_memory}, {"cost", r->drift_usd}};
    const char *before = " | of the plan:";
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (!isnan(list[i].drift)) {
            fprintf(f, "%s %s %+.0f%%", before, list[i].what, 100 * list[i].drift);
            before = "";
        }
}

void metrics_progress_line(char *line, size_t size, const step_record *r) {
    FILE *f = fmemopen(line, size, "w");
    if (!f) return;
    fprintf(f, "step %lu/%lu | loss %.3f", r->step, r->steps, r->loss);
    if (!isnan(r->val_loss)) fprintf(f, " held-out %.3f", r->val_loss);
    fprintf(f, " | lr %.1e | norm %.2f | %s tok/s", r->lr, r->grad_norm, text_count(r->tokens_per_s).text);
    double peak = r->peak_datasheet > 0 ? r->peak_datasheet : r->peak_measured;
    double model = 100 * metrics_use((double)r->flops_model, r->step_s, peak);
    double executed = 100 * metrics_use((double)r->flops_executed, r->step_s, peak);
    if (r->peak_datasheet > 0) fprintf(f, " | MFU %.1f%% HFU %.1f%%", model, executed);
    else if (peak > 0) fprintf(f, " | model %.1f%% hardware %.1f%% of measured peak", model, executed);
    if (r->ranks > 1)
        fprintf(f, " | %d ranks, %.1f%% waiting, slowest %d +%.0f%%", r->ranks, 100 * r->exposed_s / r->step_s,
                r->slowest_rank, 100 * r->skew);
    double kwh = r->energy_total_j / 3.6e6;
    bool estimated = strstr(r->energy_source, "estimated") != NULL;
    fprintf(f, " | %s", text_bytes((double)r->memory_bytes).text);
    if (isnan(kwh)) fputs(" | energy unknown", f);
    else fprintf(f, " | %.*f kWh%s", kwh < 0.1 ? 5 : 2, kwh, estimated ? " (estimated)" : "");
    if (isnan(r->usd)) fprintf(f, " | no price | left %s", text_seconds(r->left_s).text);
    else
        fprintf(f, " | %s (%s/Mtok) | left %s %s", text_usd(r->usd).text, text_usd(r->usd_per_mtok).text,
                text_seconds(r->left_s).text, text_usd(r->left_usd).text);
    print_drift(f, r);
    fclose(f);
    line[size - 1] = 0;
}
