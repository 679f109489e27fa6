// What the engines of a block have been asked to do and have not done yet. They act when nothing
// else can, at once, or somewhere between, as the configuration says (Delivery).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "simt/location.h"

namespace simt {

struct Block;
struct Thread;

/** A copy into shared memory that completes on an mbarrier. */
struct EngineLoad {
  int mbarrier = 0;      // its index in the block
  uint32_t bytes = 0;    // that the mbarrier waits for
  bool arrival = false;  // whether an arrival comes with them
  /** Moves the bytes; whoever waits for `time` of `agent` knows of them. */
  std::function<void(int agent, uint32_t time)> land;
  Location at;
};

/** A copy or an addition from shared to global memory. */
struct EngineStore {
  Thread* issuer = nullptr;
  uint32_t group = 0;  // of its issuer
  uint32_t time = 0;   // of the engine
  uint32_t offset = 0, bytes = 0;
  std::function<void(const uint8_t* data)> write;
  Location at;
  std::vector<uint8_t> data;  // what it has read
  enum State { kIssued, kRead, kWritten } state = kIssued;
  bool waited = false;    // the issuer knows that it has read
  bool complete = false;  // the issuer knows that it has written
};

struct InFlight {
  std::vector<EngineLoad> loads;
  std::vector<EngineStore> stores;
};

/** Whether an engine does at once what it is asked to do now. */
bool acts_at_once();
void start_load(EngineLoad load);
void start_store(EngineStore store);
/** Makes the store read, or read and write. */
void advance(Block& block, EngineStore& store, EngineStore::State until);
/** Lets some engine do something; false if there is nothing to do. */
bool deliver_one();

/**
 * Reports a thread that tells other blocks that it is done before it knows its stores to be
 * complete.
 */
void check_stores_at_release(const Thread& thread, const Location& at);
/** Reports a thread that exits before its stores have read their shared memory. */
void check_stores_at_exit(const Thread& thread);
/** The block is over: stores are completed, and loads that nobody waited for reported. */
void finish_in_flight(Block& block);

}  // namespace simt
