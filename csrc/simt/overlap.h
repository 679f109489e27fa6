// Grids that overlap: programmatic dependent launch. A dependent grid begins when every block of
// the one in front of it, its primary, has called launch_dependents or ended, and knows what that
// has done only behind wait_for_primary. Here grids run one after the other, so the order between
// them is checked, not played: what a thread accesses before its wait is held against all that the
// primary has read and written, whenever it did.
#pragma once

#include <cstddef>

#include "simt/location.h"

namespace simt {

/** A new grid of the running configuration; the one in front is the calling thread's last. */
void begin_overlap();
/** The grid has ended. Reports a dependent one in which nobody has waited for the primary. */
void end_overlap();

/** The running thread reads or writes global memory; atomics do both. */
void note_overlapping_read(const void* pointer, size_t bytes, const Location& at);
void note_overlapping_write(const void* pointer, size_t bytes, const Location& at);

/** Instructions of sm_90 and up; code for older devices is without them. */
void launch_dependents();
void wait_for_primary();

}  // namespace simt
