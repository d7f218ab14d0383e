#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/bill/chart.h"
#include "train/bill/report_parts.h"

static double number(const json_t *object, const char *key) { return report_columns_number(object, key); }

/* ---- memory ---- */

static void write_bytes_cell(FILE *out, double bytes) {
    fputs("<td>", out);
    report_bytes(out, bytes);
    fputs("</td>", out);
}

/* taken: the same categories, as the run took them; NULL while it runs */
static void write_categories(FILE *out, json_t *memory, const json_t *taken, double total) {
    const char *name;
    json_t *item;
    double bytes, sum = 0;
    int colour = 0;
    fputs("<div class=\"bar\">", out);
    json_object_foreach(memory, name, item) {
        if (!((bytes = number(memory, name)) > 0)) continue;
        double percent = 100 * bytes / total;
        fprintf(out, "<i class=\"c%d\" style=\"width:%.3f%%\" title=\"", colour++ % CHART_COLOURS, percent);
        report_text(out, name);
        fprintf(out, " %.1f%%\">", percent);
        if (percent >= 8) fprintf(out, "<b>%.0f%%</b>", percent);
        fputs("</i>", out);
    }
    fprintf(out, "</div>\n<table><thead><tr><th></th><th>planned per device</th>%s<th>share</th></tr></thead><tbody>\n",
            taken ? "<th>taken</th>" : "");
    colour = 0;
    json_object_foreach(memory, name, item) {
        if (!((bytes = number(memory, name)) > 0)) continue;
        fprintf(out, "<tr><td><i class=\"c%d\"></i>", colour++ % CHART_COLOURS);
        report_text(out, name);
        fputs("</td>", out);
        write_bytes_cell(out, bytes);
        if (taken) write_bytes_cell(out, number(taken, name));
        if (taken) sum += number(taken, name);
        fprintf(out, "<td>%.1f%%</td></tr>\n", 100 * bytes / total);
    }
    fputs("</tbody><tfoot><tr><td>total</td>", out);
    write_bytes_cell(out, total);
    if (taken) write_bytes_cell(out, sum);
    fputs("<td>100%</td></tr></tfoot></table>\n", out);
}

void report_memory(FILE *out, const report_runs *all) {
    report_heading(out, "Memory by category");
    for (int i = 0; i < all->count; i++) {
        const report_run *r = &all->run[i];
        json_t *memory = json_object_get(r->plan, "memory"), *item;
        const char *name;
        double total = 0, bytes;
        if (!json_is_object(memory)) memory = NULL;
        report_name_heading(out, all, i);
        json_object_foreach(memory, name, item) {
            if ((bytes = number(memory, name)) > 0) total += bytes;
        }
        const json_t *taken = json_object_get(json_object_get(r->plan, "actual"), "memory");
        if (total > 0) write_categories(out, memory, json_is_object(taken) ? taken : NULL, total);
        else fputs("<p class=\"muted\">not known: the run has kept no plan</p>\n", out);
        fputs("<p>While it ran: ", out);
        report_bytes(out, r->of[REPORT_MEMORY].highest);
        fputs(" per device at most.</p>\n", out);
    }
}

/* ---- predicted against actual ---- */

static const struct {
    const char *key, *name;
    void (*write)(FILE *out, double value);
} planned[] = {{"step_ms", "time of a step", report_milliseconds},
               {"tokens_per_s", "tokens per second", report_count},
               {"wall_s", "wall time", report_seconds},
               {"usd", "cost", report_usd},
               {"energy_j", "energy", report_joules},
               {"memory_bytes", "memory per device", report_bytes}};

static void write_causes(FILE *out, const json_t *causes) {
    size_t i;
    json_t *item;
    if (!json_is_array(causes) || !json_array_size(causes)) return;
    fputs("<p>Why the plan was off:</p>\n<ul>\n", out);
    json_array_foreach(causes, i, item) {
        const char *cause = json_string_or_null(item);
        if (!cause) continue;
        fputs("<li>", out);
        report_text(out, cause);
        fputs("</li>\n", out);
    }
    fputs("</ul>\n", out);
}

