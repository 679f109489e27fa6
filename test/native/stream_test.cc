// The stream, over the CPU: order, lifetimes, failures, two queues, shutdown with work in flight.
// Meant for ThreadSanitizer.
#include "core/stream.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <future>
#include <thread>
#include <vector>

#include "check.h"
#include "core/validate.h"
#include "cpu/cpu_backend.h"

namespace {

using namespace fa;

std::unique_ptr<Backend> cpu(Priority priority = Priority::kNormal) {
  return std::make_unique<fa::cpu::CpuBackend>(priority);
}

/** Float32 memory of a stream with a row-major view. */
TensorRef new_tensor(Stream& stream, std::initializer_list<int64_t> shape,
                     DType dtype = DType::kFloat32) {
  View view = contiguous_view(nullptr, dtype, shape);
  TensorRef tensor;
  tensor.storage = stream.allocate(static_cast<size_t>(view.size()) * dtype_size(dtype));
  view.data = tensor.storage->data();
  tensor.view = view;
  return tensor;
}

TensorRef int32_tensor(Stream& stream, const std::vector<int32_t>& values) {
  TensorRef tensor = new_tensor(stream, {static_cast<int64_t>(values.size())}, DType::kInt32);
  stream.upload(values.data(), DType::kInt32, tensor);
  return tensor;
}

const float* floats(const TensorRef& tensor) {
  return static_cast<const float*>(tensor.storage->data());
}

void fill_normal(Stream& stream, const TensorRef& tensor, uint64_t seed) {
  stream.enqueue(ops::FillNormal{.target = tensor.view, .seed = seed}, {{}, {tensor.storage}});
}

void fill_zero(Stream& stream, const TensorRef& tensor) {
  stream.enqueue(ops::FillZero{.target = tensor.view}, {{}, {tensor.storage}});
}

void convert(Stream& stream, const TensorRef& source, const TensorRef& target) {
  stream.enqueue(ops::Convert{.source = source.view, .target = target.view},
                 {{source.storage}, {target.storage}});
}

/** Holds up a stream: its thread runs the notification and waits there. */
class Gate {
 public:
  explicit Gate(Stream& stream) {
    stream.notify([opened = opened_.get_future().share()] { opened.wait(); });
  }
  void open() { opened_.set_value(); }

 private:
  std::promise<void> opened_;
};

/** Standard causal attention of batch 1; q, k and v are random. */
struct Attention {
  Attention(Stream& stream, int64_t seqlen, int64_t heads)
      : q(new_tensor(stream, {1, seqlen, heads, 64})),
        k(new_tensor(stream, {1, seqlen, heads, 64})),
        v(new_tensor(stream, {1, seqlen, heads, 64})),
        out(new_tensor(stream, {1, seqlen, heads, 64})) {
    fill_normal(stream, q, 1);
    fill_normal(stream, k, 2);
    fill_normal(stream, v, 3);
    problem.q = q.view;
    problem.k = k.view;
    problem.v = v.view;
    problem.out = out.view;
    problem.max_seqlen_q = problem.max_seqlen_k = seqlen;
    problem.scale = 0.125f;
    validate(problem, Layout::kBshd);
  }

  void enqueue(Stream& stream, std::vector<std::shared_ptr<Storage>> more_reads = {},
               bool check_contents = false) {
    std::vector<std::shared_ptr<Storage>> reads = {q.storage, k.storage, v.storage};
    reads.insert(reads.end(), more_reads.begin(), more_reads.end());
    stream.enqueue(ops::Attention{.problem = problem, .check_contents = check_contents},
                   {std::move(reads), {out.storage}});
  }

