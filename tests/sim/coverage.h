/* coverage.h - is every rule of ha/ reached by what was run, that can be? REACHED is indexed as
 * ha_rule_at. */
#pragma once

#include "tests/sim/sim.h"

bool coverage_is_full(const bool *reached);
/* One line for each rule; false if one fails. */
bool coverage_print(const bool *reached);
