// Minimal filtering of images by windows of R x R at stride 1, a block of tiles after another:
//
//   y = A' [(G w) * (B' x)],   dw = G' [(A dy) * (B' x)]
//
// as in jcnn/lowering/winograd.py, whose matrices these are: kPowers is A, (a, 4), kKernel is G,
// (a, R), and kInput is B', (a, a), for tiles of 4 x 4 outputs and a x a inputs, a = 3 + R. A block's
// transforms stay in a core's cache, and x, dy and y are read or written once.
#pragma once

#include <algorithm>

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

// Tiles first to last - 1, and room for a block's two transforms.
struct Block {
  int64_t first, last;
  float *in, *out;

  int64_t tiles() const { return last - first; }
};

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

  // G w: (E, panels of channels x kPanel features).
  static void Kernels(const Team& team, const Correlation& s, const float* w, float* to) {
    const int64_t channels = s.in.channels, features = s.out.channels;
    const int64_t depth = WholeVectors(features);
    Parallel(team, channels, [&](int, int64_t c) {
      for (int64_t d = 0; d < features; d += kLanes) {
        Vector in[R * R], half[A * R], out[E];
        for (int k = 0; k < R * R; ++k)
          in[k] = LoadFirst(w + (k * channels + c) * features + d, features - d);
        for (int k = 0; k < R; ++k) Transform(M::kKernel, in + k, R, half + k, R);
        for (int i = 0; i < A; ++i) Transform(M::kKernel, half + i * R, 1, out + i * A, 1);
        const int64_t panel = d / kPanel * kPanel;
        const int64_t columns = std::min<int64_t>(kPanel, depth - panel);
        float* first = to + panel * channels + c * columns + (d - panel);
        for (int e = 0; e < E; ++e) Store(first + e * channels * depth, out[e]);
      }
    });
  }

  // B' x of a block's tiles: (E, tiles, C), C up to whole vectors.
  static void Inputs(const Correlation& s, const float* x, const Block& block) {
    const int64_t channels = s.in.channels, deep = WholeVectors(channels);
    const int64_t row = s.in.width * channels, one = block.tiles() * deep;
    for (int64_t t = block.first; t < block.last; ++t) {
      const Corner at = CornerOf(s, t);
      const int64_t top = at.row - s.before.down, left = at.column - s.before.right;
      const bool inside =
          top >= 0 && left >= 0 && top + A <= s.in.height && left + A <= s.in.width;
      const float* corner = x + at.image * s.in.height * row + top * row + left * channels;
      for (int64_t c = 0; c < channels; c += kLanes) {
        const int64_t rest = channels - c;
        Vector in[A], half[E], out[A];
#pragma GCC unroll 1
        for (int j = 0; j < A; ++j) {
          const float* column = corner + j * channels + c;
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

  // A dy of a block's tiles: (E, tiles, D), D up to whole vectors.
  static void Cotangents(const Correlation& s, const float* dy, const Block& block) {
    const int64_t features = s.out.channels, depth = WholeVectors(features);
    const int64_t row = s.out.width * features, one = block.tiles() * depth;
    for (int64_t t = block.first; t < block.last; ++t) {
      const Corner at = CornerOf(s, t);
      const int64_t rows = s.out.height - at.row, columns = s.out.width - at.column;
      const float* corner =
          dy + (at.image * s.out.height + at.row) * row + at.column * features;
      for (int64_t d = 0; d < features; d += kLanes) {
        Vector in[kTile], half[A * kTile], out[A];
#pragma GCC unroll 1
        for (int j = 0; j < kTile; ++j) {
#pragma GCC unroll 8
          for (int i = 0; i < kTile; ++i)
            in[i] = i < rows && j < columns
                        ? LoadFirst(corner + i * row + j * features + d, features - d)
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

  // y of a block's tiles: A' times (E, tiles, D).
  static void Outputs(const Correlation& s, const Block& block, float* y) {
    const int64_t features = s.out.channels, depth = WholeVectors(features);
    const int64_t row = s.out.width * features, one = block.tiles() * depth;
    for (int64_t t = block.first; t < block.last; ++t) {
      const Corner at = CornerOf(s, t);
      const int64_t rows = std::min<int64_t>(kTile, s.out.height - at.row);
      const int64_t columns = std::min<int64_t>(kTile, s.out.width - at.column);
      float* corner = y + (at.image * s.out.height + at.row) * row + at.column * features;
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
            StoreFirst(corner + i * row + j * features + d, out[j], features - d);
        }
      }
    }
  }

  static Block BlockOf(const Correlation& s, const Room& room, int worker, int64_t number) {
    const int64_t first = number * room.tiles, last = std::min(first + room.tiles, Tiles(s));
    float* in = room.at + worker * room.each;
    return {first, last, in, in + E * room.tiles * WholeVectors(s.in.channels)};
  }

  static void Correlate(const Team& team, const Correlation& s, const Room& room, const float* x,
                        const float* w, float* kernels, float* y) {
    const int64_t channels = s.in.channels, deep = WholeVectors(channels);
    const int64_t depth = WholeVectors(s.out.channels);
    Kernels(team, s, w, kernels);
    Parallel(team, (Tiles(s) + room.tiles - 1) / room.tiles, [&](int worker, int64_t number) {
      const Block block = BlockOf(s, room, worker, number);
      Inputs(s, x, block);
      for (int e = 0; e < E; ++e)
        Product<false>(block.tiles(), Matrix(block.in + e * block.tiles() * deep, deep, 1, channels),
                       {kernels + e * channels * depth, true, 0},
                       {block.out + e * block.tiles() * depth, depth, depth});
      Outputs(s, block, y);
    });
  }

  // Each part of the blocks has sums of its own, (parts, E, C, D), which are added in one order:
  // the result does not depend on which thread was the faster.
  static void KernelGradient(const Team& team, const Correlation& s, const Room& room, const float* x,
                             const float* dy, float* sums, float* dw) {
    const int64_t channels = s.in.channels, deep = WholeVectors(channels);
    const int64_t depth = WholeVectors(s.out.channels), whole = E * channels * depth;
    const int64_t blocks = (Tiles(s) + room.tiles - 1) / room.tiles;
    const int64_t parts = std::min(room.parts, blocks);
    ParallelSum(team, parts, blocks, channels, kRows, [&](int worker, const Share& share) {
      for (int64_t number = share.first_block; number < share.last_block; ++number) {
        const Block block = BlockOf(s, room, worker, number);
        Inputs(s, x, block);
        Cotangents(s, dy, block);
        const auto product = number == share.first_block ? Product<false> : Product<true>;
        const float* in = block.in + share.first_row;
        float* to = sums + share.part * whole + share.first_row * depth;
        for (int e = 0; e < E; ++e)
          product(share.last_row - share.first_row,
                  Matrix(in + e * block.tiles() * deep, 1, deep, block.tiles()),
                  {block.out + e * block.tiles() * depth, false, depth},
                  {to + e * channels * depth, depth, depth});
      }
    });
    Parallel(team, channels, [&](int, int64_t c) { FromSums(s, c, parts, sums, dw); });
  }

  // dw of a channel: G' times the sum over parts.
  static void FromSums(const Correlation& s, int64_t c, int64_t parts, const float* sums, float* dw) {
    const int64_t channels = s.in.channels, features = s.out.channels;
    const int64_t depth = WholeVectors(features), one = channels * depth;
    for (int64_t d = 0; d < features; d += kLanes) {
      Vector in[E], half[A * R], out[R * R];
      for (int e = 0; e < E; ++e) {
        const float* from = sums + e * one + c * depth + d;
        in[e] = Load(from);
        for (int64_t part = 1; part < parts; ++part) in[e] += Load(from + part * E * one);
      }
      for (int i = 0; i < A; ++i) Adjoint(M::kKernel, in + i * A, 1, half + i * R, 1);
      for (int j = 0; j < R; ++j) Adjoint(M::kKernel, half + j, R, out + j, R);
      for (int k = 0; k < R * R; ++k)
        StoreFirst(dw + (k * channels + c) * features + d, out[k], features - d);
    }
  }
};

}  // namespace jcnn