  TensorRef q, k, v, out;
  AttentionProblem problem;
};

void a_task_runs_in_place_behind_those_queued() {
  Stream stream(cpu());
  const TensorRef a = new_tensor(stream, {1000}), b = new_tensor(stream, {1000});
  const auto caller = std::this_thread::get_id();
  for (int round = 0; round < 50; ++round) {
    fill_normal(stream, a, static_cast<uint64_t>(round));
    stream.notify([caller] { CHECK(std::this_thread::get_id() != caller); });
    stream.run(ops::Convert{.source = a.view, .target = b.view}, {{a.storage}, {b.storage}});
    CHECK(stream.completed(stream.last_enqueued()));
    CHECK(b.storage->written_by == stream.last_enqueued());
    CHECK(floats(b)[999] == floats(a)[999]);
    fill_zero(stream, b);  // and the stream goes on
    const uint64_t filled = stream.last_enqueued();
    stream.wait(filled);
    CHECK(floats(b)[999] == 0);
  }
  // It waits for other streams, and throws what has failed.
  Stream high(cpu(Priority::kHigh));
  Gate gate(high);
  fill_normal(high, a, 3);
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    gate.open();
  });
  const TensorRef c = new_tensor(high, {1000});
  fill_normal(high, c, 4);
  stream.run(ops::Convert{.source = c.view, .target = b.view}, {{c.storage}, {b.storage}});
  opener.join();
  CHECK(floats(b)[0] == floats(c)[0]);
  const TensorRef lengths = int32_tensor(stream, {9999});
  Attention broken(stream, 32, 2);
  broken.problem.seqlens_k = lengths.view;
  CHECK(throws(ErrorCode::kShape, [&] {
    stream.run(ops::Attention{.problem = broken.problem, .check_contents = true},
               {{broken.q.storage, lengths.storage}, {broken.out.storage}});
  }));
  CHECK(broken.out.storage->failure());
  stream.shutdown();
  CHECK(throws(ErrorCode::kCancelled, [&] {
    stream.run(ops::FillZero{.target = b.view}, {{}, {b.storage}});
  }));
}

void unused_stream_needs_nothing() {
  Stream stream(cpu());
  CHECK(stream.device() == "cpu");
  CHECK(stream.last_enqueued() == 0);
  CHECK(stream.completed(0));
  stream.wait(0);
}

void tasks_run_in_order() {
  Stream stream(cpu());
  constexpr int kSteps = 50;
  std::vector<int> order;  // written by the stream's thread, read after the last notification
  std::promise<void> all;
  TensorRef previous = new_tensor(stream, {1000});
  const TensorRef first = previous;
  fill_normal(stream, previous, 7);
  for (int step = 0; step < kSteps; ++step) {
    const TensorRef next = new_tensor(stream, {1000});
    convert(stream, previous, next);
    CHECK(next.storage->written_by == stream.last_enqueued());
    stream.notify([&order, step] { order.push_back(step); });
    previous = next;
  }
  stream.notify([&all] { all.set_value(); });
  all.get_future().wait();
  CHECK(stream.completed(stream.last_enqueued()));
  CHECK(order.size() == kSteps);
  for (int step = 0; step < kSteps; ++step) CHECK(order[static_cast<size_t>(step)] == step);
  for (int i = 0; i < 1000; ++i) CHECK(floats(previous)[i] == floats(first)[i]);
  CHECK(floats(first)[0] != 0 && std::isfinite(floats(first)[0]));
}

void calls_return_before_the_work_runs() {
  Stream stream(cpu());
  Gate gate(stream);
  const TensorRef a = new_tensor(stream, {16}), b = new_tensor(stream, {16});
  fill_zero(stream, a);
  const uint64_t filled = stream.last_enqueued();
  convert(stream, a, b);
  CHECK(!stream.completed(filled));
  CHECK(!stream.completed(b.storage->written_by));
  gate.open();
  stream.wait(filled);
  CHECK(stream.completed(filled));
  CHECK(floats(a)[15] == 0);
  stream.wait(b.storage->written_by);
  CHECK(floats(b)[15] == 0);
}

void storages_live_until_their_task_has_run() {
  Stream stream(cpu());
  Gate gate(stream);
  TensorRef a = new_tensor(stream, {16}), b = new_tensor(stream, {16});
  fill_zero(stream, a);
  convert(stream, a, b);
  const std::weak_ptr<Storage> source = a.storage, target = b.storage;
  a.storage.reset();
  b.storage.reset();
  CHECK(!source.expired() && !target.expired());
  gate.open();
  stream.wait(stream.last_enqueued());
  CHECK(source.expired() && target.expired());
}

