// Work shared among the threads of XLA's pool.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

#include "xla/ffi/api/ffi.h"

namespace jcnn {

// Who computes: the caller, and up to workers - 1 threads of the pool.
struct Team {
  xla::ffi::ThreadPool& pool;
  int workers;
};

// Who moves so many elements: the caller alone where to wake a thread takes longer.
inline Team Needed(int64_t elements, const Team& team) {
  constexpr int64_t kFew = 1 << 14;
  return {team.pool, elements < kFew ? 1 : team.workers};
}

// What is to be a share of so much work: several per core, so that none waits long for the last.
inline int64_t Shared(int64_t work, const Team& team) { return work / (8 * team.workers); }

// Whether this thread is known to be one of the pool's: it has done some of its work.
inline thread_local bool of_pool = false;

// Marks this thread so; a pool that is full, or none, has its work done by who called it.
inline void MarkPoolsOwn(std::thread::id caller) {
  if (std::this_thread::get_id() != caller) of_pool = true;
}

// Room that each worker has, for a block of so many tiles or positions, and in how many parts of
// the blocks a sum over all of them is taken.
struct Room {
  float* at;
  int64_t each, tiles, parts;
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
    team.pool.Schedule([work, caller = std::this_thread::get_id()] {
      MarkPoolsOwn(caller);
      work();
    });
  }
  work();
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all_done.wait(lock, [&] { return shared->done.load() == count; });
}

// Calls task() in a thread of the pool, where this one is not of the pool and there is work for all:
// the pool has as many threads as there are cores, and with one more two would share a core.
//
// Where the pool doesn't come at once, since all its threads are busy, this thread does it.
template <class Task>
void OnPool(const Team& team, int64_t work, const Task& task) {
  constexpr int64_t kMuch = 1 << 24;  // takes several times as long as to wake a thread
  constexpr std::chrono::microseconds kAtOnce(100);
  if (of_pool || team.workers == 1 || work < kMuch) return task();
  struct Shared {
    std::atomic<bool> begun{false};
    std::mutex mutex;
    std::condition_variable ended;
    bool done = false;
  };
  auto shared = std::make_shared<Shared>();
  for (int thread = 0; thread < team.workers; ++thread)  // the others will be needed, and wake up
    team.pool.Schedule([shared, called = &task, caller = std::this_thread::get_id()] {
      MarkPoolsOwn(caller);
      if (shared->begun.exchange(true)) return;
      (*called)();
      std::lock_guard<std::mutex> lock(shared->mutex);
      shared->done = true;
      shared->ended.notify_all();
    });
  std::unique_lock<std::mutex> lock(shared->mutex);
  const auto done = [&] { return shared->done; };
  if (shared->ended.wait_for(lock, kAtOnce, done)) return;
  if (shared->begun.exchange(true)) return shared->ended.wait(lock, done);
  lock.unlock();
  task();
}

// A part of a sum's blocks, and of its rows.
struct Share {
  int64_t part, first_block, last_block, first_row, last_row;
};

// Calls task(worker, share) for shares of a sum over blocks: a part of the blocks each, and where
// memory allows for fewer parts than there are workers, some of the rows.
template <class Task>
void ParallelSum(const Team& team, int64_t parts, int64_t blocks, int64_t rows, int64_t together,
                 const Task& task) {
  const int64_t groups = (rows + together - 1) / together;
  const int64_t slices = std::min((team.workers + parts - 1) / parts, groups);
  Parallel(team, parts * slices, [&](int worker, int64_t i) {
    const int64_t part = i / slices, slice = i % slices;
    const auto row = [&](int64_t n) { return std::min(n * groups / slices * together, rows); };
    task(worker, Share{part, part * blocks / parts, (part + 1) * blocks / parts, row(slice),
                       row(slice + 1)});
  });
}

}  // namespace jcnn
