/* The parts of the page of report.h: tables here and in report_tables.c, charts in report_charts.c. */
#ifndef TALLY_REPORT_PARTS_H
#define TALLY_REPORT_PARTS_H

#include <stdio.h>

#include "train/bill/report.h"
#include "train/bill/report_read.h"

/* The runs that a page compares. */
typedef struct {
    report_run *run;
    int count;
} report_runs;

/* report_text.c: text escaped for HTML (chart_text), and quantities; a NaN is "not known" */
void report_text(FILE *out, const char *s);
void report_heading(FILE *out, const char *s);                      /* <h2> */
void report_name(FILE *out, const report_runs *all, int i);         /* the run's colour and folder, in a comparison */
void report_name_heading(FILE *out, const report_runs *all, int i); /* the same as <h3>; nothing for one run */
void report_usd(FILE *out, double usd);
void report_percent(FILE *out, double percent);
void report_joules(FILE *out, double joules);
void report_count(FILE *out, double count);
void report_bytes(FILE *out, double bytes);
void report_seconds(FILE *out, double seconds);
void report_milliseconds(FILE *out, double ms);
void report_decimal(FILE *out, double value); /* with 4 decimals */

/* report_totals.c */
void report_totals(FILE *out, const report_runs *all);   /* cards for one run, a row per run for several */
void report_bookings(FILE *out, const report_runs *all); /* the ledger: where each second and dollar went */

/* report_tables.c */
void report_memory(FILE *out, const report_runs *all);  /* by category, as planned, beside what was measured */
void report_plan(FILE *out, const report_runs *all);    /* predicted against actual */
void report_options(FILE *out, const report_runs *all); /* what differs between runs; all options of one run */

/* report_charts.c */
status report_charts(FILE *out, const report_runs *all);
void report_data(FILE *out, const report_runs *all);    /* JSON for the page's script */
void report_loss_chart(FILE *out, const report_run *r); /* an SVG file */

/* report.js and report.css, embedded by tools/embed.cmake */
extern const char report_script[], report_style[];

#endif
