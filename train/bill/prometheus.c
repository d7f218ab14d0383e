#include "train/bill/prometheus.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/durable.h"
#include "runtime/printable.h"

static const char beginning[] = "# HELP tally_";

/* Whether the file may be replaced: it is absent, empty, or a text file for Prometheus. */
static bool is_ours(const char *path) {
    char begin[sizeof beginning] = "";
    FILE *f = fopen(path, "re");
    if (!f) return errno != EACCES; /* what else is wrong with the path is found below */
    size_t got = fread(begin, 1, sizeof begin - 1, f);
    fclose(f);
    return got == 0 || strcmp(begin, beginning) == 0;
}

status prometheus_check(const char *path) {
    char copy[PATH_MAX];
    struct stat info;
    if (lstat(path, &info) == 0 && !S_ISREG(info.st_mode))
        FAIL(ARG, "--prometheus %s: is a link, a folder or a device, expected a regular file", path);
    if (!is_ours(path))
        FAIL(ARG, "--prometheus %s: is no file that tally wrote for Prometheus, expected such a file or a new name",
             path);
    if (snprintf(copy, sizeof copy, "%s", path) >= PATH_MAX - 4) FAIL(ARG, "--prometheus %s: path is too long", path);
    const char *folder = dirname(copy);
    if (stat(folder, &info)) FAIL(ARG, "--prometheus %s: %s: %s", path, folder, strerror(errno));
    if (!S_ISDIR(info.st_mode)) FAIL(ARG, "--prometheus %s: %s is not a folder", path, folder);
    if (access(folder, W_OK)) FAIL(ARG, "--prometheus %s: %s: %s", path, folder, strerror(errno));
    return STATUS_OK;
}

/* name="text", with control characters and bytes that are not UTF-8 as \xNN; a backslash and a quote get a backslash */
static void put_label(FILE *out, const char *name, const char *text) {
    char *shown = malloc(PRINTABLE_BYTES * strlen(text) + 1);
    fprintf(out, "%s=\"", name);
    if (shown) {
        printable(shown, text, strlen(text));
        for (const char *c = shown; *c; c++) {
            if (*c == '\\' || *c == '"') fputc('\\', out);
            fputc(*c, out);
        }
    }
    fputc('"', out);
    free(shown);
}

static void put_head(FILE *out, const char *name, const char *type, const char *help) {
    fprintf(out, "# HELP tally_%s %s\n# TYPE tally_%s %s\n", name, help, name, type);
}

/* category: NULL: none */
static void put_sample(FILE *out, const prometheus_file *f, const char *name, const char *category, double value) {
    fprintf(out, "tally_%s{", name);
    put_label(out, "run", f->run);
    fputc(',', out);
    put_label(out, "model", f->model);
    if (category) fprintf(out, ",category=\"%s\"", category);
    fprintf(out, "} %.17g\n", value);
}

static void put(FILE *out, const prometheus_file *f, const char *name, const char *help, double value) {
    size_t length = strlen(name);
    bool counter = length > 6 && strcmp(name + length - 6, "_total") == 0;
    if (!isfinite(value)) return;
    put_head(out, name, counter ? "counter" : "gauge", help);
    put_sample(out, f, name, NULL, value);
}

static void put_step(FILE *out, const prometheus_file *f, const step_record *r, double val_loss) {
    const nvml_state *gpu = &r->gpu;
    put(out, f, "step", "Last complete step.", (double)r->step);
    put(out, f, "steps_planned", "Steps of the whole run.", (double)r->steps);
    put(out, f, "tokens", "Tokens trained on.", (double)r->tokens);
    put(out, f, "loss_nats", "Mean loss per token of the last step.", r->loss);
    put(out, f, "held_out_loss_nats", "Mean loss per held-out token of the last evaluation.", val_loss);
    put(out, f, "learning_rate", "Learning rate of the last step.", r->lr);
    put(out, f, "gradient_norm", "L2 norm of the gradient before clipping.", r->grad_norm);
    put(out, f, "step_duration_seconds", "Time of the last step.", r->step_s);
    put(out, f, "tokens_per_second", "Tokens per second in the last step.", r->tokens_per_s);
    put(out, f, "mfu_ratio", "Model FLOP/s divided by the dense peak of the datasheet.",
        metrics_use((double)r->flops_model, r->step_s, r->peak_datasheet));
    put(out, f, "hfu_ratio", "Executed FLOP/s divided by the dense peak of the datasheet.",
        metrics_use((double)r->flops_executed, r->step_s, r->peak_datasheet));
    put(out, f, "mfu_of_measured_peak_ratio", "Model FLOP/s divided by the peak measured with large GEMMs.",
        metrics_use((double)r->flops_model, r->step_s, r->peak_measured));
    put(out, f, "memory_bytes", "Memory of the rank that uses most.", r->memory_bytes ? (double)r->memory_bytes : NAN);
    put(out, f, "ranks", "Number of ranks.", r->ranks);
    put(out, f, "exposed_communication_seconds", "Time of the last step in which ranks waited for communication.",
        r->exposed_s);
    put(out, f, "gpu_temperature_celsius", "Temperature of the hottest GPU.",
        gpu->known && gpu->temperature_c >= 0 ? gpu->temperature_c : NAN);
    put(out, f, "gpu_clock_hertz", "SM clock of the slowest GPU.",
        gpu->known && gpu->sm_mhz >= 0 ? gpu->sm_mhz * 1e6 : NAN);
}

static void put_energy(FILE *out, const prometheus_file *f, const spent *total) {
    static const char name[] = "energy_joules_total";
    if (!isfinite(total->joules)) return;
    put_head(out, name, "counter", "Energy of the run by category, where it is known.");
    put_sample(out, f, name, "devices", total->joules);
    if (isfinite(total->power[POWER_HOST_J])) put_sample(out, f, name, "host", total->power[POWER_HOST_J]);
    if (isfinite(total->power[POWER_OVERHEAD_J]))
        put_sample(out, f, name, "cooling and conversion", total->power[POWER_OVERHEAD_J]);
}

static void put_bill(FILE *out, const prometheus_file *f, const spent *total) {
    put_head(out, "booked_seconds_total", "counter", "Wall time of the run by category.");
    for (int b = 0; b < BOOKINGS; b++)
        put_sample(out, f, "booked_seconds_total", meter_booking_label((booking)b), (double)total->ns[b] * 1e-9);
    bool known = true;
    for (int b = 0; b < BOOKINGS; b++) known = known && isfinite(total->usd[b]);
    if (known) put_head(out, "cost_usd_total", "counter", "Cost of the run by category.");
    for (int b = 0; known && b < BOOKINGS; b++)
        put_sample(out, f, "cost_usd_total", meter_booking_label((booking)b), total->usd[b]);
    put_energy(out, f, total);
    put(out, f, "carbon_dioxide_grams_total", "Carbon dioxide of the run.", 1000 * total->power[POWER_KG_CO2]);
}

status prometheus_write(const prometheus_file *f, const step_record *last, double val_loss, const spent *total,
                        bool active) {
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) FAIL(MEM, "%s: no memory", f->path);
    put_step(out, f, last, val_loss);
    put_bill(out, f, total);
    put(out, f, "active", "1 while the run trains, 0 when it has ended.", active);
    put(out, f, "written_timestamp_seconds", "When this file was written.", (double)time(NULL));
    bool failed = ferror(out);
    failed = fclose(out) || failed;
    status_code st = failed ? ERROR(MEM, "%s: no memory", f->path) : durable_replace_file(f->path, text, bytes);
    free(text);
    return st;
}