static void write_plan(FILE *out, const report_run *r) {
    const json_t *actual = json_object_get(r->plan, "actual"), *error = json_object_get(r->plan, "error");
    const char *source = report_read_text(r->plan, "source");
    if (!r->plan) {
        fputs("<p class=\"muted\">not known: the run has kept no plan</p>\n", out);
        return;
    }
    fputs("<table><thead><tr><th></th><th>predicted</th><th>actual</th><th>error</th></tr></thead><tbody>\n", out);
    for (size_t i = 0; i < sizeof planned / sizeof *planned; i++) {
        const char *key = planned[i].key;
        double off = 100 * number(error, key);
        fprintf(out, "<tr><td>%s</td><td>", planned[i].name);
        planned[i].write(out, number(r->plan, key));
        fputs("</td><td>", out);
        planned[i].write(out, number(actual, key));
        fprintf(out, "</td><td%s>", fabs(off) > 10 ? " class=\"off\"" : "");
        if (isnan(off)) fputs("not known", out);
        else fprintf(out, "%+.1f%%", off);
        fputs("</td></tr>\n", out);
    }
    fputs("</tbody></table>\n", out);
    if (source) {
        fputs("<p class=\"muted\">The plan: ", out);
        report_text(out, source);
        fputs("</p>\n", out);
    }
    if (!actual) fputs("<p class=\"muted\">The run has not ended yet, or it ended in a crash.</p>\n", out);
    write_causes(out, json_object_get(r->plan, "causes"));
}

void report_plan(FILE *out, const report_runs *all) {
    report_heading(out, "Predicted and actual");
    for (int i = 0; i < all->count; i++) {
        report_name_heading(out, all, i);
        write_plan(out, &all->run[i]);
    }
}

/* ---- options ---- */

static const json_t *option_of(const report_run *r, const char *key) { return json_object_get(r->config, key); }

static void write_option(FILE *out, const json_t *value) {
    char *text = NULL;
    const char *words = json_string_or_null(value);
    if (words) report_text(out, words);
    else if (!value || json_is_null(value)) fputs("-", out);
    else if (!json_print(&text, value, JSON_ONE_LINE)) report_text(out, text);
    free(text);
}

static bool differs(const report_runs *all, const char *key) {
    for (int i = 1; i < all->count; i++) {
        const json_t *a = option_of(all->run, key), *b = option_of(&all->run[i], key);
        if (a != b && !json_equal(a, b)) return true;
    }
    return false;
}

/* Whether an earlier run than `before` has the key. */
static bool has_been(const report_runs *all, int before, const char *key) {
    for (int i = 0; i < before; i++)
        if (option_of(&all->run[i], key)) return true;
    return false;
}

static int write_rows(FILE *out, const report_runs *all, bool only_different) {
    const char *key;
    json_t *item;
    int rows = 0;
    for (int i = 0; i < all->count; i++) json_object_foreach(all->run[i].config, key, item) {
            if (has_been(all, i, key) || (only_different && (!strcmp(key, "out") || !differs(all, key)))) continue;
            rows++;
            fputs("<tr><th scope=\"row\">", out);
            report_text(out, key);
            fputs("</th>", out);
            for (int k = 0; k < all->count; k++) {
                fputs("<td>", out);
                write_option(out, option_of(&all->run[k], key));
                fputs("</td>", out);
            }
            fputs("</tr>\n", out);
        }
    return rows;
}

static void write_options(FILE *out, const report_runs *all, bool only_different) {
    fputs("<div class=\"wide\"><table class=\"options\"><thead><tr><th></th>", out);
    for (int i = 0; i < all->count; i++) {
        fputs("<th scope=\"col\">", out);
        if (all->count > 1) report_name(out, all, i);
        else fputs("value", out);
        fputs("</th>", out);
    }
    fputs("</tr></thead><tbody>\n", out);
    if (!write_rows(out, all, only_different))
        fprintf(out, "<tr><td colspan=\"%d\">%s</td></tr>\n", all->count + 1,
                only_different ? "no option differs" : "not known: no config.json can be read");
    fputs("</tbody></table></div>\n", out);
}

void report_options(FILE *out, const report_runs *all) {
    if (all->count > 1) {
        report_heading(out, "Options that differ");
        write_options(out, all, true);
    }
    fputs("<details><summary>All options</summary>\n", out);
    write_options(out, all, false);
    fputs("</details>\n", out);
}
