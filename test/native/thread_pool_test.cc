// The thread pool: every item once, several callers, preferred loops, exceptions, cancelling. Meant
// for ThreadSanitizer.
#include "cpu/thread_pool.h"

#include <chrono>
#include <future>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "core/system.h"
#include "core/system/linux_cgroup.h"
#include "cpu/trace.h"

namespace {

using fa::Cancel;
using fa::ErrorCode;
using fa::cpu::num_threads;
using fa::cpu::parallel_for;

void nap(int microseconds) { std::this_thread::sleep_for(std::chrono::microseconds(microseconds)); }

void settings_are_checked() {
  for (const char* wrong :
       {"0", "1025", "-1", "4x", "x", " 4", "+4", "1.5", "99999999999999999999"}) {
    setenv("FLASH_ATTENTION_NUM_THREADS", wrong, 1);
    CHECK(throws(ErrorCode::kOption, [] { num_threads(); }));
    CHECK(throws(ErrorCode::kOption, [] { parallel_for(2, [](int64_t) {}); }));
  }
  setenv("FLASH_ATTENTION_NUM_THREADS", "4", 1);
  CHECK(num_threads() == 4);
  setenv("FLASH_ATTENTION_NUM_THREADS", "2", 1);
  CHECK(num_threads() == 4);  // settled at first use
  CHECK(fa::usable_cores() >= 1);
  CHECK(fa::cgroup_cpu_quota() >= 0);
  CHECK(fa::usable_memory() > 0);
}

void every_item_runs_once() {
  for (int64_t count : {-1, 0, 1, 2, 3, 4, 5, 100, 10000}) {
    std::vector<int> runs(count > 0 ? static_cast<size_t>(count) : 0);  // not atomic: TSan watches
    parallel_for(count, [&](int64_t item) { ++runs[static_cast<size_t>(item)]; });
    for (int n : runs) CHECK(n == 1);
  }
}

void items_are_handed_out_in_order() {
  // When an item starts, all before it have been taken; only those that the three other threads
  // have just taken may not have started.
  std::atomic<int64_t> started{0};
  parallel_for(2000, [&](int64_t item) {
    CHECK(item <= started.fetch_add(1) + 3);
    nap(static_cast<int>(item % 7));
  });
  CHECK(started == 2000);
}

void helpers_take_part() {
  std::atomic<int> inside{0}, most{0};
  parallel_for(40, [&](int64_t) {
    const int now = ++inside;
    int seen = most.load();
    while (seen < now && !most.compare_exchange_weak(seen, now)) {
    }
    nap(2000);
    --inside;
  });
  CHECK(most > 1 && most <= 4);
}

void many_callers_share_it() {
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 8; ++caller) {
    callers.emplace_back([caller] {
      for (int round = 0; round < 200; ++round) {
        const int64_t count = 1 + (round * 7 + caller * 13) % 50;
        std::vector<int64_t> squares(static_cast<size_t>(count));
        parallel_for(count, [&](int64_t i) { squares[static_cast<size_t>(i)] = i * i; });
        const int64_t sum = std::accumulate(squares.begin(), squares.end(), int64_t{0});
        CHECK(sum == (count - 1) * count * (2 * count - 1) / 6);
        if (round % 16 == caller) nap(200);  // so that helpers fall asleep now and then
      }
    });
  }
  for (auto& caller : callers) caller.join();
}

void loops_nest() {
  std::atomic<int> runs{0};
  parallel_for(8, [&](int64_t) {
    parallel_for(8, [&](int64_t) { parallel_for(4, [&](int64_t) { ++runs; }); });
  });
  CHECK(runs == 8 * 8 * 4);
}

/** Calls parallel_for on a thread of its own, whose loops are preferred. */
template <typename Body>
void preferred(int64_t count, Body body) {
  std::thread([&] {
    const fa::cpu::LoopPreference preference(true);
    parallel_for(count, body);
  }).join();
}

void preferred_loops_overtake() {
  std::atomic<int> others{0};
  std::atomic<bool> done{false};
  std::thread other([&] {
    parallel_for(20000, [&](int64_t) {
      ++others;
      nap(50);
    });
    done = true;
  });
  while (others < 20) nap(10);
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> runs{0};
    int begun = 0, ended = 0;
    preferred(100, [&](int64_t item) {
      if (item == 50) begun = others;
      if (item == 90) ended = others;  // no item of the other loop begins meanwhile
      ++runs;
      nap(20);
    });
    CHECK(runs == 100);
    CHECK(ended - begun <= 4);  // but for those that threads were at
    nap(500);
  }
  CHECK(!done);
  other.join();
  CHECK(others == 20000);
}

