// A step of a cache, prepared once for all layers.
#pragma once

#include <memory>

#include "binding/napi.h"
#include "core/ops.h"
#include "core/step.h"
#include "core/stream.h"

namespace fa::binding {

struct PreparedStep {
  std::shared_ptr<Storage> host;  // of the tables as numbers; null once the step has ended
  StepTables on_host;
  StepExtents extents;
  // Where the device has them, from the first layer on that is no replay.
  std::shared_ptr<Storage> storage;
  StepTables tables;
  // Of a layer's q and out in another dtype than the caller's. Layers run one after the other.
  std::shared_ptr<Storage> queries, results;
};

/**
 * newStep({ device, tables, batch, total, pagesPerSequence, treeWords, copies, numPages, pageSize
 * })
 */
Napi::Value new_step(const Napi::CallbackInfo& call);

/** endStep(step): gives back what it holds. Idempotent. */
Napi::Value end_step(const Napi::CallbackInfo& call);

/** What the appended pages of a layer need to be written to: rows of pages that others hold too. */
void add_page_copies(ops::Concat& copies, const StepTables& tables, const Appending& pages);

/** Has the device have the tables. */
void bring_tables(Napi::Env env, PreparedStep& step);

/** A step that has not ended. */
PreparedStep& step_of(const Napi::Value& value);

}  // namespace fa::binding