void failures_spread_along_reads_only() {
  Stream stream(cpu());
  const TensorRef lengths = int32_tensor(stream, {9999});
  Attention broken(stream, 32, 2), sound(stream, 32, 2);
  broken.problem.seqlens_k = lengths.view;
  broken.enqueue(stream, {lengths.storage}, true);
  sound.enqueue(stream);
  const TensorRef copy = new_tensor(stream, {1, 32, 2, 64}),
                  both = new_tensor(stream, {1, 32, 2, 64});
  convert(stream, broken.out, copy);
  stream.enqueue(ops::Convert{.source = sound.out.view, .target = both.view},
                 {{sound.out.storage, copy.storage}, {both.storage}});
  stream.wait(stream.last_enqueued());
  const auto failure = broken.out.storage->failure();
  CHECK(failure && failure->code() == ErrorCode::kShape && failure->argument() == "seqlensK");
  CHECK(copy.storage->failure() == failure);
  CHECK(both.storage->failure() == failure);
  CHECK(!broken.q.storage->failure());
  CHECK(!sound.out.storage->failure());
}

void shutdown_drops_what_waits() {
  Stream stream(cpu());
  const TensorRef before = new_tensor(stream, {16}), after = new_tensor(stream, {16});
  fill_zero(stream, before);
  stream.wait(stream.last_enqueued());
  Gate gate(stream);
  fill_zero(stream, after);
  std::atomic<bool> notified{false};
  stream.notify([&] { notified = true; });
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    gate.open();
  });
  stream.shutdown();
  opener.join();
  CHECK(notified);
  CHECK(!before.storage->failure());
  const auto failure = after.storage->failure();
  CHECK(failure && failure->code() == ErrorCode::kCancelled);
  CHECK(stream.completed(stream.last_enqueued()));
  stream.wait(stream.last_enqueued());

  CHECK(throws(ErrorCode::kCancelled, [&] { fill_normal(stream, before, 1); }));
  bool inline_call = false;
  stream.notify([&] { inline_call = true; });
  CHECK(inline_call);
  stream.shutdown();
}

