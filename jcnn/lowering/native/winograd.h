// Minimal filtering of images by windows of R x R at stride 1, a block of tiles after another:
//
//   y = A' [(G w) * (B' x)],   dw = G' [(A dy) * (B' x)]
//
// for each group of channels and of features, as in jcnn/lowering/winograd.py, whose matrices these are: kPowers is A, (a, 4), kKernel is G,
// (a, R), and kInput is B', (a, a), for tiles of 4 x 4 outputs and a x a inputs, a = 3 + R. A block's
// transforms stay in a core's cache, and x, dy and y are read or written once.
#pragma once

#include <algorithm>
#include <numeric>

#include "images.h"
#include "matrices.h"
#include "parallel.h"
#include "product.h"
#include "transforms.h"

namespace jcnn {

constexpr int kTile = 4;

// Tiles of outputs, in a row, in a column, and in all.
inline int64_t Wide(const Correlation& s) { return (s.out.width + kTile - 1) / kTile; }
inline int64_t Tall(const Correlation& s) { return (s.out.height + kTile - 1) / kTile; }
inline int64_t Tiles(const Correlation& s) { return s.out.count * Tall(s) * Wide(s); }

// Groups of a block: as many as have kBeside channels and fill whole vectors; all, where none do.
// Of fewer channels, the lines of the cache that are read would lie too far apart.
constexpr int64_t kBeside = 64;

inline int64_t Together(const Correlation& s) {
  const auto fill = [](int64_t n) { return kLanes / std::gcd<int64_t>(n, kLanes); };
  int64_t groups = std::lcm(fill(s.channels()), fill(s.features()));
  if (s.groups % groups != 0) return s.groups;
  while (s.groups % (2 * groups) == 0 && groups * s.channels() < kBeside) groups *= 2;
  return groups;
}

// Tiles first to last - 1 of some groups, and room for their two transforms.
struct Block {
  int64_t first, last, group, groups;
  float *in, *out;

  int64_t tiles() const { return last - first; }
};

// From one tile's channels to the next's: a line more where these are so many lines that the tiles
// would meet in few sets of the nearest cache.
inline int64_t Apart(int64_t channels) {
  constexpr int64_t kLine = 16, kFew = 8 * kLine;
  const int64_t whole = WholeVectors(channels);
  return whole % kFew == 0 ? whole + kLine : whole;
}

template <int R>
struct Filter {
  static constexpr int A = kTile + R - 1, E = A * A;
  using M = Matrices<R>;

  // The image of a tile, and its first row and column of outputs.
  struct Corner {
    int64_t image, row, column;
  };

  static Corner CornerOf(const Correlation& s, int64_t tile) {
    const int64_t row = tile / Wide(s);
    return {row / Tall(s), row % Tall(s) * kTile, tile % Wide(s) * kTile};
  }

  // G w: (E, groups, panels of channels x kPanel features).
  static void Kernels(const Team& team, const Correlation& s, const float* w, float* to) {
    const int64_t channels = s.channels(), features = s.features();
    const int64_t depth = WholeVectors(features);
    Parallel(Needed(E * s.in.channels * depth, team), s.in.channels, [&](int, int64_t number) {
      const int64_t g = number / channels, c = number % channels;
      const float* from = w + c * s.out.channels + g * features;
      for (int64_t d = 0; d < features; d += kLanes) {
        Vector in[R * R], half[A * R], out[E];
        for (int k = 0; k < R * R; ++k)
          in[k] = LoadFirst(from + k * channels * s.out.channels + d, features - d);
        for (int k = 0; k < R; ++k) Transform(M::kKernel, in + k, R, half + k, R);
        for (int i = 0; i < A; ++i) Transform(M::kKernel, half + i * R, 1, out + i * A, 1);
        const int64_t panel = d / kPanel * kPanel;
        const int64_t columns = std::min<int64_t>(kPanel, depth - panel);
        float* first = to + (g * depth + panel) * channels + c * columns + (d - panel);
        for (int e = 0; e < E; ++e) Store(first + e * s.in.channels * depth, out[e]);
      }
    });
  }