void preferred_loops_nest() {
  std::atomic<int> runs{0};
  std::thread other([&] { parallel_for(200, [&](int64_t) { nap(100); }); });
  preferred(8, [&](int64_t) { parallel_for(8, [&](int64_t) { ++runs; }); });
  CHECK(runs == 64);
  other.join();
}

void preferred_loops_wait_for_no_other() {
  // The other loop's only item left waits for the preferred loop.
  std::promise<void> begun, ended;
  std::thread other([&] {
    parallel_for(2, [&](int64_t item) {
      if (item == 0) return;
      begun.set_value();
      ended.get_future().wait();
    });
  });
  begun.get_future().wait();
  int64_t sum[100] = {};
  preferred(100, [&](int64_t item) { sum[item] = item; });
  CHECK(std::accumulate(sum, sum + 100, int64_t{0}) == 4950);
  ended.set_value();
  other.join();
}

void exceptions_reach_the_caller() {
  for (int64_t thrower : {0, 1, 17, 999}) {
    std::atomic<int> runs{0};
    std::string message;
    try {
      parallel_for(1000, [&](int64_t item) {
        if (item == thrower) throw std::runtime_error("item " + std::to_string(item));
        ++runs;
        nap(1);
      });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    CHECK(message == "item " + std::to_string(thrower));
    CHECK(runs >= thrower && (runs < 999 || thrower == 999));
  }
  int caught = 0;
  for (int round = 0; round < 50; ++round) {
    try {
      parallel_for(8, [](int64_t item) { throw item; });
    } catch (int64_t item) {
      CHECK(item >= 0 && item < 8);
      ++caught;
    }
  }
  CHECK(caught == 50);
  every_item_runs_once();
}

void cancelling_stops_it() {
  std::atomic<bool> cancel{true};
  std::atomic<int> runs{0};
  for (int64_t count : {1, 2, 100}) {
    CHECK(throws(ErrorCode::kCancelled, [&] {
      parallel_for(
          count, [&](int64_t) { ++runs; }, Cancel(&cancel));
    }));
  }
  CHECK(runs == 0);

  cancel = false;
  std::thread canceller([&] {
    while (runs < 20) nap(10);
    cancel = true;
  });
  CHECK(throws(ErrorCode::kCancelled, [&] {
    parallel_for(
        1000000,
        [&](int64_t) {
          ++runs;
          nap(10);
        },
        Cancel(&cancel));
  }));
  canceller.join();
  CHECK(runs >= 20 && runs < 1000000);

  cancel = false;
  parallel_for(
      100, [&](int64_t item) { cancel = item == 99; }, Cancel(&cancel));  // none was left
}

void traces_hold_every_item() {
  const auto trace = fa::cpu::Trace::start(1000);
  CHECK(throws(ErrorCode::kState, [] { fa::cpu::Trace::start(1); }));
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([] {
      for (int n = 0; n < 20; ++n)
        parallel_for(
            7, [](int64_t) { nap(3); }, nullptr, "test");
    });
  }
  // Read while threads write: what is there is whole.
  for (const fa::cpu::TraceLane* lane : trace->lanes()) {
    for (size_t i = 0; i < lane->size(); ++i) CHECK((*lane)[i].begin <= (*lane)[i].end);
  }
  for (std::thread& caller : callers) caller.join();
  fa::cpu::Trace::stop(trace);
  parallel_for(7, [](int64_t) {});

  CHECK(trace->loops().size() == 60);
  for (const fa::cpu::TracedLoop& loop : trace->loops()) {
    CHECK(std::string(loop.kind) == "test" && loop.items == 7);
  }
  std::vector<int> seen(60 * 7);
  for (const fa::cpu::TraceLane* lane : trace->lanes()) {
    int64_t last = 0;
    for (size_t i = 0; i < lane->size(); ++i) {
      const fa::cpu::TraceEvent& event = (*lane)[i];
      CHECK(last <= event.begin && event.begin <= event.end);
      last = event.end;
      ++seen[static_cast<size_t>(event.loop * 7 + event.item)];
    }
  }
  for (int n : seen) CHECK(n == 1);
  CHECK(trace->dropped() == 0);

  const auto small = fa::cpu::Trace::start(1);
  for (int n = 0; n < 3; ++n) parallel_for(1, [](int64_t) {});  // there is room for one loop
  fa::cpu::Trace::stop(small);
  CHECK(small->loops().size() == 1 && small->dropped() == 2);
}

}  // namespace

int main() {
  settings_are_checked();
  every_item_runs_once();
  items_are_handed_out_in_order();
  helpers_take_part();
  many_callers_share_it();
  loops_nest();
  preferred_loops_overtake();
  preferred_loops_nest();
  preferred_loops_wait_for_no_other();
  exceptions_reach_the_caller();
  cancelling_stops_it();
  traces_hold_every_item();
  std::puts("thread pool: ok");
  return 0;
}