void shutdown_interrupts_what_runs() {
  Stream stream(cpu());
  Attention slow(stream, 8192, 32);  // a second on two cores, a minute and more with a sanitizer
  fill_zero(stream, slow.out);
  slow.enqueue(stream);
  stream.wait(stream.last_enqueued() - 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  stream.shutdown();
  const auto failure = slow.out.storage->failure();
  CHECK(failure && failure->code() == ErrorCode::kCancelled);
  const float* const out = floats(slow.out);
  int64_t untouched = 0;
  for (int64_t i = 0; i < slow.out.view.size(); ++i) untouched += out[i] == 0;
  CHECK(untouched > slow.out.view.size() / 2);
}

void high_calls_overtake() {
  Stream normal(cpu());
  Stream high(cpu(Priority::kHigh), Priority::kHigh);
  Attention slow(normal, 8192, 32);  // a second on two cores, a minute and more with a sanitizer
  slow.enqueue(normal);
  normal.wait(normal.last_enqueued() - 1);
  Attention quick(high, 64, 4);
  quick.enqueue(high);
  high.wait(high.last_enqueued());
  CHECK(!quick.out.storage->failure());
  CHECK(!normal.completed(normal.last_enqueued()));
  normal.close();
}

void queues_wait_for_what_they_read() {
  Stream normal(cpu());
  Stream high(cpu(Priority::kHigh), Priority::kHigh);
  Gate gate(normal);
  TensorRef from = new_tensor(normal, {1000}), there = new_tensor(high, {1000}),
            back = new_tensor(normal, {1000});
  fill_normal(normal, from, 7);
  convert(high, from, there);
  convert(normal, there, back);
  const std::weak_ptr<Storage> first = from.storage;
  CHECK(!from.storage->read_by.empty());
  from.storage.reset();
  CHECK(!high.completed(there.storage->written_by));
  gate.open();
  normal.wait(normal.last_enqueued());
  CHECK(first.expired());
  CHECK(floats(back)[999] == floats(there)[999] && floats(back)[0] != 0);
}

/** What is read of pages by another queue is what the tasks before that read left there. */
void reads_wait_for_updates_in_place() {
  Stream normal(cpu());
  Stream high(cpu(Priority::kHigh), Priority::kHigh);
  const TensorRef pages = new_tensor(normal, {1000}), once = new_tensor(normal, {1000});
  const auto update = [&](uint64_t seed) {
    TensorRef after{.storage = std::make_shared<UpdatedStorage>(pages.storage), .view = pages.view};
    normal.enqueue(ops::FillNormal{.target = pages.view, .seed = seed},
                   {.reads = {}, .writes = {after.storage}, .updates = {pages.storage}});
    return after;
  };
  fill_normal(normal, once, 2);
  const TensorRef first = update(1);
  Gate gate(normal);
  update(2);
  const TensorRef read = new_tensor(high, {1000});
  convert(high, first, read);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // a read that did not wait is done
  gate.open();
  high.wait(high.last_enqueued());
  CHECK(std::equal(floats(read), floats(read) + 1000, floats(once)));
}

void queues_close_in_any_order() {
  for (const bool high_first : {false, true}) {
    Stream normal(cpu());
    Stream high(cpu(Priority::kHigh), Priority::kHigh);
    Gate gate(normal);
    TensorRef tensor = new_tensor(normal, {1000});
    fill_normal(normal, tensor, 7);
    for (int step = 0; step < 20; ++step) {
      Stream& stream = step % 2 == 0 ? high : normal;
      const TensorRef next = new_tensor(stream, {1000});
      convert(stream, tensor, next);
      tensor = next;
    }
    normal.close();
    high.close();
    gate.open();
    (high_first ? high : normal).shutdown();
    (high_first ? normal : high).shutdown();
    CHECK(tensor.storage->failure()->code() == ErrorCode::kCancelled);
  }
}

void streams_share_the_pool() {
  std::vector<std::thread> environments;
  std::vector<float> results(8);
  for (size_t i = 0; i < results.size(); ++i) {
    environments.emplace_back([&results, i] {
      Stream stream(cpu());
      Attention attention(stream, 96, 3);
      for (int round = 0; round < 5; ++round) attention.enqueue(stream);
      std::promise<void> done;
      stream.notify([&done] { done.set_value(); });
      done.get_future().wait();
      CHECK(!attention.out.storage->failure());
      results[i] = floats(attention.out)[96 * 3 * 64 - 1];
      attention.enqueue(stream);  // in flight when the stream goes
    });
  }
  for (auto& environment : environments) environment.join();
  for (float result : results) CHECK(result == results[0] && result != 0);
}

void idle_stream_rests() {
  Stream stream(cpu());
  const TensorRef a = new_tensor(stream, {16});
  fill_zero(stream, a);
  stream.wait(stream.last_enqueued());
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::clock_t begin = std::clock();  // processor time of all threads
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  CHECK(std::clock() - begin < CLOCKS_PER_SEC / 20);
}

}  // namespace

int main() {
  setenv("FLASH_ATTENTION_NUM_THREADS", "4", 0);
  unused_stream_needs_nothing();
  a_task_runs_in_place_behind_those_queued();
  tasks_run_in_order();
  calls_return_before_the_work_runs();
  storages_live_until_their_task_has_run();
  failures_spread_along_reads_only();
  shutdown_drops_what_waits();
  shutdown_interrupts_what_runs();
  high_calls_overtake();
  queues_wait_for_what_they_read();
  reads_wait_for_updates_in_place();
  queues_close_in_any_order();
  streams_share_the_pool();
  idle_stream_rests();
  std::puts("stream: ok");
  return 0;
}