  // B' x of a block: (E, tiles, channels of its groups), these up to whole vectors.
  static void Inputs(const Correlation& s, const float* x, const Block& block) {
    const int64_t channels = block.groups * s.channels(), deep = Apart(channels);
    const int64_t row = s.in.row(), one = block.tiles() * deep;
    x += block.group * s.channels();
    for (int64_t t = block.first; t < block.last; ++t) {
      const Corner at = CornerOf(s, t);
      const int64_t top = at.row - s.before.down, left = at.column - s.before.right;
      const bool inside =
          top >= 0 && left >= 0 && top + A <= s.in.height && left + A <= s.in.width;
      const float* corner = x + at.image * s.in.whole() + top * row + left * s.in.channels;
      for (int64_t c = 0; c < channels; c += kLanes) {
        const int64_t rest = channels - c;
        Vector in[A], half[E], out[A];
#pragma GCC unroll 1
        for (int j = 0; j < A; ++j) {
          const float* column = corner + j * s.in.channels + c;
          if (inside && rest >= kLanes) {
#pragma GCC unroll 8
            for (int i = 0; i < A; ++i) in[i] = Load(column + i * row);
          } else {
            const bool within = left + j >= 0 && left + j < s.in.width;
#pragma GCC unroll 8
            for (int i = 0; i < A; ++i)
              in[i] = within && top + i >= 0 && top + i < s.in.height
                          ? LoadFirst(column + i * row, rest)
                          : Vector{};
          }
          Transform(M::kInput, in, 1, half + j, A);
        }
        float* to = block.in + (t - block.first) * deep + c;
#pragma GCC unroll 1
        for (int i = 0; i < A; ++i) {
          Transform(M::kInput, half + i * A, 1, out, 1);
#pragma GCC unroll 8
          for (int j = 0; j < A; ++j) Store(to + (i * A + j) * one, out[j]);
        }
      }
    }
  }

  // A dy of a block: (E, tiles, features of its groups), these up to whole vectors.
  static void Cotangents(const Correlation& s, const float* dy, const Block& block) {
    const int64_t features = block.groups * s.features(), depth = Apart(features);
    const int64_t row = s.out.row(), one = block.tiles() * depth;
    dy += block.group * s.features();
    for (int64_t t = block.first; t < block.last; ++t) {
      const Corner at = CornerOf(s, t);
      const int64_t rows = s.out.height - at.row, columns = s.out.width - at.column;
      const float* corner =
          dy + (at.image * s.out.height + at.row) * row + at.column * s.out.channels;
      for (int64_t d = 0; d < features; d += kLanes) {
        Vector in[kTile], half[A * kTile], out[A];
#pragma GCC unroll 1
        for (int j = 0; j < kTile; ++j) {
#pragma GCC unroll 8
          for (int i = 0; i < kTile; ++i)
            in[i] = i < rows && j < columns
                        ? LoadFirst(corner + i * row + j * s.out.channels + d, features - d)
                        : Vector{};
          Transform(M::kPowers, in, 1, half + j, kTile);
        }
        float* to = block.out + (t - block.first) * depth + d;
#pragma GCC unroll 1
        for (int i = 0; i < A; ++i) {
          Transform(M::kPowers, half + i * kTile, 1, out, 1);
#pragma GCC unroll 8
          for (int j = 0; j < A; ++j) Store(to + (i * A + j) * one, out[j]);
        }
      }
    }
  }

  // y of a block: A' times (E, tiles, features of its groups).
  static void Outputs(const Correlation& s, const Block& block, float* y) {
    const int64_t features = block.groups * s.features(), depth = Apart(features);
    const int64_t row = s.out.row(), one = block.tiles() * depth;
    y += block.group * s.features();
    for (int64_t t = block.first; t < block.last; ++t) {
      const Corner at = CornerOf(s, t);
      const int64_t rows = std::min<int64_t>(kTile, s.out.height - at.row);
      const int64_t columns = std::min<int64_t>(kTile, s.out.width - at.column);
      float* corner =
          y + (at.image * s.out.height + at.row) * row + at.column * s.out.channels;
      for (int64_t d = 0; d < features; d += kLanes) {
        const float* from = block.out + (t - block.first) * depth + d;
        Vector in[A], half[kTile * A], out[kTile];
#pragma GCC unroll 1
        for (int j = 0; j < A; ++j) {
#pragma GCC unroll 8
          for (int i = 0; i < A; ++i) in[i] = Load(from + (i * A + j) * one);
          Adjoint(M::kPowers, in, 1, half + j, A);
        }
        for (int i = 0; i < rows; ++i) {
          Adjoint(M::kPowers, half + i * A, 1, out, 1);
          for (int j = 0; j < columns; ++j)
            StoreFirst(corner + i * row + j * s.out.channels + d, out[j], features - d);
        }
      }
    }
  }

  static int64_t Blocks(const Correlation& s, const Room& room) {
    return (Tiles(s) + room.tiles - 1) / room.tiles;
  }

