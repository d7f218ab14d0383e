#include "train/bill/grid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define EMBER                                                                                                          \
    "Ember, Yearly Electricity Data, as copied on 2025-08-03 by github.com/thegreenwebfoundation/co2.js (CC BY 4.0)"

/* clang-format off */
static const grid grids[] = {
    {"AE", "United Arab Emirates", 2024, 0.46751, EMBER},
    {"AR", "Argentina", 2024, 0.34483, EMBER},
    {"AT", "Austria", 2024, 0.10262, EMBER},
    {"AU", "Australia", 2024, 0.55376, EMBER},
    {"BE", "Belgium", 2024, 0.11758, EMBER},
    {"BG", "Bulgaria", 2024, 0.26421, EMBER},
    {"BH", "Bahrain", 2023, 0.90241, EMBER},
    {"BR", "Brazil", 2024, 0.10606, EMBER},
    {"CA", "Canada", 2024, 0.18499, EMBER},
    {"CH", "Switzerland", 2024, 0.03672, EMBER},
    {"CL", "Chile", 2024, 0.26552, EMBER},
    {"CN", "China", 2024, 0.5575, EMBER},
    {"CO", "Colombia", 2024, 0.2858, EMBER},
    {"CR", "Costa Rica", 2024, 0.06301, EMBER},
    {"CY", "Cyprus", 2024, 0.51224, EMBER},
    {"CZ", "Czechia", 2024, 0.41386, EMBER},
    {"DE", "Germany", 2024, 0.34206, EMBER},
    {"DK", "Denmark", 2024, 0.1433, EMBER},
    {"EE", "Estonia", 2024, 0.34102, EMBER},
    {"EG", "Egypt", 2024, 0.5745, EMBER},
    {"ES", "Spain", 2024, 0.14615, EMBER},
    {"FI", "Finland", 2024, 0.07225, EMBER},
    {"FR", "France", 2024, 0.04418, EMBER},
    {"GB", "United Kingdom", 2024, 0.21579, EMBER},
    {"GR", "Greece", 2024, 0.31976, EMBER},
    {"HK", "Hong Kong", 2023, 0.68199, EMBER},
    {"HR", "Croatia", 2024, 0.17448, EMBER},
    {"HU", "Hungary", 2024, 0.18282, EMBER},
    {"ID", "Indonesia", 2023, 0.68243, EMBER},
    {"IE", "Ireland", 2024, 0.27979, EMBER},
    {"IL", "Israel", 2023, 0.56726, EMBER},
    {"IN", "India", 2024, 0.70896, EMBER},
    {"IS", "Iceland", 2023, 0.02833, EMBER},
    {"IT", "Italy", 2024, 0.28775, EMBER},
    {"JP", "Japan", 2024, 0.48373, EMBER},
    {"KE", "Kenya", 2024, 0.08483, EMBER},
    {"KR", "South Korea", 2024, 0.41565, EMBER},
    {"KZ", "Kazakhstan", 2024, 0.80179, EMBER},
    {"LT", "Lithuania", 2024, 0.13934, EMBER},
    {"LU", "Luxembourg", 2024, 0.13462, EMBER},
    {"LV", "Latvia", 2024, 0.13622, EMBER},
    {"MA", "Morocco", 2024, 0.57765, EMBER},
    {"MX", "Mexico", 2024, 0.48314, EMBER},
    {"MY", "Malaysia", 2024, 0.60443, EMBER},
    {"NG", "Nigeria", 2024, 0.50785, EMBER},
    {"NL", "Netherlands", 2024, 0.2527, EMBER},
    {"NO", "Norway", 2024, 0.03075, EMBER},
    {"NZ", "New Zealand", 2024, 0.12011, EMBER},
    {"OM", "Oman", 2024, 0.54533, EMBER},
    {"PE", "Peru", 2024, 0.26327, EMBER},
    {"PH", "Philippines", 2024, 0.61338, EMBER},
    {"PK", "Pakistan", 2024, 0.39861, EMBER},
    {"PL", "Poland", 2024, 0.61498, EMBER},
    {"PT", "Portugal", 2024, 0.1118, EMBER},
    {"QA", "Qatar", 2024, 0.60283, EMBER},
    {"RO", "Romania", 2024, 0.24555, EMBER},
    {"RS", "Serbia", 2024, 0.6708, EMBER},
    {"SA", "Saudi Arabia", 2024, 0.69195, EMBER},
    {"SE", "Sweden", 2024, 0.03589, EMBER},
    {"SG", "Singapore", 2024, 0.49874, EMBER},
    {"SI", "Slovenia", 2024, 0.22711, EMBER},
    {"SK", "Slovakia", 2024, 0.09649, EMBER},
    {"TH", "Thailand", 2024, 0.55543, EMBER},
    {"TR", "Türkiye", 2024, 0.4697, EMBER},
    {"TW", "Taiwan", 2024, 0.63515, EMBER},
    {"UA", "Ukraine", 2022, 0.25047, EMBER},
    {"US", "United States", 2024, 0.38355, EMBER},
    {"UY", "Uruguay", 2024, 0.0967, EMBER},
    {"VN", "Viet Nam", 2024, 0.48613, EMBER},
    {"ZA", "South Africa", 2024, 0.7139, EMBER},
};
/* clang-format on */

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
    char codes[512]; /* 4 bytes each */
    size_t used = 0;
    for (int i = 0; i < count && used < sizeof codes; i++)
        used += (size_t)snprintf(codes + used, sizeof codes - used, "%s%s", i ? ", " : "", list[i].code);
    FAIL(ARG, "--grid %s is not in the table; expected kg of CO2 per kWh, or a country: %s", text, codes);
}

grid_text grid_describe(const grid *g) {
    grid_text t;
    char year[16] = "";
    if (g->year) snprintf(year, sizeof year, " %d", g->year);
    snprintf(t.text, sizeof t.text, "%s%s, %.6g kg CO2 per kWh%s%s%s", g->country, year, g->kg_per_kwh,
             g->year ? " (" : "", g->year ? g->source : "", g->year ? ")" : "");
    return t;
}
