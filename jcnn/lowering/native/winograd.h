// Minimal filtering of images by windows of R x R at stride 1, a block of tiles after another:
//
//   y = A' [(G w) * (B' x)],   dw = G' [(A dy) * (B' x)]
//
// for each group of channels and of features, as in jcnn/lowering/winograd.py, whose matrices these
// are: kPowers is A, (a, 4), kKernel is G, (a, R), and kInput is B', (a, a), for tiles of 4 x 4
// outputs and a x a inputs, a = 3 + R. A block's transforms stay in a core's cache, or in that of all
// cores, and x, dy and y are read or written once.
#pragma once

#include <algorithm>

#include "parallel.h"
#include "product.h"
#include "tiles.h"

namespace jcnn {

// Of arrays of T, float32 or bfloat16. In PAIRS, both factors of the products are rounded to
// bfloat16 and two terms of their sums lie in the place of one: two channels, or for the kernel
// gradient two tiles. The points of evaluation are then those whose transforms keep rounding small.
template <int R, class T = float, bool PAIRS = false>
struct Filter : Tiles<R, T, PAIRS> {
  using Base = Tiles<R, T, PAIRS>;
  using Base::A, Base::E, Base::Terms, Base::Kernels, Base::Inputs, Base::BothByTiles, Base::Outputs;
  using M = typename Base::M;

  static int64_t Blocks(const Correlation& s, const Room& room) {
    return (TileCount(s) + room.tiles - 1) / room.tiles;
  }

  // For the tiles of a number, task(block) with the groups that are taken together, one after
  // another.
  template <class Task>
  static void EachBlock(const Correlation& s, const Room& room, int worker, int64_t number,
                        const Task& task) {
    const int64_t first = number * room.tiles, last = std::min(first + room.tiles, TileCount(s));
    const int64_t groups = Together(s);
    const int64_t channels = groups * s.channels();
    // Terms are channels or tiles.
    const int64_t most =
        std::max(room.tiles * Apart(Terms(channels)), Terms(room.tiles) * Apart(channels));
    float *in = room.at + worker * room.each, *out = in + E * most;
    for (int64_t group = 0; group < s.groups; group += groups)
      task(Block{first, last, group, groups, in, out});
  }

  // (G w) * (B' x) of a block, for each element and group.
  static void Products(const Correlation& s, const Block& block, const float* kernels) {
    const int64_t terms = Terms(s.channels()), features = s.features();
    const int64_t depth = WholeVectors(features);
    const int64_t deep = Apart(Terms(block.groups * s.channels()));
    const int64_t wide = Apart(block.groups * features);
    for (int e = 0; e < E; ++e)
      for (int64_t g = 0; g < block.groups; ++g) {
        const float* in = block.in + e * block.tiles() * deep + g * terms;
        const float* kernel = kernels + (e * s.groups + block.group + g) * terms * depth;
        const Place to = {block.out + e * block.tiles() * wide + g * features, wide,
                          block.groups == 1 ? depth : features};
        Product<false, PAIRS, false>(block.tiles(), Matrix(in, deep, 1, terms), {kernel, true, 0}, to);
      }
  }

  static void Correlate(const Team& team, const Correlation& s, const Room& room, const T* x,
                        const T* w, float* kernels, T* y) {
    Kernels(team, s, w, kernels);
    Parallel(team, Blocks(s, room), [&](int worker, int64_t number) {
      EachBlock(s, room, worker, number, [&](const Block& block) {
        Inputs(s, x, block);
        Products(s, block, kernels);
        Outputs(s, block, y);
      });
    });
  }

