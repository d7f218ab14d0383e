/* Dated table of electricity grids: kg of CO2 equivalent per kWh that is generated, over the life cycle of the plants, by
 * country and year. Nothing stands in for a grid that is not named: there is no world average. */
#ifndef TALLY_GRID_H
#define TALLY_GRID_H

#include "runtime/status.h"

typedef struct {
    char code[8];        /* ISO 3166-1, two letters: FR; as given: "" */
    const char *country; /* "France"; as given: "as given" */
    int year;            /* 0: as given */
    double kg_per_kwh;
    const char *source;
} grid;

/* Sets *g from the country's two letters (upper or lower case), or from a number, kg CO2 per kWh in [0, 5]: the contract of a
 * data centre, or a grid that the table lacks. ARG: the message lists the codes. */
status grid_find(grid *g, const char *text);
const grid *grid_list(int *count);

/* "France 2024, 0.04418 kg CO2 per kWh (Ember, ...)" */
typedef struct {
    char text[256];
} grid_text;
grid_text grid_describe(const grid *g);

#endif
