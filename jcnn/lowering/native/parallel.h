// Work shared among the threads of XLA's pool.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "xla/ffi/api/ffi.h"

namespace jcnn {

// Who computes: the caller, and up to workers - 1 threads of the pool.
struct Team {
  xla::ffi::ThreadPool& pool;
  int workers;
};

// Room that each worker has, for a block of so many tiles or positions.
struct Room {
  float* at;
  int64_t each, tiles;
};

// Calls task(worker, i) for every i below count, each once; worker is below team.workers.
//
// The caller takes part, so that it ends even where all threads of the pool are busy. A thread that
// comes late finds no i left, and does not touch the task, which may be gone by then.
template <class Task>
void Parallel(const Team& team, int64_t count, const Task& task) {
  struct Shared {
    std::atomic<int64_t> next{0}, done{0};
    std::atomic<int> joined{0};
    std::mutex mutex;
    std::condition_variable all_done;
  };
  auto shared = std::make_shared<Shared>();
  auto work = [shared, count, workers = team.workers, called = &task] {
    const int worker = shared->joined.fetch_add(1);
    if (worker >= workers) return;
    for (int64_t i; (i = shared->next.fetch_add(1)) < count;) {
      (*called)(worker, i);
      if (shared->done.fetch_add(1) + 1 == count) {
        std::lock_guard<std::mutex> lock(shared->mutex);
        shared->all_done.notify_all();
      }
    }
  };
  for (int64_t others = 1; others < team.workers && others < count; ++others) {
    team.pool.Schedule([work] { work(); });
  }
  work();
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all_done.wait(lock, [&] { return shared->done.load() == count; });
}

}  // namespace jcnn