  // Sums, (parts, E, C, features of a group), are of parts of the blocks, a worker each, and added in
  // one order: the result does not depend on which thread was the faster. Those that no core's own
  // cache holds are of one part, and a block is then as large as makes reading them worth it.
  static void KernelGradient(const Team& team, const Correlation& s, const Room& room, const T* x,
                             const T* dy, float* sums, T* dw) {
    const int64_t channels = s.in.channels, whole = E * channels * WholeVectors(s.features());
    const int64_t blocks = Blocks(s, room), parts = std::min(room.parts, blocks);
    if (parts == 1) {
      for (int64_t number = 0; number < blocks; ++number)
        AddTogether(team, s, room, x, dy, number, sums);
    } else {
      Parallel(team, parts, [&](int worker, int64_t part) {
        const int64_t first = part * blocks / parts, last = (part + 1) * blocks / parts;
        for (int64_t number = first; number < last; ++number)
          EachBlock(s, room, worker, number, [&](const Block& block) {
            BothByTiles(s, x, dy, block, block.first, block.last);
            for (int e = 0; e < E; ++e)
              AddProducts(s, block, e, 0, s.channels(), number == first, sums + part * whole);
          });
      });
    }
    Parallel(Needed(parts * whole, team), channels,
             [&](int, int64_t c) { FromSums(s, c, parts, sums, dw); });
  }

  // A block whose tiles, and then elements of the tiles, are shared among all workers.
  static void AddTogether(const Team& team, const Correlation& s, const Room& room, const T* x,
                          const T* dy, int64_t number, float* sums) {
    constexpr int64_t kFew = 4;  // an even number: two tiles may be a pair
    const int64_t rows = (s.channels() + kRows - 1) / kRows;
    const int64_t slices = std::min<int64_t>(rows, (4 * team.workers + E - 1) / E);
    EachBlock(s, room, 0, number, [&](const Block& block) {
      Parallel(team, (block.tiles() + kFew - 1) / kFew, [&](int, int64_t i) {
        const int64_t first = block.first + i * kFew;
        BothByTiles(s, x, dy, block, first, std::min(first + kFew, block.last));
      });
      Parallel(team, E * slices, [&](int, int64_t i) {
        const auto row = [&](int64_t n) { return std::min(n * rows / slices * kRows, s.channels()); };
        AddProducts(s, block, i / slices, row(i % slices), row(i % slices + 1), number == 0, sums);
      });
    });
  }

  // (A dy) * (B' x) of a block's element e, or added to what is there, for some channels of each
  // group. Of a group whose features fill no vectors, the others of the last vector are the next
  // group's, of which the sums are not used.
  static void AddProducts(const Correlation& s, const Block& block, int64_t e, int64_t from,
                          int64_t end, bool first, float* sums) {
    const int64_t channels = s.channels(), depth = WholeVectors(s.features());
    const int64_t deep = Apart(block.groups * channels), terms = Terms(block.tiles());
    const int64_t wide = Apart(block.groups * s.features());
    const auto product = first ? Product<false, PAIRS, true> : Product<true, PAIRS, true>;
    for (int64_t g = 0; g < block.groups; ++g) {
      const float* in = block.in + e * terms * deep + g * channels + from;
      const float* out = block.out + e * terms * wide + g * s.features();
      const int64_t row = e * s.in.channels + (block.group + g) * channels + from;
      product(end - from, Matrix(in, 1, deep, terms), {out, false, wide},
              {sums + row * depth, depth, depth});
    }
  }

  // dw of a channel: G' times the sum over parts.
  static void FromSums(const Correlation& s, int64_t number, int64_t parts, const float* sums,
                       T* dw) {
    const int64_t channels = s.channels(), features = s.features();
    const int64_t depth = WholeVectors(features), one = s.in.channels * depth;
    T* to = dw + number % channels * s.out.channels + number / channels * features;
    for (int64_t d = 0; d < features; d += kLanes) {
      Vector in[E], half[A * R], out[R * R];
      for (int e = 0; e < E; ++e) {
        const float* from = sums + e * one + number * depth + d;
        in[e] = Load(from);
        for (int64_t part = 1; part < parts; ++part) in[e] += Load(from + part * E * one);
      }
      for (int i = 0; i < A; ++i) Adjoint(M::kKernel, in + i * A, 1, half + i * R, 1);
      for (int j = 0; j < R; ++j) Adjoint(M::kKernel, half + j, R, out + j, R);
      for (int k = 0; k < R * R; ++k)
        StoreFirst(to + k * channels * s.out.channels + d, out[k], features - d);
    }
  }
};

}  // namespace jcnn
