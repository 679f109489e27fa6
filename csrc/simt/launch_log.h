// What the kernels of a piece of work did, for tests that count.
#pragma once

#include <vector>

#include "simt/launch.h"

namespace simt {

/** From now on reports are kept, until take_reports(). */
void keep_reports();

/** The reports since keep_reports(), in the order of the launches; no further ones are kept. */
std::vector<Report> take_reports();

/** For the runtime: adds a report if reports are kept. */
void log_report(const Report& report);

}  // namespace simt
