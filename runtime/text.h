/* Quantities for people: "2.31 GiB", "51.2k", "12m 05s", "$1.20". */
#ifndef TALLY_TEXT_H
#define TALLY_TEXT_H

typedef struct {
    char text[32];
} short_text;

short_text text_bytes(double bytes);
short_text text_count(double count);
short_text text_seconds(double seconds); /* "unknown" for a NaN */
short_text text_usd(double usd);

#endif