  // For the tiles of a number, task(block) with the groups that are taken together, one after another.
  template <class Task>
  static void EachBlock(const Correlation& s, const Room& room, int worker, int64_t number,
                        const Task& task) {
    const int64_t first = number * room.tiles, last = std::min(first + room.tiles, Tiles(s));
    const int64_t groups = Together(s);
    float* in = room.at + worker * room.each;
    float* out = in + E * room.tiles * Apart(groups * s.channels());
    for (int64_t group = 0; group < s.groups; group += groups)
      task(Block{first, last, group, groups, in, out});
  }

  // (G w) * (B' x) of a block, for each element and group.
  static void Products(const Correlation& s, const Block& block, const float* kernels) {
    const int64_t channels = s.channels(), features = s.features(), depth = WholeVectors(features);
    const int64_t deep = Apart(block.groups * channels);
    const int64_t wide = Apart(block.groups * features);
    for (int e = 0; e < E; ++e)
      for (int64_t g = 0; g < block.groups; ++g) {
        const float* in = block.in + e * block.tiles() * deep + g * channels;
        const float* kernel = kernels + (e * s.groups + block.group + g) * channels * depth;
        Product<false>(block.tiles(), Matrix(in, deep, 1, channels), {kernel, true, 0},
                       {block.out + e * block.tiles() * wide + g * features, wide,
                        block.groups == 1 ? depth : features});
      }
  }

  static void Correlate(const Team& team, const Correlation& s, const Room& room, const float* x,
                        const float* w, float* kernels, float* y) {
    Kernels(team, s, w, kernels);
    Parallel(team, Blocks(s, room), [&](int worker, int64_t number) {
      EachBlock(s, room, worker, number, [&](const Block& block) {
        Inputs(s, x, block);
        Products(s, block, kernels);
        Outputs(s, block, y);
      });
    });
  }

  // Each part of the blocks has sums of its own, (parts, E, C, features of a group), which are added
  // in one order: the result does not depend on which thread was the faster.
  static void KernelGradient(const Team& team, const Correlation& s, const Room& room, const float* x,
                             const float* dy, float* sums, float* dw) {
    const int64_t channels = s.in.channels, whole = E * channels * WholeVectors(s.features());
    const int64_t blocks = Blocks(s, room), parts = std::min(room.parts, blocks);
    ParallelSum(team, parts, blocks, channels, kRows, [&](int worker, const Share& share) {
      for (int64_t number = share.first_block; number < share.last_block; ++number)
        EachBlock(s, room, worker, number, [&](const Block& block) {
          const int64_t first = block.group * s.channels();
          if (share.last_row <= first || share.first_row >= first + block.groups * s.channels())
            return;
          Inputs(s, x, block);
          Cotangents(s, dy, block);
          AddProducts(s, block, share, number == share.first_block, sums + share.part * whole);
        });
    });
    Parallel(Needed(parts * whole, team), channels,
             [&](int, int64_t c) { FromSums(s, c, parts, sums, dw); });
  }

  // (A dy) * (B' x) of a block, or added to what is there. Of a group whose features fill no vectors,
  // the others of the last vector are the next group's, of which the sums are not used.
  static void AddProducts(const Correlation& s, const Block& block, const Share& share, bool first,
                          float* sums) {
    const int64_t channels = s.channels(), depth = WholeVectors(s.features());
    const int64_t deep = Apart(block.groups * channels);
    const int64_t wide = Apart(block.groups * s.features());
    const auto product = first ? Product<false> : Product<true>;
    for (int e = 0; e < E; ++e)
      for (int64_t g = 0; g < block.groups; ++g) {
        const int64_t begin = (block.group + g) * channels;
        const int64_t from = std::clamp(share.first_row - begin, int64_t{0}, channels);
        const int64_t end = std::clamp(share.last_row - begin, int64_t{0}, channels);
        const float* in = block.in + e * block.tiles() * deep + g * channels + from;
        const float* out = block.out + e * block.tiles() * wide + g * s.features();
        product(end - from, Matrix(in, 1, deep, block.tiles()), {out, false, wide},
                {sums + (e * s.in.channels + begin + from) * depth, depth, depth});
      }
  }

  // dw of a channel: G' times the sum over parts.
  static void FromSums(const Correlation& s, int64_t number, int64_t parts, const float* sums,
                       float* dw) {
    const int64_t channels = s.channels(), features = s.features();
    const int64_t depth = WholeVectors(features), one = s.in.channels * depth;
    float* to = dw + number % channels * s.out.channels + number / channels * features;
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
