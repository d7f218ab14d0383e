#include "train/bill/grid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define EMBER "Ember, Yearly Electricity Data, by way of Our World in Data, carbon-intensity-electricity (CC BY 4.0)"
#define GRID(letters, name, grams)                                                                                     \
    { .code = letters, .country = name, .year = 2023, .kg_per_kwh = grams * 1e-3, .source = EMBER }

static const grid grids[] = {
    GRID("AR", "Argentina", 354), GRID("AT", "Austria", 111),  GRID("AU", "Australia", 549), GRID("BE", "Belgium", 138),
    GRID("BG", "Bulgaria", 335),  GRID("BR", "Brazil", 98),    GRID("CA", "Canada", 170),    GRID("CL", "Chile", 291),
    GRID("CN", "China", 582),     GRID("CO", "Colombia", 260), GRID("CR", "Costa Rica", 53), GRID("CY", "Cyprus", 534),
    GRID("CZ", "Czechia", 450),   GRID("DE", "Germany", 381),  GRID("DK", "Denmark", 152),   GRID("EC", "Ecuador", 150),
    GRID("EE", "Estonia", 417),   GRID("EG", "Egypt", 570),    GRID("FI", "Finland", 79),    GRID("FR", "France", 56),
    GRID("GR", "Greece", 337),    GRID("HR", "Croatia", 205),  GRID("HU", "Hungary", 204),   GRID("IE", "Ireland", 291),
    GRID("IN", "India", 713),     GRID("IR", "Iran", 655),
};

const grid *grid_list(int *count) {
    *count = (int)(sizeof grids / sizeof *grids);
    return grids;
}

enum { MOST_KG = 5 };

status grid_find(grid *g, const char *text) {
    int count;
    const grid *list = grid_list(&count);
    for (int i = 0; i < count; i++)
        if (!strcasecmp(list[i].code, text)) {
            *g = list[i];
            return STATUS_OK;
        }
    char *end;
    double kg = strtod(text, &end);
    if (end != text && !*end) {
        if (!(kg >= 0 && kg <= MOST_KG))
            FAIL(ARG, "--grid %s: expected 0 to %d kg of CO2 per kWh, or a country", text, MOST_KG);
        *g = (grid){.country = "as given", .kg_per_kwh = kg, .source = "as given"};
        return STATUS_OK;
    }
    char codes[512];
    size_t used = 0;
    for (int i = 0; i < count && used < sizeof codes; i++)
        used += (size_t)snprintf(codes + used, sizeof codes - used, "%s%s", i ? ", " : "", list[i].code);
    FAIL(ARG, "--grid %s is not in the table; expected kg of CO2 per kWh, or a country: %s", text, codes);
}
