/* What a report takes from a line of metrics.jsonl: the columns of its curves and totals. */
#ifndef TALLY_REPORT_COLUMNS_H
#define TALLY_REPORT_COLUMNS_H

#include "runtime/json.h"
#include "runtime/meter.h"

/* code, key, factor from the file's unit to the page's. An empty key: computed from several keys. */
#define REPORT_COLUMN_LIST(X)                                                                                          \
    X(LOSS, "loss", 1)                                                                                                 \
    X(VAL_LOSS, "val_loss", 1)                                                                                         \
    X(LR, "lr", 1)                                                                                                     \
    X(NORM, "grad_norm", 1)                                                                                            \
    X(RATE, "tokens_per_s", 1)                                                                                         \
    X(MFU, "mfu", 100)                                                                                                 \
    X(MFU_PALM, "mfu_palm", 100)                                                                                       \
    X(HFU, "hfu", 100)                                                                                                 \
    X(MFU_MEASURED, "mfu_of_measured_peak", 100)                                                                       \
    X(HFU_MEASURED, "hfu_of_measured_peak", 100)                                                                       \
    X(MEMORY, "memory_bytes", 1)                                                                                       \
    X(WATTS, "", 1)   /* energy_j of the step / step_ms */                                                             \
    X(WAITING, "", 1) /* exposed_ms in percent of step_ms; unknown with one rank */                                    \
    X(SM_MHZ, "gpu_sm_mhz", 1)                                                                                         \
    X(SM_MAX_MHZ, "gpu_sm_max_mhz", 1)                                                                                 \
    X(MEMORY_MHZ, "gpu_memory_mhz", 1)                                                                                 \
    X(TEMPERATURE, "gpu_temperature_c", 1)                                                                             \
    X(DRIFT_TIME, "drift_time", 100)                                                                                   \
    X(DRIFT_MEMORY, "drift_memory", 100)                                                                               \
    X(DRIFT_USD, "drift_usd", 100)                                                                                     \
    X(TOKENS, "tokens", 1)                                                                                             \
    X(WALL, "wall_s", 1)                                                                                               \
    X(USD, "usd", 1)

typedef enum {
#define X(code, key, factor) REPORT_##code,
    REPORT_COLUMN_LIST(X)
#undef X
        REPORT_BOOKING, /* and BOOKINGS columns from here on: usd_by_booking */
    REPORT_COLUMNS = REPORT_BOOKING + BOOKINGS,
    /* computed for the curves: means over neighbouring steps */
    REPORT_SMOOTH_LOSS = REPORT_COLUMNS,
    REPORT_SMOOTH_RATE,
    REPORT_SMOOTH_NORM,
    REPORT_SMOOTH_WAITING,
    REPORT_SMOOTH_WATTS,
    REPORT_CURVES
} report_column;

double report_columns_value(const json_t *line, report_column c); /* NaN: unknown */

/* NaN where the field is absent, not a number, or beyond 1e18, which no measured value reaches and which fits an integer */
double report_columns_number(const json_t *object, const char *key);

#endif
